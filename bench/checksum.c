/* SPDX-License-Identifier: MIT
 * What the checksum costs in each of its ways: nanoseconds a KiB, the best of several rounds, taken
 * in turn; over one stream of the instruction alone. Memory is in the cache. With --digest, prints
 * instead what every way makes of the same bytes, to compare processors by. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/processor.h"
#include "os/clock.h"

enum { ROUNDS = 9, BYTES_A_ROUND = 8 << 20, BYTES_MAX = 256 << 10 };

static uint8_t bytes[BYTES_MAX + 16];

static double measure_ns(const struct crc32c_way *way, size_t count)
{
    uint64_t start_ns = clock_monotonic_ns();
    volatile uint32_t crc = 0;
    for (size_t done = 0; done < BYTES_A_ROUND; done += count)
        crc = way->carry(crc, bytes + 4, count);
    return (double)(clock_monotonic_ns() - start_ns) / (BYTES_A_ROUND / 1024.0);
}

/* One checksum over the checksums of every length and alignment a way could treat its own way. */
static uint32_t digest(const struct crc32c_way *way)
{
    uint32_t crc = 0;
    for (size_t at = 0; at < 16; at++)
        for (size_t count = 0; count <= 300; count++)
            crc = way->carry(crc, bytes + at, count);
    for (size_t count = 300; count + 16 <= BYTES_MAX; count += count / 3 + 1)
        crc = way->carry(crc, bytes + count % 16, count);
    return crc;
}

int main(int argc, char **argv)
{
    static const size_t spans[] = {64, 300, 1200, 4096, 65535, BYTES_MAX};
    const struct crc32c_way *ways;
    size_t count = crc32c_ways(&ways);
    uint32_t features = processor_features(), word = 1;
    for (size_t i = 0; i < sizeof(bytes); i++, word = word * 1664525u + 1013904223u)
        bytes[i] = (uint8_t)(word >> 24);
    if (argc == 2 && strcmp(argv[1], "--digest") == 0) {
        for (size_t i = 0; i < count; i++)
            if ((ways[i].features & features) == ways[i].features)
                printf("%s: %08" PRIx32 "\n", ways[i].name, digest(&ways[i]));
        return 0;
    }
    printf("checksum, nanoseconds a KiB (best of %d)\n  %-18s", ROUNDS, "bytes at once");
    for (size_t s = 0; s < ARRAY_COUNT(spans); s++)
        printf(" %8zu", spans[s]);
    double best_ns[CRC32C_WAYS_MAX][ARRAY_COUNT(spans)];
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < count; i++)
            for (size_t s = 0; s < ARRAY_COUNT(spans); s++) {
                double ns = (ways[i].features & features) == ways[i].features
                                ? measure_ns(&ways[i], spans[s])
                                : 0;
                if (round == 0 || ns < best_ns[i][s])
                    best_ns[i][s] = ns;
            }
    for (size_t i = 0; i < count; i++) {
        printf("\n  %-18s", ways[i].name);
        for (size_t s = 0; s < ARRAY_COUNT(spans); s++)
            printf(" %8.1f", best_ns[i][s]);
    }
    putchar('\n');
    return 0;
}
