/* SPDX-License-Identifier: MIT
 * Whether bytes are UTF-8. Relies on nothing. Inline, because every string of every datum passes.
 * Source: RFC 3629. */
#ifndef FLOTILLA_BASE_UTF8_H
#define FLOTILLA_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UTF8_HIGH_BITS 0x8080808080808080ull

/* Whether all bytes are below 0x80; by words, for most text is. */
static inline bool utf8_is_ascii(const uint8_t *at, size_t bytes)
{
    uint64_t word, found = 0;
    if (bytes < 8) {
        for (size_t i = 0; i < bytes; i++)
            found |= at[i];
        return !(found & 0x80);
    }
    for (size_t i = 0; i + 8 < bytes; i += 8) {
        memcpy(&word, at + i, 8);
        found |= word;
    }
    memcpy(&word, at + bytes - 8, 8); /* may overlap the one before */
    return !((found | word) & UTF8_HIGH_BITS);
}

/* Whether [at, end) is UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
static inline bool utf8_valid(const uint8_t *at, const uint8_t *end)
{
    if (utf8_is_ascii(at, (size_t)(end - at)))
        return true;
    while (at < end) {
        if (end - at >= 8) {
            uint64_t word;
            memcpy(&word, at, 8);
            if (!(word & UTF8_HIGH_BITS)) {
                at += 8;
                continue;
            }
        }
        uint8_t lead = *at++;
        if (lead < 0x80)
            continue;
        unsigned more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || (size_t)(end - at) < more)
            return false;
        if ((lead == 0xe0 && at[0] < 0xa0) || (lead == 0xed && at[0] > 0x9f) ||
            (lead == 0xf0 && at[0] < 0x90) || (lead == 0xf4 && at[0] > 0x8f))
            return false;
        for (unsigned i = 0; i < more; i++)
            if ((at[i] & 0xc0) != 0x80)
                return false;
        at += more;
    }
    return true;
}

/* Text that comes in pieces: all zero to begin with, `more` 0 where a letter ends. */
struct utf8_state {
    uint8_t more;      /* bytes that the letter lacks */
    uint8_t low, high; /* what the next one of them may be */
};

/* Whether it can be UTF-8 still with these bytes behind those before. */
static inline bool utf8_carry(struct utf8_state *state, const uint8_t *at, size_t bytes)
{
    if (state->more == 0 && utf8_is_ascii(at, bytes))
        return true;
    for (size_t i = 0; i < bytes; i++) {
        if (state->more > 0) {
            if (at[i] < state->low || at[i] > state->high)
                return false;
            *state = (struct utf8_state){(uint8_t)(state->more - 1), 0x80, 0xbf};
        } else if (at[i] >= 0x80) {
            if (at[i] < 0xc2 || at[i] > 0xf4)
                return false;
            state->more = at[i] >= 0xf0 ? 3 : at[i] >= 0xe0 ? 2 : 1;
            state->low = at[i] == 0xe0 ? 0xa0 : at[i] == 0xf0 ? 0x90 : 0x80;
            state->high = at[i] == 0xed ? 0x9f : at[i] == 0xf4 ? 0x8f : 0xbf;
        }
    }
    return true;
}

#endif
