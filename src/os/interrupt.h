/* SPDX-License-Identifier: MIT
 * Being asked to stop: SIGINT, SIGTERM and SIGHUP set a flag and
 * make a descriptor readable, nothing else. Source: signal(7). */
#ifndef FLOTILLA_OS_INTERRUPT_H
#define FLOTILLA_OS_INTERRUPT_H

#include <stdbool.h>

/* Makes the three signals set the flag; system calls that wait are interrupted by them. SIGPIPE is
 * ignored. */
void interrupt_install(void);
/* Whether one has come. */
bool interrupt_seen(void);
/* Does what the signals do: for a thread that finds a reason to end. */
void interrupt_raise(void);
/* A descriptor that is readable once one has come, for waits that must not miss it (net_wait); -1
 * before interrupt_install. */
int interrupt_descriptor(void);

#endif
