/* SPDX-License-Identifier: MIT
 * The container format, by the book. */
#include "reader.h"

#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#define DATA_BYTES_MAX (1u << 20)

int reader_long(const uint8_t **at, const uint8_t *end, int64_t *value)
{
    uint64_t bits = 0;
    for (unsigned shift = 0; *at < end && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return 1;
        }
    }
    return 0;
}

static bool read_sized(const uint8_t **at, const uint8_t *end, const uint8_t **bytes,
                       int64_t *count)
{
    if (!reader_long(at, end, count) || *count < 0 || *count > end - *at)
        return false;
    *bytes = *at;
    *at += *count;
    return true;
}

/* Behind the header, or NULL. */
static const uint8_t *read_header(const uint8_t *at, const uint8_t *end, bool *deflated)
{
    bool schema = false;
    int64_t entries;
    *deflated = false;
    if (end - at < 4 || memcmp(at, "Obj\x01", 4) != 0)
        return NULL;
    for (at += 4; reader_long(&at, end, &entries);) {
        if (entries == 0)
            return schema && end - at >= 16 ? at : NULL;
        if (entries < 0)
            return NULL;
        while (entries-- > 0) {
            const uint8_t *key, *value;
            int64_t key_bytes, value_bytes;
            if (!read_sized(&at, end, &key, &key_bytes) ||
                !read_sized(&at, end, &value, &value_bytes))
                return NULL;
            schema = schema || (key_bytes == 11 && memcmp(key, "avro.schema", 11) == 0);
            if (key_bytes == 10 && memcmp(key, "avro.codec", 10) == 0)
                *deflated = value_bytes == 7 && memcmp(value, "deflate", 7) == 0;
        }
    }
    return NULL;
}

size_t reader_walk(const uint8_t *bytes, size_t count,
                   void (*block)(void *, const uint8_t *, size_t, int64_t, size_t), void *context)
{
    static uint8_t data[DATA_BYTES_MAX];
    static z_stream inflater;
    static bool ready;
    const uint8_t *end = bytes + count;
    bool deflated;
    const uint8_t *at = count == 0 ? NULL : read_header(bytes, end, &deflated);
    if (at == NULL || !deflated)
        return 0;
    const uint8_t *sync = at;
    at += 16;
    for (;;) {
        size_t whole = (size_t)(at - bytes);
        int64_t datums, size;
        if (at == end || !reader_long(&at, end, &datums) || !reader_long(&at, end, &size) ||
            datums <= 0 || size <= 0 || size > end - at - 16 || memcmp(at + size, sync, 16) != 0)
            return whole;
        if (!ready)
            ready = inflateInit2(&inflater, -15) == Z_OK;
        else
            inflateReset(&inflater);
        inflater.next_in = (uint8_t *)(uintptr_t)at;
        inflater.avail_in = (unsigned)size;
        inflater.next_out = data;
        inflater.avail_out = sizeof(data);
        if (inflate(&inflater, Z_FINISH) != Z_STREAM_END || inflater.avail_in != 0)
            return whole;
        block(context, data, sizeof(data) - inflater.avail_out, datums, whole);
        at += size + 16;
    }
}
