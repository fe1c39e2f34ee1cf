/* SPDX-License-Identifier: MIT
 * The rows of a part of time, out of files and folders however large: a search says where to begin,
 * and what is not of the span is left out. For cat, send and all that show the past.
 *
 * When a row came in is known of the first one of each block. Where the recording names its time
 * field (flotilla.time) and that has a logical type of an instant, the others came in as much later
 * as their time says, but no later than the next block; else, and where theirs is earlier, with the
 * first one. Of files that carry no
 * arrival times nothing is in any span but TIME_SPAN_ALL.
 * Relies on archive/rows and archive/search. */
#ifndef FLOTILLA_ARCHIVE_HISTORY_H
#define FLOTILLA_ARCHIVE_HISTORY_H

#include <stdint.h>

#include "archive/rows.h"
#include "archive/search.h"

/* Nanoseconds in the unit of a type that is an instant by its logical type; 0 for any other. */
uint64_t instant_unit_ns(const struct schema *type);

/* When the rows of one file came in. All zero to begin with; freed by row_clock_free. */
struct row_clock {
    uint8_t *layout_image;
    struct layout layout;
    struct leaf *leaves;
    uint64_t unit_ns;  /* of the time field; 0: there is none, or none whose unit is known */
    uint64_t limit_ns; /* no row of the block came in later */
    int64_t first;     /* the time field of the block's first row ... */
    bool first_known;  /* ... if it had one */
};

/* Prepares for the rows of the file that `scan` has open, whatever came before. 0 or -ENOMEM. */
int row_clock_set(struct row_clock *clock, const struct scan *scan);
/* When a row came in, its block's first at `arrival_ns` and the next block's at `next_ns`, which
 * counts with index 0 only (UINT64_MAX: there is none). Of each block the rows from index 0 on, in
 * order. */
uint64_t row_clock_ns(struct row_clock *clock, struct span datum, uint64_t index,
                      uint64_t arrival_ns, uint64_t next_ns);
/* What the row's time field says, in nanoseconds since whatever its device counts from. False where
 * it has none, or one whose unit is not known. */
bool row_clock_field_ns(struct row_clock *clock, struct span datum, int64_t *ns);
void row_clock_free(struct row_clock *clock);

struct history;

/* Searches the catalog's files, which must outlive it. 0 or -ENOMEM. Freed by history_close. */
int history_open(struct history **history, const struct catalog *catalog,
                 const struct time_span *span, enum rows_damage damage);

/* As rows_next, over the files that may hold something of the span and the rows of it. A file
 * without arrival times is a fault of status -ENODATA, but for TIME_SPAN_ALL. */
int history_next(struct history *history, struct rows_event *event);

/* Leaves the rest of the file at hand out. */
void history_next_file(struct history *history);

/* When the row of the newest event came in; of spans but TIME_SPAN_ALL. */
uint64_t history_at(const struct history *history);
/* Whether it is known of each row of the file at hand, not of its block's first alone. */
bool history_times_rows(const struct history *history);
/* What was read so far, in the search and behind it. */
struct scan_cost history_cost(const struct history *history);

/* The file at hand, as rows_scan. */
const struct scan *history_scan(const struct history *history);

void history_close(struct history *history);

#endif
