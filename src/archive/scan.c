/* SPDX-License-Identifier: MIT
 * The walk over a damaged or sound container file. Every block is judged whole before it is handed
 * out. Behind a fault the next sync marker is searched; it may also stand inside data, so what
 * follows it is judged as well, and so is what ends in it. Where another file was joined behind,
 * its header holds from there on. Relies on the other files of scan_parts.h. */
#include "archive/scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/scan_parts.h"
#include "archive/packed.h"
#include "base/check.h"

#define FRONT_WINDOW_BYTES  (2u * BLOCK_PAGE_BYTES)
#define HEADER_BYTES        (16u << 10) /* that are looked at to begin with */
#define HEADER_SEARCH_BYTES (8u << 20)  /* of a header that is looked for */

static bool is_word(struct span text, const char *word)
{
    return text.bytes == strlen(word) && memcmp(text.at, word, text.bytes) == 0;
}

/* ---- the header ---- */

int scan_use_schema(struct scan *scan, struct span schema, char *error, size_t error_bytes)
{
    uint8_t *image = NULL;
    size_t image_bytes;
    struct layout layout;
    int status;
    struct schema_file *file = schema_parse_header(schema, &status, error, error_bytes);
    if (file == NULL)
        return status;
    status = schema_compile(file, NULL, NULL, &image, &image_bytes, error, error_bytes);
    if (status < 0) {
        schema_free(file);
        return status == -ENOMEM ? -ENOMEM : -EFBIG; /* it is a schema */
    }
    status = layout_load(&layout, (struct span){image, image_bytes});
    CHECK(status == 0);
    schema_free(scan->schema);
    free(scan->layout_image);
    scan->schema = file;
    scan->layout_image = image;
    scan->layout = layout;
    return 0;
}

/* Says why the header cannot be read, with the offset it was met at. */
static int refuse_header(const struct scan *scan, enum header_kind kind,
                         const struct header_place *place, char *error, size_t error_bytes)
{
    uint64_t at = scan->base + place->at;
    if (kind == HEADER_OTHER) {
        snprintf(error, error_bytes, "offset %" PRIu64 ": %s", at, place->why);
        return -ENOMSG;
    }
    snprintf(error, error_bytes, "offset %" PRIu64 ": the header cannot be read: %s", at,
             place->why);
    return -EBADMSG;
}

/* Brings the header that begins at `scan->base` into view, whole. */
static int look_at_header(struct scan *scan, struct span *view, char *error, size_t error_bytes)
{
    struct header_place place;
    uint64_t wanted = HEADER_BYTES;
    for (;;) {
        int status = scan_look(scan, scan->base, (size_t)wanted, view);
        if (status < 0) {
            snprintf(error, error_bytes, "offset %" PRIu64 ": %s", scan->base, strerror(-status));
            return status;
        }
        enum header_kind kind = header_read(&scan->header, *view, &place);
        if (view->bytes == 0)
            place.why = "not an Avro container file (it is empty)";
        if (kind == HEADER_BAD || kind == HEADER_OTHER)
            return refuse_header(scan, kind, &place, error, error_bytes);
        if (kind == HEADER_WHOLE)
            return 0;
        place.why = "the file ends inside it";
        if (view->bytes < wanted || place.needed > scan->source.bytes - scan->base)
            return refuse_header(scan, kind, &place, error, error_bytes);
        if (place.needed > SCAN_HEADER_BYTES_MAX) {
            snprintf(error, error_bytes,
                     "offset %" PRIu64 ": the header is over this program's limit of %u bytes",
                     scan->base, SCAN_HEADER_BYTES_MAX);
            return -EFBIG;
        }
        wanted = place.needed > 2 * wanted ? place.needed : 2 * wanted;
    }
}

