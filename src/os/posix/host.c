/* SPDX-License-Identifier: MIT
 * The host's name, and our number. */
#define _POSIX_C_SOURCE 200809L
#include "os/host.h"

#include <stdio.h>
#include <unistd.h>

void host_name(char *name, size_t bytes)
{
    if (gethostname(name, bytes) < 0 || name[0] == '\0')
        snprintf(name, bytes, "unknown");
    name[bytes - 1] = '\0';
}

long host_process(void)
{
    return getpid();
}
