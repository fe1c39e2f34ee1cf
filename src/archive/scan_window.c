/* SPDX-License-Identifier: MIT
 * The window a scan has on its file. Reads in whole pages from page boundaries, so that a page
 * another process rewrites meanwhile is seen before or after, never half. Memory is asked for as
 * bytes turn out to be there, never because something claims that they are. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive/scan_parts.h"

static int grow(struct scan *scan, size_t bytes)
{
    if (bytes <= scan->window_room)
        return 0;
    uint8_t *grown = realloc(scan->window, bytes);
    if (grown == NULL)
        return -ENOMEM;
    scan->window = grown;
    scan->window_room = bytes;
    return 0;
}

/* Reads on until the window holds `wanted`, or the file ends. Of a pipe nobody knows how much will
 * come: in pieces, each at most as long as what is there. */
static int fill(struct scan *scan, size_t wanted)
{
    while (scan->window_bytes < wanted) {
        size_t missing = wanted - scan->window_bytes, piece = WINDOW_BYTES;
        uint64_t at = scan->window_from + scan->window_bytes, left = scan->source.bytes - at;
        if (piece < scan->window_bytes)
            piece = scan->window_bytes;
        if (scan->source.forward && missing > piece)
            missing = piece;
        if (missing > left)
            missing = (size_t)left;
        if (missing == 0)
            return 0;
        int status = grow(scan, scan->window_bytes + missing);
        if (status < 0)
            return status;
        long got =
            scan->source.read(scan->source.context, scan->window + scan->window_bytes, missing, at);
        if (got < 0)
            return (int)got;
        scan->window_bytes += (size_t)got;
        if ((size_t)got < missing) /* it has become shorter */
            scan->source.bytes = at + (uint64_t)got;
    }
    return 0;
}

int scan_look(struct scan *scan, uint64_t offset, size_t bytes, struct span *view)
{
    uint64_t size = scan->source.bytes;
    if (offset > size)
        offset = size;
    if (bytes > size - offset)
        bytes = (size_t)(size - offset);
    if (offset < scan->window_from || offset + bytes > scan->window_from + scan->window_bytes) {
        uint64_t from = offset / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
        size_t wanted = (size_t)(offset - from) + bytes, kept = 0;
        wanted = (wanted + BLOCK_PAGE_BYTES - 1) / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
        if (wanted < scan->ahead && !scan->source.forward)
            wanted = scan->ahead;
        if (from >= scan->window_from && from < scan->window_from + scan->window_bytes) {
            kept = (size_t)(scan->window_from + scan->window_bytes - from);
            memmove(scan->window, scan->window + (from - scan->window_from), kept);
        }
        scan->window_from = from;
        scan->window_bytes = kept;
        int status = fill(scan, wanted);
        if (status < 0)
            return status;
        if (scan->source.bytes < size)
            return scan_look(scan, offset, bytes, view);
    }
    *view = (struct span){scan->header.sync, 0}; /* of an empty file: never NULL */
    if (bytes > 0)
        *view = (struct span){scan->window + (offset - scan->window_from), bytes};
    return 0;
}

int scan_is_marker(struct scan *scan, uint64_t offset, bool *is)
{
    uint8_t bytes[SCAN_SYNC_BYTES];
    const uint8_t *at = bytes;
    long got = SCAN_SYNC_BYTES;
    if (offset >= scan->window_from &&
        offset + SCAN_SYNC_BYTES <= scan->window_from + scan->window_bytes)
        at = scan->window + (offset - scan->window_from);
    else
        got = scan->source.read(scan->source.context, bytes, sizeof(bytes), offset);
    *is = got == SCAN_SYNC_BYTES && memcmp(at, scan->header.sync, SCAN_SYNC_BYTES) == 0;
    return got < 0 ? (int)got : 0;
}
