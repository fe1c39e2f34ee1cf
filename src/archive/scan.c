/* SPDX-License-Identifier: MIT
 * The walk over a damaged or sound container file. Every block is judged whole before it is handed
 * out: framing, decoding, checksum, and every datum against the schema. Behind a fault the next
 * sync marker is searched; it may also stand inside data, so what follows it is judged as well, and
 * so is what ends in it. Reads in whole pages from page boundaries, so that a page another process
 * rewrites meanwhile is seen before or after, never half. */
#include "archive/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "avro/block.h"
#include "avro/datum.h"
#include "base/check.h"
#include "base/find.h"
#include "base/varint.h"

#define WINDOW_BYTES       (1u << 20)
#define FRONT_WINDOW_BYTES (2u * BLOCK_PAGE_BYTES)
#define SEARCH_BYTES       (8u << 20)
#define SEARCH_BLOCK_BYTES (4u << 20)   /* of the block that tells the marker of a lost header */
#define BACK_BYTES         (512u << 10) /* a block of our own is at most that long */
#define HEADER_BYTES_MAX   (LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))
#define HEADER_ENTRIES_MAX 10000u
#define HEADER_BYTES       (16u << 10)      /* that are looked at to begin with */
#define EMPTY_DATUMS_MAX   BLOCK_DATUMS_MAX /* without bytes, in a block */
#define INFLATE_BYTES      (16u << 10)      /* the least room to unpack into */
#define ZLIB_TRAILER_BYTES 4u
#define FRONT_BYTES_MAX    (2u * VARINT_BYTES_MAX)

struct scan {
    struct scan_source source;
    struct scan_header header;
    uint8_t *header_image;
    struct schema_file *schema;
    uint8_t *layout_image;
    struct layout layout;

    uint8_t *window; /* file bytes [window_from, window_from + window_bytes) */
    size_t window_room, window_bytes;
    uint64_t window_from;
    size_t ahead; /* how much is read at once */
    uint8_t *decoded;
    size_t decoded_room;
    uint32_t *ends; /* of the datums of the block at hand */
    size_t ends_room;
    z_stream inflater;
    bool inflater_ready;

    uint64_t base;         /* where the header at hand begins: 0, but in files joined end to end */
    uint64_t at;           /* where the next block begins */
    bool show;             /* what is damaged, too, as far as it can be decoded */
    bool end_doubted;      /* the header is not sound, and may end elsewhere than it says */
    bool header_lost;      /* the walk begins with the file: no header stands in front of it */
    uint64_t header_taken; /* bytes lost or missing that were put down to the header */
    int64_t shift;         /* how far blocks stand behind the place they were written at */
    bool shift_unknown;    /* until the next one tells, after a seek */
    bool ended;
    struct scan_event waiting[4];
    uint32_t waiting_count, waiting_next;
};

static int grow(uint8_t **memory, size_t *room, size_t bytes)
{
    if (bytes <= *room)
        return 0;
    uint8_t *grown = realloc(*memory, bytes);
    if (grown == NULL)
        return -ENOMEM;
    *memory = grown;
    *room = bytes;
    return 0;
}

/* Brings file bytes [offset, offset + bytes) into the window, as far as the file goes; `view` is
 * what is there. Earlier views end. 0 or a negative errno. */
static int look(struct scan *scan, uint64_t offset, size_t bytes, struct span *view)
{
    uint64_t size = scan->source.bytes;
    if (offset > size)
        offset = size;
    if (bytes > size - offset)
        bytes = (size_t)(size - offset);
    if (offset < scan->window_from || offset + bytes > scan->window_from + scan->window_bytes) {
        uint64_t from = offset / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
        size_t wanted = (size_t)(offset - from) + bytes;
        wanted = (wanted + BLOCK_PAGE_BYTES - 1) / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
        if (wanted < scan->ahead && !scan->source.forward)
            wanted = scan->ahead < size - from ? scan->ahead : (size_t)(size - from);
        int status = grow(&scan->window, &scan->window_room, wanted);
        if (status < 0)
            return status;
        size_t kept = 0;
        if (from >= scan->window_from && from < scan->window_from + scan->window_bytes) {
            kept = (size_t)(scan->window_from + scan->window_bytes - from);
            memmove(scan->window, scan->window + (from - scan->window_from), kept);
        }
        scan->window_from = from;
        scan->window_bytes = kept;
        uint64_t left = size - (from + kept);
        size_t missing = wanted - kept;
        if (missing > left)
            missing = (size_t)left;
        long got = missing == 0 ? 0
                                : scan->source.read(scan->source.context, scan->window + kept,
                                                    missing, from + kept);
        if (got < 0)
            return (int)got;
        scan->window_bytes += (size_t)got;
        if ((size_t)got < missing) { /* it has become shorter */
            scan->source.bytes = from + scan->window_bytes;
            return look(scan, offset, bytes, view);
        }
    }
    *view = (struct span){scan->header.sync, 0}; /* of an empty file: never NULL */
    if (bytes > 0)
        *view = (struct span){scan->window + (offset - scan->window_from), bytes};
    return 0;
}

/* ---- the header ---- */

struct cursor {
    const uint8_t *start, *at, *end;
    bool cut;        /* the bytes end inside */
    const char *bad; /* what is wrong */
};

static int64_t cursor_long(struct cursor *cursor)
{
    int64_t value = 0;
    if (cursor->cut || cursor->bad != NULL)
        return 0;
    int used = varint_read(cursor->at, cursor->end, &value);
    if (used == 0)
        cursor->cut = true;
    else if (used < 0)
        cursor->bad = "a number is too long";
    else
        cursor->at += used;
    return used > 0 ? value : 0;
}

static struct span cursor_counted(struct cursor *cursor)
{
    int64_t bytes = cursor_long(cursor);
    struct span text = {cursor->at, 0};
    if (bytes < 0 || bytes > (int64_t)HEADER_BYTES_MAX) {
        cursor->bad = "a length is out of bounds";
    } else if (bytes > cursor->end - cursor->at) {
        cursor->cut = true;
    } else {
        text.bytes = (size_t)bytes;
        cursor->at += bytes;
    }
    return text;
}

static bool is_word(struct span text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.at, word, text.bytes) == 0;
}

/* Of an entry that is there twice the last counts, as for who reads them into a map. */
static void take_entry(struct scan_header *header, struct span key, struct span value)
{
    const struct {
        const char *key;
        struct span *into;
    } known[] = {
        {"avro.schema", &header->schema},         {"avro.codec", &header->codec_name},
        {"flotilla.channel", &header->channel},   {"flotilla.host", &header->host},
        {"flotilla.started", &header->started},   {"flotilla.version", &header->version},
        {"flotilla.format", &header->format},     {"flotilla.time", &header->time},
        {"flotilla.sequence", &header->sequence},
    };
    if (key.bytes > 9 && memcmp(key.at, "flotilla.", 9) == 0)
        header->ours = true;
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (is_word(key, known[i].key))
            *known[i].into = value;
}

