/* SPDX-License-Identifier: MIT
 * Whole pages are read, a megabyte at a time, and handed out from there: never twice, for a page of
 * a file that is being written may be another by now. */
#include "overview/past_cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "archive/source.h"
#include "avro/block.h"
#include "os/direct.h"
#include "os/file.h"
#include "os/interrupt.h"
#include "os/memory.h"

#define PAGES_BYTES (1u << 20)

/* Reads what begins at `offset` into the pages. Returns how much of it is there. */
static long load(struct past_cache *past, uint64_t offset)
{
    uint64_t from = offset / BLOCK_PAGE_BYTES * BLOCK_PAGE_BYTES;
    if (offset >= past->from && offset < past->from + past->count)
        return (long)(past->from + past->count - offset);
    if (interrupt_seen())
        return -EINTR;
    long got = direct_file_read(&past->file, past->pages, PAGES_BYTES, from);
    past->from = from;
    past->count = got < 0 ? 0 : (size_t)got;
    return got < 0 ? got : (uint64_t)got > offset - from ? got - (long)(offset - from) : 0;
}

static long read_pages(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    struct past_cache *past = context;
    size_t done = 0;
    /* A new question: what was read for the one before may have grown. Going on is no new one. */
    if (offset != past->from + past->count && offset + bytes > past->from + past->count)
        past->count = 0;
    while (done < bytes) {
        long there = load(past, offset + done);
        if (there < 0)
            return there;
        size_t part = (size_t)there < bytes - done ? (size_t)there : bytes - done;
        if (part == 0)
            break;
        memcpy(into + done, past->pages + (offset + done - past->from), part);
        done += part;
    }
    return (long)done;
}

static uint64_t bytes_now(void *context)
{
    const struct past_cache *past = context;
    int64_t bytes = file_bytes(past->file.descriptor);
    return bytes < 0 ? 0 : (uint64_t)bytes;
}

int past_cache_scan(struct past_cache *past, struct scan **scan, const char *path, char *error,
                    size_t error_bytes)
{
    *scan = NULL;
    *past = (struct past_cache){.file.descriptor = DESCRIPTOR_NONE};
    int status = direct_file_open_read(&past->file, path);
    int64_t bytes = status < 0 ? 0 : file_bytes(past->file.descriptor);
    if (bytes < 0)
        status = (int)bytes;
    if (status == 0)
        past->pages = private_memory_map(PAGES_BYTES);
    if (status == 0 && past->pages == NULL)
        status = -ENOMEM;
    if (status == 0 && past->file.alignment != BLOCK_PAGE_BYTES)
        status = -EOPNOTSUPP;
    if (status == 0) { /* some file systems take the flag, and refuse later */
        long got = direct_file_read(&past->file, past->pages, BLOCK_PAGE_BYTES, 0);
        status = got < 0 ? (int)got : 0;
    }
    snprintf(error, error_bytes, "%s", source_error_text(status));
    if (status < 0)
        return status == -EINVAL ? -EOPNOTSUPP : status;
    past->of_scan = (struct scan_source){
        .read = read_pages, .bytes_now = bytes_now, .context = past, .bytes = (uint64_t)bytes};
    return scan_open(scan, &past->of_scan, error, error_bytes);
}

void past_cache_close(struct past_cache *past)
{
    direct_file_close(&past->file);
    if (past->pages != NULL)
        private_memory_unmap(past->pages, PAGES_BYTES);
    *past = (struct past_cache){.file.descriptor = DESCRIPTOR_NONE};
}
