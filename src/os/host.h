/* SPDX-License-Identifier: MIT
 * What this machine is called, its randomness, and who we are on it. Sources: gethostname(2),
 * getrandom(2), getpid(2). */
#ifndef FLOTILLA_OS_HOST_H
#define FLOTILLA_OS_HOST_H

#include <stddef.h>

/* The host's name, "unknown" where it has none. */
void host_name(char *name, size_t bytes);
/* Fills `out` with random bytes from the kernel. 0 or a negative errno. */
int host_random(void *out, size_t bytes);
/* The id of this process. */
long host_process(void);

#endif
