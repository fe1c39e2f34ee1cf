/* SPDX-License-Identifier: MIT
 * How a relay lays its blocks out: decided once from its folder, before the first datagram, and
 * given to both threads. */
#ifndef FLOTILLA_RELAY_BLOCK_FORMAT_H
#define FLOTILLA_RELAY_BLOCK_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

struct block_format {
    uint32_t alignment; /* bytes: a multiple of it is what a finished block takes */
    uint32_t room;      /* the most bytes of a finished block */
    bool page_rewrite;  /* an open block that fits a page may be written to its place again */
};

#endif
