/* SPDX-License-Identifier: MIT
 * How long datagrams took from their arrival in the kernel until they were sent on: a histogram of
 * fixed size for the channel's memory. Buckets are an eighth of a power of two wide, so a figure is
 * at most 12.5 % more than what was measured. Pure arithmetic. */
#ifndef FLOTILLA_CHANNEL_LATENCY_H
#define FLOTILLA_CHANNEL_LATENCY_H

#include <stdint.h>

/* Of a microsecond each up to 8, then 8 for each doubling, up to 134 s. */
#define LATENCY_BUCKETS 200u

struct latency {
    uint64_t count[LATENCY_BUCKETS]; /* of datagrams */
    uint64_t max_us;
};

/* Counts `datagrams` that took so long. */
void latency_add(struct latency *latency, uint64_t took_us, uint32_t datagrams);

/* What of it is shown. */
struct latency_figures {
    uint64_t count, p50_us, p95_us, p99_us, p999_us, max_us;
};
void latency_figures(const struct latency *latency, struct latency_figures *figures);

#endif
