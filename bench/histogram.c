/* SPDX-License-Identifier: MIT
 * See histogram.h. Times below 128 ns have a bucket each; above, the leading seven bits choose. */
#include "histogram.h"

#include <inttypes.h>
#include <stdio.h>

enum { SUB_BITS = 6, SUB = 1 << SUB_BITS };

static uint32_t bucket_of(uint64_t time_ns)
{
    if (time_ns < 2 * SUB)
        return (uint32_t)time_ns;
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(time_ns) - SUB_BITS;
    uint32_t bucket = (shift << SUB_BITS) + (uint32_t)(time_ns >> shift);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t last_of(uint32_t bucket)
{
    if (bucket < 2 * SUB)
        return bucket;
    uint32_t shift = (bucket >> SUB_BITS) - 1;
    uint64_t leading = (bucket & (SUB - 1)) + SUB;
    return ((leading + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t time_ns)
{
    if (histogram->count == 0 || time_ns < histogram->least_ns)
        histogram->least_ns = time_ns;
    if (time_ns > histogram->most_ns)
        histogram->most_ns = time_ns;
    histogram->count++;
    histogram->buckets[bucket_of(time_ns)]++;
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count + 0.999999), seen = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t last = last_of(i);
            return last < histogram->most_ns ? last : histogram->most_ns;
        }
    }
    return 0;
}

void histogram_print(const struct histogram *histogram, const char *name)
{
    printf("\"%s\": {\"count\": %" PRIu64 ", \"least_ns\": %" PRIu64 ", \"p50_ns\": %" PRIu64
           ", \"p95_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 ", \"p999_ns\": %" PRIu64
           ", \"most_ns\": %" PRIu64 "}",
           name, histogram->count, histogram->least_ns, histogram_percentile(histogram, 0.5),
           histogram_percentile(histogram, 0.95), histogram_percentile(histogram, 0.99),
           histogram_percentile(histogram, 0.999), histogram->most_ns);
}
