/* SPDX-License-Identifier: MIT
 * Looking for bytes among bytes. Relies on nothing. */
#ifndef FLOTILLA_BASE_FIND_H
#define FLOTILLA_BASE_FIND_H

#include <string.h>

#include "base/span.h"

/* Where `wanted` (1 byte at least) stands first in `span`; NULL: nowhere. */
static inline const uint8_t *find_bytes(struct span span, struct span wanted)
{
    const uint8_t *at = span.at;
    for (size_t left = span.bytes; left >= wanted.bytes;
         left = span.bytes - (size_t)(at - span.at)) {
        at = memchr(at, wanted.at[0], left - wanted.bytes + 1);
        if (at == NULL || memcmp(at, wanted.at, wanted.bytes) == 0)
            return at;
        at++;
    }
    return NULL;
}

#endif