/* Reads the header at the start of `bytes`. */
static void parse_header(struct scan_header *header, struct span bytes, struct cursor *cursor)
{
    *header = (struct scan_header){.sound = true};
    *cursor = (struct cursor){bytes.at, bytes.at, bytes.at + bytes.bytes, false, NULL};
    if (bytes.bytes < 4 || memcmp(bytes.at, "Obj\x01", 4) != 0) {
        cursor->bad = "not an Avro container file";
        return;
    }
    cursor->at += 4;
    uint64_t entries = 0;
    for (;;) {
        int64_t count = cursor_long(cursor);
        if (count < 0) {
            count = count < -(int64_t)HEADER_ENTRIES_MAX ? (int64_t)HEADER_ENTRIES_MAX + 1 : -count;
            cursor_long(cursor);
        }
        if (count == 0 || cursor->cut || cursor->bad != NULL)
            break;
        if ((uint64_t)count > HEADER_ENTRIES_MAX ||
            (entries += (uint64_t)count) > HEADER_ENTRIES_MAX) {
            cursor->bad = "it claims too many entries";
            break;
        }
        for (; count > 0 && !cursor->cut && cursor->bad == NULL; count--) {
            struct span key = cursor_counted(cursor);
            struct span value = cursor_counted(cursor);
            if (!cursor->cut && cursor->bad == NULL)
                take_entry(header, key, value);
        }
    }
    if (cursor->cut || cursor->bad != NULL)
        return;
    if (cursor->end - cursor->at < (ptrdiff_t)SCAN_SYNC_BYTES) {
        cursor->cut = true;
        return;
    }
    /* Of a later form only what any reader sees is known. */
    if (header->format.at != NULL && !is_word(header->format, BLOCK_FORMAT))
        header->ours = false;
    memcpy(header->sync, cursor->at, SCAN_SYNC_BYTES);
    cursor->at += SCAN_SYNC_BYTES;
    header->image = (struct span){bytes.at, (size_t)(cursor->at - bytes.at)};
    if (header->schema.at == NULL)
        cursor->bad = "it has no schema";
    else if (header->codec_name.at == NULL || header->codec_name.bytes == 0 ||
             is_word(header->codec_name, "null"))
        header->codec = SCAN_CODEC_NULL;
    else if (is_word(header->codec_name, "deflate"))
        header->codec = SCAN_CODEC_DEFLATE;
    else
        header->codec = header->ours ? SCAN_CODEC_DEFLATE : SCAN_CODEC_UNKNOWN;
}

int scan_use_schema(struct scan *scan, struct span schema, char *error, size_t error_bytes)
{
    uint8_t *image = NULL;
    size_t image_bytes;
    struct layout layout;
    struct schema_file *file = schema_parse(schema, error, error_bytes);
    if (file == NULL)
        return -EINVAL;
    if (schema_compile(file, NULL, NULL, &image, &image_bytes, error, error_bytes) < 0) {
        schema_free(file);
        return -EINVAL;
    }
    int status = layout_load(&layout, (struct span){image, image_bytes});
    CHECK(status == 0);
    schema_free(scan->schema);
    free(scan->layout_image);
    scan->schema = file;
    scan->layout_image = image;
    scan->layout = layout;
    return 0;
}

/* Says why the header cannot be read, with the offset it was met at. */
static int refuse_header(const struct scan *scan, const struct cursor *cursor, char *error,
                         size_t error_bytes)
{
    const struct scan_header *header = &scan->header;
    if (cursor->bad != NULL) {
        snprintf(error, error_bytes, "offset %" PRIu64 ": the header cannot be read: %s",
                 scan->base + (uint64_t)(cursor->at - cursor->start), cursor->bad);
        return -EBADMSG;
    }
    snprintf(error, error_bytes,
             "offset %" PRIu64 ": its codec \"%.*s\" is not known here (null and deflate are)",
             scan->base + (uint64_t)(header->codec_name.at - cursor->start),
             header->codec_name.bytes < 40 ? (int)header->codec_name.bytes : 40,
             (const char *)header->codec_name.at);
    return -ENOTSUP;
}

