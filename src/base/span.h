/* SPDX-License-Identifier: MIT
 * A run of bytes somebody else owns: an address and a length, nothing more.
 * Relies on nothing. A span never frees what it points to. */
#ifndef FLOTILLA_BASE_SPAN_H
#define FLOTILLA_BASE_SPAN_H

#include <stddef.h>
#include <stdint.h>

struct span {
    const uint8_t *at; /* may be NULL when bytes is 0 */
    size_t bytes;
};

#endif
