/* SPDX-License-Identifier: MIT
 * File after file, block after block, row after row. Whatever is wrong with a file is an event at
 * its place; only want of memory and a signal end the reading.
 * Relies on archive/scan, which has judged a block and found its rows before one is handed out. */
#include "archive/rows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/source.h"

struct rows {
    const struct catalog *catalog;
    enum rows_damage damage;
    size_t file; /* the next one to open; at hand is the one before */
    struct source source;
    struct scan *scan; /* NULL between files */
    struct scan_event block;
    uint64_t next;    /* the next row of `block` */
    bool fault_waits; /* `block` is a fault that is told behind its rows */
    bool codec_told;  /* that the codec of the header at hand is not known */
    bool seek;        /* to this, in the next file */
    struct row_position to;
    uint8_t *schema; /* the text of the last file's */
    size_t schema_bytes;
    bool any_schema;
    struct scan_cost cost; /* of the files that were closed */
    char what[512];
};

int rows_open(struct rows **rows, const struct catalog *catalog, enum rows_damage damage)
{
    struct rows *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->catalog = catalog;
    made->damage = damage;
    made->source.descriptor = DESCRIPTOR_NONE;
    *rows = made;
    return 0;
}

static void close_file(struct rows *rows)
{
    scan_close(rows->scan);
    rows->cost = rows_cost(rows);
    source_close(&rows->source);
    rows->scan = NULL;
    rows->block = (struct scan_event){.kind = SCAN_END};
    rows->next = 0;
    rows->fault_waits = rows->codec_told = false;
}

void rows_close(struct rows *rows)
{
    if (rows == NULL)
        return;
    close_file(rows);
    free(rows->schema);
    free(rows);
}

const struct scan *rows_scan(const struct rows *rows)
{
    return rows->scan;
}

struct scan_cost rows_cost(const struct rows *rows)
{
    const struct scan_cost *open = &rows->source.cost;
    return (struct scan_cost){rows->cost.reads + open->reads, rows->cost.bytes + open->bytes};
}

/* Some of it is the file's, and goes to a terminal. */
static const char *clean(struct rows *rows)
{
    for (char *at = rows->what; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return rows->what;
}

static int tell_file(struct rows *rows, struct rows_event *event, uint64_t offset)
{
    struct span text = schema_text(scan_schema(rows->scan));
    bool same = text.bytes == rows->schema_bytes &&
                (text.bytes == 0 || memcmp(text.at, rows->schema, text.bytes) == 0);
    *event = (struct rows_event){.kind = ROWS_FILE,
                                 .at = {rows->file - 1, offset, 0},
                                 .schema_changed = rows->any_schema && !same};
    rows->any_schema = true;
    if (same)
        return 0;
    uint8_t *copy = realloc(rows->schema, text.bytes + 1);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, text.at, text.bytes);
    rows->schema = copy;
    rows->schema_bytes = text.bytes;
    return 0;
}

static void tell_failure(struct rows *rows, struct rows_event *event, int status)
{
    *event = (struct rows_event){
        .kind = ROWS_FAULT, .at = {rows->file - 1, 0, 0}, .status = status, .what = clean(rows)};
    close_file(rows);
}

static void tell_fault(struct rows *rows, struct rows_event *event)
{
    const struct scan_event *fault = &rows->block;
    bool unread = fault->kind == SCAN_UNREAD;
    snprintf(rows->what, sizeof(rows->what), "offset %" PRIu64 ": %s", fault->offset, fault->what);
    *event = (struct rows_event){.kind = ROWS_FAULT,
                                 .at = {rows->file - 1, fault->offset, 0},
                                 .status = !unread            ? -EBADMSG
                                           : rows->codec_told ? -ENOTSUP
                                                              : -EFBIG,
                                 .readable = rows->damage == ROWS_SHOW && fault->shown > 0,
                                 .bytes = unread ? 0 : fault->bytes,
                                 .what = clean(rows)};
    rows->fault_waits = false;
}

/* Goes to a place in the file that was opened. In joined files the part it is in has its own
 * header: then the fronts are walked up to it. 0 or a negative errno. */
