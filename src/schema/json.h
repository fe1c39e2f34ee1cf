/* SPDX-License-Identifier: MIT
 * Prints a datum as JSON, as people and scripts read it: unions as their plain value, bytes and
 * fixed as strings with one character \u0000 to \u00ff a byte, NaN and infinities as strings.
 * Relies on a schema tree and on nothing the bytes claim: bounded and depth-limited by itself. */
#ifndef FLOTILLA_SCHEMA_JSON_H
#define FLOTILLA_SCHEMA_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "avro/datum.h"
#include "base/text.h"
#include "schema/columns.h"
#include "schema/schema.h"

/* Appends `value` as a JSON string with its quotes. `value` is UTF-8. */
void json_add_string(struct text *text, struct span value);
/* The same of any bytes, with one character \u0000 to \u00ff for each. */
void json_add_bytes(struct text *text, struct span value);
/* A number, with the fewest digits that read back to the same double; NaN and infinities as
 * strings.
 */
void json_add_real(struct text *text, double value);

/* Appends the datum at the start of `bytes` as one JSON value without line breaks, and sets
 * `*datum_bytes` to its length. Takes exactly the datums that datum_check takes; on a fault returns
 * the reason, with `*datum_bytes` the fault's offset and `text` as it was before. Numbers are
 * written with the fewest digits that read back to the same double; a float counts as its double.
 */
enum reject datum_write_json(const struct schema *schema, struct span bytes, size_t *datum_bytes,
                             struct text *text);

/* Appends the values of a datum as one JSON value, in which they stand where they do in what
 * datum_write_json prints, so that a program that looks for them finds them in both. It has all the
 * columns whatever the datum: what is not present is null. A record or a union that may be null is
 * null where nothing in it is present. `values` has columns->value_room, the first columns->count
 * of them filled by columns_read. */
void columns_write_json(const struct columns *columns, struct column_value *values,
                        struct text *text);
/* The same of one of the columns alone: `null` where it is not present. */
void columns_write_value(const struct columns *columns, struct column_value *values, uint32_t index,
                         struct text *text);
/* The same of the items of a column's value, which is present. `room` is for values behind those of
 * the column's datum. */
void columns_write_items(const struct column *column, const struct column_value *value,
                         struct column_value *room, struct text *text);

#endif
