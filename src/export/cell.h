/* SPDX-License-Identifier: MIT
 * A row's value in a column as text: the cell of a CSV file, and what formats without lists have
 * for arrays and maps. Relies on export/format.h and base/digits.
 *
 *     true, -7, 0.1, NaN, -inf, ON     numbers by the fewest digits that read back to the same;
 *                                     an enum by its symbol; a string as it is
 *     00ff7e                          bytes and fixed: two hexadecimal digits a byte
 *     [1.5, "NaN", null]              arrays and maps as JSON, what is no number of JSON as a
 *     {"left": [1, 2]}                string. Items of several columns are objects, keyed by the
 *     [{"x": 1, "pos.lat": 2.5}]      path below the item; what is not there is left out of them */
#ifndef FLOTILLA_EXPORT_CELL_H
#define FLOTILLA_EXPORT_CELL_H

#include "base/text.h"
#include "export/format.h"

/* Appends the value of row `row`. Nothing where it has none. */
void cell_add(struct text *text, const struct export_column *column,
              const struct export_vector *vector, uint64_t row);

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