/* Reads the header that begins at `scan->base`, and its schema. */
static int read_header(struct scan *scan, char *error, size_t error_bytes)
{
    struct header_place place;
    struct span view;
    char why[200];
    int status = look_at_header(scan, &view, error, error_bytes);
    if (status < 0)
        return status;
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
    enum header_kind kind = header_read(&scan->header, (struct span){image, bytes}, &place);
    CHECK(kind == HEADER_WHOLE);

    status = scan_use_schema(scan, scan->header.schema, why, sizeof(why));
    if (status < 0) {
        snprintf(error, error_bytes, "offset %" PRIu64 ": the header's schema%s: %s",
                 scan->base + (uint64_t)(scan->header.schema.at - image),
                 status == -EFBIG ? " is over a limit of this program" : "", why);
        return status == -EINVAL ? -EBADMSG : status;
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
        header->codec == CODEC_DEFLATE) {
        int status = scan_look(scan, scan->at, BACK_BYTES, &view);
        if (status < 0)
            return status;
        header->ours = block_inspect(view, header->sync, &info) == 0 && info.sound;
    }
    if (header->ours) {
        int status = block_check_header(header->image);
        if (status < 0)
            header->fault = status == -ENODATA ? "the header's checksum is not there"
                                               : "the header's checksum is wrong";
        else if (header->format.at != NULL && !is_word(header->format, BLOCK_FORMAT) &&
                 !header->packed)
            header->fault = "the header names another format than that of the blocks";
        else if (header->image.bytes % BLOCK_PAGE_BYTES != 0)
            header->fault = "the header does not end on a page boundary";
        header->codec = header->packed ? packed_codec(header->format) : CODEC_DEFLATE;
        if (header->fault == NULL && (header->codec_name.at == NULL ||
                                      !is_word(header->codec_name, codec_name(header->codec))))
            header->fault = "the header names another codec than that of the blocks";
        header->sound = header->fault == NULL;
    }
    return 0;
}

