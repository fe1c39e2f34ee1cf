/* SPDX-License-Identifier: MIT
 * LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES; the descriptors start at 3. */
#define _POSIX_C_SOURCE 200809L
#include "os/inherit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INHERIT_FIRST 3
#define INHERIT_MAX   65536

descriptor_t inherit_numbered(uint32_t index, char *name, size_t name_bytes)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count_text = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    if (pid == NULL || count_text == NULL || names == NULL || strtol(pid, NULL, 10) != getpid())
        return -1;
    long count = strtol(count_text, NULL, 10);
    if (count > INHERIT_MAX || (long)index >= count)
        return -1;
    for (uint32_t at = 0; at < index && *names != '\0'; at++) {
        names += strcspn(names, ":");
        names += *names == ':';
    }
    snprintf(name, name_bytes, "%.*s", (int)strcspn(names, ":"), names);
    int descriptor = INHERIT_FIRST + (int)index;
    fcntl(descriptor, F_SETFD, FD_CLOEXEC); /* one that is not there fails where it is used */
    return descriptor;
}

descriptor_t inherit_descriptor(const char *name)
{
    char found[256];
    for (uint32_t at = 0; at < INHERIT_MAX; at++) {
        int descriptor = inherit_numbered(at, found, sizeof(found));
        if (descriptor < 0 || strcmp(found, name) == 0)
            return descriptor;
    }
    return -1;
}
