/* SPDX-License-Identifier: MIT
 * Writes the intact blocks of a scan. A block of our own is finished again where its place has
 * changed: that gives the same bytes but for the place and the checksum over it. Once arrival times
 * go back in an output its blocks note no place, so that nobody searches it by halving.
 * Relies on archive/scan having judged every block it hands out. */
#include "archive/recover.h"
#include "archive/packed.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "base/varint.h"

#define TEXT_BYTES_MAX 1025u /* of what a header is written anew with */

struct output {
    uint8_t sync[SCAN_SYNC_BYTES];
    uint8_t *key; /* what all its blocks have in common */
    size_t key_bytes;
    uint64_t offset, latest_ns;
    bool disorder;   /* arrival times went back */
    bool own_header; /* it was made here */
};

struct run {
    const struct recover *recover;
    struct recover_result *result;
    const struct block_header_text *header; /* of the part at hand; NULL: its own can be trusted */
    struct output outputs[RECOVER_OUTPUTS_MAX];
    struct output *at; /* of the part at hand, once it has a block; NULL: not yet */
    bool none_left;    /* there are too many outputs for it */
    uint8_t *image;
    size_t image_room;
};

static unsigned index_of(const struct run *run, const struct output *output)
{
    return (unsigned)(output - run->outputs);
}

static int put(struct run *run, struct output *output, struct span bytes)
{
    int status =
        run->recover->write(run->recover->context, index_of(run, output), bytes, output->offset);
    if (status == 0)
        output->offset += bytes.bytes;
    return status;
}

static int make_room(struct run *run, size_t bytes)
{
    if (bytes <= run->image_room)
        return 0;
    uint8_t *grown = realloc(run->image, bytes);
    if (grown == NULL)
        return -ENOMEM;
    run->image = grown;
    run->image_room = bytes;
    return 0;
}

static uint8_t *put_counted(uint8_t *at, struct span text)
{
    at += varint_write(at, (int64_t)text.bytes);
    if (text.bytes > 0)
        memcpy(at, text.at, text.bytes);
    return at + text.bytes;
}

static struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* ---- headers ---- */

/* A header for blocks that are not ours: the schema and the codec are all that is known. */
static int put_plain_header(struct run *run, struct output *output, struct span schema,
                            const struct scan_header *from)
{
    const char *name = codec_name(from->codec);
    struct span codec = name != NULL ? text_span(name) : from->codec_name;
    int status = make_room(run, schema.bytes + codec.bytes + 128);
    if (status < 0)
        return status;
    uint8_t *at = run->image;
    memcpy(at, "Obj\x01\x04", 5);
    at = put_counted(at + 5, text_span("avro.schema"));
    at = put_counted(at, schema);
    at = put_counted(at, text_span("avro.codec"));
    at = put_counted(at, codec);
    *at++ = 0;
    memcpy(at, output->sync, SCAN_SYNC_BYTES);
    return put(run, output, (struct span){run->image, (size_t)(at - run->image) + SCAN_SYNC_BYTES});
}

static int put_own_header(struct run *run, struct output *output,
                          const struct block_header_text *header)
{
    size_t room = header->schema.bytes + strlen(header->channel) + strlen(header->host) +
                  strlen(header->started) + strlen(header->version) + header->time.bytes +
                  header->sequence.bytes + 3 * BLOCK_PAGE_BYTES;
    int status = make_room(run, room);
    if (status < 0)
        return status;
    long bytes = block_write_header(run->image, room, header, output->sync, BLOCK_PAGE_BYTES);
    CHECK(bytes > 0);
    output->own_header = true;
    return put(run, output, (struct span){run->image, (size_t)bytes});
}

static const char *copy_text(char text[TEXT_BYTES_MAX], struct span from)
{
    size_t bytes = from.bytes < TEXT_BYTES_MAX ? from.bytes : TEXT_BYTES_MAX - 1;
    if (bytes > 0)
        memcpy(text, from.at, bytes);
    text[bytes] = '\0';
    return text;
}

