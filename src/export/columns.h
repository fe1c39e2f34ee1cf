/* SPDX-License-Identifier: MIT
 * A table's columns, as they grow from the schemas of its files. Relies on schema/columns. */
#ifndef FLOTILLA_EXPORT_COLUMNS_H
#define FLOTILLA_EXPORT_COLUMNS_H

#include "export/format.h"
#include "schema/columns.h"

/* Makes `made` (all zero) of the columns of one schema, whose types, units and docs it points into.
 * 0 or -ENOMEM; freed by export_columns_free in any case. */
int export_columns_make(struct export_columns *made, const struct columns *from);

/* Whether the values of `other` can go into `columns`, by path and type: as they are, or if they
 * are widened. */
bool export_columns_fit(const struct export_columns *columns, const struct export_columns *other,
                        bool widened);
/* Widens `columns` for the values of `other`, which fit so; takes over what it needs of it. 0 or
 * -ENOMEM. */
int export_columns_widen(struct export_columns *columns, struct export_columns *other);

/* The place of the column with that path; EXPORT_COLUMN_NONE if there is none. Looked for from
 * `near` on, where columns that come in order are found at once. */
uint32_t export_columns_find(const struct export_columns *columns, const char *path, uint32_t near);

/* Bytes in memory of a row, without what varies; what varies counts 16. */
uint32_t export_columns_row_bytes(const struct export_columns *columns);

void export_columns_free(struct export_columns *columns);

#endif
