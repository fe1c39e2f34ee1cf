/* SPDX-License-Identifier: MIT
 * What Linux tells of its clocks beyond POSIX. */
#define _GNU_SOURCE
#include "os/clock.h"

#include <stdio.h>
#include <sys/prctl.h>
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

void clock_boot(char boot[CLOCK_BOOT_BYTES])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL || fscanf(file, "%39s", boot) != 1)
        boot[0] = '\0';
    if (file != NULL)
        fclose(file);
}

void clock_sleep_exactly(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}