/* Reads the header that begins at `scan->base`, and its schema. */
static int read_header(struct scan *scan, char *error, size_t error_bytes)
{
    struct cursor cursor;
    struct span view;
    size_t wanted = HEADER_BYTES;
    for (;; wanted *= 2) {
        int status = look(scan, scan->base, wanted, &view);
        if (status < 0) {
            snprintf(error, error_bytes, "offset %" PRIu64 ": %s", scan->base, strerror(-status));
            return status;
        }
        parse_header(&scan->header, view, &cursor);
        if (!cursor.cut || view.bytes < wanted || wanted > HEADER_BYTES_MAX)
            break;
    }
    if (view.bytes == 0)
        cursor.bad = "not an Avro container file (it is empty)";
    else if (cursor.cut)
        cursor.bad = view.bytes < wanted ? "the file ends inside it" : "it is too long";
    if (cursor.bad != NULL || scan->header.codec == SCAN_CODEC_UNKNOWN)
        return refuse_header(scan, &cursor, error, error_bytes);
    /* The spans move with the header's copy. */
    size_t bytes = scan->header.image.bytes;
    uint8_t *image = malloc(bytes);
    if (image == NULL) {
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    memcpy(image, view.at, bytes);
    free(scan->header_image);
    scan->header_image = image;
    parse_header(&scan->header, (struct span){image, bytes}, &cursor);
    CHECK(cursor.bad == NULL && !cursor.cut);

    char why[200];
    if (scan_use_schema(scan, scan->header.schema, why, sizeof(why)) < 0) {
        snprintf(error, error_bytes, "offset %" PRIu64 ": the header's schema: %s",
                 scan->base + (uint64_t)(scan->header.schema.at - image), why);
        return -EBADMSG;
    }
    scan->at = scan->base + bytes;
    return 0;
}

/* Whether the file is of our own format, though its header does not say so any more. */
static int recognize(struct scan *scan)
{
    struct scan_header *header = &scan->header;
    struct span view;
    struct block_info info;
    bool later = header->format.at != NULL && block_check_header(header->image) == 0;
    if (!header->ours && !later && header->image.bytes % BLOCK_PAGE_BYTES == 0 &&
        header->codec == SCAN_CODEC_DEFLATE) {
        int status = look(scan, scan->at, BACK_BYTES, &view);
        if (status < 0)
            return status;
        header->ours = block_inspect(view, header->sync, &info) == 0 && info.sound;
    }
    if (header->ours) {
        int status = block_check_header(header->image);
        if (status < 0)
            header->fault = status == -ENODATA ? "the header's checksum is not there"
                                               : "the header's checksum is wrong";
        else if (header->format.at != NULL && !is_word(header->format, BLOCK_FORMAT))
            header->fault = "the header names another format than that of the blocks";
        else if (header->image.bytes % BLOCK_PAGE_BYTES != 0)
            header->fault = "the header does not end on a page boundary";
        else if (header->codec_name.at == NULL || !is_word(header->codec_name, "deflate"))
            header->fault = "the header names another codec than deflate";
        header->sound = header->fault == NULL;
        header->codec = SCAN_CODEC_DEFLATE;
    }
    return 0;
}

static struct scan *new_scan(const struct scan_source *source)
{
    struct scan *scan = calloc(1, sizeof(*scan));
    if (scan != NULL)
        scan->source = *source;
    return scan;
}

const struct scan_header *scan_header(const struct scan *scan)
{
    return &scan->header;
}

const struct schema_file *scan_schema(const struct scan *scan)
{
    return scan->schema;
}

const struct layout *scan_layout(const struct scan *scan)
{
    return &scan->layout;
}

uint64_t scan_bytes(const struct scan *scan)
{
    return scan->source.bytes;
}

/* ---- one block ---- */

/* What is known of a block after it was judged. */
struct verdict {
    bool intact;
    bool marked; /* it ends in the sync marker */
    struct scan_event event;
};

__attribute__((format(printf, 2, 3))) static int bad(struct verdict *verdict, const char *format,
                                                     ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(verdict->event.what, sizeof(verdict->event.what), format, arguments);
    va_end(arguments);
    verdict->intact = false;
    return 0;
}

/* Unpacks `stored`, which must be used up exactly. 0, -EBADMSG, -EFBIG or -ENOMEM. */
static int unpack(struct scan *scan, struct span stored, struct span *data, const char **why)
{
    z_stream *stream = &scan->inflater;
    if (!scan->inflater_ready && inflateInit2(stream, -MAX_WBITS) != Z_OK)
        return -ENOMEM;
    if (scan->inflater_ready)
        inflateReset(stream);
    scan->inflater_ready = true;
    stream->next_in = (Bytef *)(uintptr_t)stored.at;
    stream->avail_in = (uInt)stored.bytes;
    size_t bytes = 0;
    for (int result = Z_OK; result != Z_STREAM_END;) {
        if (bytes == SCAN_BLOCK_BYTES_MAX)
            return -EFBIG;
        size_t room = bytes < scan->decoded_room ? scan->decoded_room
                                                 : 2 * bytes + 2 * stored.bytes + INFLATE_BYTES;
        if (room > SCAN_BLOCK_BYTES_MAX)
            room = SCAN_BLOCK_BYTES_MAX;
        int status = grow(&scan->decoded, &scan->decoded_room, room);
        if (status < 0)
            return status;
        stream->next_out = scan->decoded + bytes;
        stream->avail_out = (uInt)(scan->decoded_room - bytes);
        result = inflate(stream, Z_NO_FLUSH);
        bytes = scan->decoded_room - stream->avail_out;
        if (result != Z_OK && result != Z_STREAM_END) {
            *why = stream->msg != NULL ? stream->msg : "it is cut short";
            return -EBADMSG;
        }
    }
    /* Some writers leave what is left of zlib's own checksum behind the data. */
    if (stream->avail_in > ZLIB_TRAILER_BYTES) {
        *why = "bytes are left over";
        return -EBADMSG;
    }
    *data = (struct span){scan->decoded, bytes};
    return 0;
}

/* Finds where the datums of `event->data` end, up to the first that is not valid: `reason` says
 * why. 0 or -ENOMEM. */
static int walk_datums(struct scan *scan, struct scan_event *event, enum reject *reason)
{
    struct span rest = event->data;
    uint64_t empty = 0;
    *reason = REJECT_NONE;
    for (event->shown = 0; event->shown < event->count; event->shown++) {
        size_t bytes;
        *reason = datum_check(&scan->layout, rest, &bytes);
        if (*reason == REJECT_NONE && bytes == 0 && ++empty > EMPTY_DATUMS_MAX)
            *reason = REJECT_COUNT;
        if (*reason != REJECT_NONE)
            break;
        rest.at += bytes;
        rest.bytes -= bytes;
        if (event->shown == scan->ends_room) {
            size_t room = scan->ends_room == 0 ? 4096 : 2 * scan->ends_room;
            uint32_t *grown = realloc(scan->ends, room * sizeof(*grown));
            if (grown == NULL)
                return -ENOMEM;
            scan->ends = grown;
            scan->ends_room = room;
        }
        scan->ends[event->shown] = (uint32_t)(event->data.bytes - rest.bytes);
    }
    event->ends = scan->ends;
    return 0;
}

/* Exactly `count` datums, no byte left: then the block is intact. */
static int check_datums(struct scan *scan, struct verdict *verdict)
{
    struct scan_event *event = &verdict->event;
    enum reject reason;
    int status = walk_datums(scan, event, &reason);
    if (status < 0)
        return status;
    size_t used = event->shown == 0 ? 0 : event->ends[event->shown - 1];
    if (reason != REJECT_NONE)
        return bad(verdict,
                   "datum %" PRIu64 " of %" PRIu64 " in this block does not fit the schema (%s)",
                   event->shown + 1, event->count, datum_reject_name(reason));
    if (used < event->data.bytes)
        return bad(verdict, "%zu bytes behind the block's last datum", event->data.bytes - used);
    verdict->intact = true;
    return 0;
}

/* Whether the end of a block was once the sync marker: half of it still is, or all that differs has
 * become zero. Else the block, sound as it may be, is one of another file. */
static bool was_marker(const struct scan *scan, const uint8_t *end)
{
    unsigned same = 0, zero = 0;
    for (unsigned i = 0; i < SCAN_SYNC_BYTES; i++) {
        same += end[i] == scan->header.sync[i];
        zero += end[i] != scan->header.sync[i] && end[i] == 0;
    }
    return same >= SCAN_SYNC_BYTES / 2 || same + zero == SCAN_SYNC_BYTES;
}

/* What can be decoded of a block whose checksum or framing is wrong. */
static int decode_anyway(struct scan *scan, struct scan_event *event, struct span stored)
{
    const char *why;
    enum reject reason;
    if (!scan->show)
        return 0;
    int status = unpack(scan, stored, &event->data, &why);
    if (status == 0)
        return walk_datums(scan, event, &reason);
    event->data = (struct span){NULL, 0};
    return status == -ENOMEM ? status : 0;
}

static int judge_ours(struct scan *scan, struct verdict *verdict, struct span stored)
{
    struct scan_event *event = &verdict->event;
    struct block_info info;
    /* Its own end stands in for the marker: whether that is right is said apart. */
    const uint8_t *end = event->image.at + event->image.bytes - SCAN_SYNC_BYTES;
    int framed = block_inspect(event->image, end, &info);
    if (framed == 0) {
        event->arrival_ns = info.arrival_ns;
        event->place = info.place;
        event->ours = true;
    } else if (block_read_front(event->image, &info) == 0) {
        event->arrival_ns = info.arrival_ns; /* for who looks at it all the same */
    }
    if (framed < 0 || !info.sound) {
        bad(verdict,
            framed < 0 ? "the block's framing is damaged" : "the block's checksum is wrong");
        return decode_anyway(scan, event, stored);
    }
    if (!verdict->marked && !was_marker(scan, end))
        return bad(verdict, "the block ends in the sync marker of another file");
    if (info.bytes % BLOCK_PAGE_BYTES != 0 || info.count > BLOCK_DATUMS_MAX)
        return bad(verdict, "this is not a block as it is written");
    if (info.data_bytes <= BLOCK_STORED_BYTES) {
        event->data = (struct span){event->image.at + BLOCK_DATA_OFFSET, info.data_bytes};
    } else {
        int status = grow(&scan->decoded, &scan->decoded_room, info.data_bytes);
        if (status < 0)
            return status;
        block_take_data(scan->decoded, event->image.at, info.data_bytes);
        event->data = (struct span){scan->decoded, info.data_bytes};
    }
    return check_datums(scan, verdict);
}

static int judge_foreign(struct scan *scan, struct verdict *verdict, struct span stored,
                         enum scan_codec codec)
{
    const char *why = "";
    verdict->event.data = stored;
    if (codec == SCAN_CODEC_DEFLATE && (stored.bytes > 0 || verdict->event.count > 0)) {
        int status = unpack(scan, stored, &verdict->event.data, &why);
        if (status < 0)
            verdict->event.data = (struct span){NULL, 0};
        if (status == -EFBIG)
            return bad(verdict, "the block unpacks to more than %u bytes", SCAN_BLOCK_BYTES_MAX);
        if (status == -EBADMSG)
            return bad(verdict, "the block does not unpack (%s)", why);
        if (status < 0)
            return status;
    }
    if (!verdict->marked && verdict->event.count == 0)
        return bad(verdict, "no block begins here");
    return check_datums(scan, verdict);
}

/* Reads a block's front: its datums, its bytes, and the bytes of the front. False with the fault
 * noted if that cannot be one. */
static bool read_front(const struct scan *scan, struct span view, struct verdict *verdict,
                       int64_t *size, size_t *front)
{
    const uint8_t *end = view.at + view.bytes;
    int64_t count = 0;
    int count_used = varint_read(view.at, end, &count);
    int size_used = count_used > 0 ? varint_read(view.at + count_used, end, size) : count_used;
    verdict->event.cut = size_used == 0;
    if (size_used == 0)
        bad(verdict, "the file ends inside a block");
    else if (size_used < 0 || count < 0 || *size < 0 || (scan->header.ours && count == 0))
        bad(verdict, "no block begins here");
    else if (*size > (int64_t)SCAN_BLOCK_BYTES_MAX)
        bad(verdict, "a block of %" PRId64 " bytes (damaged, or over the limit of %u)", *size,
            SCAN_BLOCK_BYTES_MAX);
    else {
        verdict->event.count = (uint64_t)count;
        *front = (size_t)(count_used + size_used);
        return true;
    }
    return false;
}

/* Judges the block at `offset`. 0, or a negative errno of reading. */
static int judge(struct scan *scan, uint64_t offset, struct verdict *verdict)
{
    struct span view;
    int64_t size;
    size_t front;
    *verdict = (struct verdict){.event = {.kind = SCAN_BLOCK, .offset = offset}};
    int status = look(scan, offset, FRONT_BYTES_MAX, &view);
    if (status < 0)
        return status;
    if (!read_front(scan, view, verdict, &size, &front))
        return 0;
    size_t bytes = front + (size_t)size + SCAN_SYNC_BYTES;
    if (bytes > scan->source.bytes - offset) {
        verdict->event.cut = true;
        return bad(verdict, "the file ends inside a block of %zu bytes", bytes);
    }
    status = look(scan, offset, bytes, &view);
    if (status < 0)
        return status;
    if (view.bytes < bytes) {
        verdict->event.cut = true;
        return bad(verdict, "the file ends inside a block of %zu bytes", bytes);
    }
    verdict->marked =
        memcmp(view.at + bytes - SCAN_SYNC_BYTES, scan->header.sync, SCAN_SYNC_BYTES) == 0;
    verdict->event.bytes = bytes;
    verdict->event.image = view;
    if (scan->source.was_read != NULL &&
        !scan->source.was_read(scan->source.context, offset, bytes, verdict->event.what,
                               sizeof(verdict->event.what)))
        return 0;
    struct span stored = {view.at + front, (size_t)size};
    if (scan->header.ours)
        return judge_ours(scan, verdict, stored);
    return judge_foreign(scan, verdict, stored, scan->header.codec);
}

/* ---- from block to block ---- */

static void push(struct scan *scan, const struct scan_event *event)
{
    CHECK(scan->waiting_count < ARRAY_COUNT(scan->waiting));
    scan->waiting[scan->waiting_count++] = *event;
}

__attribute__((format(printf, 4, 5))) static void
push_fault(struct scan *scan, uint64_t offset, uint64_t bytes, const char *format, ...)
{
    struct scan_event event = {.kind = SCAN_FAULT, .offset = offset, .bytes = bytes};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(event.what, sizeof(event.what), format, arguments);
    va_end(arguments);
    push(scan, &event);
}

/* How far the block stands behind where it was written, by its place and its page. */
static int64_t shift_of(const struct scan *scan, const struct scan_event *event)
{
    uint64_t offset = event->offset - scan->base;
    int64_t pages = 0, beside = (int64_t)(offset % BLOCK_PAGE_BYTES);
    if (event->place != 0) {
        pages = (int64_t)block_place(offset) - (int64_t)event->place;
        int64_t before = (scan->shift - beside) / (int64_t)BLOCK_PAGE_BYTES;
        /* Places go round: the way nearest to the shift so far is meant. */
        while (pages - before > (int64_t)BLOCK_PLACES / 2)
            pages -= BLOCK_PLACES;
        while (before - pages > (int64_t)BLOCK_PLACES / 2)
            pages += BLOCK_PLACES;
    }
    return pages * (int64_t)BLOCK_PAGE_BYTES + beside;
}

/* How many of `bytes` that are lost or missing in front of the first block were the header's: it
 * held no datums. Its size follows from the schema it held, nearly. */
static uint64_t take_header(struct scan *scan, uint64_t bytes)
{
    enum { OTHER_ENTRIES = 256, PLAIN_ENTRIES = 64 };
    if (!scan->header_lost)
        return 0;
    uint64_t room = schema_text(scan->schema).bytes;
    if (scan->header.ours)
        room = (room + OTHER_ENTRIES + BLOCK_PAGE_BYTES - 1) / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
    else
        room += PLAIN_ENTRIES;
    uint64_t left = room - (scan->header_taken < room ? scan->header_taken : room);
    uint64_t taken = bytes < left ? bytes : left;
    scan->header_taken += taken;
    return taken;
}

/* Hands the intact block out, with what is wrong about where it stands in front of it. */
static void push_block(struct scan *scan, const struct verdict *verdict)
{
    const struct scan_event *event = &verdict->event;
    int64_t shift = event->ours ? shift_of(scan, event) : 0;
    if (scan->shift_unknown)
        scan->shift = shift;
    scan->shift_unknown = false;
    if (shift != scan->shift) {
        struct scan_event moved = {.kind = SCAN_FAULT, .offset = event->offset};
        moved.missing_bytes = scan->shift - shift;
        if (moved.missing_bytes > 0)
            snprintf(moved.what, sizeof(moved.what),
                     "%" PRId64 " bytes that stood in front of this block are not there",
                     moved.missing_bytes);
        else
            snprintf(moved.what, sizeof(moved.what),
                     "%" PRId64 " bytes stand in front of this block that did not when it was"
                     " written",
                     -moved.missing_bytes);
        if (moved.missing_bytes > 0)
            moved.header_bytes = take_header(scan, (uint64_t)moved.missing_bytes);
        push(scan, &moved);
        scan->shift = shift;
    }
    scan->header_lost = false;
    if (!verdict->marked)
        push_fault(scan, event->offset + event->bytes - SCAN_SYNC_BYTES, 0,
                   "the sync marker behind the block from offset %" PRIu64 " is wrong (its datums"
                   " are intact)",
                   event->offset);
    push(scan, event);
    scan->at = event->offset + event->bytes;
}

/* Finds the sync marker from `from` on; `*found` is the file's size if there is none. */
static int find_marker(struct scan *scan, uint64_t from, uint64_t *found)
{
    for (;;) {
        struct span view;
        int status = look(scan, from, WINDOW_BYTES / 2, &view);
        if (status < 0)
            return status;
        const uint8_t *at = find_bytes(view, (struct span){scan->header.sync, SCAN_SYNC_BYTES});
        *found = at != NULL ? from + (uint64_t)(at - view.at) : scan->source.bytes;
        if (at != NULL || view.bytes < WINDOW_BYTES / 2)
            return 0;
        from += view.bytes - (SCAN_SYNC_BYTES - 1);
    }
}

/* Whether an intact block begins behind `from` and ends in the marker at `marker`; its own sync
 * marker tells where a block of ours begins, for it is made of whole pages, and where a deflated
 * one might. */
static int find_before(struct scan *scan, uint64_t from, uint64_t marker, struct verdict *verdict)
{
    uint64_t end = marker + SCAN_SYNC_BYTES;
    uint64_t low = from + 1 + BACK_BYTES < end ? end - BACK_BYTES : from + 1;
    bool ours = scan->header.ours;
    verdict->intact = false;
    if (!ours && scan->header.codec != SCAN_CODEC_DEFLATE)
        return 0;
    uint64_t start = low;
    if (ours)
        start += (end - low) % BLOCK_PAGE_BYTES;
    for (; start < marker; start += ours ? BLOCK_PAGE_BYTES : 1) {
        struct span view;
        struct verdict front = {0};
        int64_t size;
        size_t front_bytes;
        int status = look(scan, start, (size_t)(end - start), &view);
        if (status < 0)
            return status;
        if (!read_front(scan, view, &front, &size, &front_bytes) || front.event.count == 0 ||
            start + front_bytes + (uint64_t)size != marker)
            continue;
        status = judge(scan, start, verdict);
        if (status < 0 || verdict->intact)
            return status;
    }
    return 0;
}

/* A foreign block that passes but does not end in the marker may owe that to chance: datums of
 * fixed size pass anywhere. It counts where the next block begins right behind it. */
static int confirm_unmarked(struct scan *scan, struct verdict *verdict)
{
    uint64_t offset = verdict->event.offset, end = offset + verdict->event.bytes;
    struct verdict next = {.intact = true, .marked = true};
    int status = end < scan->source.bytes ? judge(scan, end, &next) : 0;
    if (status == 0)
        status = judge(scan, offset, verdict); /* the first view has ended */
    if (status == 0 && verdict->intact && !(next.intact && next.marked))
        bad(verdict, "the block does not end in the sync marker");
    return status;
}

/* Whether the file has grown since: then what its end cuts off is being written. */
static bool has_grown(const struct scan *scan)
{
    const struct scan_source *source = &scan->source;
    return source->bytes_now != NULL && source->bytes_now(source->context) > source->bytes;
}

/* Whether another container file begins at `offset`, with a header that can be read: then that
 * holds from here on, and is pushed. */
static int join(struct scan *scan, uint64_t offset, bool *joined)
{
    struct span view;
    char error[256];
    *joined = false;
    if (offset == scan->base) /* its header is known to be damaged */
        return 0;
    int status = look(scan, offset, 4, &view);
    if (status < 0 || view.bytes < 4 || memcmp(view.at, "Obj\x01", 4) != 0)
        return status;
    struct scan_header header = scan->header;
    uint64_t base = scan->base;
    uint8_t *image = scan->header_image;
    scan->base = offset;
    scan->header_image = NULL;
    status = read_header(scan, error, sizeof(error));
    if (status == 0)
        status = recognize(scan);
    if (status < 0) {
        free(scan->header_image);
        scan->header_image = image;
        scan->header = header;
        scan->base = base;
        return status == -EBADMSG || status == -ENOTSUP ? 0 : status;
    }
    free(image);
    *joined = true;
    scan->shift = 0;
    scan->shift_unknown = scan->header_lost = false;
    push(scan, &(struct scan_event){.kind = SCAN_HEADER,
                                    .offset = offset,
                                    .bytes = scan->header.image.bytes,
                                    .header_bytes = scan->header.image.bytes});
    if (scan->header.fault != NULL)
        push_fault(scan, offset, 0, "%s", scan->header.fault);
    return 0;
}

/* Finds the first "Obj\x01" in [from, to); `*found` is `to` if there is none. */
static int find_magic(struct scan *scan, uint64_t from, uint64_t to, uint64_t *found)
{
    *found = to;
    while (from < to) {
        struct span view;
        size_t wanted = to - from < WINDOW_BYTES / 2 ? (size_t)(to - from) : WINDOW_BYTES / 2;
        int status = look(scan, from, wanted, &view);
        if (status < 0)
            return status;
        const uint8_t *at = find_bytes(view, (struct span){(const uint8_t *)"Obj\x01", 4});
        if (at != NULL)
            *found = from + (uint64_t)(at - view.at);
        if (at != NULL || view.bytes < 4 || from + view.bytes >= to)
            return 0;
        from += view.bytes - 3;
    }
    return 0;
}

/* Whether the header of a joined file stands in [from, to): pushes `fault` up to there, and it. */
static int find_joined(struct scan *scan, uint64_t from, uint64_t to, struct scan_event fault,
                       bool *joined)
{
    *joined = false;
    while (from < to) {
        uint64_t magic;
        int status = find_magic(scan, from, to, &magic);
        if (status < 0 || magic == to)
            return status;
        uint32_t waiting = scan->waiting_count;
        status = join(scan, magic, joined);
        if (status < 0)
            return status;
        if (*joined) {
            memmove(scan->waiting + waiting + 1, scan->waiting + waiting,
                    (scan->waiting_count - waiting) * sizeof(*scan->waiting));
            fault.bytes = magic - fault.offset;
            fault.count = 0;
            scan->waiting[waiting] = fault;
            scan->waiting_count++;
            return 0;
        }
        from = magic + 4;
    }
    return 0;
}

/* Behind a fault at scan->at: where to go on, and what is lost until there. */
static int resume(struct scan *scan, const struct verdict *fault)
{
    uint64_t from = scan->at, marker = scan->source.bytes;
    struct scan_event event = fault->event;
    struct verdict found = {0};
    bool joined = false;
    event.kind = SCAN_FAULT;
    event.image = event.data = (struct span){NULL, 0};
    event.shown = 0;
    int status = find_marker(scan, from, &marker);
    /* Where a marker follows, a header in front of it is in some block's data. */
    if (status == 0 && marker == scan->source.bytes)
        status = find_joined(scan, from + 1, marker, event, &joined);
    if (status == 0 && !joined && marker < scan->source.bytes)
        status = find_before(scan, from, marker, &found);
    if (status < 0 || joined)
        return status;
    uint64_t to = scan->source.bytes;
    if (found.intact) {
        to = found.event.offset;
    } else if (marker < to) {
        struct span view;
        to = marker;
        do { /* a run of markers is one fault */
            to += SCAN_SYNC_BYTES;
            status = look(scan, to, SCAN_SYNC_BYTES, &view);
            if (status < 0)
                return status;
        } while (view.bytes == SCAN_SYNC_BYTES &&
                 memcmp(view.at, scan->header.sync, SCAN_SYNC_BYTES) == 0);
    }
    event.bytes = to - from;
    if (from == scan->base)
        snprintf(event.what, sizeof(event.what), "the header is damaged");
    /* What its front claims is believed where its end is where it says. */
    if (!fault->marked || fault->event.bytes != event.bytes)
        event.count = 0;
    scan->at = to;
    if (event.cut && to == scan->source.bytes && has_grown(scan))
        return 0;
    event.header_bytes = take_header(scan, event.bytes);
    push(scan, &event);
    if (found.intact)
        push_block(scan, &found);
    return 0;
}

/* Hands out what can be decoded of a block that is at fault, and goes on behind it where its end is
 * where it says. */
static void push_shown(struct scan *scan, const struct verdict *fault)
{
    struct scan_event event = fault->event;
    event.kind = SCAN_FAULT;
    event.image = (struct span){NULL, 0};
    if (fault->marked) {
        scan->at += event.bytes;
    } else {
        scan->ended = true;
        if (event.cut && has_grown(scan))
            return;
    }
    if (event.shown == event.count)
        event.bytes = 0;
    push(scan, &event);
}

static int doubt_end(struct scan *scan);

/* Takes the next block, fault or header, or what is behind it; nothing where the end is a block
 * that is being written. */
static int step(struct scan *scan)
{
    struct verdict verdict;
    bool joined = false;
    int status = 0;
    scan->waiting_next = scan->waiting_count = 0;
    scan->ahead = WINDOW_BYTES;
    if (scan->end_doubted && !scan->show && !scan->source.forward)
        status = doubt_end(scan);
    scan->end_doubted = false;
    if (status == 0 && scan->at < scan->source.bytes)
        status = judge(scan, scan->at, &verdict);
    if (status < 0)
        return status;
    scan->ended = scan->at >= scan->source.bytes; /* a pipe's end shows when it is read */
    if (scan->ended)
        return 0;
    if (verdict.intact && !verdict.marked && !verdict.event.ours)
        status = confirm_unmarked(scan, &verdict);
    if (status == 0 && !verdict.intact)
        status = join(scan, scan->at, &joined);
    if (status < 0 || joined)
        return status;
    if (verdict.intact)
        push_block(scan, &verdict);
    else if (scan->show || scan->source.forward)
        push_shown(scan, &verdict);
    else
        return resume(scan, &verdict);
    return 0;
}

int scan_next(struct scan *scan, struct scan_event *event)
{
    while (scan->waiting_next == scan->waiting_count && !scan->ended) {
        int status = step(scan);
        if (status < 0)
            return status;
    }
    if (scan->waiting_next < scan->waiting_count)
        *event = scan->waiting[scan->waiting_next++];
    else
        *event = (struct scan_event){.kind = SCAN_END, .offset = scan->source.bytes};
    return 0;
}

void scan_show(struct scan *scan)
{
    scan->show = true;
}

/* Judges a block by its front and by the sync marker at its end. */
static int judge_front(struct scan *scan, uint64_t offset, struct verdict *verdict)
{
    struct scan_event *event = &verdict->event;
    struct block_info info;
    struct span view;
    int64_t size;
    size_t front;
    *verdict = (struct verdict){.event = {.kind = SCAN_BLOCK, .offset = offset}};
    int status = look(scan, offset, BLOCK_DATA_OFFSET, &view);
    if (status < 0 || !read_front(scan, view, verdict, &size, &front))
        return status;
    event->bytes = front + (uint64_t)size + SCAN_SYNC_BYTES;
    if (scan->header.ours && block_read_front(view, &info) == 0) {
        event->ours = true;
        event->arrival_ns = info.arrival_ns;
        event->place = info.place;
    }
    if (event->bytes > scan->source.bytes - offset) {
        event->cut = true;
        return bad(verdict, "the file ends inside a block of %" PRIu64 " bytes", event->bytes);
    }
    if (scan->header.ours && !event->ours)
        return bad(verdict, "the block's framing is damaged");
    status = look(scan, offset + event->bytes - SCAN_SYNC_BYTES, SCAN_SYNC_BYTES, &view);
    if (status < 0)
        return status;
    verdict->marked =
        view.bytes == SCAN_SYNC_BYTES && memcmp(view.at, scan->header.sync, SCAN_SYNC_BYTES) == 0;
    if (!verdict->marked)
        bad(verdict, "the block does not end in the sync marker");
    return 0;
}

int scan_next_front(struct scan *scan, struct scan_event *event)
{
    struct verdict verdict;
    bool joined = false;
    *event = (struct scan_event){.kind = SCAN_END, .offset = scan->source.bytes};
    if (scan->waiting_next == scan->waiting_count && !scan->ended &&
        scan->at < scan->source.bytes) {
        scan->waiting_next = scan->waiting_count = 0;
        scan->ahead = FRONT_WINDOW_BYTES;
        int status = judge_front(scan, scan->at, &verdict);
        if (status == 0 && !verdict.marked)
            status = join(scan, scan->at, &joined);
        if (status < 0)
            return status;
        if (!joined)
            push(scan, &verdict.event);
        if (!joined && !verdict.marked) {
            struct scan_event *fault = &scan->waiting[0];
            scan->ended = true;
            if (fault->cut && has_grown(scan))
                scan->waiting_count = 0;
            fault->kind = SCAN_FAULT;
            fault->bytes = scan->source.bytes - scan->at;
            fault->count = 0;
        }
        if (!joined)
            scan->at += verdict.event.bytes;
    }
    if (scan->waiting_next < scan->waiting_count)
        *event = scan->waiting[scan->waiting_next++];
    return 0;
}

/* Whether the sync marker stands in front of `offset`. */
static int is_behind_marker(struct scan *scan, uint64_t offset, bool *is)
{
    struct span view;
    *is = false;
    if (offset < SCAN_SYNC_BYTES)
        return 0;
    int status = look(scan, offset - SCAN_SYNC_BYTES, SCAN_SYNC_BYTES, &view);
    if (status == 0)
        *is = view.bytes == SCAN_SYNC_BYTES &&
              memcmp(view.at, scan->header.sync, SCAN_SYNC_BYTES) == 0;
    return status;
}

int scan_seek(struct scan *scan, uint64_t offset)
{
    bool behind;
    if (scan->source.forward)
        return -ESPIPE;
    scan->window_bytes = 0; /* a page may have been written again */
    if (scan->source.bytes_now != NULL)
        scan->source.bytes = scan->source.bytes_now(scan->source.context);
    int status = is_behind_marker(scan, offset, &behind);
    if (status < 0 || !behind || offset > scan->source.bytes)
        return status < 0 ? status : -EBADMSG;
    scan->at = offset;
    scan->ended = scan->header_lost = scan->end_doubted = false;
    scan->waiting_next = scan->waiting_count = 0;
    scan->shift_unknown = true;
    return 0;
}

int scan_front_before(struct scan *scan, uint64_t end, struct scan_event *event)
{
    static const uint64_t steps[] = {2 * BLOCK_PAGE_BYTES, 64u << 10, 2 * BACK_BYTES};
    uint64_t first = scan->base + scan->header.image.bytes, start = end;
    struct verdict verdict;
    struct span view;
    bool behind;
    int status = 0;
    *event = (struct scan_event){.kind = SCAN_END, .offset = scan->source.bytes};
    if (!scan->header.ours || end < first)
        return 0;
    if (end > scan->source.bytes)
        end = scan->source.bytes;
    start = end - (end - first) % BLOCK_PAGE_BYTES;
    scan->ahead = 0;
    for (size_t i = 0; i < ARRAY_COUNT(steps) && status == 0; i++) {
        uint64_t low = end - first > steps[i] ? end - steps[i] : first;
        while (status == 0 && start >= low + BLOCK_PAGE_BYTES) {
            start -= BLOCK_PAGE_BYTES;
            status = look(scan, low, (size_t)(end - low), &view);
            if (status == 0)
                status = is_behind_marker(scan, start, &behind);
            if (status == 0 && behind)
                status = judge_front(scan, start, &verdict);
            if (status == 0 && behind && verdict.marked && start + verdict.event.bytes <= end) {
                *event = verdict.event;
                return 0;
            }
        }
    }
    return status;
}

bool scan_peek_arrival(const struct scan *scan, uint64_t *arrival_ns)
{
    uint8_t front[BLOCK_DATA_OFFSET];
    struct block_info info;
    if (scan->source.forward || !scan->header.ours ||
        scan->source.read(scan->source.context, front, sizeof(front), scan->at) !=
            (long)sizeof(front) ||
        block_read_front((struct span){front, sizeof(front)}, &info) < 0)
        return false;
    *arrival_ns = info.arrival_ns;
    return true;
}

void scan_close(struct scan *scan)
{
    if (scan == NULL)
        return;
    if (scan->inflater_ready)
        inflateEnd(&scan->inflater);
    schema_free(scan->schema);
    free(scan->layout_image);
    free(scan->header_image);
    free(scan->window);
    free(scan->decoded);
    free(scan->ends);
    free(scan);
}

/* ---- a header that is lost or doubted ---- */

/* A marker of few different bytes is more likely data. */
static bool is_marker_like(const uint8_t *at)
{
    unsigned different = 0;
    for (unsigned i = 1; i < SCAN_SYNC_BYTES; i++)
        different += memchr(at, at[i], i) == NULL;
    return different >= 6;
}

/* Whether the block that seems to begin at `offset` tells the marker: by its checksum, or because
 * the same 16 bytes stand in front of it and at its end. */
static int try_marker(struct scan *scan, uint64_t offset, bool *found, uint64_t *next)
{
    struct scan_header *header = &scan->header;
    struct span view;
    struct verdict verdict = {0};
    int64_t size;
    size_t front;
    struct block_info info;
    *found = false;
    int status = look(scan, offset, BLOCK_DATA_OFFSET, &view);
    if (status < 0)
        return status;
    if (view.bytes < FRONT_BYTES_MAX || view.at[0] == 0 ||
        !read_front(scan, view, &verdict, &size, &front) || size == 0 || verdict.event.count == 0 ||
        size > (int64_t)SEARCH_BLOCK_BYTES)
        return 0;
    uint64_t end = offset + front + (uint64_t)size;
    if (end + SCAN_SYNC_BYTES > scan->source.bytes)
        return 0;
    bool ours = block_read_front(view, &info) == 0;
    uint64_t from = offset < SCAN_SYNC_BYTES ? 0 : offset - SCAN_SYNC_BYTES;
    status = look(scan, from, (size_t)(end + SCAN_SYNC_BYTES - from), &view);
    if (status < 0)
        return status;
    const uint8_t *marker = view.at + (end - from);
    if (!is_marker_like(marker) ||
        (!ours && (offset < SCAN_SYNC_BYTES || memcmp(view.at, marker, SCAN_SYNC_BYTES) != 0)))
        return 0;
    memcpy(header->sync, marker, SCAN_SYNC_BYTES);
    header->ours = ours;
    for (enum scan_codec codec = SCAN_CODEC_DEFLATE; !*found && codec != SCAN_CODEC_UNKNOWN;
         codec--) {
        header->codec = codec;
        status = judge(scan, offset, &verdict);
        if (status < 0)
            return status;
        *found = verdict.intact && (codec == SCAN_CODEC_DEFLATE || !ours);
    }
    *next = end + SCAN_SYNC_BYTES;
    return 0;
}

/* Looks at every byte for blocks that tell the marker; then the header has the one that most bytes
 * are of, for a piece of another file may stand in this one. */
static int search_marker(struct scan *scan, bool *found)
{
    struct tally {
        struct scan_header header;
        uint64_t bytes;
    } tallies[16], *best = NULL;
    size_t count = 0;
    int status = 0;
    scan->ahead = SEARCH_BYTES;
    for (uint64_t at = 0, next; status == 0 && at < scan->source.bytes; at = next) {
        bool told = false;
        next = at + 1;
        status = try_marker(scan, at, &told, &next);
        if (status < 0 || !told) {
            next = at + 1;
            continue;
        }
        size_t i = 0;
        while (i < count &&
               (memcmp(tallies[i].header.sync, scan->header.sync, SCAN_SYNC_BYTES) != 0 ||
                tallies[i].header.ours != scan->header.ours))
            i++;
        if (i == count && count < ARRAY_COUNT(tallies))
            tallies[count++] = (struct tally){.header = scan->header};
        if (i < count)
            tallies[i].bytes += next - at;
    }
    scan->ahead = WINDOW_BYTES;
    for (size_t i = 0; i < count; i++)
        if (best == NULL || tallies[i].bytes > best->bytes)
            best = &tallies[i];
    *found = best != NULL;
    if (best != NULL)
        scan->header = best->header;
    return status;
}

/* The header's sync marker may be what is damaged: where the checksum says so, or it stands nowhere
 * else, the one that the blocks agree on is better. So is their codec, where a header that names
 * none may have lost it and the first block is none as it stands. */
static int doubt_marker(struct scan *scan)
{
    struct scan_header kept = scan->header;
    uint64_t marker;
    bool found = false;
    if (scan->source.forward || scan->at >= scan->source.bytes)
        return 0;
    if (kept.sound && kept.ours) {
        struct verdict front;
        int seen = judge_front(scan, scan->at, &front);
        if (seen < 0 || front.marked)
            return seen;
    }
    int status = find_marker(scan, kept.image.bytes, &marker);
    bool trusted = kept.sound && marker < scan->source.bytes && is_marker_like(kept.sync);
    struct verdict first = {.intact = true};
    if (status == 0 && trusted && !kept.ours && kept.codec_name.at == NULL)
        status = judge(scan, kept.image.bytes, &first);
    if (status < 0 || (trusted && first.intact))
        return status;
    status = search_marker(scan, &found);
    if (status < 0)
        return status;
    struct scan_header told = scan->header;
    scan->header = kept;
    bool marker_same = memcmp(told.sync, kept.sync, SCAN_SYNC_BYTES) == 0;
    if (found && (marker_same || !trusted)) {
        bool same = marker_same && told.ours == kept.ours && told.codec == kept.codec;
        memcpy(scan->header.sync, told.sync, SCAN_SYNC_BYTES);
        scan->header.ours = told.ours;
        scan->header.codec = told.codec;
        if (!same && kept.fault == NULL)
            scan->header.fault = "the header is not that of the blocks";
    }
    scan->header.sound = scan->header.fault == NULL;
    return 0;
}

/* A damaged header may end elsewhere than it says, and blocks stand in its place: unless one begins
 * right behind it and none ends in it, the search begins with the file. */
static int doubt_end(struct scan *scan)
{
    struct verdict first;
    uint64_t marker;
    int status = judge(scan, scan->at, &first);
    if (status == 0)
        status = find_marker(scan, 0, &marker);
    if (status == 0 && (!first.intact || marker + SCAN_SYNC_BYTES < scan->at))
        scan->at = 0;
    scan->header_lost = scan->at == 0;
    return status;
}

int scan_open(struct scan **scan, const struct scan_source *source, char *error, size_t error_bytes)
{
    struct scan *made = new_scan(source);
    int status = -ENOMEM;
    error[0] = '\0';
    if (made == NULL)
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
    else
        status = read_header(made, error, error_bytes);
    if (status == 0 && (status = recognize(made)) == 0)
        status = doubt_marker(made);
    if (status < 0) {
        if (error[0] == '\0')
            snprintf(error, error_bytes, "offset 0: %s", strerror(-status));
        scan_close(made);
        return status;
    }
    made->end_doubted = !made->header.sound;
    if (made->header.fault != NULL)
        push_fault(made, 0, 0, "%s", made->header.fault);
    *scan = made;
    return 0;
}

int scan_search(struct scan **scan, const struct scan_source *source, struct span schema,
                char *error, size_t error_bytes)
{
    struct scan *made = new_scan(source);
    bool found = false;
    int status;
    if (made == NULL) {
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    status = scan_use_schema(made, schema, error, error_bytes);
    if (status < 0)
        goto out;
    status = search_marker(made, &found);
    if (status < 0)
        snprintf(error, error_bytes, "%s", strerror(-status));
    else if (!found) {
        status = -ENODATA;
        snprintf(error, error_bytes, "no block with datums of this schema was found");
    }
    made->header_lost = true;
out:
    if (status < 0) {
        scan_close(made);
        return status;
    }
    *scan = made;
    return 0;
}

/* ---- what it came upon ---- */

void scan_count(struct scan_totals *totals, const struct scan_event *event)
{
    if (event->kind == SCAN_BLOCK && event->bytes > 0) {
        double density = (double)event->count / (double)event->bytes;
        double around = totals->blocks > 0 ? (totals->density + density) / 2 : density;
        totals->lost_datums += totals->open_bytes * around;
        totals->open_bytes = 0;
        totals->density = density;
        if (event->ours) {
            if (totals->blocks > 0 && event->arrival_ns < totals->last_ns) {
                if (totals->times_back++ == 0)
                    totals->back_offset = event->offset;
                if (totals->last_ns - event->arrival_ns > totals->back_ns_max)
                    totals->back_ns_max = totals->last_ns - event->arrival_ns;
            }
            if (totals->blocks == 0)
                totals->first_ns = event->arrival_ns;
            totals->last_ns = event->arrival_ns;
        }
        totals->blocks++;
        totals->datums += event->count;
        totals->block_bytes += event->bytes;
        totals->data_bytes += event->data.bytes;
    } else if (event->kind == SCAN_HEADER) {
        totals->faults++; /* few readers go on behind it */
    } else if (event->kind == SCAN_FAULT) {
        totals->faults++;
        totals->lost_bytes += event->bytes;
        totals->missing_bytes += event->missing_bytes;
        if (event->bytes == 0)
            totals->missing_header_bytes += event->header_bytes;
        if (event->count > 0)
            totals->lost_datums += (double)event->count;
        else
            totals->open_bytes +=
                event->bytes == 0 ? 0 : (double)(event->bytes - event->header_bytes);
    } else if (event->kind == SCAN_END) {
        totals->lost_datums += totals->open_bytes * totals->density;
        int64_t missing = totals->missing_bytes - (int64_t)totals->missing_header_bytes;
        if (missing > 0 && totals->block_bytes > 0)
            totals->lost_datums +=
                (double)missing * (double)totals->datums / (double)totals->block_bytes;
        totals->open_bytes = 0;
    }
}
