/* SPDX-License-Identifier: MIT
 * The two clocks. Realtime names and stamps; monotonic measures and times out, so that a step of
 * the realtime clock disturbs nothing. Sources: clock_gettime(2), adjtimex(2). */
#ifndef FLOTILLA_OS_CLOCK_H
#define FLOTILLA_OS_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

uint64_t clock_realtime_ns(void);  /* since 1970, UTC */
uint64_t clock_monotonic_ns(void); /* since some start */
/* Since the machine was started, the time that it was suspended included. Nobody can set it. */
uint64_t clock_uptime_ns(void);
/* Whether the system was told lately by something better than itself how late it is; false where
 * that cannot be known. */
bool clock_is_synchronised(void);
#define CLOCK_BOOT_BYTES 40
/* Writes what tells this start of the machine from every other one, without blanks; "" where that
 * cannot be known. */
void clock_boot(char boot[CLOCK_BOOT_BYTES]);
/* Sleeps until that monotonic instant or a signal. */
void clock_sleep_until(uint64_t monotonic_ns);
/* Has sleeps of the calling thread end as exactly as the system can, where it would else join them
 * with others' to save power. Source: PR_SET_TIMERSLACK, 50 us by default. */
void clock_sleep_exactly(void);

#endif
