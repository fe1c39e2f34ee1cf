/* SPDX-License-Identifier: MIT
 * A recording as a scan reads it, past the page cache: what is read once in the background is not
 * to take the place of what others use, and costs a copy less. Relies on os/direct. */
#ifndef FLOTILLA_OVERVIEW_PAST_CACHE_H
#define FLOTILLA_OVERVIEW_PAST_CACHE_H

#include "archive/scan.h"
#include "os/direct.h"

struct past_cache {
    struct direct_file file;    /* descriptor -1: none */
    struct scan_source of_scan; /* its context is this struct, which must not move */
    uint8_t *pages;             /* what was read last: file bytes [from, from + count) */
    uint64_t from;
    size_t count;
};

/* Opens `path`, and a scan of it. 0; -EOPNOTSUPP where it cannot be read past the cache: then
 * archive/source does; or another negative errno of it or of scan_open, with a text in `error`.
 * scan_close and past_cache_close in any case. */
int past_cache_scan(struct past_cache *past, struct scan **scan, const char *path, char *error,
                    size_t error_bytes);
void past_cache_close(struct past_cache *past);

#endif
