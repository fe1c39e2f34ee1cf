/* SPDX-License-Identifier: MIT
 * One block, judged whole: framing, unpacking, checksum, and every datum against the schema. What
 * cannot be judged here (a codec that is not known, something over a limit of this program) is no
 * damage, and never called so.
 * Relies on archive/codec for what is packed, on avro/datum for what a datum is. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/packed.h"
#include "archive/scan_parts.h"
#include "base/check.h"
#include "base/find.h"

#define ENDS_MAX         65536u          /* of datums that are known at once */
#define LARGE_BYTES      (16u << 20)     /* of a block whose end is looked at before it is read */
#define PIPE_BYTES_MAX   CODEC_BYTES_MAX /* of a block in a pipe, where nothing proves its end */
#define PACKED_RATIO_MAX 2048u           /* of any codec but for runs, roughly */
#define HOLE_BYTES       512u /* so many zeros are a sector that was not written, not data */

int scan_bad(struct verdict *verdict, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(verdict->event.what, sizeof(verdict->event.what), format, arguments);
    va_end(arguments);
    verdict->intact = verdict->beyond = false;
    return 0;
}

/* What is no fault as long as the block ends where it says. */
__attribute__((format(printf, 2, 3))) static int beyond(struct verdict *verdict, const char *format,
                                                        ...)
{
    va_list arguments;
    if (!verdict->marked)
        return scan_bad(verdict, "the block does not end in the sync marker");
    va_start(arguments, format);
    vsnprintf(verdict->event.what, sizeof(verdict->event.what), format, arguments);
    va_end(arguments);
    verdict->intact = false;
    verdict->beyond = true;
    return 0;
}

/* ---- where datums end ---- */

