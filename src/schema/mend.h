/* SPDX-License-Identifier: MIT
 * Makes JSON that jansson takes of what other readers take as well, for the schemas in headers of
 * files. Only for schema.c. */
#ifndef FLOTILLA_SCHEMA_MEND_H
#define FLOTILLA_SCHEMA_MEND_H

#include <stddef.h>
#include <stdint.h>

/* Changes `text` in place, behind which a NUL stands, so that every byte keeps its line and column:
 * comments become blanks; letters that are not UTF-8 become '?'; surrogates without their other
 * half, and NULs, become U+FFFD; NaN, Infinity and numbers beyond 64 bits or a double become 0 or
 * -1, for no reader of datums needs them. What is no JSON for another reason stays as it is. */
void mend_json(uint8_t *text, size_t bytes);

#endif
