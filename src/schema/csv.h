/* SPDX-License-Identifier: MIT
 * Datums as lines of CSV, a column for each of schema/columns, in its order.
 *
 *     time,position.lat [deg],state,note,tracks     the heading: paths, with units
 *     1700000000000,52.5,RUNNING,"a ""b""",[]       numbers by the fewest digits that read back;
 *     1700000000001,-inf,IDLE,,[1.5, null]          a float by those of a float; nothing where
 *                                                   there is nothing, an empty string as ""
 *
 * Bytes and fixed are two hexadecimal digits a byte, arrays and maps JSON as columns_write_json has
 * it. Lines end in CR LF; of a single column nothing is "", too, so that no line is empty. The
 * datum itself, where it is no record, is called "value".
 * Source: RFC 4180. Relies on schema/json. */
#ifndef FLOTILLA_SCHEMA_CSV_H
#define FLOTILLA_SCHEMA_CSV_H

#include "base/span.h"
#include "base/text.h"
#include "schema/columns.h"

/* What cells are made of. Text of any kind, in quotes if it is not itself without; two digits a
 * byte; a number: 0.1, -0.0, 1e+16, NaN, inf, -inf, which readers that guess types take for one. */
void csv_add_text(struct text *text, struct span value);
void csv_add_hex(struct text *text, struct span bytes);
void csv_add_double(struct text *text, double value);
void csv_add_float(struct text *text, float value);

void csv_add_heading(const struct columns *columns, struct text *text);

/* A line. `values` has columns->value_room, the first columns->count of them filled by
 * columns_read. */
void csv_add_row(const struct columns *columns, struct column_value *values, struct text *text);

#endif
