/* SPDX-License-Identifier: MIT
 * What formats share that are text, or have no lists: arrays and maps as JSON, names, and which
 * column is the time. Relies on export/format.h.
 *
 *     [1.5, "NaN", null]              what is no number of JSON as a string; a float by its own
 *     {"left": [1, 2]}                fewest digits; bytes as two hexadecimal digits each
 *     [{"x": 1, "pos.lat": 2.5}]      items of several columns as objects, keyed by the path below
 *                                     the item; what is not there is left out of them */
#ifndef FLOTILLA_EXPORT_CELL_H
#define FLOTILLA_EXPORT_CELL_H

#include "base/text.h"
#include "export/format.h"

/* Appends what an array or a map has in a row. */
void cell_add_items(struct text *text, const struct export_column *column,
                    const struct export_vector *vector, uint64_t row);

/* The value of a string, of bytes or fixed; the symbol of an enum. */
struct span cell_bytes(const struct export_column *column, const struct export_vector *vector,
                       uint64_t row);
struct span cell_symbol(const struct export_column *column, const struct export_vector *vector,
                        uint64_t row);

/* Appends a name of a file or the like, which may be no UTF-8, as some: '?' for what is none. */
void cell_add_name(struct text *text, const char *name);

/* Whether the row has a value. */
static inline bool cell_is_there(const struct export_column *column,
                                 const struct export_vector *vector, uint64_t row)
{
    return column->kind != EXPORT_NULL && (vector->valid == NULL || vector->valid[row] != 0);
}

/* How a file of this table calls its time: as the field that it is made of, where that column is
 * left out for it; else "time", or "t" where a column is called so. */
const char *cell_time_name(const struct export_table *table);
/* Whether the column is left out because the time says all that it does. */
bool cell_is_time(const struct export_table *table, uint32_t column);

#endif
