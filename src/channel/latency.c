/* SPDX-License-Identifier: MIT
 * A log-linear histogram: below 8 the value itself, above it the power of two and the three bits
 * behind the leading one. */
#include "channel/latency.h"

#define LINEAR 8u

static uint32_t bucket_of(uint64_t us)
{
    if (us < LINEAR)
        return (uint32_t)us;
    unsigned power = 63 - (unsigned)__builtin_clzll(us); /* 3 and up */
    uint64_t bucket = LINEAR * (power - 2) + ((us >> (power - 3)) & (LINEAR - 1));
    return bucket < LATENCY_BUCKETS ? (uint32_t)bucket : LATENCY_BUCKETS - 1;
}

/* The largest value that falls into it. */
static uint64_t bucket_most(uint32_t bucket)
{
    if (bucket < LINEAR)
        return bucket;
    unsigned power = bucket / LINEAR + 2;
    return ((uint64_t)(LINEAR + bucket % LINEAR + 1) << (power - 3)) - 1;
}

void latency_add(struct latency *latency, uint64_t took_us, uint32_t datagrams)
{
    latency->count[bucket_of(took_us)] += datagrams;
    if (took_us > latency->max_us)
        latency->max_us = took_us;
}

/* The value that so many of 1,000 do not exceed. */
static uint64_t quantile(const struct latency *latency, uint64_t count, uint32_t thousandths)
{
    uint64_t wanted = (count * thousandths + 999) / 1000, seen = 0;
    for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS - 1; bucket++) {
        seen += latency->count[bucket];
        if (seen >= wanted)
            return bucket_most(bucket) < latency->max_us ? bucket_most(bucket) : latency->max_us;
    }
    return latency->max_us;
}

void latency_figures(const struct latency *latency, struct latency_figures *figures)
{
    *figures = (struct latency_figures){.max_us = latency->max_us};
    for (uint32_t bucket = 0; bucket < LATENCY_BUCKETS; bucket++)
        figures->count += latency->count[bucket];
    if (figures->count == 0)
        return;
    figures->p50_us = quantile(latency, figures->count, 500);
    figures->p95_us = quantile(latency, figures->count, 950);
    figures->p99_us = quantile(latency, figures->count, 990);
    figures->p999_us = quantile(latency, figures->count, 999);
}
