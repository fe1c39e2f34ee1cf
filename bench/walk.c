/* SPDX-License-Identifier: MIT
 * What the walk over a datum costs, good and bad, and beside it reading the datum into columns:
 * nanoseconds each, the best of several rounds.
 * Relies on the schema compiler; no network, no files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/datum.h"
#include "base/check.h"
#include "os/clock.h"
#include "schema/columns.h"
#include "schema/schema.h"

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

/* A time, a counter and ten doubles, as channels often are. */
static const char wide_schema[] =
    "{\"type\":\"record\",\"name\":\"Wide\",\"fields\":["
    "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"counter\",\"type\":\"long\"},"
    "{\"name\":\"a\",\"type\":\"double\"},{\"name\":\"b\",\"type\":\"double\"},"
    "{\"name\":\"c\",\"type\":\"double\"},{\"name\":\"d\",\"type\":\"double\"},"
    "{\"name\":\"e\",\"type\":\"double\"},{\"name\":\"f\",\"type\":\"double\"},"
    "{\"name\":\"g\",\"type\":\"double\"},{\"name\":\"h\",\"type\":\"double\"},"
    "{\"name\":\"i\",\"type\":\"double\"},{\"name\":\"j\",\"type\":\"double\"}]}";
static const uint8_t wide_datum[91] = {0xc8, 0x81, 0xf2, 0x81, 0x83, 0x89,
                                       0x85, 0x06, 0xc8, 0x81, 0x02};

struct subject {
    struct schema_file *file;
    uint8_t *image;
    struct layout layout;
};

static struct subject compile(const char *text)
{
    struct subject subject;
    char error[200];
    size_t bytes;
    subject.file =
        schema_parse((struct span){(const uint8_t *)text, strlen(text)}, error, sizeof(error));
    CHECK(subject.file != NULL);
    int status = schema_compile(subject.file, "", "", &subject.image, &bytes, error, sizeof(error));
    CHECK(status == 0);
    status = layout_load(&subject.layout, (struct span){subject.image, bytes});
    CHECK(status == 0);
    return subject;
}

static void release(struct subject *subject)
{
    free(subject->image);
    schema_free(subject->file);
}

/* `columns` NULL: the check alone. */
static void measure(const char *name, const struct subject *subject, const struct columns *columns,
                    struct span datum, enum reject expected)
{
    uint64_t best_ns = UINT64_MAX;
    struct column_value values[16];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = clock_monotonic_ns();
        for (int time = 0; time < TIMES; time++) {
            size_t bytes;
            enum reject reason = columns != NULL ? columns_read(columns, datum, &bytes, values)
                                                 : datum_check(&subject->layout, datum, &bytes);
            CHECK(reason == expected);
        }
        uint64_t took_ns = clock_monotonic_ns() - start_ns;
        best_ns = took_ns < best_ns ? took_ns : best_ns;
    }
    printf("  %-34s %6.1f\n", name, (double)best_ns / TIMES);
}

static void measure_columns(const char *name, const struct subject *subject, const char *field,
                            struct span datum)
{
    char error[200];
    const struct columns *columns;
    int status =
        columns_select(subject->file, &field, field != NULL, &columns, error, sizeof(error));
    CHECK(status == 0);
    measure(name, subject, columns, datum, REJECT_NONE);
    columns_free(columns);
}

int main(void)
{
    struct subject subject = compile(schema), wide = compile(wide_schema);
    struct span wide_span = {wide_datum, sizeof(wide_datum)};
    printf("nanoseconds a datum in the walk (best of %d rounds of %d)\n", ROUNDS, TIMES);
    for (size_t i = 0; i < ARRAY_COUNT(samples); i++)
        measure(samples[i].name, &subject, NULL, samples[i].datum, samples[i].reason);
    measure("12 fields, 91 bytes", &wide, NULL, wide_span, REJECT_NONE);
    printf("nanoseconds a datum read into columns\n");
    measure_columns("5 columns, a note of 20 bytes", &subject, NULL, samples[1].datum);
    measure_columns("the second of 5", &subject, "counter", samples[1].datum);
    measure_columns("12 columns, 91 bytes", &wide, NULL, wide_span);
    measure_columns("the last of 12", &wide, "j", wide_span);
    release(&subject);
    release(&wide);
    return 0;
}
