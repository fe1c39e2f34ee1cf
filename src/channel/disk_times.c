/* SPDX-License-Identifier: MIT
 * Bounds as people read them: 1, 2.5 and 5 of each power of ten. */
#include "channel/disk_times.h"

#include <stdio.h>

const uint32_t disk_times_bounds_us[DISK_TIMES_BOUNDS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   25000,
    50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000,
};

static void add(_Atomic uint64_t *to, uint64_t more)
{
    uint64_t now = atomic_load_explicit(to, memory_order_relaxed);
    atomic_store_explicit(to, now + more, memory_order_relaxed);
}

void disk_times_add(struct disk_times *times, uint64_t took_ns)
{
    uint32_t i = 0;
    while (i < DISK_TIMES_BOUNDS && took_ns > disk_times_bounds_us[i] * UINT64_C(1000))
        i++;
    add(&times->count[i], 1);
    add(&times->sum_ns, took_ns);
}

char *disk_times_bound(char text[DISK_TIMES_TEXT_BYTES], uint32_t bound)
{
    uint32_t us = bound < DISK_TIMES_BOUNDS ? disk_times_bounds_us[bound] : 0;
    if (us == 0)
        snprintf(text, DISK_TIMES_TEXT_BYTES, "+Inf");
    else if (us % 1000000 == 0) /* OpenMetrics has whole numbers so */
        snprintf(text, DISK_TIMES_TEXT_BYTES, "%u.0", us / 1000000);
    else
        snprintf(text, DISK_TIMES_TEXT_BYTES, "%g", us / 1e6);
    return text;
}

void disk_times_read(const struct disk_times *times, struct disk_figures *figures)
{
    figures->sum_ns = atomic_load_explicit(&times->sum_ns, memory_order_relaxed);
    for (uint32_t i = 0; i <= DISK_TIMES_BOUNDS; i++)
        figures->count[i] = atomic_load_explicit(&times->count[i], memory_order_relaxed);
}
