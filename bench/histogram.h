/* SPDX-License-Identifier: MIT
 * A histogram of times: log-linear buckets, 64 to each power of two, so that a percentile is told
 * within 1.6 % from a nanosecond to four hours, in 20 KiB and without a sample kept. */
#ifndef FLOTILLA_BENCH_HISTOGRAM_H
#define FLOTILLA_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS 2560u

struct histogram {
    uint64_t count, least_ns, most_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

/* Adds a time; beyond the last bucket it counts in that one. Start from all zero. */
void histogram_add(struct histogram *histogram, uint64_t time_ns);
/* The time that `share` (0 to 1) of the samples do not exceed: the upper end of its bucket, at
 * most the largest sample. 0 without samples. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);
/* Prints `"name": {"count": ..., "p50_ns": ..., ...}`, without a newline. */
void histogram_print(const struct histogram *histogram, const char *name);

#endif
