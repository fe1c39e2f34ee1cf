/* SPDX-License-Identifier: MIT
 * How long it took to write blocks and to sync them, of a channel: a histogram of each for the
 * channel's memory, of fixed size, in the form that Prometheus has them. One thread counts, any
 * process reads meanwhile. Pure arithmetic. */
#ifndef FLOTILLA_CHANNEL_DISK_TIMES_H
#define FLOTILLA_CHANNEL_DISK_TIMES_H

#include <stdatomic.h>
#include <stdint.h>

/* From 100 us to 10 s; what takes longer is counted behind the last. */
#define DISK_TIMES_BOUNDS 16u
extern const uint32_t disk_times_bounds_us[DISK_TIMES_BOUNDS];

/* Begins all zero; only ever grows. */
struct disk_times {
    _Atomic uint64_t sum_ns;
    /* That took no longer than the bound, but longer than the one before. */
    _Atomic uint64_t count[DISK_TIMES_BOUNDS + 1];
};

/* Counts one; by one thread only. */
void disk_times_add(struct disk_times *times, uint64_t took_ns);

/* How a bound is written in seconds, "0.0025"; "+Inf" behind the last. Returns `text`. */
#define DISK_TIMES_TEXT_BYTES 24
char *disk_times_bound(char text[DISK_TIMES_TEXT_BYTES], uint32_t bound);

/* What of it is shown. */
struct disk_figures {
    uint64_t sum_ns;
    uint64_t count[DISK_TIMES_BOUNDS + 1];
};
/* Not of one instant: what is counted meanwhile may be in a count and not yet in the sum. */
void disk_times_read(const struct disk_times *times, struct disk_figures *figures);

#endif
