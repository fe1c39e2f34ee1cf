/* SPDX-License-Identifier: MIT
 * What of a schema cannot be compiled, found early enough to be told with its place. Only for the
 * files of schema/. */
#ifndef FLOTILLA_SCHEMA_COMPILE_H
#define FLOTILLA_SCHEMA_COMPILE_H

#include "schema/schema.h"

/* The type for which schema_compile would refuse the schema whatever it is used for, with the
 * reason in `error`; NULL: none. */
const struct schema *compile_check(const struct schema_file *file, char *error, size_t error_bytes);

#endif
