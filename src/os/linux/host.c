/* SPDX-License-Identifier: MIT
 * The host's name, randomness, and our number. */
#define _GNU_SOURCE
#include "os/host.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

void host_name(char *name, size_t bytes)
{
    if (gethostname(name, bytes) < 0 || name[0] == '\0')
        snprintf(name, bytes, "unknown");
    name[bytes - 1] = '\0';
}

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

long host_process(void)
{
    return getpid();
}