static int seek_in_file(struct rows *rows)
{
    struct scan_event front;
    int status = scan_seek(rows->scan, rows->to.block);
    if (status != -EBADMSG)
        return status;
    do
        status = scan_next_front(rows->scan, &front);
    while (status == 0 && front.kind != SCAN_END && front.offset + front.bytes < rows->to.block);
    return status == 0 ? scan_seek(rows->scan, rows->to.block) : status;
}

/* Opens the next file: ROWS_FILE, or the fault it is at. */
static int open_file(struct rows *rows, struct rows_event *event)
{
    const char *path = rows->catalog->files[rows->file++].path;
    int status = source_scan(&rows->source, &rows->scan, path, SOURCE_STREAMS, rows->what,
                             sizeof(rows->what));
    if (status == 0 && rows->damage == ROWS_SHOW)
        scan_show(rows->scan);
    bool seek = rows->seek;
    rows->seek = false;
    if (status == 0 && seek && rows->to.block != 0) {
        status = seek_in_file(rows);
        if (status < 0)
            snprintf(rows->what, sizeof(rows->what), "offset %" PRIu64 ": %s", rows->to.block,
                     status == -EBADMSG ? "no block begins here" : strerror(-status));
    }
    if (status == -EINTR || status == -ENOMEM) {
        close_file(rows);
        return status;
    }
    if (status < 0) {
        tell_failure(rows, event, status);
        event->at.block = seek ? rows->to.block : 0;
        return 0;
    }
    rows->next = 0;
    return tell_file(rows, event, 0);
}

/* Takes the next block or fault of the file at hand. 1 with an event to tell, 0 to go on, or a
 * negative errno. */
static int take_block(struct rows *rows, struct rows_event *event)
{
    int status = scan_next(rows->scan, &rows->block);
    if (status == -EINTR || status == -ENOMEM)
        return status;
    if (status < 0) {
        snprintf(rows->what, sizeof(rows->what), "%s", strerror(-status));
        tell_failure(rows, event, status);
        return 1;
    }
    rows->next = 0;
    rows->fault_waits = rows->block.kind == SCAN_FAULT || rows->block.kind == SCAN_UNREAD;
    if (rows->block.kind == SCAN_HEADER)
        rows->codec_told = false;
    if (rows->block.kind == SCAN_UNREAD && scan_header(rows->scan)->codec == CODEC_UNKNOWN) {
        rows->fault_waits = !rows->codec_told; /* once is enough */
        rows->codec_told = true;
    }
    if (rows->block.kind == SCAN_END)
        close_file(rows);
    if (rows->block.kind == SCAN_HEADER)
        status = tell_file(rows, event, rows->block.offset);
    if (rows->damage == ROWS_SKIP && rows->fault_waits)
        rows->block.shown = 0;
    if (rows->to.index > 0 && rows->block.kind == SCAN_BLOCK) {
        if (rows->block.offset == rows->to.block)
            rows->next = rows->to.index;
        rows->to.index = 0;
    }
    return status < 0 ? status : rows->block.kind == SCAN_HEADER;
}

int rows_next(struct rows *rows, struct rows_event *event)
{
    for (;;) {
        struct scan_event *block = &rows->block;
        if (rows->next < block->shown) {
            event->kind = ROWS_DATUM;
            event->at = (struct row_position){rows->file - 1, block->offset, rows->next};
            event->datum = scan_datum(rows->scan, block, rows->next);
            event->arrival_ns = block->arrival_ns;
            event->doubtful = rows->fault_waits;
            rows->next++;
            return 0;
        }
        if (rows->fault_waits) {
            tell_fault(rows, event);
            return 0;
        }
        if (rows->scan == NULL) {
            if (rows->file < rows->catalog->count)
                return open_file(rows, event);
            *event = (struct rows_event){.kind = ROWS_END};
            return 0;
        }
        int status = take_block(rows, event);
        if (status != 0)
            return status < 0 ? status : 0;
    }
}

void rows_seek(struct rows *rows, const struct row_position *position)
{
    close_file(rows);
    rows->file = position->file;
    rows->to = *position;
    rows->seek = true;
}
