/* SPDX-License-Identifier: MIT
 * Text of the system's in JSON. Names of files, folders, interfaces and hosts are bytes, which need
 * not be UTF-8, and jansson makes nothing at all of such bytes: an answer would be missing as a
 * whole. Source: the Unicode Standard, 3.9, on U+FFFD. */
#ifndef FLOTILLA_CONTROL_JSON_TEXT_H
#define FLOTILLA_CONTROL_JSON_TEXT_H

#include <stddef.h>

#include <jansson.h>

/* A JSON string of `bytes` at `text`; each byte that is not part of a character in UTF-8 becomes
 * U+FFFD. NULL only where memory runs out. */
json_t *json_of_bytes(const char *text, size_t bytes);
/* The same of a whole text; JSON's null of NULL. */
json_t *json_of_text(const char *text);

#endif
