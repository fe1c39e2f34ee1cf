/* SPDX-License-Identifier: MIT
 * Descriptors handed down by whoever started the process. Source: sd_listen_fds(3), the
 * LISTEN_PID / LISTEN_FDS / LISTEN_FDNAMES convention. */
#ifndef FLOTILLA_OS_INHERIT_H
#define FLOTILLA_OS_INHERIT_H

#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"

/* The names a relay knows. */
#define INHERIT_RECEIVE  "receive"  /* the bound socket */
#define INHERIT_MEMORY   "memory"   /* the channel's shared memory, channel/staging.h */
#define INHERIT_DRAINING "draining" /* the socket before: what waits in it is to be taken first */

/* And flotilla-keeper. */
#define INHERIT_REQUESTS "requests" /* the socket it takes requests from */

/* The inherited descriptor of that name, close-on-exec set, or -1. */
descriptor_t inherit_descriptor(const char *name);
/* The descriptor handed down as number `index`, counted from 0, close-on-exec set, and its name
 * (cut to `name_bytes`); -1 behind the last. */
descriptor_t inherit_numbered(uint32_t index, char *name, size_t name_bytes);
/* Lets other processes of our owner copy them (process_take_descriptor) also where the system keeps
 * that to our ancestors: a manager that takes us over is none. Source: prctl(2), PR_SET_PTRACER.
 */
void inherit_share(void);

#endif
