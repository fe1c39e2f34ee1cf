/* SPDX-License-Identifier: MIT
 * The option --fields: datums as JSON with some of their fields only. Relies on schema/columns and
 * schema/json. */
#ifndef FLOTILLA_COMMAND_FIELDS_H
#define FLOTILLA_COMMAND_FIELDS_H

#include <stdbool.h>

#include "schema/columns.h"
#include "schema/json.h"

/* All zero to begin with. */
struct fields {
    const char *given; /* dotted paths joined by commas, from the command line; NULL: all fields */
    char *text;        /* the same, taken apart */
    const char **paths;
    size_t count;
    const struct schema_file *schema; /* of the datums to come */
    const struct columns *columns;
    struct column_value *values;
};

/* Takes `given` apart. False after telling what is wrong with it (verb_usage of `verb`), or that
 * there is no memory. */
bool fields_parse(struct fields *fields, const char *verb);

/* The datums from here on are of `schema`, which must outlive them. False if it has not all of the
 * fields, with a message for people in `error`. */
bool fields_begin(struct fields *fields, const struct schema_file *schema, char *error,
                  size_t error_bytes);

/* As datum_write_json, with the given fields only (columns_write_json). */
enum reject fields_write(struct fields *fields, struct span bytes, size_t *datum_bytes,
                         struct text *text);

void fields_free(struct fields *fields);

#endif
