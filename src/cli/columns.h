/* SPDX-License-Identifier: MIT
 * A schema's columns, shown: what `flotilla schema` tells of them. */
#ifndef FLOTILLA_CLI_COLUMNS_H
#define FLOTILLA_CLI_COLUMNS_H

#include <jansson.h>

#include "schema/columns.h"

/* Prints a table of path, type, unit and doc on stdout: a row for each column but arrays and maps,
 * which are shown by their items. */
void columns_print(const struct columns *columns);

/* Sets "columns", all of them, and "recursive", the paths that lead back, in `object`. Both are
 * null without columns. */
void columns_add_json(const struct columns *columns, json_t *object);

#endif
