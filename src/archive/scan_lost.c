/* SPDX-License-Identifier: MIT
 * Markers, headers and blocks looked for where damage stands in front of them, or where the header
 * is lost or doubted. A marker may also stand inside data, so what ends in it is judged as well. */
#include <errno.h>
#include <string.h>

#include "archive/scan_parts.h"
#include "archive/packed.h"
#include "base/check.h"
#include "base/find.h"

#define SEARCH_BYTES       (8u << 20)
#define SEARCH_BLOCK_BYTES (4u << 20) /* of the block that tells the marker of a lost header */

int scan_find_marker(struct scan *scan, uint64_t from, uint64_t *found)
{
    for (;;) {
        struct span view;
        int status = scan_look(scan, from, WINDOW_BYTES / 2, &view);
        if (status < 0)
            return status;
        const uint8_t *at = find_bytes(view, (struct span){scan->header.sync, SCAN_SYNC_BYTES});
        *found = at != NULL ? from + (uint64_t)(at - view.at) : scan->source.bytes;
        if (at != NULL || view.bytes < WINDOW_BYTES / 2)
            return 0;
        from += view.bytes - (SCAN_SYNC_BYTES - 1);
    }
}

/* Its own sync marker tells where a block of ours begins, for it is made of whole pages, and where
 * a packed one might; that it unpacks, or its checksum, that it does. */
int scan_find_before(struct scan *scan, uint64_t from, uint64_t marker, struct verdict *verdict)
{
    uint64_t end = marker + SCAN_SYNC_BYTES;
    uint64_t low = from + 1 + BACK_BYTES < end ? end - BACK_BYTES : from + 1;
    bool ours = scan->header.ours;
    verdict->intact = false;
    if (!ours && scan->header.codec <= CODEC_NULL)
        return 0;
    uint64_t start = low;
    if (ours)
        start += (end - low) % BLOCK_PAGE_BYTES;
    for (; start < marker; start += ours ? BLOCK_PAGE_BYTES : 1) {
        struct span view;
        struct verdict front = {0};
        int64_t size;
        size_t front_bytes;
        int status = scan_look(scan, start, (size_t)(end - start), &view);
        if (status < 0)
            return status;
        if (!scan_read_front(scan, view, &front, &size, &front_bytes) || front.event.count == 0 ||
            start + front_bytes + (uint64_t)size != marker)
            continue;
        status = scan_judge(scan, start, verdict);
        if (status < 0 || verdict->intact)
            return status;
    }
    return 0;
}

int scan_find_magic(struct scan *scan, uint64_t from, uint64_t to, uint64_t *found)
{
    *found = to;
    while (from < to) {
        struct span view;
        size_t wanted = to - from < WINDOW_BYTES / 2 ? (size_t)(to - from) : WINDOW_BYTES / 2;
        int status = scan_look(scan, from, wanted, &view);
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
    int status = scan_look(scan, offset, BLOCK_DATA_OFFSET, &view);
    if (status < 0)
        return status;
    if (view.bytes < FRONT_BYTES_MAX || view.at[0] == 0 ||
        !scan_read_front(scan, view, &verdict, &size, &front) || size == 0 ||
        verdict.event.count == 0 || size > (int64_t)SEARCH_BLOCK_BYTES)
        return 0;
    uint64_t end = offset + front + (uint64_t)size;
    if (end + SCAN_SYNC_BYTES > scan->source.bytes)
        return 0;
    bool ours = packed_read_front(view, &info) == 0, stored = block_read_front(view, &info) == 0;
    uint64_t from = offset < SCAN_SYNC_BYTES ? 0 : offset - SCAN_SYNC_BYTES;
    status = scan_look(scan, from, (size_t)(end + SCAN_SYNC_BYTES - from), &view);
    if (status < 0)
        return status;
    const uint8_t *marker = view.at + (end - from);
    if (!is_marker_like(marker) ||
        (!ours && (offset < SCAN_SYNC_BYTES || memcmp(view.at, marker, SCAN_SYNC_BYTES) != 0)))
        return 0;
    memcpy(header->sync, marker, SCAN_SYNC_BYTES);
    header->ours = header->packed = ours;
    enum codec first = !ours ? CODECS - 1 : stored ? CODEC_DEFLATE : CODEC_ZSTANDARD;
    for (enum codec codec = first; !*found && codec != CODEC_UNKNOWN; codec--) {
        header->codec = codec;
        status = scan_judge(scan, offset, &verdict);
        if (status < 0)
            return status;
        *found = verdict.intact && (codec == first || !ours);
    }
    *next = end + SCAN_SYNC_BYTES;
    return 0;
}

int scan_search_marker(struct scan *scan, bool *found)
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

int scan_doubt_marker(struct scan *scan)
{
    struct scan_header kept = scan->header;
    uint64_t marker;
    bool found = false;
    if (scan->source.forward || scan->at >= scan->source.bytes || kept.codec == CODEC_UNKNOWN)
        return 0;
    struct verdict front = {0}, first = {.intact = true};
    int status = kept.sound ? scan_judge_front(scan, scan->at, &front) : 0;
    /* A file may be one block, and end inside it. */
    bool cut = !kept.ours && front.event.cut && front.event.count > 0 && front.plausible;
    if (status < 0 || cut || (kept.ours && front.marked))
        return status;
    marker = scan->at;
    if (!front.marked)
        status = scan_find_marker(scan, kept.image.bytes, &marker);
    bool trusted = kept.sound && marker < scan->source.bytes && is_marker_like(kept.sync);
    if (status == 0 && trusted && !kept.ours && kept.codec_name.at == NULL)
        status = scan_judge(scan, kept.image.bytes, &first);
    if (status < 0 || (trusted && first.intact))
        return status;
    status = scan_search_marker(scan, &found);
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
