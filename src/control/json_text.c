/* SPDX-License-Identifier: MIT
 * Bytes as JSON strings. Relies on base/utf8. */
#include "control/json_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
enum { REPLACEMENT_BYTES = sizeof replacement - 1, CHARACTER_BYTES_MAX = 4 };

/* Bytes of the character that `text` begins with; 0 if it is none. */
static size_t character_bytes(const char *text, size_t bytes)
{
    const uint8_t *at = (const uint8_t *)text;
    for (size_t n = 1; n <= CHARACTER_BYTES_MAX && n <= bytes; n++)
        if (utf8_valid(at, at + n))
            return n;
    return 0;
}

json_t *json_of_bytes(const char *text, size_t bytes)
{
    const uint8_t *at = (const uint8_t *)text;
    if (bytes == 0 || utf8_valid(at, at + bytes))
        return json_stringn(text, bytes);
    char *whole = malloc(bytes * REPLACEMENT_BYTES);
    size_t used = 0;
    if (whole == NULL)
        return NULL;
    for (size_t i = 0; i < bytes;) {
        size_t taken = character_bytes(text + i, bytes - i);
        const char *from = taken > 0 ? text + i : replacement;
        size_t more = taken > 0 ? taken : REPLACEMENT_BYTES;
        memcpy(whole + used, from, more);
        used += more;
        i += taken > 0 ? taken : 1;
    }
    json_t *string = json_stringn(whole, used);
    free(whole);
    return string;
}

json_t *json_of_text(const char *text)
{
    return text == NULL ? json_null() : json_of_bytes(text, strlen(text));
}
