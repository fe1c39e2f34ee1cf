/* SPDX-License-Identifier: MIT
 * The rows of a catalog with their time and their table, one after the other; what is found wrong
 * on the way is told on stderr and kept as the table's origin. Relies on archive/history. */
#ifndef FLOTILLA_EXPORT_FEED_H
#define FLOTILLA_EXPORT_FEED_H

#include "archive/history.h"
#include "export/table.h"

/* What came of it. */
struct feed_report {
    bool damaged;      /* something is lost: told */
    bool beyond;       /* something is over a limit of this program, or in an unknown codec */
    uint64_t timeless; /* rows whose time was null or no number: they have the row's before ... */
    uint64_t far;      /* ... as do those whose time was beyond what 64 bits of nanoseconds say */
    void (*before_line)(void *context); /* called before a line is printed; NULL: nothing is */
    void *context;
};

struct feed {
    const struct catalog *catalog;
    struct tables *tables;
    struct feed_report *report;
    struct history *history;
    struct table *table; /* of the file at hand; NULL: it is left out */
    struct table_reading reading;
    struct row_position at;
    struct row_clock clock; /* of the file at hand */
    uint64_t decimate; /* datums of a window, of which the minima and maxima go out; 0: all do */
    struct feed_window *window; /* NULL: none yet */
    char error[512];
};

/* Makes the tables of all files that may hold something of the span, from their schemas alone. 0,
 * -EINTR, -ENOMEM, or -EINVAL with a message in `error`: a field that no file has. What cannot be
 * read is left to feed_next. */
int feed_survey(struct tables *tables, const struct catalog *catalog, const struct time_span *span,
                struct feed_report *report, char *error, size_t error_bytes);

/* Begins in front of the first row; `decimate` may be set then. 0 or -ENOMEM. Freed by feed_close,
 * also after a failure. */
int feed_open(struct feed *feed, const struct catalog *catalog, const struct time_span *span,
              struct tables *tables, struct feed_report *report);

enum feed_kind {
    FEED_END,
    FEED_FILE, /* a file begins: datums of `table` from here on */
    FEED_ROW
};

struct feed_row {
    enum feed_kind kind;
    struct table *table;
    struct span datum; /* until the next call; read by `feed->reading` into its values */
    int64_t time_ns;
    uint64_t arrival_ns;
};

/* Takes the next. 0, or a negative errno with a message in `feed->error` ("": strerror's words);
 * -EINTR after a signal. */
int feed_next(struct feed *feed, struct feed_row *row);

void feed_close(struct feed *feed);

/* For who leaves rows out: those that go out are counted here. */
void feed_count(struct table *table, int64_t time_ns);

#endif