static int put_header(struct run *run, struct output *output, const struct scan *scan)
{
    const struct scan_header *from = scan_header(scan);
    struct span schema = schema_text(scan_schema(scan));
    char texts[4][TEXT_BYTES_MAX];
    if (run->header == NULL && from->sound)
        return put(run, output, from->image);
    if (!from->ours)
        return put_plain_header(run, output, run->header != NULL ? run->header->schema : schema,
                                from);
    if (run->header != NULL)
        return put_own_header(run, output, run->header);
    /* Of a part that was joined behind, and whose header is not sound. */
    const struct block_header_text made = {.schema = schema,
                                           .channel = copy_text(texts[0], from->channel),
                                           .host = copy_text(texts[1], from->host),
                                           .started = copy_text(texts[2], from->started),
                                           .version = copy_text(texts[3], from->version),
                                           .time = from->time,
                                           .sequence = from->sequence};
    return put_own_header(run, output, &made);
}

/* ---- which output ---- */

/* What blocks of one output have in common, as bytes to compare. NULL: no memory. */
static uint8_t *make_key(const struct run *run, const struct scan *scan, size_t *bytes)
{
    const struct scan_header *from = scan_header(scan);
    const struct block_header_text *header = run->header;
    const struct span parts[] = {
        schema_text(scan_schema(scan)),
        from->codec == CODEC_UNKNOWN ? from->codec_name : text_span(codec_name(from->codec)),
        !from->ours      ? (struct span){NULL, 0}
        : header == NULL ? from->channel
                         : text_span(header->channel),
        !from->ours      ? (struct span){NULL, 0}
        : header == NULL ? from->time
                         : header->time,
        !from->ours      ? (struct span){NULL, 0}
        : header == NULL ? from->sequence
                         : header->sequence,
    };
    size_t room = 1;
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        room += parts[i].bytes + VARINT_BYTES_MAX;
    uint8_t *key = malloc(room), *at = key;
    if (key == NULL)
        return NULL;
    *at++ = from->ours;
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        at = put_counted(at, parts[i]);
    *bytes = (size_t)(at - key);
    return key;
}

/* Finds the output that the part at hand goes to, or begins it. */
static int choose_output(struct run *run, const struct scan *scan)
{
    struct recover_result *result = run->result;
    size_t bytes;
    uint8_t *key = make_key(run, scan, &bytes);
    if (key == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < result->count; i++) {
        struct output *output = &run->outputs[i];
        if (output->key_bytes != bytes || memcmp(output->key, key, bytes) != 0)
            continue;
        free(key);
        run->at = output;
        return 0;
    }
    if (result->count == RECOVER_OUTPUTS_MAX) {
        free(key);
        run->none_left = true;
        return 0;
    }
    struct output *output = &run->outputs[result->count];
    *output = (struct output){.key = key, .key_bytes = bytes};
    memcpy(output->sync, scan_header(scan)->sync, SCAN_SYNC_BYTES);
    int status = run->recover->begin(run->recover->context, result->count++);
    run->at = output;
    return status < 0 ? status : put_header(run, output, scan);
}

/* ---- blocks ---- */

/* The place that a block of our own is to note. */
static uint16_t place_of(struct output *output, const struct scan_event *event)
{
    if (output->latest_ns > BLOCK_DISORDER_NS &&
        event->arrival_ns < output->latest_ns - BLOCK_DISORDER_NS)
        output->disorder = true;
    if (event->arrival_ns > output->latest_ns)
        output->latest_ns = event->arrival_ns;
    return event->place == 0 || output->disorder ? 0 : block_place(output->offset);
}

/* A header that was made here says that blocks are as a relay writes them; one that was sound is as
 * it was, and so are the blocks. */
static int put_block(struct run *run, const struct scan *scan, const struct scan_event *event)
{
    struct output *output = run->at;
    struct span image = event->image;
    const uint8_t *marker = image.at + image.bytes - SCAN_SYNC_BYTES;
    bool marked = memcmp(marker, output->sync, SCAN_SYNC_BYTES) == 0;
    bool ours = event->ours && event->kind == SCAN_BLOCK;
    uint16_t place = ours ? place_of(output, event) : 0;
    bool packed = ours && event->packed, unpack = packed && output->own_header;
    if (marked && !unpack && (!ours || place == event->place))
        return put(run, output, image);
    int status = make_room(run, packed ? BLOCK_BYTES_MAX : image.bytes);
    if (status < 0)
        return status;
    size_t bytes = image.bytes;
    if (packed && !unpack) {
        long written =
            packed_write(run->image, scan_header(scan)->codec, event->data, event->count,
                         event->arrival_ns, output->sync, BLOCK_PAGE_BYTES, place);
        if (written < 0)
            return (int)written;
        bytes = (size_t)written;
    } else if (ours) {
        if (unpack && event->data.bytes > block_data_max(BLOCK_BYTES_MAX))
            return -EFBIG;
        /* Aligned to its own size it becomes as large as it was. */
        block_append(run->image, 0, event->data);
        bytes = block_finish_at(run->image, event->data.bytes, event->count, event->arrival_ns,
                                output->sync, unpack ? BLOCK_PAGE_BYTES : image.bytes, place);
        CHECK(unpack || bytes == image.bytes);
    } else {
        memcpy(run->image, image.at, image.bytes - SCAN_SYNC_BYTES);
        memcpy(run->image + image.bytes - SCAN_SYNC_BYTES, output->sync, SCAN_SYNC_BYTES);
    }
    return put(run, output, (struct span){run->image, bytes});
}

