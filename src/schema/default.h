/* SPDX-License-Identifier: MIT
 * Whether a field's default is a value of the field's type. Relies on jansson and schema/report.h.
 * Source: Avro 1.11 specification ("Schema Declaration", the table of field default values). */
#ifndef FLOTILLA_SCHEMA_DEFAULT_H
#define FLOTILLA_SCHEMA_DEFAULT_H

#include <stdbool.h>

#include <jansson.h>

#include "schema/report.h"

/* Reports what is wrong with `value`, which stands where `report` is. `type` may have parts that
 * are NULL because they were refused already; nothing is said about those. `integers_are_real`: the
 * JSON was read with whole numbers as reals. */
void schema_check_default(struct report *report, const struct schema *type, const json_t *value,
                          bool integers_are_real);

#endif
