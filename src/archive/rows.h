/* SPDX-License-Identifier: MIT
 * The rows (datums) of files, one file after the other, each checked: its block's checksum where
 * the file is Flotilla's own, and the datum against the schema in the file. One way through files
 * for cat, send, export and all that read more than one: whoever wrote them, in any codec, finished
 * or being written, pipes as well (forward only).
 * Memory is one block. Relies on archive/scan, archive/catalog and os/file. */
#ifndef FLOTILLA_ARCHIVE_ROWS_H
#define FLOTILLA_ARCHIVE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "archive/catalog.h"
#include "archive/scan.h"
#include "base/span.h"

/* Where a row stands. Rows are in the order of their positions. It lasts: a finished file keeps
 * it, and in one being written a page that is rewritten only gets more rows behind the last. */
struct row_position {
    size_t file;    /* its place in the catalog; to last longer, keep the number in its name */
    uint64_t block; /* offset of the block in the file */
    uint64_t index; /* of the row in the block, from 0 */
};

enum rows_kind {
    ROWS_END,
    ROWS_FILE,  /* a file begins: its schema holds from here on. Again in a file that others were
                   joined behind, with `at.block` where they begin, else 0 */
    ROWS_DATUM, /* a row */
    ROWS_FAULT  /* damage, or a file that cannot be read */
};

struct rows_event {
    enum rows_kind kind;
    struct row_position at; /* FAULT: `block` is its offset, `index` 0 */
    /* ROWS_FILE */
    bool
        schema_changed; /* it is not, byte for byte, that of the file before; false for the first */
    /* ROWS_DATUM */
    struct span datum;   /* valid by the schema; until the next call */
    uint64_t arrival_ns; /* of the block's first datum (index 0); 0 where the file does not say */
    bool doubtful;       /* its block does not match its checksum: a fault follows behind it */
    /* ROWS_FAULT */
    int status;     /* -EBADMSG: damage. -EFBIG: over a limit of this program, -ENOTSUP: in a codec
                       that is not known here. Else the negative errno of opening or reading */
    bool readable;  /* the datums of the block are handed out nevertheless (it is doubtful) */
    uint64_t bytes; /* that are lost from its offset on; 0 where none is, or it is not known */
    const char *what; /* for people: "offset N: ...", or why a file cannot be opened. Until the next
                         call. */
};

/* What is behind damage in a file. */
enum rows_damage {
    /* What of the damaged block is still valid is handed out, doubtful; then the fault; then, where
     * the block's end is where it says, what follows, else the next file. For people who look. */
    ROWS_SHOW,
    /* As verify and recover: nothing doubtful, on behind the next sync marker. For programs. */
    ROWS_SKIP
};

struct rows;

/* Begins in front of the first file. The catalog must outlive it and may grow meanwhile: files that
 * are added behind are read as well. 0 or -ENOMEM. Freed by rows_close. */
int rows_open(struct rows **rows, const struct catalog *catalog, enum rows_damage damage);

/* Takes the next event. 0; ROWS_END again and again at the end, where a later call goes on with
 * files that were added. -EINTR once a signal has come (os/interrupt), -ENOMEM. What is wrong with
 * a file is an event. */
int rows_next(struct rows *rows, struct rows_event *event);

/* Goes on at `position`: the next events are its file's ROWS_FILE and then the row there, or the
 * first one behind. A block of 0 is the file's begin. Where no block begins (and the file does not
 * end) at `position.block`, or in a pipe, the next event is a fault and then the next file. */
void rows_seek(struct rows *rows, const struct row_position *position);

/* The file at hand, from its ROWS_FILE to the next one: header, schema, layout. NULL in between. */
const struct scan *rows_scan(const struct rows *rows);

/* What was read so far. */
struct scan_cost rows_cost(const struct rows *rows);

void rows_close(struct rows *rows);

#endif
