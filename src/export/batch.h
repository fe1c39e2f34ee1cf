/* SPDX-License-Identifier: MIT
 * A batch of rows being made: values of datums go into typed vectors, column by column. A value
 * that is not there is not added; it is zero by the time the batch is sealed.
 * Relies on malloc; keeps its memory from batch to batch. */
#ifndef FLOTILLA_EXPORT_BATCH_H
#define FLOTILLA_EXPORT_BATCH_H

#include "export/format.h"
#include "export/table.h"
#include "schema/columns.h"

struct batch_column; /* a vector that grows */

/* All zero to begin with; freed by batch_free. */
struct batch {
    struct export_batch of_format; /* complete after batch_seal */
    struct table *table;
    uint32_t rows, rows_max;
    uint32_t rows_most; /* 0, or how many rows it is for where that is less than a table's */
    size_t bytes;       /* of what varies in length */
    struct batch_column *columns;
    struct export_vector *vectors;
    int64_t *times;
    uint64_t *arrivals;
    bool of_datums;
    uint8_t *datums; /* the datums one behind the other ... */
    size_t datums_room;
    size_t *ends; /* ... by where they end */
    struct span *spans;
};

/* Empties it for rows of `table` (settled). 0 or -ENOMEM. */
int batch_begin(struct batch *batch, struct table *table, enum export_rows rows);
/* Adds a row; the values are read by `reading`. With EXPORT_DATUMS `datum` is the row. 0 or
 * -ENOMEM, and the batch is not to be used any more. */
int batch_add(struct batch *batch, const struct table_reading *reading, struct span datum,
              int64_t time_ns, uint64_t arrival_ns);
/* For rows that are made of several: adds what the one row of `from`, sealed, has, from column
 * `first` on; batch_end_row ends the row. 0 or -ENOMEM. */
int batch_copy(struct batch *batch, uint32_t first, const struct batch *from);
void batch_end_row(struct batch *batch, int64_t time_ns, uint64_t arrival_ns);
/* Whether it is to be handed on. */
bool batch_is_full(const struct batch *batch);
/* Makes `of_format` what a format takes. 0 or -ENOMEM. */
int batch_seal(struct batch *batch);
void batch_free(struct batch *batch);

#endif
