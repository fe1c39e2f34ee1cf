/* SPDX-License-Identifier: MIT
 * The option --fields. Relies on schema/columns. */
#include "command/fields.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command/usage.h"

bool fields_parse(struct fields *fields, const char *verb)
{
    if (fields->given == NULL)
        return true;
    size_t bytes = strlen(fields->given) + 1, count = 1;
    for (const char *at = fields->given; *at != '\0'; at++)
        count += *at == ',';
    fields->text = malloc(bytes);
    fields->paths = calloc(count, sizeof(char *));
    if (fields->text == NULL || fields->paths == NULL) {
        fprintf(stderr, "flotilla %s: %s\n", verb, strerror(ENOMEM));
        return false;
    }
    memcpy(fields->text, fields->given, bytes);
    for (char *at = fields->text; at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL)
            *comma++ = '\0';
        if (*at == '\0') {
            verb_usage(verb, "--fields takes names joined by commas, not \"%s\"", fields->given);
            return false;
        }
        fields->paths[fields->count++] = at;
        at = comma;
    }
    return true;
}

static void end(struct fields *fields)
{
    columns_free(fields->columns);
    free(fields->values);
    fields->columns = NULL;
    fields->values = NULL;
}

bool fields_begin(struct fields *fields, const struct schema_file *schema, char *error,
                  size_t error_bytes)
{
    end(fields);
    fields->schema = schema;
    if (fields->given == NULL)
        return true;
    if (columns_select(schema, fields->paths, fields->count, &fields->columns, error, error_bytes) <
        0)
        return false;
    fields->values = calloc(fields->columns->value_room, sizeof(struct column_value));
    if (fields->values == NULL)
        snprintf(error, error_bytes, "%s", strerror(ENOMEM));
    return fields->values != NULL;
}

enum reject fields_write(struct fields *fields, struct span bytes, size_t *datum_bytes,
                         struct text *text)
{
    if (fields->given == NULL)
        return datum_write_json(schema_root(fields->schema), bytes, datum_bytes, text);
    enum reject reason = columns_read(fields->columns, bytes, datum_bytes, fields->values);
    if (reason == REJECT_NONE)
        columns_write_json(fields->columns, fields->values, text);
    return reason;
}

void fields_free(struct fields *fields)
{
    end(fields);
    free(fields->paths);
    free(fields->text);
}