static struct scan *new_scan(const struct scan_source *source)
{
    struct scan *scan = calloc(1, sizeof(*scan));
    if (scan == NULL)
        return NULL;
    scan->source = *source;
    scan->unpacker = unpacker_new();
    if (scan->unpacker != NULL)
        return scan;
    free(scan);
    return NULL;
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

/* A foreign block that passes but does not end in the marker may owe that to chance: datums of
 * fixed size pass anywhere. It counts where the next block begins right behind it. */
static int confirm_unmarked(struct scan *scan, struct verdict *verdict)
{
    uint64_t offset = verdict->event.offset, end = offset + verdict->event.bytes;
    struct verdict next = {.intact = true, .marked = true};
    int status = end < scan->source.bytes ? scan_judge(scan, end, &next) : 0;
    if (status == 0)
        status = scan_judge(scan, offset, verdict); /* the first view has ended */
    if (status == 0 && verdict->intact && !(next.intact && next.marked))
        scan_bad(verdict, "the block does not end in the sync marker");
    return status;
}

/* Whether the file has grown since: then what its end cuts off is being written. */
static bool has_grown(const struct scan *scan)
{
    const struct scan_source *source = &scan->source;
    return source->bytes_now != NULL && source->bytes_now(source->context) > source->bytes;
}

static bool is_no_header(int status)
{
    return status == -EBADMSG || status == -ENOMSG || status == -EFBIG;
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
    int status = scan_look(scan, offset, 4, &view);
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
        return is_no_header(status) ? 0 : status;
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

/* Whether a header that can be read begins at `magic`. */
static int is_header(struct scan *scan, uint64_t magic, bool *is)
{
    struct scan_header kept = scan->header;
    struct schema_file *schema = NULL;
    uint64_t base = scan->base;
    struct span view;
    char error[256];
    scan->base = magic;
    int status = look_at_header(scan, &view, error, sizeof(error));
    if (status == 0)
        schema = schema_parse(scan->header.schema, error, sizeof(error));
    scan->header = kept;
    scan->base = base;
    *is = schema != NULL;
    schema_free(schema);
    return is_no_header(status) ? 0 : status;
}

/* Finds the header of a joined file in [from, to); `*found` is `to` if there is none. */
static int find_joined(struct scan *scan, uint64_t from, uint64_t to, uint64_t *found)
{
    bool is = false;
    int status = 0;
    *found = to;
    while (from < to && status == 0 && !is) {
        status = scan_find_magic(scan, from, to, found);
        if (status == 0 && *found < to)
            status = is_header(scan, *found, &is);
        from = *found + 4;
    }
    if (!is)
        *found = to;
    return status;
}

/* Whether the sync marker at `marker` is that of a header which begins behind `from`, and ends no
 * block: files were joined of which another has the same marker. */
static int is_of_header(struct scan *scan, uint64_t from, uint64_t marker, bool *is)
{
    uint64_t end = marker + SCAN_SYNC_BYTES, magic;
    *is = false;
    if (end - from > HEADER_SEARCH_BYTES)
        from = end - HEADER_SEARCH_BYTES;
    for (; !*is; from = magic + 4) {
        struct scan_header header;
        struct header_place place;
        struct span view;
        int status = scan_find_magic(scan, from, marker, &magic);
        if (status < 0 || magic == marker)
            return status;
        status = scan_look(scan, magic, (size_t)(end - magic), &view);
        if (status < 0)
            return status;
        *is =
            header_read(&header, view, &place) == HEADER_WHOLE && header.image.bytes == end - magic;
    }
    return 0;
}

/* What of the lost bytes their front claims, where that can be believed. */
static void claim(const struct scan *scan, const struct verdict *fault, struct scan_event *event)
{
    uint64_t count = fault->plausible ? fault->event.count : 0;
    bool whole = fault->marked && fault->event.bytes == event->bytes;
    event->count = 0;
    if (whole) {
        event->count = count;
    } else if (fault->event.cut && fault->claimed_bytes > 0) {
        /* Garbage claims a lot, so where little of the block is there it is a share. */
        double share = (double)event->bytes / (double)fault->claimed_bytes;
        bool likely = scan->header.ours || event->shown > 0 || share >= 0.5;
        event->count = likely || count == 0 ? count : (uint64_t)((double)count * share) + 1;
    }
    if (event->count < event->shown)
        event->count = event->shown;
    event->lost = event->count - event->shown;
}

/* Where to go on behind the fault at scan->at, with the marker at `marker`. */
static int find_next(struct scan *scan, uint64_t marker, uint64_t *to)
{
    struct span view;
    *to = marker;
    do { /* a run of markers is one fault */
        *to += SCAN_SYNC_BYTES;
        int status = scan_look(scan, *to, SCAN_SYNC_BYTES, &view);
        if (status < 0)
            return status;
    } while (view.bytes == SCAN_SYNC_BYTES &&
             memcmp(view.at, scan->header.sync, SCAN_SYNC_BYTES) == 0);
    return 0;
}

/* Where to go on behind the fault at scan->at: at `*to`, where a joined file begins, or with
 * `found` an intact block. */
static int find_end(struct scan *scan, uint64_t *to, bool *joined, struct verdict *found)
{
    uint64_t from = scan->at, end = scan->source.bytes, marker;
    bool of_header = false;
    int status = scan_find_marker(scan, from, &marker);
    if (status == 0 && marker < end)
        status = is_of_header(scan, from + 1, marker, &of_header);
    *to = marker;
    /* Where a marker ends a block, a header in front of it is in that block's data. */
    if (status == 0 && (marker == end || of_header))
        status = find_joined(scan, from + 1, marker, to);
    *joined = status == 0 && *to < marker;
    if (status < 0 || *joined || marker == end)
        return status;
    status = scan_find_before(scan, from, marker, found);
    if (status == 0 && found->intact)
        *to = found->event.offset;
    else if (status == 0)
        status = find_next(scan, marker, to);
    return status;
}

/* Behind a fault at scan->at: where to go on, and what is lost until there. */
static int resume(struct scan *scan, const struct verdict *fault)
{
    uint64_t from = scan->at, to;
    struct scan_event event = fault->event;
    struct verdict found = {0}, seen = *fault;
    event.kind = SCAN_FAULT;
    event.image = event.data = (struct span){NULL, 0};
    event.shown = 0;
    bool joined = false;
    int status = find_end(scan, &to, &joined, &found);
    if (status < 0)
        return status;
    event.bytes = to - from;
    bool whole = fault->marked && fault->event.bytes == event.bytes;
    /* The end of the file cuts a block off, or the begin of another one. */
    seen.event.cut = fault->claimed_bytes > event.bytes && (to == scan->source.bytes || joined);
    if (from == scan->base)
        snprintf(event.what, sizeof(event.what), "the header is damaged");
    else if (whole || seen.event.cut)
        status = scan_salvage(scan, &seen, to, &event);
    if (status < 0)
        return status;
    claim(scan, &seen, &event);
    scan->at = to;
    if (event.cut && to == scan->source.bytes && has_grown(scan))
        return 0;
    event.header_bytes = take_header(scan, event.bytes);
    push(scan, &event);
    if (found.intact)
        push_block(scan, &found);
    return 0;
}

/* A block that cannot be judged here, and stands as its front and its end say. */
static void push_unread(struct scan *scan, const struct verdict *verdict)
{
    struct scan_event event = verdict->event;
    event.kind = SCAN_UNREAD;
    scan->header_lost = false;
    scan->at += event.bytes;
    scan->ended = !verdict->marked; /* in a pipe */
    push(scan, &event);
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

/* A damaged header may end elsewhere than it says, and blocks stand in its place: unless one begins
 * right behind it and none ends in it, the search begins with the file. */
static int doubt_end(struct scan *scan)
{
    struct verdict first;
    uint64_t marker;
    int status = scan_judge(scan, scan->at, &first);
    if (status == 0)
        status = scan_find_marker(scan, 0, &marker);
    if (status == 0 && (!first.intact || marker + SCAN_SYNC_BYTES < scan->at))
        scan->at = 0;
    scan->header_lost = scan->at == 0;
    return status;
}

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
        status = scan_judge(scan, scan->at, &verdict);
    if (status < 0)
        return status;
    scan->ended = scan->at >= scan->source.bytes; /* a pipe's end shows when it is read */
    if (scan->ended)
        return 0;
    if (verdict.intact && !verdict.marked && !verdict.event.ours)
        status = confirm_unmarked(scan, &verdict);
    if (status == 0 && !verdict.intact && !verdict.beyond)
        status = join(scan, scan->at, &joined);
    if (status < 0 || joined)
        return status;
    if (verdict.intact)
        push_block(scan, &verdict);
    else if (verdict.beyond)
        push_unread(scan, &verdict);
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

int scan_next_front(struct scan *scan, struct scan_event *event)
{
    struct verdict verdict;
    bool joined = false;
    *event = (struct scan_event){.kind = SCAN_END, .offset = scan->source.bytes};
    if (scan->waiting_next == scan->waiting_count && !scan->ended &&
        scan->at < scan->source.bytes) {
        scan->waiting_next = scan->waiting_count = 0;
        scan->ahead = FRONT_WINDOW_BYTES;
        int status = scan_judge_front(scan, scan->at, &verdict);
        if (status == 0 && !verdict.marked)
            status = join(scan, scan->at, &joined);
        if (status < 0)
            return status;
        if (scan->at >= scan->source.bytes) /* a pipe's end shows when it is read */
            return 0;
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
    int status = scan_look(scan, offset - SCAN_SYNC_BYTES, SCAN_SYNC_BYTES, &view);
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
            status = scan_look(scan, low, (size_t)(end - low), &view);
            if (status == 0)
                status = is_behind_marker(scan, start, &behind);
            if (status == 0 && behind)
                status = scan_judge_front(scan, start, &verdict);
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
        packed_read_front((struct span){front, sizeof(front)}, &info) < 0)
        return false;
    *arrival_ns = info.arrival_ns;
    return true;
}

void scan_close(struct scan *scan)
{
    if (scan == NULL)
        return;
    unpacker_free(scan->unpacker);
    schema_free(scan->schema);
    free(scan->layout_image);
    free(scan->header_image);
    free(scan->window);
    free(scan->ends);
    free(scan);
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
        status = scan_doubt_marker(made);
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
    status = scan_search_marker(made, &found);
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
