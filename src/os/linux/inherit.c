/* SPDX-License-Identifier: MIT
 * LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; the descriptors start at 3. */
#include "os/inherit.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { INHERIT_FIRST = 3, INHERIT_MAX = 64 };

int inherit_descriptor(const char *name)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count_text = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (pid == NULL || count_text == NULL || names == NULL || strtol(pid, NULL, 10) != getpid())
        return -1;
    long count = strtol(count_text, NULL, 10);
    size_t wanted = strlen(name);
    for (int at = 0; at < count && at < INHERIT_MAX; at++) {
        size_t bytes = strcspn(names, ":");
        if (bytes == wanted && memcmp(names, name, bytes) == 0) {
            /* One that is not there is found out by its use: a relay that was promised its
             * channel's memory must not go on with another. */
            fcntl(INHERIT_FIRST + at, F_SETFD, FD_CLOEXEC);
            return INHERIT_FIRST + at;
        }
        names += bytes;
        if (*names == ':')
            names++;
    }
    return -1;
}