/* Room for as many ends as a block of `count` datums in `bytes` can have, and are kept. */
static int make_ends(struct scan *scan, uint64_t count, size_t bytes)
{
    uint64_t room = count < bytes ? count : bytes;
    if (room > ENDS_MAX)
        room = ENDS_MAX;
    if (room <= scan->ends_room)
        return 0;
    uint64_t *grown = realloc(scan->ends, (size_t)room * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    scan->ends = grown;
    scan->ends_room = (uint32_t)room;
    return 0;
}

/* Finds where the datums of `event->data` end, up to the first that is not valid: `reason` says
 * why, `used` how many bytes the others are. A datum without bytes is followed by its like alone,
 * so those are only counted. 0 or -ENOMEM. */
static int walk_datums(struct scan *scan, struct scan_event *event, enum reject *reason,
                       uint64_t *used)
{
    struct span rest = event->data;
    uint64_t shown = 0, count = event->count;
    int status = make_ends(scan, count, rest.bytes);
    *reason = REJECT_NONE;
    event->shown = *used = scan->ends_first = scan->ends_from = 0;
    scan->ends_count = 0;
    if (status < 0)
        return status;
    while (shown < count) {
        size_t bytes;
        *reason = datum_check(&scan->layout, rest, &bytes);
        if (*reason != REJECT_NONE)
            break;
        if (bytes == 0) {
            shown = count;
            break;
        }
        rest.at += bytes;
        rest.bytes -= bytes;
        if (shown < scan->ends_room)
            scan->ends[scan->ends_count++] = event->data.bytes - rest.bytes;
        shown++;
    }
    event->shown = shown;
    *used = event->data.bytes - rest.bytes;
    return 0;
}

/* Lists where datums end from `index` on. */
static void list_ends(struct scan *scan, const struct scan_event *block, uint64_t index)
{
    uint64_t at = scan->ends_first, from = scan->ends_from;
    if (index >= at + scan->ends_count) {
        at += scan->ends_count;
        from = scan->ends_count > 0 ? scan->ends[scan->ends_count - 1] : from;
    } else if (index < at) {
        at = from = 0;
    }
    scan->ends_count = 0;
    for (; at < block->shown && scan->ends_count < scan->ends_room; at++) {
        struct span rest = {block->data.at + from, block->data.bytes - (size_t)from};
        size_t bytes;
        enum reject reason = datum_check(&scan->layout, rest, &bytes);
        CHECK(reason == REJECT_NONE); /* it was so before */
        if (at == index) {
            scan->ends_first = at;
            scan->ends_from = from;
        }
        from += bytes;
        if (at >= index)
            scan->ends[scan->ends_count++] = from;
    }
}

struct span scan_datum(struct scan *scan, const struct scan_event *block, uint64_t index)
{
    CHECK(index < block->shown);
    uint64_t in = index - scan->ends_first;
    bool empty = block->data.bytes == 0;
    if (!empty && (index < scan->ends_first || in >= scan->ends_count)) {
        list_ends(scan, block, index);
        in = index - scan->ends_first;
    }
    if (empty || in >= scan->ends_count)
        return (struct span){block->data.at, 0};
    uint64_t from = in == 0 ? scan->ends_from : scan->ends[in - 1];
    return (struct span){block->data.at + from, (size_t)(scan->ends[in] - from)};
}

/* ---- the datums of a block ---- */

/* Whether a datum fails for its number of items without bytes alone. */
static bool is_over_items(const struct scan *scan, struct span rest)
{
    struct layout unbounded = scan->layout;
    size_t bytes;
    unbounded.empty_items_max = UINT64_MAX;
    return datum_check(&unbounded, rest, &bytes) != REJECT_COUNT;
}

/* Exactly `count` datums, no byte left: then the block is intact. */
static int check_datums(struct scan *scan, struct verdict *verdict)
{
    struct scan_event *event = &verdict->event;
    enum reject reason;
    uint64_t used;
    int status = walk_datums(scan, event, &reason, &used);
    if (status < 0)
        return status;
    struct span rest = {event->data.at + used, event->data.bytes - (size_t)used};
    if (reason == REJECT_DEPTH)
        return beyond(verdict,
                      "datum %" PRIu64 " of %" PRIu64
                      " in this block nests deeper than this program's limit of %u",
                      event->shown + 1, event->count, LAYOUT_DEPTH_MAX);
    if (reason == REJECT_COUNT && is_over_items(scan, rest))
        return beyond(verdict,
                      "datum %" PRIu64 " of %" PRIu64
                      " in this block has more items without bytes than this program's limit of %u",
                      event->shown + 1, event->count, LAYOUT_EMPTY_ITEMS_MAX);
    if (reason != REJECT_NONE)
        return scan_bad(
            verdict, "datum %" PRIu64 " of %" PRIu64 " in this block does not fit the schema (%s)",
            event->shown + 1, event->count, datum_reject_name(reason));
    if (rest.bytes > 0)
        return scan_bad(verdict, "%zu bytes behind the block's last datum", rest.bytes);
    verdict->intact = true;
    return 0;
}

/* ---- a block of our own ---- */

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

/* What can be decoded of a block that is at fault, up to where it cannot. */
static int decode_anyway(struct scan *scan, struct scan_event *event, struct span stored)
{
    const char *why;
    enum reject reason;
    uint64_t used;
    event->data = (struct span){NULL, 0};
    if (scan->header.codec == CODEC_UNKNOWN)
        return 0;
    int status = codec_unpack(scan->unpacker, scan->header.codec, stored, &event->data, &why);
    if (status == -ENOMEM)
        return status;
    return event->data.at == NULL ? 0 : walk_datums(scan, event, &reason, &used);
}

/* A block that was compacted. 0 with nothing said where it is none. */
static int judge_packed(struct scan *scan, struct verdict *verdict, struct span stored,
                        struct block_info *info, bool *packed)
{
    struct scan_event *event = &verdict->event;
    const char *why;
    *packed = false;
    int status = codec_unpack(scan->unpacker, scan->header.codec, stored, &event->data, &why);
    if (status == -ENOMEM)
        return status;
    *packed = status == 0 && packed_check(event->image, event->data, info) == 0;
    event->packed = *packed;
    if (*packed)
        info->data_bytes = event->data.bytes;
    return 0;
}

static int judge_ours(struct scan *scan, struct verdict *verdict, struct span stored)
{
    struct scan_event *event = &verdict->event;
    struct block_info info;
    /* Its own end stands in for the marker: whether that is right is said apart. */
    const uint8_t *end = event->image.at + event->image.bytes - SCAN_SYNC_BYTES;
    int framed = block_inspect(event->image, end, &info);
    bool packed = false;
    if (framed < 0 && scan->header.packed) {
        int status = judge_packed(scan, verdict, stored, &info, &packed);
        if (status < 0)
            return status;
        framed = packed ? 0 : framed;
    }
    if (framed == 0) {
        event->arrival_ns = info.arrival_ns;
        event->place = info.place;
        event->ours = true;
    } else if (packed_read_front(event->image, &info) == 0) {
        event->arrival_ns = info.arrival_ns; /* for who looks at it all the same */
    }
    if (framed < 0 || !info.sound) {
        scan_bad(verdict,
                 framed < 0 ? "the block's framing is damaged" : "the block's checksum is wrong");
        return scan->show ? decode_anyway(scan, event, stored) : 0;
    }
    if (!verdict->marked && !was_marker(scan, end))
        return scan_bad(verdict, "the block ends in the sync marker of another file");
    if (info.bytes % BLOCK_PAGE_BYTES != 0 || info.count > BLOCK_DATUMS_MAX)
        return scan_bad(verdict, "this is not a block as it is written");
    if (packed)
        return check_datums(scan, verdict);
    if (info.data_bytes <= BLOCK_STORED_BYTES) {
        event->data = (struct span){event->image.at + BLOCK_DATA_OFFSET, info.data_bytes};
    } else {
        uint8_t *room = unpacker_room(scan->unpacker, info.data_bytes);
        if (room == NULL)
            return -ENOMEM;
        block_take_data(room, event->image.at, info.data_bytes);
        event->data = (struct span){room, info.data_bytes};
    }
    return check_datums(scan, verdict);
}

/* ---- a block of others ---- */

static int judge_foreign(struct scan *scan, struct verdict *verdict, struct span stored)
{
    struct scan_event *event = &verdict->event;
    const struct scan_header *header = &scan->header;
    const char *why = "";
    event->data = stored;
    if (header->codec == CODEC_UNKNOWN) {
        char name[41];
        size_t bytes = header->codec_name.bytes < 40 ? header->codec_name.bytes : 40;
        for (size_t i = 0; i < bytes; i++) {
            uint8_t byte = header->codec_name.at[i];
            name[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
        }
        name[bytes] = '\0';
        event->data = (struct span){NULL, 0};
        return beyond(verdict, "its codec \"%s\" is not known here (%s are)", name, codec_names);
    }
    if (header->codec != CODEC_NULL && (stored.bytes > 0 || event->count > 0)) {
        int status = codec_unpack(scan->unpacker, header->codec, stored, &event->data, &why);
        if (status == -EBADMSG) {
            scan_bad(verdict, "the block does not unpack (%s)", why);
            enum reject reason;
            uint64_t used;
            if (scan->show && event->data.at != NULL)
                return walk_datums(scan, event, &reason, &used);
            event->data = (struct span){NULL, 0};
            return 0;
        }
        if (status < 0)
            event->data = (struct span){NULL, 0};
        if (status == -EFBIG)
            return beyond(verdict,
                          "the block unpacks to more than this program's limit of %u bytes",
                          CODEC_BYTES_MAX);
        if (status < 0)
            return status;
    }
    if (!verdict->marked && event->count == 0)
        return scan_bad(verdict, "no block begins here");
    return check_datums(scan, verdict);
}

/* ---- any block ---- */

/* Whether that many datums can be in a block of `size` bytes. */
static bool is_plausible(const struct scan *scan, uint64_t count, uint64_t size)
{
    const struct layout *layout = &scan->layout;
    uint64_t least = layout->nodes[layout->root].min_bytes;
    if (scan->header.ours || least == 0)
        return true;
    if (scan->header.codec != CODEC_NULL)
        return count / PACKED_RATIO_MAX <= size / least;
    return layout->is_fixed ? size % least == 0 && size / least == count : count <= size / least;
}

bool scan_read_front(const struct scan *scan, struct span view, struct verdict *verdict,
                     int64_t *size, size_t *front)
{
    const uint8_t *end = view.at + view.bytes;
    int64_t count = 0;
    int count_used = varint_read(view.at, end, &count);
    int size_used = count_used > 0 ? varint_read(view.at + count_used, end, size) : count_used;
    verdict->event.cut = size_used == 0;
    if (size_used == 0) {
        scan_bad(verdict, "the file ends inside a block");
    } else if (size_used < 0 || count < 0 || *size < 0 || *size > INT64_MAX - (1 << 20) ||
               (scan->header.ours && count == 0)) {
        scan_bad(verdict, "no block begins here");
    } else {
        verdict->event.count = (uint64_t)count;
        verdict->plausible = is_plausible(scan, (uint64_t)count, (uint64_t)*size);
        *front = (size_t)(count_used + size_used);
        verdict->claimed_bytes = *front + (uint64_t)*size + SCAN_SYNC_BYTES;
        return true;
    }
    return false;
}

/* What is there of a block's bytes in front of `to`, up to what may be unpacked. */
static int look_at_cut(struct scan *scan, uint64_t offset, size_t front, int64_t size, uint64_t to,
                       struct span *stored)
{
    struct span view;
    size_t bytes = size < (int64_t)CODEC_BYTES_MAX ? (size_t)size : CODEC_BYTES_MAX;
    uint64_t room = to - offset > front ? to - offset - front : 0;
    if (bytes > room)
        bytes = (size_t)room;
    int status = scan_look(scan, offset, front + bytes, &view);
    if (status == 0)
        *stored = (struct span){view.at + front, view.bytes > front ? view.bytes - front : 0};
    return status;
}

/* The file ends inside the block: what of it can be decoded is, for who looks at it all the same.
 */
static int judge_cut(struct scan *scan, uint64_t offset, size_t front, int64_t size,
                     struct verdict *verdict)
{
    struct span stored;
    verdict->event.cut = true;
    scan_bad(verdict, "the file ends inside a block of %" PRIu64 " bytes",
             front + (uint64_t)size + SCAN_SYNC_BYTES);
    if (!scan->show)
        return 0;
    int status = look_at_cut(scan, offset, front, size, scan->source.bytes, &stored);
    return status < 0 ? status : decode_anyway(scan, &verdict->event, stored);
}

int scan_judge(struct scan *scan, uint64_t offset, struct verdict *verdict)
{
    struct span view;
    int64_t size;
    size_t front;
    bool marked = true;
    *verdict = (struct verdict){.event = {.kind = SCAN_BLOCK, .offset = offset}};
    int status = scan_look(scan, offset, FRONT_BYTES_MAX, &view);
    if (status < 0)
        return status;
    if (!scan_read_front(scan, view, verdict, &size, &front))
        return 0;
    uint64_t bytes = front + (uint64_t)size + SCAN_SYNC_BYTES;
    if (bytes > scan->source.bytes - offset)
        return judge_cut(scan, offset, front, size, verdict);
    if (bytes > PIPE_BYTES_MAX && scan->source.forward) {
        verdict->beyond = true;
        snprintf(verdict->event.what, sizeof(verdict->event.what),
                 "a block of %" PRIu64 " bytes in a pipe, over this program's limit of %u", bytes,
                 PIPE_BYTES_MAX);
        return 0;
    }
    if (bytes > LARGE_BYTES && !scan->source.forward)
        status = scan_is_marker(scan, offset + bytes - SCAN_SYNC_BYTES, &marked);
    if (status < 0)
        return status;
    if (!marked)
        return scan_bad(verdict, "a block of %" PRIu64 " bytes does not end in the sync marker",
                        bytes);
    status = scan_look(scan, offset, (size_t)bytes, &view);
    if (status < 0)
        return status;
    if (view.bytes < bytes)
        return judge_cut(scan, offset, front, size, verdict);
    verdict->marked =
        memcmp(view.at + bytes - SCAN_SYNC_BYTES, scan->header.sync, SCAN_SYNC_BYTES) == 0;
    verdict->event.bytes = bytes;
    verdict->event.image = view;
    if (scan->source.was_read != NULL &&
        !scan->source.was_read(scan->source.context, offset, bytes, verdict->event.what,
                               sizeof(verdict->event.what)))
        return 0;
    struct span stored = {view.at + front, (size_t)size};
    return scan->header.ours ? judge_ours(scan, verdict, stored)
                             : judge_foreign(scan, verdict, stored);
}

int scan_judge_front(struct scan *scan, uint64_t offset, struct verdict *verdict)
{
    struct scan_event *event = &verdict->event;
    struct block_info info;
    struct span view;
    int64_t size;
    size_t front;
    *verdict = (struct verdict){.event = {.kind = SCAN_BLOCK, .offset = offset}};
    int status = scan_look(scan, offset, BLOCK_DATA_OFFSET, &view);
    if (status < 0 || !scan_read_front(scan, view, verdict, &size, &front))
        return status;
    event->bytes = front + (uint64_t)size + SCAN_SYNC_BYTES;
    if (scan->header.ours && packed_read_front(view, &info) == 0) {
        event->ours = true;
        event->arrival_ns = info.arrival_ns;
        event->place = info.place;
    }
    if (event->bytes > scan->source.bytes - offset) {
        event->cut = true;
        return scan_bad(verdict, "the file ends inside a block of %" PRIu64 " bytes", event->bytes);
    }
    if (scan->header.ours && !event->ours)
        return scan_bad(verdict, "the block's framing is damaged");
    status = scan_look(scan, offset + event->bytes - SCAN_SYNC_BYTES, SCAN_SYNC_BYTES, &view);
    if (status < 0)
        return status;
    verdict->marked =
        view.bytes == SCAN_SYNC_BYTES && memcmp(view.at, scan->header.sync, SCAN_SYNC_BYTES) == 0;
    if (!verdict->marked)
        scan_bad(verdict, "the block does not end in the sync marker");
    return 0;
}

/* ---- what of a broken block is certain ---- */

/* Where the first run of zeros begins that is as long as a sector: what decodes from there on may
 * be nothing but the hole. */
static size_t find_hole(struct span data)
{
    size_t zeros = 0;
    for (size_t i = 0; i < data.bytes; i++) {
        zeros = data.at[i] == 0 ? zeros + 1 : 0;
        if (zeros == HOLE_BYTES)
            return i + 1 - HOLE_BYTES;
    }
    return data.bytes;
}

int scan_salvage(struct scan *scan, const struct verdict *fault, uint64_t to,
                 struct scan_event *event)
{
    uint64_t offset = fault->event.offset, used;
    enum codec codec = scan->header.codec;
    bool cut = fault->event.cut;
    struct verdict front = {0};
    struct span view, stored;
    size_t front_bytes;
    int64_t size;
    enum reject reason;
    const char *why;
    event->shown = 0;
    event->data = (struct span){NULL, 0};
    if (scan->header.ours || fault->event.count == 0 || !(cut || fault->marked) ||
        !(codec == CODEC_NULL || (codec == CODEC_DEFLATE && cut)))
        return 0;
    int status = scan_look(scan, offset, FRONT_BYTES_MAX, &view);
    if (status < 0 || !scan_read_front(scan, view, &front, &size, &front_bytes) ||
        (cut && !front.plausible))
        return status;
    status = look_at_cut(scan, offset, front_bytes, size, to, &stored);
    if (status < 0)
        return status;
    status = codec_unpack(scan->unpacker, codec, stored, &event->data, &why);
    if (status == -ENOMEM || event->data.at == NULL)
        return status == -ENOMEM ? status : 0;
    event->count = front.event.count;
    status = walk_datums(scan, event, &reason, &used);
    /* All that is there of it decodes, or it is none. */
    bool all = reason == REJECT_TRUNCATED || (reason == REJECT_NONE && used == event->data.bytes);
    if (cut && !all)
        event->shown = 0;
    size_t hole = cut ? event->data.bytes : find_hole(event->data);
    if (status == 0 && used > hole) {
        event->data.bytes = hole;
        status = walk_datums(scan, event, &reason, &used);
    }
    event->data.bytes = event->shown == 0 ? 0 : (size_t)used;
    event->kept_bytes = codec == CODEC_NULL ? event->data.bytes : stored.bytes;
    if (event->shown == 0)
        event->kept_bytes = 0;
    return status;
}
