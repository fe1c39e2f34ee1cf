/* SPDX-License-Identifier: MIT
 * "What of this channel from T to T, in at most N points": from the coarsest level of its overview
 * that is fine enough, from the recordings where single datums fit or no level is done yet, and a
 * stretch of each where a level ends before the span does. For cat --points, charts, the gateway.
 *
 * A *point* is an equal part of the span. Where the span has at most N datums each is a row of its
 * own (`exact`); else each point that has any is two rows, the minima and the maxima of what came
 * in then (archive/peaks.h). The peak of a single datum is in one of them. When a row came in is as
 * archive/history.h has it; of a channel without a time field that is an instant, the levels know
 * it of their blocks alone, each of a page.
 * Rows are in the order of the recordings: where a clock was set back they go back with it, and a
 * part of the span that came twice has its points twice.
 * Relies on archive/history. Memory: two windows of scans, N rows. */
#ifndef FLOTILLA_ARCHIVE_OVERVIEW_H
#define FLOTILLA_ARCHIVE_OVERVIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/scan.h"
#include "archive/search.h"
#include "schema/schema.h"

#define OVERVIEW_POINTS_MAX 100000u

struct overview; /* opaque */

enum overview_kind {
    OVERVIEW_END,
    OVERVIEW_SCHEMA, /* rows of this schema follow: overview_schema */
    OVERVIEW_ROW,
    OVERVIEW_FAULT /* of a recording; damage to a level is none, the level below is taken */
};

struct overview_event {
    enum overview_kind kind;
    struct span datum; /* valid by the schema; until the next call */
    uint64_t at_ns;    /* when it came in; of minima and maxima: when their point begins */
    bool exact;        /* it is a single datum; else the minima, or the maxima behind them */
    int status;        /* OVERVIEW_FAULT: as rows_event has it ... */
    const char *what;  /* ... with the file's name; until the next call */
};

/* What an answer was made from; of overview_told once it is at its end. */
struct overview_account {
    uint64_t coarsest, finest; /* datums of the recordings in a window of the levels that were read;
                                  1: the recordings themselves. 0: nothing was read */
    bool exact;                /* rows are single datums, all there are */
    uint64_t point_ns;         /* the length of a point; 0 where rows are single datums */
    uint64_t rows_read;
    struct scan_cost cost; /* bytes and reads, those of levels that turned out too coarse too */
};

/* `folder` is the channel's. `points` is 1 to OVERVIEW_POINTS_MAX; a span that ends before it
 * begins has nothing. Of TIME_SPAN_ALL the span is what is there. 0, -ENOENT (no recording and no
 * level of that channel), or another negative errno. Freed by overview_close. */
int overview_open(struct overview **overview, const char *folder, const char *channel,
                  const struct time_span *span, uint32_t points);
/* From here on rows are not put together to points: each is a datum of the recordings, or of a
 * level its minima, or its maxima, and `at_ns` is when it came in itself. For who has points of his
 * own. */
void overview_as_it_stands(struct overview *overview);
/* Takes the next event. 0; -EINTR once a signal has come (os/interrupt), or -ENOMEM. */
int overview_next(struct overview *overview, struct overview_event *event);
/* That of the rows, from OVERVIEW_SCHEMA to the next one. */
const struct schema_file *overview_schema(const struct overview *overview);
/* The name of their time field, as their recordings say; "": none. */
const char *overview_time(const struct overview *overview);
void overview_told(const struct overview *overview, struct overview_account *account);
void overview_close(struct overview *overview);

#endif
