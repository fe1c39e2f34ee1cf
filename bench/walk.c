/* SPDX-License-Identifier: MIT
 * What the walk over a datum costs, good and bad: nanoseconds each, the best of several rounds.
 * Relies on the schema compiler; no network, no files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/datum.h"
#include "schema/schema.h"
#include "base/check.h"
#include "os/clock.h"

enum { ROUNDS = 7, TIMES = 1000000 };

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"Sample\",\"fields\":["
    "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"counter\",\"type\":\"long\"},"
    "{\"name\":\"x\",\"type\":\"double\"},{\"name\":\"y\",\"type\":\"float\"},"
    "{\"name\":\"note\",\"type\":[\"null\",\"string\"]}]}";

/* time, counter, x, y, note */
#define FRONT "\xc8\x81\xf2\x81\x83\x89\x85\x06\x02\0\0\0\0\0\0\xf0\x3f\0\0\x80\x3f"
#define DATUM(name, bytes, fault)                                                                  \
    {                                                                                              \
        name, {(const uint8_t *)(bytes), sizeof(bytes) - 1}, fault                                 \
    }

static const struct {
    const char *name;
    struct span datum;
    enum reject reason;
} samples[] = {
    DATUM("good, no note", FRONT "\0", REJECT_NONE),
    DATUM("good, a note of 20 bytes",
          FRONT "\x02\x28"
                "twenty bytes of text",
          REJECT_NONE),
    DATUM("bad: truncated", FRONT, REJECT_TRUNCATED),
    DATUM("bad: varint", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", REJECT_VARINT),
    DATUM("bad: union", FRONT "\x08", REJECT_UNION),
    DATUM("bad: utf8", FRONT "\x02\x04\xff\xfe", REJECT_UTF8),
};

int main(void)
{
    char error[200];
    uint8_t *image;
    size_t image_bytes;
    struct span text = {(const uint8_t *)schema, sizeof(schema) - 1};
    struct schema_file *file = schema_parse(text, error, sizeof(error));
    CHECK(file != NULL);
    int status = schema_compile(file, "", "", &image, &image_bytes, error, sizeof(error));
    CHECK(status == 0);
    struct layout layout;
    status = layout_load(&layout, (struct span){image, image_bytes});
    CHECK(status == 0);
    printf("nanoseconds a datum in the walk (best of %d rounds of %d)\n", ROUNDS, TIMES);
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++) {
        uint64_t best_ns = UINT64_MAX;
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t start_ns = clock_monotonic_ns();
            for (int time = 0; time < TIMES; time++) {
                size_t bytes;
                enum reject reason = datum_check(&layout, samples[i].datum, &bytes);
                CHECK(reason == samples[i].reason);
            }
            uint64_t took_ns = clock_monotonic_ns() - start_ns;
            best_ns = took_ns < best_ns ? took_ns : best_ns;
        }
        printf("  %-26s %6.1f\n", samples[i].name, (double)best_ns / TIMES);
    }
    free(image);
    schema_free(file);
    return 0;
}
