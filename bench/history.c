/* SPDX-License-Identifier: MIT
 * Makes recordings as a relay leaves them, of a time that never was: bench_history FOLDER CHANNEL
 * BYTES RATE_HZ FILE_BYTES. Each datum is {time, counter, ten doubles}; the doubles are noise
 * around a slow sine. One datum in 100,000, told on stdout, has 1e6 as `signal3`. A block is
 * 256 KiB, or half a second. Writes by archive/writer, so as fast as the disk.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/writer.h"
#include "base/varint.h"
#include "channel/recording_name.h"
#include "os/folder.h"

#define SIGNALS   10
#define START_NS  1767225600000000000ull /* 2026-01-01 */
#define SPIKE     1e6
#define SPIKES_OF 100000u

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"engine\",\"fields\":["
    "{\"name\":\"time\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-nanos\"}},"
    "{\"name\":\"counter\",\"type\":\"long\"},"
    "{\"name\":\"signal0\",\"type\":\"double\"},{\"name\":\"signal1\",\"type\":\"double\"},"
    "{\"name\":\"signal2\",\"type\":\"double\"},{\"name\":\"signal3\",\"type\":\"double\"},"
    "{\"name\":\"signal4\",\"type\":\"double\"},{\"name\":\"signal5\",\"type\":\"double\"},"
    "{\"name\":\"signal6\",\"type\":\"double\"},{\"name\":\"signal7\",\"type\":\"double\"},"
    "{\"name\":\"signal8\",\"type\":\"double\"},{\"name\":\"signal9\",\"type\":\"double\"}]}";

static uint64_t random_state = 88172645463325252ull;

static double noise(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) * 0x1p-53 - 0.5;
}

static struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static struct span make_datum(uint8_t *out, uint64_t number, uint64_t time_ns)
{
    static double base[SIGNALS];
    size_t at = varint_write(out, (int64_t)time_ns);
    at += varint_write(out + at, (int64_t)number);
    if (number % 256 == 0)
        for (int i = 0; i < SIGNALS; i++)
            base[i] = sin((double)time_ns * 1e-9 / (10 * (i + 1))) * 40;
    for (int i = 0; i < SIGNALS; i++) {
        double value = base[i] + noise();
        if (i == 3 && number % SPIKES_OF == SPIKES_OF / 3) {
            value = SPIKE;
            printf("%llu\n", (unsigned long long)time_ns);
        }
        memcpy(out + at, &value, 8);
        at += 8;
    }
    return (struct span){out, at};
}

static int begin(struct writer **writer, descriptor_t folder, const char *channel, uint64_t number,
                 uint64_t stamp_ns)
{
    char text[RECORDING_NAME_BYTES];
    struct recording_name name = {.stamp_ns = stamp_ns, .number = number, .stage = RECORDING_DONE};
    snprintf(name.channel, sizeof(name.channel), "%s", channel);
    const struct writer_entry entries[] = {
        {"avro.schema", text_span(schema)},          {"flotilla.channel", text_span(channel)},
        {"flotilla.host", text_span("bench")},       {"flotilla.started", text_span("-")},
        {"flotilla.version", text_span("bench")},    {"flotilla.time", text_span("time")},
        {"flotilla.sequence", text_span("counter")}, {"flotilla.ordered_since", text_span("1")},
    };
    return writer_begin(writer, folder, recording_name_write(text, &name), entries,
                        sizeof(entries) / sizeof(entries[0]), true);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 2;
    uint64_t bytes = strtoull(argv[3], NULL, 10), file_bytes = strtoull(argv[5], NULL, 10);
    double rate = strtod(argv[4], NULL);
    uint64_t step_ns = (uint64_t)(1e9 / rate), number = 0, file = 0, all = 0;
    descriptor_t folder = folder_open(argv[1]);
    int status = folder < 0 ? folder : 0;
    while (all < bytes && status == 0) {
        struct writer *writer;
        uint8_t out[512];
        uint64_t time_ns = START_NS + number * step_ns, block_ns = time_ns;
        status = begin(&writer, folder, argv[2], ++file, time_ns);
        while (status == 0 && writer_bytes(writer) < file_bytes &&
               all + writer_bytes(writer) < bytes) {
            time_ns = START_NS + number * step_ns;
            struct span datum = make_datum(out, number++, time_ns);
            if (!writer_fits(writer, datum.bytes, BLOCK_BYTES_MAX) ||
                time_ns - block_ns >= 500000000) {
                status = writer_end_block(writer);
                block_ns = time_ns;
            }
            writer_add(writer, datum, time_ns);
        }
        all += status == 0 ? writer_bytes(writer) : 0;
        if (status == 0)
            status = writer_finish(writer);
    }
    if (status < 0)
        fprintf(stderr, "bench_history: %s\n", strerror(-status));
    fprintf(stderr, "%llu datums, %llu files, %llu bytes\n", (unsigned long long)number,
            (unsigned long long)file, (unsigned long long)all);
    return status < 0 ? 1 : 0;
}
