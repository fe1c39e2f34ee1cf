/* SPDX-License-Identifier: MIT
 * Fuzzes the readers of container files: the scan of blocks, that of fronts, and the rows, those
 * of a pipe, of spans of time and of what is damaged too. What the scan finds sound they must all
 * read, to the same number of datums; what programs are given is what the scan finds intact. Relies
 * on libFuzzer and memfd_create. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "archive/history.h"
#include "archive/scan.h"
#include "base/check.h"

#define DATUMS_MAX (1u << 20)

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
    return totals->faults == 0 && totals->unread_blocks == 0;
}

/* Rows of a file in memory; those of a block that is wrong are not counted. */
static uint64_t read_all(const char *path, enum rows_damage damage, uint64_t *faults)
{
    struct catalog catalog = {0};
    struct rows *rows;
    struct rows_event event;
    uint64_t datums = 0;
    *faults = 0;
    CHECK(catalog_add(&catalog, path, CATALOG_DATUMS) == 1);
    CHECK(rows_open(&rows, &catalog, damage) == 0);
    do {
        CHECK(rows_next(rows, &event) == 0);
        CHECK(damage == ROWS_SHOW || event.kind != ROWS_DATUM || !event.doubtful);
        datums += event.kind == ROWS_DATUM && !event.doubtful;
        *faults += event.kind == ROWS_FAULT;
    } while (event.kind != ROWS_END);
    rows_close(rows);
    catalog_free(&catalog);
    return datums;
}

/* Rows of spans that follow one another, searched for: no more than there are. */
static uint64_t search_all(const char *path, const struct scan_source *source)
{
    struct catalog catalog = {0};
    struct search_front front;
    struct scan_cost cost = {0};
    uint64_t datums = 0, block;
    CHECK(search_read_front(source, &front, &cost) == 0);
    CHECK(search_block(source, &front, front.first_ns + 1000000000, &block, &cost) == 0);
    CHECK(block < source->bytes || block == 0);
    CHECK(catalog_add(&catalog, path, CATALOG_DATUMS) == 1);
    const uint64_t ends[] = {0, front.first_ns, front.first_ns + 50000000, UINT64_MAX / 2,
                             UINT64_MAX};
    for (size_t i = 1; i < ARRAY_COUNT(ends); i++) {
        struct time_span span = {ends[i - 1], ends[i]};
        struct history *history;
        struct rows_event event;
        CHECK(history_open(&history, &catalog, &span, ROWS_SKIP) == 0);
        do {
            CHECK(history_next(history, &event) == 0);
            datums += event.kind == ROWS_DATUM;
        } while (event.kind != ROWS_END);
        history_close(history);
    }
    catalog_free(&catalog);
    return datums;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    struct span bytes = {data, size};
    struct scan_source source = {.read = read_memory, .context = &bytes, .bytes = size};
    struct scan_source pipe = source;
    struct scan_totals totals, fronts, once;
    uint64_t skip_faults, show_faults;
    char path[64];
    pipe.bytes = SCAN_BYTES_UNKNOWN;
    pipe.forward = true;
    if (file < 0)
        file = memfd_create("fuzz", 0);
    CHECK(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    int sound = scan_all(&source, 0, &totals);
    scan_all(&source, 1, &fronts);
    if (totals.datums > DATUMS_MAX || fronts.datums > DATUMS_MAX)
        return 0; /* without bytes: a few bytes claim any number of them */
    scan_all(&pipe, 0, &once);
    uint64_t skipped = read_all(path, ROWS_SKIP, &skip_faults);
    uint64_t shown = read_all(path, ROWS_SHOW, &show_faults);
    CHECK(skipped == totals.datums && shown <= skipped);
    CHECK(search_all(path, &source) <= skipped);
    if (sound) {
        CHECK(skip_faults == 0 && show_faults == 0 && shown == skipped);
        CHECK(fronts.datums == totals.datums && fronts.blocks == totals.blocks);
        CHECK(once.faults == 0 && once.datums == totals.datums);
    }
    return 0;
}
