/* SPDX-License-Identifier: MIT
 * Avro's zig-zag variable-length integers (Avro 1.11 specification, "Binary encoding").
 * Relies on nothing; bounded by the span it is given. */
#ifndef FLOTILLA_BASE_VARINT_H
#define FLOTILLA_BASE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#define VARINT_BYTES_MAX 10

/* Writes `value` to `out` (at least VARINT_BYTES_MAX bytes); returns the bytes written, 1 to 10. */
static inline size_t varint_write(uint8_t *out, int64_t value)
{
    uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    size_t bytes = 0;
    while (rest >= 0x80) {
        out[bytes++] = (uint8_t)(rest | 0x80);
        rest >>= 7;
    }
    out[bytes++] = (uint8_t)rest;
    return bytes;
}

/* How many bytes varint_write would write. */
static inline size_t varint_bytes(int64_t value)
{
    uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    size_t bytes = 1;
    while (rest >>= 7)
        bytes++;
    return bytes;
}

/* Reads one long from [at, end). Returns the bytes used; 0 if it is cut short, -1 if it does not
 * fit 64 bits. */
static inline int varint_read(const uint8_t *at, const uint8_t *end, int64_t *value)
{
    uint64_t raw = 0;
    for (int bytes = 0; bytes < VARINT_BYTES_MAX; bytes++) {
        if (at + bytes >= end)
            return 0;
        uint8_t byte = at[bytes];
        if (bytes == VARINT_BYTES_MAX - 1 && byte > 1)
            return -1;
        raw |= (uint64_t)(byte & 0x7f) << (7 * bytes);
        if (byte < 0x80) {
            *value = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
            return bytes + 1;
        }
    }
    return -1;
}

#endif
