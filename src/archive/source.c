/* SPDX-License-Identifier: MIT
 * Where the medium fails, the rest of the file is still read, page by page. Relies on os/file. */
#include "archive/source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/ahead.h"
#include "avro/block.h"
#include "os/file.h"
#include "os/interrupt.h"

#define SOURCE_AHEAD_BYTES (8u << 20) /* what a smaller file takes is not worth a thread */

static int note_unreadable(struct source *source, uint64_t from, uint64_t to)
{
    struct source_range *last = source->unreadable + source->unreadable_count - 1;
    if (source->unreadable_count > 0 && last->to == from) {
        last->to = to;
        return 0;
    }
    struct source_range *grown =
        realloc(source->unreadable, (source->unreadable_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    grown[source->unreadable_count++] = (struct source_range){from, to};
    source->unreadable = grown;
    return 0;
}

static long read_file(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    struct source *source = context;
    /* Here, for each way through a file comes by, also a long search that finds nothing. */
    if (interrupt_seen())
        return -EINTR;
    long got = source->ahead == NULL ? -EAGAIN : ahead_read(source->ahead, into, bytes, offset);
    if (got == -EAGAIN)
        got = file_read_at(source->descriptor, into, bytes, offset);
    source->cost.reads++;
    source->cost.bytes += got > 0 ? (uint64_t)got : 0;
    if (got != -EIO)
        return got;
    for (size_t done = 0; done < bytes; done += BLOCK_PAGE_BYTES) {
        size_t part = bytes - done < BLOCK_PAGE_BYTES ? bytes - done : BLOCK_PAGE_BYTES;
        got = file_read_at(source->descriptor, into + done, part, offset + done);
        if (got >= 0 && (size_t)got < part)
            return (long)done + got;
        if (got < 0 && got != -EIO)
            return got;
        if (got < 0) {
            memset(into + done, 0, part);
            int status = note_unreadable(source, offset + done, offset + done + part);
            if (status < 0)
                return status;
        }
    }
    return (long)bytes;
}

static bool was_read(void *context, uint64_t offset, uint64_t bytes, char *why, size_t why_bytes)
{
    const struct source *source = context;
    for (size_t i = 0; i < source->unreadable_count; i++) {
        const struct source_range *range = &source->unreadable[i];
        if (range->from >= offset + bytes || range->to <= offset)
            continue;
        snprintf(why, why_bytes, "from offset %" PRIu64 " on, %" PRIu64 " bytes cannot be read: %s",
                 range->from, range->to - range->from, strerror(EIO));
        return false;
    }
    return true;
}

static uint64_t bytes_now(void *context)
{
    const struct source *source = context;
    int64_t bytes = file_bytes(source->descriptor);
    return bytes < 0 ? 0 : (uint64_t)bytes;
}

/* Reads the next `bytes`; fewer only at the end. */
static long read_on(struct source *source, uint8_t *into, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        long got = file_read_next(source->descriptor, into + done, bytes - done);
        if (interrupt_seen())
            return -EINTR;
        if (got < 0 && got != -EINTR)
            return got;
        if (got == 0)
            break;
        done += got < 0 ? 0 : (size_t)got;
    }
    source->stream_at += done;
    return (long)done;
}

static long read_stream(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    struct source *source = context;
    if (offset < source->stream_at)
        return -ESPIPE;
    while (source->stream_at < offset) {
        uint8_t skipped[16384];
        uint64_t left = offset - source->stream_at;
        long got =
            read_on(source, skipped, left < sizeof(skipped) ? (size_t)left : sizeof(skipped));
        if (got <= 0)
            return got;
    }
    return read_on(source, into, bytes);
}

int source_open(struct source *source, const char *path, enum source_kinds kinds)
{
    bool once = false;
    *source = (struct source){.descriptor = kinds == SOURCE_STREAMS ? file_open_any(path, &once)
                                                                    : file_open_read(path)};
    if (once) {
        source->of_scan = (struct scan_source){
            .read = read_stream, .context = source, .bytes = SCAN_BYTES_UNKNOWN, .forward = true};
        return 0;
    }
    if (source->descriptor < 0)
        return source->descriptor;
    int64_t bytes = file_bytes(source->descriptor);
    source->of_scan = (struct scan_source){.read = read_file,
                                           .was_read = was_read,
                                           .bytes_now = bytes_now,
                                           .context = source,
                                           .bytes = bytes < 0 ? 0 : (uint64_t)bytes};
    return bytes < 0 ? (int)bytes : 0;
}

int source_scan(struct source *source, struct scan **scan, const char *path,
                enum source_kinds kinds, char *error, size_t error_bytes)
{
    *scan = NULL;
    int status = source_open(source, path, kinds);
    if (status == 0)
        return scan_open(scan, &source->of_scan, error, error_bytes);
    snprintf(error, error_bytes, "%s", source_error_text(status));
    return status;
}

void source_read_ahead(struct source *source, const char *path)
{
    if (!source->of_scan.forward && source->of_scan.bytes >= SOURCE_AHEAD_BYTES &&
        descriptor_is_at(source->descriptor, path) && source->ahead == NULL)
        ahead_open(&source->ahead, path); /* else it is read as before */
}

void source_close(struct source *source)
{
    ahead_close(source->ahead);
    descriptor_close(source->descriptor);
    free(source->unreadable);
    *source = (struct source){.descriptor = DESCRIPTOR_NONE};
}

const char *source_error_text(int status)
{
    return status == -ESPIPE ? "is a pipe or device, not a file" : strerror(-status);
}