/* Writes what a fault has left of a block as one of its own. */
static int put_partial(struct run *run, const struct scan *scan, const struct scan_event *event)
{
    uint8_t *stored, front[2 * VARINT_BYTES_MAX];
    size_t stored_bytes, bytes;
    int status = codec_pack(scan_header(scan)->codec, event->data, &stored, &stored_bytes);
    if (status < 0)
        return status;
    bytes = varint_write(front, (int64_t)event->shown);
    bytes += varint_write(front + bytes, (int64_t)stored_bytes);
    status = put(run, run->at, (struct span){front, bytes});
    if (status == 0)
        status = put(run, run->at, (struct span){stored, stored_bytes});
    if (status == 0)
        status = put(run, run->at, (struct span){run->at->sync, SCAN_SYNC_BYTES});
    free(stored);
    return status;
}

static void count_in(struct run *run, const struct scan_event *event)
{
    struct recover_output *counts = &run->result->outputs[index_of(run, run->at)];
    counts->blocks++;
    counts->datums += event->kind == SCAN_FAULT ? event->shown : event->count;
    counts->data_bytes += event->kind == SCAN_UNREAD ? 0 : event->data.bytes;
    counts->unread_blocks += event->kind == SCAN_UNREAD;
}

static int put_event(struct run *run, const struct scan *scan, struct scan_event *event)
{
    bool partial = event->kind == SCAN_FAULT && event->shown > 0;
    int status = 0;
    if (event->kind == SCAN_HEADER) {
        run->at = NULL;
        run->none_left = false;
        run->header = NULL;
    }
    if (event->kind != SCAN_BLOCK && event->kind != SCAN_UNREAD && !partial)
        return 0;
    if (run->at == NULL && !run->none_left)
        status = choose_output(run, scan);
    if (status < 0)
        return status;
    if (run->at == NULL) {
        event->kind = SCAN_FAULT;
        event->lost = event->count;
        event->shown = event->kept_bytes = 0;
        snprintf(event->what, sizeof(event->what),
                 "the block is of one more kind of file than the limit of %u outputs",
                 RECOVER_OUTPUTS_MAX);
        return 0;
    }
    status = partial ? put_partial(run, scan, event) : put_block(run, scan, event);
    if (status == 0)
        count_in(run, event);
    return status;
}

int recover_run(struct scan *scan, const struct block_header_text *header,
                const struct recover *recover, struct recover_result *result)
{
    struct run *run = calloc(1, sizeof(*run));
    struct scan_event event = {.kind = SCAN_END};
    int status = run == NULL ? -ENOMEM : 0;
    if (run == NULL)
        return status;
    run->recover = recover;
    run->result = result;
    run->header = header;
    do {
        status = scan_next(scan, &event);
        if (status < 0)
            break;
        /* A block without datums holds nothing, and makes some readers invent records. */
        if ((event.kind == SCAN_BLOCK || event.kind == SCAN_UNREAD) && event.count == 0)
            continue;
        status = put_event(run, scan, &event);
        if (recover->tell != NULL && event.kind != SCAN_END && status == 0)
            recover->tell(recover->context, &event);
        scan_count(&result->totals, &event);
    } while (status == 0 && event.kind != SCAN_END);
    /* A file without blocks is one, too. */
    if (status == 0 && result->count == 0)
        status = choose_output(run, scan);
    for (unsigned i = 0; i < result->count; i++)
        free(run->outputs[i].key);
    free(run->image);
    free(run);
    return status;
}
