/* SPDX-License-Identifier: MIT
 * Makes the recordings of a channel as its relay would have written them, as fast as the disk takes
 * them: for bench/bench, groups search and cat.
 *
 *     bench_recordings FOLDER BYTES FILE_BYTES START_SECONDS RATE [doubles]
 *
 * CHANNEL is FOLDER's name; RATE datums a second of 1,200 bytes from START_SECONDS (since 1970) on,
 * with `time` (timestamp-nanos) and `counter`; or with `time`, `counter` and ten doubles, of noise
 * and of measured kind. Prints the number of datums. Relies on avro/block. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "base/varint.h"
#include "channel/recording_name.h"
#include "os/file.h"
#include "os/memory.h"

enum { DATUM_BYTES = 1200, DOUBLES = 10, WRITE_BLOCKS = 8 };
static const char padded_schema[] =
    "{\"type\":\"record\",\"name\":\"Sample\",\"fields\":[{\"name\":\"time\",\"type\":{\"type\":"
    "\"long\",\"logicalType\":\"timestamp-nanos\"}},{\"name\":\"counter\",\"type\":\"long\"},"
    "{\"name\":\"pad\",\"type\":\"bytes\"}]}";
#define DOUBLE(name) ",{\"name\":\"" name "\",\"type\":\"double\"}"
static const char doubles_schema[] =
    "{\"type\":\"record\",\"name\":\"Sample\",\"fields\":[{\"name\":\"time\",\"type\":{\"type\":"
    "\"long\",\"logicalType\":\"timestamp-nanos\"}},{\"name\":\"counter\",\"type\":"
    "\"long\"}" DOUBLE("a") DOUBLE("b") DOUBLE("c") DOUBLE("d") DOUBLE("e") DOUBLE("f") DOUBLE("g")
        DOUBLE("h") DOUBLE("i") DOUBLE("j") "]}";
static const uint8_t sync_marker[BLOCK_SYNC_BYTES] = "0123456789abcdef";

/* What has been made so far. */
struct maker {
    int folder;
    const char *channel;
    bool doubles;
    uint64_t start_ns, rate, count, number, bytes, noise;
};

static uint64_t time_of(const struct maker *maker, uint64_t counter)
{
    return maker->start_ns + counter / maker->rate * 1000000000u +
           counter % maker->rate * 1000000000u / maker->rate;
}

/* The next datum. */
static struct span make_datum(struct maker *maker, uint8_t *datum)
{
    size_t at = varint_write(datum, (int64_t)time_of(maker, maker->count));
    at += varint_write(datum + at, (int64_t)maker->count++);
    if (!maker->doubles) {
        size_t pad = DATUM_BYTES - at - 2;
        at += varint_write(datum + at, (int64_t)pad);
        memset(datum + at, (int)('a' + maker->count % 26), pad);
        return (struct span){datum, DATUM_BYTES};
    }
    for (int i = 0; i < DOUBLES; i++, at += sizeof(double)) {
        maker->noise = maker->noise * 6364136223846793005u + 1442695040888963407u;
        double value = (double)(maker->noise >> 11) * 0x1p-53 * 200 - 100;
        if (i % 2 == 1) /* as a device with two decimals has it */
            value = round(value * 100) / 100;
        memcpy(datum + at, &value, sizeof(value));
    }
    return (struct span){datum, at};
}

/* Fills a block from `image` on and finishes it for `offset`. */
static struct span make_block(struct maker *maker, uint8_t *image, uint64_t offset)
{
    uint8_t datum[DATUM_BYTES];
    uint64_t arrival_ns = time_of(maker, maker->count), count = 0;
    size_t bytes = 0, most = block_data_max(BLOCK_BYTES_MAX);
    /* As the receiver closes it: when it is full, or after half a second. */
    for (; bytes + DATUM_BYTES <= most && count < maker->rate / 2; count++) {
        struct span made = make_datum(maker, datum);
        block_append(image, bytes, made);
        bytes += made.bytes;
    }
    return (struct span){image, block_finish_at(image, bytes, count, arrival_ns, sync_marker,
                                                BLOCK_PAGE_BYTES, block_place(offset))};
}

static int make_file(struct maker *maker, uint8_t *buffer, uint64_t bytes_max)
{
    struct direct_file file;
    char text[RECORDING_NAME_BYTES];
    struct recording_name name = {.stamp_ns = time_of(maker, maker->count),
                                  .number = ++maker->number,
                                  .stage = RECORDING_DONE};
    snprintf(name.channel, sizeof(name.channel), "%s", maker->channel);
    int status = direct_file_open(&file, maker->folder, recording_name_write(text, &name),
                                  FILE_CREATE, true);
    if (status < 0)
        return status;
    const char *schema = maker->doubles ? doubles_schema : padded_schema;
    struct block_header_text header = {.schema = {(const uint8_t *)schema, strlen(schema)},
                                       .channel = maker->channel,
                                       .host = "bench",
                                       .started = "2026-01-01T00:00:00Z",
                                       .version = FLOTILLA_VERSION,
                                       .time = {(const uint8_t *)"time", 4},
                                       .ordered_since = 1};
    long header_bytes =
        block_write_header(buffer, BLOCK_BYTES_MAX, &header, sync_marker, BLOCK_PAGE_BYTES);
    CHECK(header_bytes > 0);
    struct span parts[WRITE_BLOCKS] = {{buffer, (size_t)header_bytes}};
    status = direct_file_write(&file, parts, 1, 0);
    uint64_t offset = (uint64_t)header_bytes;
    while (status == 0 && offset + WRITE_BLOCKS * BLOCK_BYTES_MAX <= bytes_max) {
        uint64_t end = offset;
        for (uint32_t i = 0; i < WRITE_BLOCKS; i++) {
            parts[i] = make_block(maker, buffer + i * BLOCK_BYTES_MAX, end);
            end += parts[i].bytes;
        }
        status = direct_file_write(&file, parts, WRITE_BLOCKS, offset);
        offset = end;
    }
    direct_file_close(&file);
    maker->bytes += offset;
    return status;
}

int main(int argc, char **argv)
{
    bool doubles = argc == 7 && strcmp(argv[6], "doubles") == 0;
    if (argc != 6 && !doubles) {
        fprintf(stderr,
                "usage: bench_recordings FOLDER BYTES FILE_BYTES START_SECONDS RATE [doubles]\n");
        return 2;
    }
    const char *slash = strrchr(argv[1], '/');
    struct maker maker = {.channel = slash != NULL ? slash + 1 : argv[1],
                          .doubles = doubles,
                          .start_ns = strtoull(argv[4], NULL, 10) * 1000000000u,
                          .rate = strtoull(argv[5], NULL, 10)};
    uint64_t bytes = strtoull(argv[2], NULL, 10), file_bytes = strtoull(argv[3], NULL, 10);
    uint8_t *buffer = private_memory_map(WRITE_BLOCKS * BLOCK_BYTES_MAX);
    maker.folder = folder_open(argv[1]);
    int status = buffer == NULL || maker.rate < 2 ? -EINVAL : maker.folder < 0 ? maker.folder : 0;
    while (status == 0 && maker.bytes < bytes)
        status = make_file(&maker, buffer, file_bytes);
    if (status < 0)
        fprintf(stderr, "%s: %s\n", argv[1], strerror(-status));
    printf("%llu\n", (unsigned long long)maker.count);
    return status < 0;
}
