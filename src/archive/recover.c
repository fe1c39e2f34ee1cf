/* SPDX-License-Identifier: MIT
 * Writes the intact blocks of a scan. A block of our own is finished again where its place has
 * changed: that gives the same bytes but for the place and the checksum over it.
 * Relies on archive/scan having judged every block it hands out. */
#include "archive/recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "base/varint.h"

struct output {
    const struct recover *recover;
    uint8_t sync[SCAN_SYNC_BYTES];
    enum scan_codec codec;
    bool ours;
    uint8_t *schema; /* its text, verbatim */
    size_t schema_bytes;
    bool other; /* the joined file at hand is another */
    uint64_t offset;
    uint8_t *image;
    size_t image_room;
};

static int put(struct output *output, struct span bytes)
{
    int status = output->recover->write(output->recover->context, bytes, output->offset);
    if (status == 0)
        output->offset += bytes.bytes;
    return status;
}

static int make_room(struct output *output, size_t bytes)
{
    if (bytes <= output->image_room)
        return 0;
    uint8_t *grown = realloc(output->image, bytes);
    if (grown == NULL)
        return -ENOMEM;
    output->image = grown;
    output->image_room = bytes;
    return 0;
}

static uint8_t *put_counted(uint8_t *at, struct span text)
{
    at += varint_write(at, (int64_t)text.bytes);
    memcpy(at, text.at, text.bytes);
    return at + text.bytes;
}

static struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* A header for blocks that are not ours: the schema and the codec are all that is known. */
static int put_plain_header(struct output *output, struct span schema, enum scan_codec codec)
{
    int status = make_room(output, schema.bytes + 128);
    if (status < 0)
        return status;
    uint8_t *at = output->image;
    memcpy(at, "Obj\x01\x04", 5);
    at = put_counted(at + 5, text_span("avro.schema"));
    at = put_counted(at, schema);
    at = put_counted(at, text_span("avro.codec"));
    at = put_counted(at, text_span(codec == SCAN_CODEC_DEFLATE ? "deflate" : "null"));
    *at++ = 0;
    memcpy(at, output->sync, SCAN_SYNC_BYTES);
    return put(output, (struct span){output->image, (size_t)(at - output->image) + 16});
}

static int put_header(struct output *output, const struct scan_header *from,
                      const struct block_header_text *header)
{
    if (header == NULL)
        return put(output, from->image);
    if (!from->ours)
        return put_plain_header(output, header->schema, from->codec);
    size_t room = header->schema.bytes + strlen(header->channel) + strlen(header->host) +
                  strlen(header->started) + strlen(header->version) + header->time.bytes +
                  header->sequence.bytes + 3 * BLOCK_PAGE_BYTES;
    int status = make_room(output, room);
    if (status < 0)
        return status;
    long bytes = block_write_header(output->image, room, header, output->sync, BLOCK_PAGE_BYTES);
    CHECK(bytes > 0);
    return put(output, (struct span){output->image, (size_t)bytes});
}

static int put_block(struct output *output, const struct scan_event *event)
{
    struct span image = event->image;
    const uint8_t *marker = image.at + image.bytes - SCAN_SYNC_BYTES;
    bool marked = memcmp(marker, output->sync, SCAN_SYNC_BYTES) == 0;
    uint16_t place = event->ours && event->place != 0 ? block_place(output->offset) : 0;
    if (marked && (!event->ours || place == event->place))
        return put(output, image);
    int status = make_room(output, image.bytes);
    if (status < 0)
        return status;
    if (event->ours) {
        /* Aligned to its own size it becomes as large as it was. */
        block_append(output->image, 0, event->data);
        size_t bytes = block_finish_at(output->image, event->data.bytes, event->count,
                                       event->arrival_ns, output->sync, image.bytes, place);
        CHECK(bytes == image.bytes);
    } else {
        memcpy(output->image, image.at, image.bytes - SCAN_SYNC_BYTES);
        memcpy(output->image + image.bytes - SCAN_SYNC_BYTES, output->sync, SCAN_SYNC_BYTES);
    }
    return put(output, (struct span){output->image, image.bytes});
}

static bool is_other(const struct output *output, const struct scan_header *header)
{
    return header->ours != output->ours || header->codec != output->codec ||
           header->schema.bytes != output->schema_bytes ||
           memcmp(header->schema.at, output->schema, output->schema_bytes) != 0;
}

static int begin(struct output *output, const struct scan *scan,
                 const struct block_header_text *header)
{
    const struct scan_header *from = scan_header(scan);
    struct span schema = schema_text(scan_schema(scan));
    memcpy(output->sync, from->sync, SCAN_SYNC_BYTES);
    output->codec = from->codec;
    output->ours = from->ours;
    output->schema = malloc(schema.bytes + 1);
    if (output->schema == NULL)
        return -ENOMEM;
    memcpy(output->schema, schema.at, schema.bytes);
    output->schema_bytes = schema.bytes;
    return put_header(output, from, header);
}

static int put_event(struct output *output, struct scan *scan, struct scan_event *event)
{
    if (event->kind == SCAN_HEADER)
        output->other = is_other(output, scan_header(scan));
    if (event->kind != SCAN_BLOCK)
        return 0;
    if (!output->other)
        return put_block(output, event);
    event->kind = SCAN_FAULT;
    snprintf(event->what, sizeof(event->what),
             "the block is of another file that was joined behind, with another schema or codec");
    return 0;
}

int recover_run(struct scan *scan, const struct block_header_text *header,
                const struct recover *recover, struct scan_totals *totals)
{
    struct output output = {.recover = recover};
    struct scan_event event;
    int status = begin(&output, scan, header);
    do {
        if (status == 0)
            status = scan_next(scan, &event);
        if (status < 0)
            break;
        /* A block without datums holds nothing, and makes some readers invent records. */
        if (event.kind == SCAN_BLOCK && event.count == 0)
            continue;
        status = put_event(&output, scan, &event);
        if (recover->tell != NULL && event.kind != SCAN_END && status == 0)
            recover->tell(recover->context, &event);
        scan_count(totals, &event);
    } while (event.kind != SCAN_END);
    free(output.schema);
    free(output.image);
    return status;
}
