/* SPDX-License-Identifier: MIT
 * One pass over the text, which need not be JSON at all. Relies on the C locale, for strtod.
 * What Java (Jackson), Python and Go take beyond RFC 8259 was tried with each of them. */
#include "schema/mend.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define INTEGER_DIGITS_MAX 18u /* so many fit 64 bits for sure */
#define ESCAPE_BYTES       6   /* \uXXXX */

/* The number of the escape at `at`, or -1 if none stands there. */
static int escaped(const uint8_t *at, const uint8_t *end)
{
    int value = 0;
    if (end - at < ESCAPE_BYTES || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < ESCAPE_BYTES; i++) {
        uint8_t c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* Behind the escape at `at`, made one that stands for a letter. */
static uint8_t *mend_escape(uint8_t *at, const uint8_t *end)
{
    int value = escaped(at, end);
    if (value < 0)
        return end - at < 2 ? at + 1 : at + 2;
    if (value >= 0xd800 && value < 0xdc00) {
        int low = escaped(at + ESCAPE_BYTES, end);
        if (low >= 0xdc00 && low < 0xe000)
            return at + 2 * ESCAPE_BYTES;
    }
    if (value == 0 || (value >= 0xd800 && value < 0xe000))
        memcpy(at + 2, "fffd", 4);
    return at + ESCAPE_BYTES;
}

/* Behind the letter at `at`. */
static uint8_t *mend_letter(uint8_t *at, const uint8_t *end)
{
    size_t bytes = *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : 2;
    if (*at < 0x80)
        return at + 1;
    if ((size_t)(end - at) >= bytes && utf8_valid(at, at + bytes))
        return at + bytes;
    *at = '?';
    return at + 1;
}

static uint8_t *mend_string(uint8_t *at, const uint8_t *end)
{
    for (at++; at < end && *at != '"';)
        at = *at == '\\' ? mend_escape(at, end) : mend_letter(at, end);
    return at < end ? at + 1 : at;
}

static uint8_t *blank_comment(uint8_t *at, const uint8_t *end)
{
    uint8_t *behind = at + 2;
    if (at[1] == '/') {
        while (behind < end && *behind != '\n')
            behind++;
    } else {
        while (end - behind >= 2 && memcmp(behind, "*/", 2) != 0)
            behind++;
        behind += end - behind >= 2 ? 2 : end - behind;
    }
    for (; at < behind; at++)
        if (*at != '\n')
            *at = ' ';
    return behind;
}

static bool is_in_word(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '+' || byte == '.';
}

/* Puts `word` and blanks in the place of [at, end). */
static void replace(uint8_t *at, const uint8_t *end, const char *word)
{
    memset(at, ' ', (size_t)(end - at));
    memcpy(at, word, strlen(word));
}

/* A number, true, NaN ... */
static uint8_t *mend_word(uint8_t *at, const uint8_t *end)
{
    static const char *const words[] = {"NaN", "Infinity", "-Infinity"};
    uint8_t *behind = at;
    size_t digits = 0, others = 0;
    for (; behind < end && is_in_word(*behind); behind++)
        *behind >= '0' && *behind <= '9' ? digits++ : others++;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if ((size_t)(behind - at) == strlen(words[i]) &&
            memcmp(at, words[i], strlen(words[i])) == 0) {
            replace(at, behind, "0");
            return behind;
        }
    if (digits == 0 || (*at != '-' && (*at < '0' || *at > '9')))
        return behind;
    bool integer = others == (*at == '-');
    if (integer ? digits > INTEGER_DIGITS_MAX : isinf(strtod((const char *)at, NULL)))
        replace(at, behind, "-1");
    return behind;
}

void mend_json(uint8_t *text, size_t bytes)
{
    const uint8_t *end = text + bytes;
    for (uint8_t *at = text; at < end;) {
        if (*at == '"')
            at = mend_string(at, end);
        else if (*at == '/' && end - at >= 2 && (at[1] == '/' || at[1] == '*'))
            at = blank_comment(at, end);
        else if (is_in_word(*at))
            at = mend_word(at, end);
        else
            at++;
    }
}
