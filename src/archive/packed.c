/* SPDX-License-Identifier: MIT
 * Packed blocks. The filler is avro/block's, written and read here once more: that file is the
 * relay's, and has no zlib. */
#include "archive/packed.h"

#include <errno.h>
#include <string.h>

#include <zlib.h>
#include <zstd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/varint.h"

enum {
    ELEMENT_BYTES = 5, /* an empty stored block; one of 6 has an empty fixed block in front */
    FRONT_BYTES = BLOCK_DATA_OFFSET - ELEMENT_BYTES,
    TRAILER_BYTES = 14, /* arrival, checksum, place */
};

/* How a frame of zstandard begins: a window of 256 KiB, the content's size in 4 bytes behind. */
static const uint8_t frame_begin[] = {0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x40};

enum {
    FRAME_BEGIN_BYTES = sizeof(frame_begin) + 4,
    FRAME_WINDOW_LOG = 18,
    FRAME_LEVEL = 6,
    RAW_BYTES = 3, /* an empty block of zstandard; ... */
    RLE_BYTES = 4, /* ... one more byte, which is free */
    FRAME_FRONT_BYTES = FRAME_BEGIN_BYTES + TRAILER_BYTES * RLE_BYTES,
    OWN_HEADER_BYTES = 6, /* of a frame of libzstd's without a content size */
};

const char *packed_format(enum codec codec)
{
    return codec == CODEC_ZSTANDARD ? "3" : "2";
}

enum codec packed_codec(struct span format)
{
    uint8_t word = format.bytes == 1 ? format.at[0] : 0;
    return word == '2' ? CODEC_DEFLATE : word == '3' ? CODEC_ZSTANDARD : CODEC_UNKNOWN;
}

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

static struct trailer make_trailer(struct span data, uint64_t count, uint64_t arrival_ns,
                                   uint16_t place)
{
    struct trailer trailer = {.at = 0};
    put_number(trailer.bytes, arrival_ns, 8);
    put_number(trailer.bytes + 8, checksum_of(data, arrival_ns, count, place), 4);
    put_number(trailer.bytes + 12, place, 2);
    return trailer;
}

static long write_deflated(uint8_t *image, struct span data, uint64_t count,
                           struct trailer trailer, const uint8_t sync[BLOCK_SYNC_BYTES],
                           size_t alignment)
{
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
    struct trailer none = {.at = 0};
    at = put_filler(at, (size_t)(image + FRONT_BYTES - at), &trailer);
    CHECK(at == image + FRONT_BYTES && trailer.at == 8 * TRAILER_BYTES);
    at = put_filler(at + packed, bytes - end, &none);
    memcpy(at, "\x01\x00\x00\xff\xff", ELEMENT_BYTES);
    memcpy(at + ELEMENT_BYTES, sync, BLOCK_SYNC_BYTES);
    return (long)bytes;
}

/* ---- zstandard ---- */

/* A frame of `data` that goes on, in libzstd's blocks, behind a header of its own. Its bytes,
 * -ENOMEM, or -ENOSPC if it does not fit. */
static long compress_open(uint8_t *out, size_t room, struct span data)
{
    ZSTD_inBuffer in = {data.at, data.bytes, 0};
    ZSTD_outBuffer into = {out, room, 0};
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (context == NULL)
        return -ENOMEM;
    ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, FRAME_LEVEL);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, FRAME_WINDOW_LOG);
    ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    size_t left = 1;
    while (left > 0 && !ZSTD_isError(left) && into.pos < into.size)
        left = ZSTD_compressStream2(context, &into, &in, ZSTD_e_flush);
    ZSTD_freeCCtx(context);
    if (ZSTD_isError(left))
        return -ENOMEM;
    CHECK(into.pos >= OWN_HEADER_BYTES && out[4] == 0);
    return left > 0 ? -ENOSPC : (long)into.pos;
}

static uint8_t *put_empty_blocks(uint8_t *at, size_t bytes)
{
    size_t longer = bytes % RAW_BYTES;
    memset(at, 0, bytes);
    for (size_t i = 0; i < longer; i++)
        at[bytes - (longer - i) * RLE_BYTES] = 0x02;
    return at + bytes;
}

/* How long a block is that holds so many bytes of libzstd's blocks: `*size_bytes` that of its
 * size. */
static size_t frame_block_bytes(uint64_t count, size_t packed, size_t alignment, size_t *size_bytes)
{
    size_t bytes = 0, before = varint_bytes((int64_t)count);
    for (*size_bytes = 1; *size_bytes < VARINT_BYTES_MAX; ++*size_bytes) {
        size_t end = before + *size_bytes + FRAME_FRONT_BYTES + packed + RAW_BYTES;
        end += BLOCK_SYNC_BYTES;
        bytes = (end + alignment - 1) / alignment * alignment;
        if ((bytes - end) % RAW_BYTES * RLE_BYTES > bytes - end)
            bytes += alignment;
        size_t size = bytes - before - *size_bytes - BLOCK_SYNC_BYTES;
        if (varint_bytes((int64_t)size) == *size_bytes)
            break;
    }
    return bytes;
}

