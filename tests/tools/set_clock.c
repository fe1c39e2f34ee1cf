/* SPDX-License-Identifier: MIT
 * For LD_PRELOAD: the clocks that FLOTILLA_TEST_CLOCK names, a file with "AHEAD PASSED
 * SYNCHRONISED" in it. A program's wall clock is AHEAD seconds off; PASSED seconds more have passed
 * since the boot, as if the machine had been suspended; the clock counts as synchronised where the
 * last is 1. All from the moment on in which it stands there. Files keep the times of the real
 * clock. Each time the last is asked, a byte is added to the file of that name with ".asked" behind
 * it. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

struct clocks {
    long ahead, passed;
    int synchronised;
};

static struct clocks read_clocks(void)
{
    struct clocks clocks = {.ahead = 0};
    const char *name = getenv("FLOTILLA_TEST_CLOCK");
    FILE *file = name != NULL ? fopen(name, "re") : NULL;
    if (file != NULL) {
        if (fscanf(file, "%ld %ld %d", &clocks.ahead, &clocks.passed, &clocks.synchronised) != 3)
            abort();
        fclose(file);
    }
    return clocks;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = (int)syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME)) {
        struct clocks clocks = read_clocks();
        now->tv_sec += clocks.passed + (clock == CLOCK_REALTIME ? clocks.ahead : 0);
    }
    return status;
}

static void note_asked(void)
{
    char path[4096];
    const char *name = getenv("FLOTILLA_TEST_CLOCK");
    snprintf(path, sizeof(path), "%s.asked", name != NULL ? name : "");
    FILE *file = name != NULL ? fopen(path, "ae") : NULL;
    if (file != NULL) {
        fputc('.', file);
        fclose(file);
    }
}

int adjtimex(struct timex *about)
{
    note_asked();
    int state = (int)syscall(SYS_adjtimex, about);
    if (state < 0)
        return state;
    if (read_clocks().synchronised)
        about->status &= ~STA_UNSYNC;
    else
        about->status |= STA_UNSYNC;
    return read_clocks().synchronised ? TIME_OK : TIME_ERROR;
}
