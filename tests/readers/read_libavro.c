/* SPDX-License-Identifier: MIT
 * Reads container files with libavro and prints per file what tests/readers/canonical.py describes:
 * the number of datums and a digest of their values. A file that cannot be read to its end prints
 * libavro's own message instead. Relies on libavro's generic values; logical types are not known
 * to it. */
#include <avro.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static uint32_t checksum; /* of the dump so far ... */
static uint64_t dumped;   /* ... and its bytes */

static void take(const void *bytes, size_t count)
{
    checksum = (uint32_t)crc32(checksum, bytes, (unsigned)count);
    dumped += count;
}

static void take_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void take_text(const char *format, ...)
{
    char text[64];
    va_list list;
    va_start(list, format);
    int count = vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    take(text, (size_t)count);
}

static void take_real(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    if (isnan(value))
        take_text("nan;");
    else if (value == floor(value) && fabs(value) < 9007199254740992.0 && (value != 0 || !bits))
        take_text("%.0f;", value);
    else
        take_text("d%016" PRIx64 ";", bits);
}

static void take_value(const avro_value_t *value)
{
    switch (avro_value_get_type(value)) {
    case AVRO_NULL:
        take_text("n;");
        break;
    case AVRO_BOOLEAN: {
        int truth = 0;
        avro_value_get_boolean(value, &truth);
        take_text(truth ? "t;" : "f;");
        break;
    }
    case AVRO_INT32: {
        int32_t number = 0;
        avro_value_get_int(value, &number);
        take_text("%" PRId32 ";", number);
        break;
    }
    case AVRO_INT64: {
        int64_t number = 0;
        avro_value_get_long(value, &number);
        take_text("%" PRId64 ";", number);
        break;
    }
    case AVRO_FLOAT: {
        float number = 0;
        avro_value_get_float(value, &number);
        take_real((double)number);
        break;
    }
    case AVRO_DOUBLE: {
        double number = 0;
        avro_value_get_double(value, &number);
        take_real(number);
        break;
    }
    case AVRO_BYTES: {
        const void *bytes = NULL;
        size_t size = 0;
        avro_value_get_bytes(value, &bytes, &size);
        take_text("b%zu:", size);
        take(bytes, size);
        break;
    }
    case AVRO_FIXED: {
        const void *bytes = NULL;
        size_t size = 0;
        avro_value_get_fixed(value, &bytes, &size);
        take_text("b%zu:", size);
        take(bytes, size);
        break;
    }
    case AVRO_STRING: {
        const char *text = NULL;
        size_t size = 0;
        avro_value_get_string(value, &text, &size);
        take_text("s%zu:", size - 1); /* libavro counts the NUL it adds */
        take(text, size - 1);
        break;
    }
    case AVRO_ENUM: {
        int symbol = 0;
        avro_value_get_enum(value, &symbol);
        const char *text = avro_schema_enum_get(avro_value_get_schema(value), symbol);
        take_text("s%zu:", strlen(text));
        take(text, strlen(text));
        break;
    }
    case AVRO_UNION: {
        avro_value_t branch;
        avro_value_get_current_branch(value, &branch);
        take_value(&branch);
        break;
    }
    case AVRO_RECORD:
    case AVRO_MAP:
    case AVRO_ARRAY: {
        size_t count = 0;
        avro_value_get_size(value, &count);
        bool names = avro_value_get_type(value) != AVRO_ARRAY;
        take_text(names ? "{" : "[");
        for (size_t i = 0; i < count; i++) {
            avro_value_t item;
            const char *name = NULL;
            avro_value_get_by_index(value, i, &item, &name);
            if (names) {
                take_text("s%zu:", strlen(name));
                take(name, strlen(name));
            }
            take_value(&item);
        }
        take_text(names ? "}" : "]");
        break;
    }
    default:
        take_text("?");
    }
}

static void read_file(const char *path)
{
    avro_file_reader_t reader;
    avro_value_t value;
    uint64_t count = 0;
    checksum = 0;
    dumped = 0;
    if (avro_file_reader(path, &reader)) {
        printf("%s\terror\t%s\n", path, avro_strerror());
        return;
    }
    avro_schema_t schema = avro_file_reader_get_writer_schema(reader);
    avro_value_iface_t *class = avro_generic_class_from_schema(schema);
    int error = 0;
    if (!class || avro_generic_value_new(class, &value)) {
        printf("%s\terror\t%s\n", path, avro_strerror());
        avro_file_reader_close(reader);
        return;
    }
    while (!(error = avro_file_reader_read_value(reader, &value))) {
        take_value(&value);
        take_text("\n");
        count++;
        avro_value_reset(&value);
    }
    if (error == EOF)
        printf("%s\t%" PRIu64 "\t%" PRIu64 "-%08" PRIx32 "\n", path, count, dumped, checksum);
    else
        printf("%s\terror\tafter %" PRIu64 " datums: %s\n", path, count, avro_strerror());
    avro_value_decref(&value);
    avro_value_iface_decref(class);
    avro_schema_decref(schema);
    avro_file_reader_close(reader);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        read_file(argv[i]);
    return 0;
}
