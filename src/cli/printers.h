/* SPDX-License-Identifier: MIT
 * Datums as text on standard output, in order, by as many threads as there are processors for: the
 * caller reads and checks datums and hands them in; batches of them are printed to memory by
 * whoever is free, the caller as well when there is nothing better to do, and written by the
 * caller, whole and one after the other. Memory: PRINTERS_SLOTS batches and their text. Relies on
 * schema/json, schema/csv and os/thread. */
#ifndef FLOTILLA_CLI_PRINTERS_H
#define FLOTILLA_CLI_PRINTERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"
#include "schema/columns.h"

struct printers;

struct printers_form {
    const char *const *fields; /* dotted paths, which must outlive it; all fields where ... */
    size_t field_count;        /* ... there are none */
    bool csv;                  /* lines of CSV with a heading (schema/csv.h), else of JSON */
};

/* NULL without memory. Freed by printers_close, which prints nothing any more. */
struct printers *printers_open(const struct printers_form *form);

/* The datums to come are of the schema with this text, which need not stay; `at_once`: each is
 * printed as it comes, for who waits for the next. What was added is printed before. 0; -EINVAL, or
 * another negative errno, with a message for people in `error` where it has not the fields, or
 * where its columns are not those of the CSV that was begun; -EIO: the output takes no more. */
int printers_begin(struct printers *printers, struct span schema, bool at_once, char *error,
                   size_t error_bytes);
/* The columns at hand; NULL for JSON of whole datums. */
const struct columns *printers_columns(const struct printers *printers);

/* Takes a copy of a datum, valid by the schema. False where the output takes no more or there is no
 * memory, which is told. */
bool printers_add(struct printers *printers, struct span datum);

/* Prints what was added and hands it to the system. False as for printers_add. */
bool printers_flush(struct printers *printers);

void printers_close(struct printers *printers);

#endif
