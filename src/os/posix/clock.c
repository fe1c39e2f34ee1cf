/* SPDX-License-Identifier: MIT
 * Clocks by clock_gettime(2), which the vDSO answers without a system call. */
#define _POSIX_C_SOURCE 200809L
#include "os/clock.h"

#include <time.h>

_Static_assert(sizeof(time_t) == 8, "times end in 2038: build with _TIME_BITS=64");

static uint64_t clock_read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_realtime_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

uint64_t clock_monotonic_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

void clock_sleep_until(uint64_t monotonic_ns)
{
    struct timespec until = {.tv_sec = (time_t)(monotonic_ns / NS_PER_S),
                             .tv_nsec = (long)(monotonic_ns % NS_PER_S)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}
