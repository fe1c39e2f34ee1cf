/* SPDX-License-Identifier: MIT
 * Being asked to end: SIGINT, SIGTERM and SIGHUP set a flag and make a descriptor readable, nothing
 * else. SIGUSR1 does so too, and says that another process is to go on at once from where this one
 * is; one of the others, before or after, takes that back. Source: signal(7). */
#ifndef FLOTILLA_OS_INTERRUPT_H
#define FLOTILLA_OS_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

#include "os/descriptor.h"

/* Makes the signals set the flag, also those that came before, if whoever started us blocked them
 * (os/process.h); system calls that wait are interrupted by them. SIGPIPE is ignored. */
void interrupt_install(void);
/* Has SIGPIPE do again what it did before that: for a program whose reader may go, and which then
 * ends without a word, unless whoever started it ignores the signal. */
void interrupt_leave_pipes(void);
/* Whether one has come. */
bool interrupt_seen(void);
/* Whether this process is to hand over, not to finish. */
bool interrupt_hands_over(void);
/* Ends the waits for an interrupt (net_wait), now and from here on, and no more: for a thread that
 * has a reason of its own for another to look up. */
void interrupt_wake(void);
/* Waits until one has come, at most so long. */
void interrupt_wait(uint64_t timeout_ns);
/* For net_wait: a descriptor that is readable once one has come, or interrupt_wake was called;
 * DESCRIPTOR_NONE before interrupt_install. */
descriptor_t interrupt_descriptor(void);

#endif
