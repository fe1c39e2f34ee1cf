/* SPDX-License-Identifier: MIT
 * What Linux tells of its clocks beyond POSIX. */
#define _GNU_SOURCE
#include "os/clock.h"

#include <sys/timex.h>
#include <time.h>

uint64_t clock_uptime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

bool clock_is_synchronised(void)
{
    struct timex about = {.modes = 0};
    int state = adjtimex(&about);
    return state >= 0 && state != TIME_ERROR && (about.status & STA_UNSYNC) == 0;
}
