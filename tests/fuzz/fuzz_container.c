/* SPDX-License-Identifier: MIT
 * Fuzzes the readers of container files: the scan of blocks, that of fronts, and the streaming
 * reader behind `cat`. What the scan finds sound from begin to end the reader must read as well, to
 * the same number of datums. Relies on libFuzzer and memfd_create. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/container.h"
#include "archive/scan.h"
#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long read_memory(void *context, uint8_t *into, size_t bytes, uint64_t offset)
{
    const struct span *file = context;
    size_t left = offset < file->bytes ? file->bytes - (size_t)offset : 0;
    if (bytes > left)
        bytes = left;
    if (bytes > 0)
        memcpy(into, file->at + offset, bytes);
    return (long)bytes;
}

/* Whether it is sound; its datums. */
static int scan_all(const struct scan_source *source, int fronts, struct scan_totals *totals)
{
    struct scan *scan;
    struct scan_event event;
    char error[256];
    uint64_t at = 0;
    *totals = (struct scan_totals){0};
    if (scan_open(&scan, source, error, sizeof(error)) < 0)
        return 0;
    do {
        int status = fronts ? scan_next_front(scan, &event) : scan_next(scan, &event);
        CHECK(status == 0);
        scan_count(totals, &event);
        if (event.kind != SCAN_END && event.bytes > 0) {
            CHECK(event.offset >= at && event.bytes <= source->bytes - event.offset);
            at = event.offset + event.bytes;
        }
    } while (event.kind != SCAN_END);
    scan_close(scan);
    return totals->faults == 0;
}

static int read_all(const uint8_t *data, size_t size, uint64_t *datums)
{
    static int file = -1;
    char path[64], error[512];
    struct container *container;
    struct span datum;
    int status;
    if (file < 0)
        file = memfd_create("fuzz", 0);
    CHECK(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    *datums = 0;
    if (container_open(path, &container, error, sizeof(error)) < 0)
        return 0;
    while ((status = container_next(container, &datum, error, sizeof(error))) == 1)
        ++*datums;
    container_close(container);
    return status == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span file = {data, size};
    struct scan_source source = {read_memory, &file, size};
    struct scan_totals totals, fronts;
    uint64_t datums;
    int sound = scan_all(&source, 0, &totals);
    scan_all(&source, 1, &fronts);
    int read = read_all(data, size, &datums);
    if (sound) {
        CHECK(read && datums == totals.datums);
        CHECK(fronts.datums == totals.datums && fronts.blocks == totals.blocks);
    }
    return 0;
}
