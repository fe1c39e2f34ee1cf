/* SPDX-License-Identifier: MIT
 * The writing side of a relay alone: blocks that are full already are handed to the real writing
 * thread as fast as it takes them, into a real folder. Prints as JSON what it took, once all was
 * synced, and what was counted. For bench/disk.
 *
 *   record FOLDER TOTAL_BYTES BUFFER_BYTES DATUM_BYTES [ROTATE_BYTES [PAUSE_NS]]
 *
 * PAUSE_NS between blocks gives a steady load below the disk's limit instead. Relies on the blocks'
 * datums being untouched by the writer, so that the same memory serves again. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/check.h"
#include "channel/lanes.h"
#include "channel/memory.h"
#include "channel/settings.h"
#include "channel/staging.h"
#include "os/clock.h"
#include "os/memory.h"
#include "relay/segment.h"
#include "relay/writer.h"

static struct channel_settings settings;
static struct staging staging;
static struct channel_folder folder;
static struct segment segments[LANES];
static struct writer_thread thread;
static uint64_t datums_a_block, data_bytes;
static uint32_t checksum;

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* Fills every slot with datums. */
static void fill_slots(size_t datum_bytes)
{
    uint8_t datum[65536];
    CHECK(datum_bytes > 0 && datum_bytes <= sizeof(datum));
    memset(datum, 0x5a, sizeof(datum));
    datums_a_block = block_data_max(BLOCK_BYTES_MAX) / datum_bytes;
    data_bytes = datums_a_block * datum_bytes;
    for (uint32_t slot = 0; slot < staging.slot_count; slot++)
        for (uint64_t i = 0; i < datums_a_block; i++)
            block_append(staging.slots + (size_t)slot * BLOCK_BYTES_MAX, i * datum_bytes,
                         (struct span){datum, datum_bytes});
    checksum = block_carry_checksum(0, staging.slots, 0, data_bytes); /* the receiver's duty */
}

static void hand_over(uint64_t number)
{
    struct receiver_state *next = staging_receiver_begin(&staging);
    *lane_entry(&staging.lanes[LANE_DATUMS], number) =
        (struct staging_block){.slot = (uint32_t)(number % staging.slot_count),
                               .data_bytes = (uint32_t)data_bytes,
                               .last = 1,
                               .count = datums_a_block,
                               .arrival_ns = clock_realtime_ns(),
                               .since_ns = clock_monotonic_ns(),
                               .checksum = checksum,
                               .checked_bytes = (uint32_t)data_bytes};
    next->datums_accepted += datums_a_block;
    next->lane[LANE_DATUMS].closed = number + 1;
    staging_receiver_commit(&staging);
    writer_thread_notice(&thread, LANE_DATUMS, true);
}

static void open_lanes(size_t datum_bytes)
{
    static char schema[100];
    int schema_bytes =
        snprintf(schema, sizeof(schema), "{\"type\":\"fixed\",\"name\":\"Datum\",\"size\":%zu}",
                 datum_bytes);
    char why[CHANNEL_PATH_BYTES_MAX + 200];
    if (channel_folder_open(&folder, &settings, &staging, false, why, sizeof(why)) < 0 ||
        folder.descriptor < 0) {
        fprintf(stderr, "record: %s\n", why);
        exit(1);
    }
    for (int i = 0; i < LANES; i++) {
        segments[i] =
            (struct segment){.lane = &staging.lanes[i],
                             .settings = &settings,
                             .folder = &folder,
                             .holds = i == LANE_REJECTS ? RECORDING_REJECTS : RECORDING_DATUMS,
                             .schema = {(const uint8_t *)schema, (size_t)schema_bytes}};
        int status = segment_prepare(&segments[i]);
        CHECK(status == 0);
        const struct block_format format = {.alignment = folder.alignment,
                                            .room = BLOCK_BYTES_MAX,
                                            .page_rewrite = folder.alignment == BLOCK_PAGE_BYTES};
        status =
            writer_prepare(&thread.writers[i], &staging.lanes[i], &settings, &format, &segments[i]);
        CHECK(status == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 7) {
        fputs("usage: record FOLDER TOTAL_BYTES BUFFER_BYTES DATUM_BYTES [ROTATE_BYTES "
              "[PAUSE_NS]]\n",
              stderr);
        return 2;
    }
    settings_defaults(&settings);
    snprintf(settings.name, sizeof(settings.name), "bench");
    snprintf(settings.directory, sizeof(settings.directory), "%s", argv[1]);
    uint64_t total_bytes = strtoull(argv[2], NULL, 10);
    settings.buffer_bytes = strtoull(argv[3], NULL, 10);
    settings.rotate_bytes = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
    settings.rotate_age_ms = 0;
    settings.direct_io = DIRECT_REQUIRED;
    uint64_t pause_ns = argc > 6 ? strtoull(argv[6], NULL, 10) : 0;
    int memory = shared_memory_create("bench", staging_bytes(&settings));
    int status = memory < 0 ? memory : staging_map(&staging, memory);
    CHECK(status == 0);
    size_t datum_bytes = strtoul(argv[4], NULL, 10);
    fill_slots(datum_bytes);
    open_lanes(datum_bytes);
    status = writer_thread_start(&thread);
    CHECK(status == 0);
    writer_thread_begin(&thread);

    const struct lane *lane = &staging.lanes[LANE_DATUMS];
    double cpu = cpu_seconds();
    uint64_t start_ns = clock_monotonic_ns(), next_ns = start_ns, waiting_max = 0;
    uint64_t blocks = total_bytes / BLOCK_BYTES_MAX;
    for (uint64_t number = 0; number < blocks; number++) {
        if (pause_ns > 0)
            clock_sleep_until(next_ns += pause_ns);
        while (number - lane_written(lane) >= staging.slot_count)
            clock_sleep_until(clock_monotonic_ns() + 50000);
        hand_over(number);
        uint64_t waiting = number + 1 - lane_written(lane);
        waiting_max = waiting > waiting_max ? waiting : waiting_max;
    }
    writer_thread_join(&thread, true);
    double seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    struct counters counters;
    staging_read(&staging, &counters);
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"bytes\": %" PRIu64 ", \"datums\": %" PRIu64
           ", \"recorded\": %" PRIu64 ", \"unrecorded\": %" PRIu64
           ", \"waiting_max_bytes\": %" PRIu64 "}\n",
           seconds, cpu_seconds() - cpu, blocks * BLOCK_BYTES_MAX, blocks * datums_a_block,
           counters.datums_recorded, counters.datums_unrecorded, waiting_max * BLOCK_BYTES_MAX);
    for (int i = 0; i < LANES; i++)
        segment_release(&segments[i]);
    return counters.datums_recorded == blocks * datums_a_block ? 0 : 1;
}
