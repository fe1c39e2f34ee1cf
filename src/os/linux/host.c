/* SPDX-License-Identifier: MIT
 * Randomness by getrandom(2). */
#define _GNU_SOURCE
#include "os/host.h"

#include <errno.h>
#include <sys/random.h>

int host_random(void *out, size_t bytes)
{
    unsigned char *at = out;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}
