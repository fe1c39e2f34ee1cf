/* SPDX-License-Identifier: MIT
 * Descriptors handed down by whoever started the process. Source: sd_listen_fds(3), the
 * LISTEN_PID / LISTEN_FDS / LISTEN_FDNAMES convention. */
#ifndef FLOTILLA_OS_INHERIT_H
#define FLOTILLA_OS_INHERIT_H

/* The names a relay knows. */
#define INHERIT_RECEIVE   "receive"   /* the bound socket */
#define INHERIT_FULL      "full"      /* sender of the full-rate stream */
#define INHERIT_DECIMATED "decimated" /* sender of the decimated stream */
#define INHERIT_MEMORY    "memory"    /* the channel's shared memory, channel/staging.h */

/* The inherited descriptor of that name, close-on-exec set, or -1. */
int inherit_descriptor(const char *name);

#endif