static long write_compressed(uint8_t *image, struct span data, uint64_t count,
                             const struct trailer *trailer, const uint8_t sync[BLOCK_SYNC_BYTES],
                             size_t alignment)
{
    /* Made where the front surely ends, then moved to where it does. */
    uint8_t *blocks = image + 2 * VARINT_BYTES_MAX + FRAME_FRONT_BYTES;
    long packed = OWN_HEADER_BYTES;
    if (data.bytes > 0)
        packed = compress_open(blocks, (size_t)(image + BLOCK_BYTES_MAX - blocks), data);
    if (packed < 0)
        return packed;
    size_t packed_bytes = (size_t)packed - OWN_HEADER_BYTES, size_bytes;
    size_t bytes = frame_block_bytes(count, packed_bytes, alignment, &size_bytes);
    if (bytes > BLOCK_BYTES_MAX)
        return -ENOSPC;
    uint8_t *at = image + varint_write(image, (int64_t)count);
    at += varint_write(at, (int64_t)(bytes - (size_t)(at - image) - size_bytes - BLOCK_SYNC_BYTES));
    memcpy(at, frame_begin, sizeof(frame_begin));
    put_number(at + sizeof(frame_begin), data.bytes, 4);
    at += FRAME_BEGIN_BYTES;
    for (size_t i = 0; i < TRAILER_BYTES; i++, at += RLE_BYTES) {
        put_number(at, 0x02, RAW_BYTES);
        at[RAW_BYTES] = trailer->bytes[i];
    }
    memmove(at, blocks + OWN_HEADER_BYTES, packed_bytes);
    at += packed_bytes;
    uint8_t *end = image + bytes - BLOCK_SYNC_BYTES - RAW_BYTES;
    at = put_empty_blocks(at, (size_t)(end - at));
    CHECK(at == end);
    put_number(at, 0x01, RAW_BYTES);
    memcpy(at + RAW_BYTES, sync, BLOCK_SYNC_BYTES);
    return (long)bytes;
}

/* The front of a block of format 3, and its trailer. Its bytes, or -EBADMSG. */
static long read_frame_front(struct span bytes, struct block_info *info, uint8_t trailer[])
{
    const uint8_t *at = bytes.at, *end = bytes.at + bytes.bytes;
    int64_t count, size;
    int used = varint_read(at, end, &count);
    if (used <= 0 || count <= 0)
        return -EBADMSG;
    at += used;
    used = varint_read(at, end, &size);
    if (used <= 0 || size < FRAME_FRONT_BYTES + RAW_BYTES || size > (int64_t)BLOCK_BYTES_MAX * 16)
        return -EBADMSG;
    at += used;
    if (end - at < FRAME_FRONT_BYTES || memcmp(at, frame_begin, sizeof(frame_begin)) != 0)
        return -EBADMSG;
    info->bytes = (size_t)(at - bytes.at) + (size_t)size + BLOCK_SYNC_BYTES;
    info->data_bytes = (size_t)take_number(at + sizeof(frame_begin), 4);
    at += FRAME_BEGIN_BYTES;
    for (size_t i = 0; i < TRAILER_BYTES; i++, at += RLE_BYTES) {
        if (take_number(at, RAW_BYTES) != 0x02)
            return -EBADMSG;
        trailer[i] = at[RAW_BYTES];
    }
    info->count = (uint64_t)count;
    info->arrival_ns = take_number(trailer, 8);
    info->place = (uint16_t)take_number(trailer + 12, 2);
    info->sound = false;
    return at - bytes.at;
}

/* Whether what stands behind the front of a frame, up to its end, is as it is written: the datums'
 * blocks, then nothing. */
static bool is_frame_written(const uint8_t *at, const uint8_t *end)
{
    bool behind = false;
    while (end - at > RAW_BYTES) {
        unsigned header = (unsigned)take_number(at, RAW_BYTES), type = header >> 1 & 3;
        size_t bytes = type == 1 ? 1 : header >> 3;
        bool empty = type < 2 && header >> 3 == 0;
        if ((header & 1) || type == 3 || (behind && !empty) ||
            (size_t)(end - at) < RAW_BYTES + bytes || (empty && type == 1 && at[RAW_BYTES] != 0))
            return false;
        behind = empty;
        at += RAW_BYTES + bytes;
    }
    return end - at == RAW_BYTES && take_number(at, RAW_BYTES) == 0x01;
}

static int check_frame(struct span image, struct span data, struct block_info *info)
{
    uint8_t trailer[TRAILER_BYTES];
    long front = read_frame_front(image, info, trailer);
    if (front < 0 || info->bytes != image.bytes || info->data_bytes != data.bytes ||
        !is_frame_written(image.at + front, image.at + image.bytes - BLOCK_SYNC_BYTES))
        return -EBADMSG;
    info->sound = (uint32_t)take_number(trailer + 8, 4) ==
                  checksum_of(data, info->arrival_ns, info->count, info->place);
    return 0;
}

/* ---- either ---- */

long packed_write(uint8_t *image, enum codec codec, struct span data, uint64_t count,
                  uint64_t arrival_ns, const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment,
                  uint16_t place)
{
    CHECK(count > 0 && count <= BLOCK_DATUMS_MAX);
    struct trailer trailer = make_trailer(data, count, arrival_ns, place);
    return codec == CODEC_ZSTANDARD
               ? write_compressed(image, data, count, &trailer, sync, alignment)
               : write_deflated(image, data, count, trailer, sync, alignment);
}

int packed_read_front(struct span bytes, struct block_info *info)
{
    uint8_t trailer[TRAILER_BYTES];
    if (block_read_front(bytes, info) == 0)
        return 0;
    if (read_frame_front(bytes, info, trailer) < 0)
        return -EBADMSG;
    info->data_bytes = 0;
    return 0;
}

int packed_check(struct span image, struct span data, struct block_info *info)
{
    struct trailer trailer = {.at = 0};
    int64_t ignored;
    int status = block_read_front(image, info);
    if (status < 0)
        return check_frame(image, data, info);
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
