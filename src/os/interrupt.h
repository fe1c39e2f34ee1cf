/* SPDX-License-Identifier: MIT
 * Being asked to stop: SIGINT, SIGTERM and SIGHUP set a flag, nothing else. Source: signal(7). */
#ifndef FLOTILLA_OS_INTERRUPT_H
#define FLOTILLA_OS_INTERRUPT_H

#include <stdbool.h>

/* Makes the three signals set the flag; system calls that wait are interrupted by them. SIGPIPE is
 * ignored. */
void interrupt_install(void);
/* The same, and blocks the three in this thread and those it starts: they then arrive only inside
 * net_wait, so that none is missed between a look at the flag and the wait. */
void interrupt_install_blocked(void);
/* Whether one has come. */
bool interrupt_seen(void);

#endif
