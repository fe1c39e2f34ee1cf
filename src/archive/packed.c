/* SPDX-License-Identifier: MIT
 * Packed blocks. The filler is avro/block's, written and read here once more: that file is the
 * relay's, and has no zlib. */
#include "archive/packed.h"

#include <errno.h>
#include <string.h>

#include <zlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/varint.h"

enum {
    ELEMENT_BYTES = 5, /* an empty stored block; one of 6 has an empty fixed block in front */
    FRONT_BYTES = BLOCK_DATA_OFFSET - ELEMENT_BYTES,
    TRAILER_BYTES = 14, /* arrival, checksum, place */
};

/* The trailer, from its lowest bit on. */
struct trailer {
    uint8_t bytes[TRAILER_BYTES + 1];
    unsigned at; /* bit */
};

static unsigned take_bits(struct trailer *trailer, unsigned count)
{
    unsigned value = 0;
    for (unsigned i = 0; i < count && trailer->at < 8 * TRAILER_BYTES; i++, trailer->at++)
        value |= (trailer->bytes[trailer->at / 8] >> trailer->at % 8 & 1u) << i;
    return value;
}

static void put_bits(struct trailer *trailer, unsigned count, unsigned value)
{
    for (unsigned i = 0; i < count && trailer->at < 8 * TRAILER_BYTES; i++, trailer->at++)
        trailer->bytes[trailer->at / 8] |= (uint8_t)((value >> i & 1u) << trailer->at % 8);
}

static void put_number(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t take_number(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static uint32_t checksum_of(struct span data, uint64_t arrival_ns, uint64_t count, uint16_t place)
{
    uint8_t tail[18];
    put_number(tail, arrival_ns, 8);
    put_number(tail + 8, count, 8);
    put_number(tail + 16, place, 2);
    return crc32c(crc32c(0, data.at, data.bytes), tail, sizeof(tail));
}

/* Whether elements of 5 and 6 bytes make so many. */
static bool can_fill(size_t bytes)
{
    return bytes % ELEMENT_BYTES * (ELEMENT_BYTES + 1) <= bytes;
}

static uint8_t *put_filler(uint8_t *at, size_t bytes, struct trailer *trailer)
{
    static const uint8_t empty[] = {0, 0, 0xff, 0xff};
    size_t sixes = bytes % ELEMENT_BYTES;
    size_t fives = (bytes - sixes * (ELEMENT_BYTES + 1)) / ELEMENT_BYTES;
    for (size_t i = 0; i < fives + sixes; i++) {
        if (i >= fives)
            *at++ = 0x02;
        *at = (uint8_t)(i < fives ? take_bits(trailer, 5) << 3 : take_bits(trailer, 3) << 5);
        memcpy(at + 1, empty, sizeof(empty));
        at += ELEMENT_BYTES;
    }
    return at;
}

/* Deflates without an end. Its bytes, or -ENOMEM; -ENOSPC if it does not fit. */
static long deflate_open(uint8_t *out, size_t room, struct span data)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data.at,
                       .avail_in = (uInt)data.bytes,
                       .next_out = out,
                       .avail_out = (uInt)room};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    int result = deflate(&stream, Z_SYNC_FLUSH);
    bool whole = result == Z_OK && stream.avail_in == 0 && stream.avail_out > 0;
    long bytes = (long)stream.total_out;
    deflateEnd(&stream);
    return whole ? bytes : -ENOSPC;
}

long packed_write(uint8_t *image, struct span data, uint64_t count, uint64_t arrival_ns,
                  const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment, uint16_t place)
{
    CHECK(count > 0 && count <= BLOCK_DATUMS_MAX);
    long packed = deflate_open(image + FRONT_BYTES, BLOCK_BYTES_MAX - FRONT_BYTES, data);
    if (packed < 0)
        return packed;
    size_t end = FRONT_BYTES + (size_t)packed + ELEMENT_BYTES + BLOCK_SYNC_BYTES;
    size_t bytes = (end + alignment - 1) / alignment * alignment;
    if (!can_fill(bytes - end))
        bytes += alignment;
    if (bytes > BLOCK_BYTES_MAX)
        return -ENOSPC;
    uint8_t *at = image + varint_write(image, (int64_t)count);
    size_t before = (size_t)(at - image) + BLOCK_SYNC_BYTES, size_bytes = 1;
    while (varint_bytes((int64_t)(bytes - before - size_bytes)) > size_bytes)
        size_bytes++;
    at += varint_write(at, (int64_t)(bytes - before - size_bytes));
    struct trailer trailer = {.at = 0}, none = {.at = 0};
    put_number(trailer.bytes, arrival_ns, 8);
    put_number(trailer.bytes + 8, checksum_of(data, arrival_ns, count, place), 4);
    put_number(trailer.bytes + 12, place, 2);
    at = put_filler(at, (size_t)(image + FRONT_BYTES - at), &trailer);
    CHECK(at == image + FRONT_BYTES && trailer.at == 8 * TRAILER_BYTES);
    at = put_filler(at + packed, bytes - end, &none);
    memcpy(at, "\x01\x00\x00\xff\xff", ELEMENT_BYTES);
    memcpy(at + ELEMENT_BYTES, sync, BLOCK_SYNC_BYTES);
    return (long)bytes;
}

int packed_check(struct span image, struct span data, struct block_info *info)
{
    struct trailer trailer = {.at = 0};
    int64_t ignored;
    int status = block_read_front(image, info);
    if (status < 0)
        return status;
    const uint8_t *at = image.at, *end = image.at + FRONT_BYTES;
    at += varint_read(at, end, &ignored);
    at += varint_read(at, end, &ignored);
    while (at < end) { /* as block_read_front has found it to be */
        bool six = at[0] == 0x02;
        at += six;
        put_bits(&trailer, six ? 3 : 5, at[0] >> (six ? 5 : 3));
        at += ELEMENT_BYTES;
    }
    info->sound = (uint32_t)take_number(trailer.bytes + 8, 4) ==
                  checksum_of(data, info->arrival_ns, info->count, info->place);
    return 0;
}
