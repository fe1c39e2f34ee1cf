/* SPDX-License-Identifier: MIT
 * Blocks and the header of a recording. Pure bytes; see block.h for the format.
 * Every stored-block header has a fixed place, so datums are copied to where they stay. */
#include "avro/block.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/copy.h"
#include "base/crc32c.h"
#include "base/varint.h"

enum {
    STORED_HEADER_BYTES = 5, /* three bits, padding, LEN, NLEN */
    STORED_STEP_BYTES = BLOCK_STORED_BYTES + STORED_HEADER_BYTES,
    FRONT_VARINT_BYTES_MAX = 7,
    FINAL_BYTES = STORED_HEADER_BYTES, /* the empty final stored block */
    TRAILER_BITS = 112,
    HEADER_CRC_DIGITS = 8,
};
static const char header_crc_key[] = "flotilla.crc32c";
/* The entry (a key and a value with a length byte each), the map's end, the sync marker. */
#define HEADER_TAIL_BYTES                                                                          \
    (1 + sizeof(header_crc_key) - 1 + 1 + HEADER_CRC_DIGITS + 1 + BLOCK_SYNC_BYTES)
#define HEADER_CRC_BACK                                                                            \
    (HEADER_CRC_DIGITS + 1 + BLOCK_SYNC_BYTES) /* of the digits, from the end                      \
                                                */

/* How a filler of a given length is made: `fives` elements of 5 bytes, then `sixes` of 6. */
struct filler {
    size_t fives, sixes;
};

/* False where 5a + 6b does not reach: 1-4, 7-9, 13, 14, 19. */
static bool filler_plan(size_t bytes, struct filler *filler)
{
    filler->sixes = bytes % 5;
    if (filler->sixes * 6 > bytes)
        return false;
    filler->fives = (bytes - filler->sixes * 6) / 5;
    return true;
}

/* Up to TRAILER_BITS bits, taken from the low end. */
struct bits {
    uint64_t low;  /* the arrival time */
    uint64_t high; /* the checksum, then the place */
    unsigned used;
};

/* Takes the next 1 to 8 of them out; zeros where there are no more. */
static uint8_t bits_take(struct bits *bits, unsigned count)
{
    uint8_t value = (uint8_t)(bits->low & ((1u << count) - 1));
    bits->low = bits->low >> count | bits->high << (64 - count);
    bits->high >>= count;
    bits->used += count;
    return value;
}

/* False if a bit behind the trailer is set. */
static bool bits_put(struct bits *bits, unsigned count, uint8_t value)
{
    for (unsigned i = 0; i < count && bits->used < TRAILER_BITS; i++, bits->used++) {
        unsigned at = bits->used;
        uint64_t bit = value & 1;
        if (at < 64)
            bits->low |= bit << at;
        else
            bits->high |= bit << (at - 64);
        value >>= 1;
    }
    return bits->used < TRAILER_BITS || value == 0;
}

static void stored_header(uint8_t *at, uint8_t first, size_t bytes)
{
    at[0] = first;
    at[1] = (uint8_t)bytes;
    at[2] = (uint8_t)(bytes >> 8);
    at[3] = (uint8_t)~bytes;
    at[4] = (uint8_t)(~bytes >> 8);
}

/* An element of 5 bytes: BFINAL 0, BTYPE 00, then five free bits, LEN 0, NLEN ffff.
 * Of 6: BFINAL 0, BTYPE 01 (bits 0 1 0), end of block 0000000, then BTYPE 00 at bits 10 to 12 and
 * three free bits at 13 to 15. */
static uint8_t *filler_write(uint8_t *at, struct filler filler, struct bits *bits)
{
    for (size_t i = 0; i < filler.fives; i++, at += 5)
        stored_header(at, (uint8_t)(bits_take(bits, 5) << 3), 0);
    for (size_t i = 0; i < filler.sixes; i++, at += 6) {
        at[0] = 0x02;
        stored_header(at + 1, (uint8_t)(bits_take(bits, 3) << 5), 0);
    }
    return at;
}

/* Where the datum byte number `data` of a block stands. */
static size_t data_offset(size_t data)
{
    return BLOCK_DATA_OFFSET + data + (data / BLOCK_STORED_BYTES) * STORED_HEADER_BYTES;
}

/* Where the stored blocks of `data_bytes` end. */
static size_t data_end(size_t data_bytes)
{
    return data_bytes == 0 ? BLOCK_DATA_OFFSET : data_offset(data_bytes - 1) + 1;
}

size_t block_finished_bytes(size_t data_bytes, size_t alignment)
{
    size_t end = data_end(data_bytes) + FINAL_BYTES + BLOCK_SYNC_BYTES;
    size_t bytes = (end + alignment - 1) / alignment * alignment;
    struct filler filler;
    if (!filler_plan(bytes - end, &filler))
        bytes += alignment;
    return bytes;
}

void block_append(uint8_t *image, size_t data_bytes, struct span datum)
{
    const uint8_t *from = datum.at;
    size_t left = datum.bytes;
    while (left > 0) {
        size_t room = BLOCK_STORED_BYTES - data_bytes % BLOCK_STORED_BYTES;
        size_t part = left < room ? left : room;
        copy_bytes(image + data_offset(data_bytes), from, part);
        from += part;
        data_bytes += part;
        left -= part;
    }
}

size_t block_data_max(size_t room)
{
    /* From 20 bytes of filler up, every length can be made. */
    size_t fixed = BLOCK_DATA_OFFSET + 20 + FINAL_BYTES + BLOCK_SYNC_BYTES;
    size_t data = room - fixed;
    return data - (data / STORED_STEP_BYTES) * STORED_HEADER_BYTES;
}

void block_copy(uint8_t *image, const uint8_t *from, size_t skip, size_t data_bytes)
{
    CHECK(skip <= data_bytes && data_bytes <= BLOCK_STORED_BYTES);
    memcpy(image + BLOCK_DATA_OFFSET, from + BLOCK_DATA_OFFSET + skip, data_bytes - skip);
}

static void put_le64(uint8_t out[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

uint32_t block_carry_checksum(uint32_t checksum, const uint8_t *image, size_t from, size_t to)
{
    while (from < to) {
        size_t part = BLOCK_STORED_BYTES - from % BLOCK_STORED_BYTES;
        part = part < to - from ? part : to - from;
        checksum = crc32c(checksum, image + data_offset(from), part);
        from += part;
    }
    return checksum;
}

/* That of a block, from that of its datums. */
static uint32_t block_checksum(uint32_t checksum, uint64_t arrival_ns, uint64_t count,
                               uint16_t place)
{
    uint8_t tail[18];
    put_le64(tail, arrival_ns);
    put_le64(tail + 8, count);
    tail[16] = (uint8_t)place;
    tail[17] = (uint8_t)(place >> 8);
    return crc32c(checksum, tail, sizeof(tail));
}

uint16_t block_place(uint64_t offset)
{
    return (uint16_t)(offset / BLOCK_PAGE_BYTES % BLOCK_PLACES + 1);
}

size_t block_finish_at(uint8_t *image, size_t data_bytes, uint64_t count, uint64_t arrival_ns,
                       const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment, uint16_t place)
{
    return block_finish_checked(image, data_bytes, count, arrival_ns, sync, alignment, place,
                                block_carry_checksum(0, image, 0, data_bytes));
}

size_t block_finish_checked(uint8_t *image, size_t data_bytes, uint64_t count, uint64_t arrival_ns,
                            const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment, uint16_t place,
                            uint32_t data_checksum)
{
    size_t bytes = block_finished_bytes(data_bytes, alignment);
    CHECK(count > 0 && count <= BLOCK_DATUMS_MAX);

    uint8_t *at = image;
    size_t size_bytes, size; /* of the deflate stream; its own length takes part in it */
    at += varint_write(at, (int64_t)count);
    size_t count_bytes = (size_t)(at - image);
    for (size_bytes = 2; size_bytes <= 4; size_bytes++) {
        size = bytes - BLOCK_SYNC_BYTES - count_bytes - size_bytes;
        if (varint_bytes((int64_t)size) == size_bytes)
            break;
    }
    CHECK(size_bytes <= 4 && count_bytes + size_bytes <= FRONT_VARINT_BYTES_MAX);
    at += varint_write(at, (int64_t)size);

    uint32_t checksum = block_checksum(data_checksum, arrival_ns, count, place);
    struct bits bits = {.low = arrival_ns, .high = checksum | (uint64_t)place << 32};
    struct filler filler;
    size_t front = BLOCK_DATA_OFFSET - STORED_HEADER_BYTES - (size_t)(at - image);
    CHECK(filler_plan(front, &filler));
    at = filler_write(at, filler, &bits);
    CHECK(bits.used >= TRAILER_BITS && at == image + BLOCK_DATA_OFFSET - STORED_HEADER_BYTES);

    for (size_t data = 0; data == 0 || data < data_bytes; data += BLOCK_STORED_BYTES) {
        size_t left = data_bytes - data;
        stored_header(image + data_offset(data) - STORED_HEADER_BYTES, 0,
                      left < BLOCK_STORED_BYTES ? left : BLOCK_STORED_BYTES);
    }

    at = image + data_end(data_bytes);
    struct bits none = {0};
    size_t end = data_end(data_bytes) + FINAL_BYTES + BLOCK_SYNC_BYTES;
    CHECK(filler_plan(bytes - end, &filler));
    at = filler_write(at, filler, &none);
    stored_header(at, 0x01, 0);
    memcpy(at + FINAL_BYTES, sync, BLOCK_SYNC_BYTES);
    CHECK(at + FINAL_BYTES + BLOCK_SYNC_BYTES == image + bytes);
    return bytes;
}

/* Reads the fillers and stored blocks between `at` and `end`; false if they are not as
 * block_finish_at makes them. */
static bool stored_blocks_read(const uint8_t *at, const uint8_t *end, const uint8_t *first_data,
                               struct bits *bits, size_t *data_bytes)
{
    bool in_data = false, behind_data = false;
    *data_bytes = 0;
    for (;;) {
        bool six = end - at >= 6 && at[0] == 0x02;
        if (six)
            at++;
        if (end - at < STORED_HEADER_BYTES)
            return false;
        size_t bytes = at[1] | (size_t)at[2] << 8;
        if ((bytes ^ 0xffff) != (at[3] | (size_t)at[4] << 8))
            return false;
        unsigned shift = six ? 5 : 3;
        if (at[0] & (six ? 0x1f : 0x07)) /* only the final block's bit may be set */
            return !six && at[0] == 0x01 && bytes == 0 && at + STORED_HEADER_BYTES == end;
        if (!in_data && !behind_data && at + STORED_HEADER_BYTES == first_data)
            in_data = true;
        else if (in_data && *data_bytes % BLOCK_STORED_BYTES != 0)
            in_data = false, behind_data = true;
        else if (in_data && bytes == 0)
            in_data = false, behind_data = true;
        if (in_data) {
            if (at[0] != 0 || six || (size_t)(end - at) < STORED_HEADER_BYTES + bytes)
                return false;
            *data_bytes += bytes;
            if (bytes == 0)
                in_data = false, behind_data = true;
        } else {
            if (bytes != 0 || (behind_data && at[0] >> shift))
                return false;
            if (!behind_data && !bits_put(bits, 8 - shift, (uint8_t)(at[0] >> shift)))
                return false;
        }
        at += STORED_HEADER_BYTES + bytes;
    }
}

int block_inspect(struct span bytes, const uint8_t sync[BLOCK_SYNC_BYTES], struct block_info *info)
{
    const uint8_t *at = bytes.at, *end = bytes.at + bytes.bytes;
    int64_t count, size;
    int used = varint_read(at, end, &count);
    if (used <= 0)
        return used == 0 ? -ENODATA : -EBADMSG;
    at += used;
    used = varint_read(at, end, &size);
    if (used <= 0)
        return used == 0 ? -ENODATA : -EBADMSG;
    at += used;
    if (count <= 0 || size <= 0 || size > (int64_t)BLOCK_BYTES_MAX * 16)
        return -EBADMSG;
    if (end - at < size + (int64_t)BLOCK_SYNC_BYTES)
        return -ENODATA;
    if (memcmp(at + size, sync, BLOCK_SYNC_BYTES) != 0)
        return -EBADMSG;
    struct bits bits = {0};
    if (at - bytes.at + size < (int64_t)BLOCK_DATA_OFFSET ||
        !stored_blocks_read(at, at + size, bytes.at + BLOCK_DATA_OFFSET, &bits, &info->data_bytes))
        return -EBADMSG;
    info->bytes = (size_t)(at - bytes.at) + (size_t)size + BLOCK_SYNC_BYTES;
    info->count = (uint64_t)count;
    info->arrival_ns = bits.low;
    info->place = (uint16_t)(bits.high >> 32);
    info->sound = bits.used == TRAILER_BITS &&
                  (uint32_t)bits.high ==
                      block_checksum(block_carry_checksum(0, bytes.at, 0, info->data_bytes),
                                     bits.low, info->count, info->place);
    return 0;
}

int block_read_front(struct span bytes, struct block_info *info)
{
    const uint8_t *at = bytes.at, *end = bytes.at + BLOCK_DATA_OFFSET - STORED_HEADER_BYTES;
    int64_t count, size;
    if (bytes.bytes < BLOCK_DATA_OFFSET)
        return -EBADMSG;
    int count_bytes = varint_read(at, end, &count);
    if (count_bytes <= 0 || count <= 0)
        return -EBADMSG;
    int size_bytes = varint_read(at + count_bytes, end, &size);
    if (size_bytes <= 0 || size < (int64_t)BLOCK_DATA_OFFSET ||
        size > (int64_t)BLOCK_BYTES_MAX * 16)
        return -EBADMSG;
    at += count_bytes + size_bytes;
    struct bits bits = {0};
    while (at < end) {
        bool six = end - at >= 6 && at[0] == 0x02;
        at += six;
        if (end - at < STORED_HEADER_BYTES || (at[0] & (six ? 0x1f : 0x07)) || at[1] != 0 ||
            at[2] != 0 || at[3] != 0xff || at[4] != 0xff ||
            !bits_put(&bits, six ? 3 : 5, (uint8_t)(at[0] >> (six ? 5 : 3))))
            return -EBADMSG;
        at += STORED_HEADER_BYTES;
    }
    *info = (struct block_info){
        .bytes = (size_t)(count_bytes + size_bytes) + (size_t)size + BLOCK_SYNC_BYTES,
        .count = (uint64_t)count,
        .arrival_ns = bits.low,
        .place = (uint16_t)(bits.high >> 32),
    };
    return 0;
}

void block_take_data(uint8_t *out, const uint8_t *image, size_t data_bytes)
{
    for (size_t data = 0; data < data_bytes; data += BLOCK_STORED_BYTES) {
        size_t left = data_bytes - data;
        memcpy(out + data, image + data_offset(data),
               left < BLOCK_STORED_BYTES ? left : BLOCK_STORED_BYTES);
    }
}

/* A header is the magic, a map of one block, and the sync marker. */
struct text_writer {
    uint8_t *at, *end; /* `at` runs on past `end` without writing, to measure */
};

static void put_bytes(struct text_writer *writer, struct span bytes)
{
    if (writer->at <= writer->end && bytes.bytes <= (size_t)(writer->end - writer->at) &&
        bytes.bytes > 0)
        memcpy(writer->at, bytes.at, bytes.bytes);
    writer->at += bytes.bytes;
}

static void put_sized(struct text_writer *writer, struct span bytes)
{
    uint8_t length[VARINT_BYTES_MAX];
    put_bytes(writer, (struct span){length, varint_write(length, (int64_t)bytes.bytes)});
    put_bytes(writer, bytes);
}

static void put_entry(struct text_writer *writer, const char *key, struct span value)
{
    put_sized(writer, (struct span){(const uint8_t *)key, strlen(key)});
    put_sized(writer, value);
}

static struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* Writes the digits over everything in the header but the digits. */
static void header_crc_write(uint8_t digits[HEADER_CRC_DIGITS], const uint8_t *header, size_t bytes)
{
    const uint8_t *end = header + bytes;
    uint32_t checksum = crc32c(0, header, bytes - HEADER_CRC_BACK);
    checksum = crc32c(checksum, end - HEADER_CRC_BACK + HEADER_CRC_DIGITS,
                      HEADER_CRC_BACK - HEADER_CRC_DIGITS);
    for (int i = 0; i < HEADER_CRC_DIGITS; i++)
        digits[i] = (uint8_t) "0123456789abcdef"[checksum >> (28 - 4 * i) & 15];
}

/* Once a file: small rather than fast. */
__attribute__((cold)) long block_write_header(uint8_t *image, size_t room,
                                              const struct block_header_text *text,
                                              const uint8_t sync[BLOCK_SYNC_BYTES],
                                              size_t alignment)
{
    static const char padding_key[] = "flotilla.padding";
    struct text_writer writer = {image, image + room};
    put_bytes(&writer, (struct span){(const uint8_t *)"Obj\x01", 4});
    uint8_t entries[VARINT_BYTES_MAX];
    int64_t count =
        9 + (text->time.bytes > 0) + (text->sequence.bytes > 0) + (text->ordered_since != 0);
    put_bytes(&writer, (struct span){entries, varint_write(entries, count)});
    put_entry(&writer, "avro.schema", text->schema);
    put_entry(&writer, "avro.codec", text_span("deflate"));
    put_entry(&writer, "flotilla.channel", text_span(text->channel));
    put_entry(&writer, "flotilla.host", text_span(text->host));
    put_entry(&writer, "flotilla.started", text_span(text->started));
    put_entry(&writer, "flotilla.version", text_span(text->version));
    put_entry(&writer, "flotilla.format", text_span(BLOCK_FORMAT));
    if (text->time.bytes > 0)
        put_entry(&writer, "flotilla.time", text->time);
    if (text->sequence.bytes > 0)
        put_entry(&writer, "flotilla.sequence", text->sequence);
    if (text->ordered_since != 0) {
        char number[24];
        snprintf(number, sizeof(number), "%llu", (unsigned long long)text->ordered_since);
        put_entry(&writer, "flotilla.ordered_since", text_span(number));
    }
    put_sized(&writer, text_span(padding_key));

    /* The padding's length is part of what it pads; where a longer length word jumps over the
     * boundary, the next boundary is taken. */
    size_t before = (size_t)(writer.at - image), padding, total;
    size_t behind = HEADER_TAIL_BYTES;
    for (total = (before + 1 + behind + alignment - 1) / alignment * alignment;;
         total += alignment) {
        size_t left = total - before - behind;
        size_t length_bytes = 1;
        while (varint_bytes((int64_t)(left - length_bytes)) > length_bytes)
            length_bytes++;
        padding = left - length_bytes;
        if (varint_bytes((int64_t)padding) == length_bytes)
            break;
    }
    if (total > room)
        return -ENOSPC;
    writer.at += varint_write(writer.at, (int64_t)padding);
    memset(writer.at, ' ', padding);
    writer.at += padding;
    put_entry(&writer, header_crc_key, text_span("........"));
    *writer.at++ = 0;
    memcpy(writer.at, sync, BLOCK_SYNC_BYTES);
    CHECK(writer.at + BLOCK_SYNC_BYTES == image + total);
    header_crc_write(image + total - HEADER_CRC_BACK, image, total);
    return (long)total;
}

int block_check_header(struct span header)
{
    uint8_t entry[HEADER_TAIL_BYTES], digits[HEADER_CRC_DIGITS];
    if (header.bytes < HEADER_TAIL_BYTES)
        return -ENODATA;
    struct text_writer writer = {entry, entry + sizeof(entry)};
    put_entry(&writer, header_crc_key, text_span("........"));
    const uint8_t *tail = header.at + header.bytes - HEADER_TAIL_BYTES;
    if (memcmp(tail, entry, HEADER_TAIL_BYTES - HEADER_CRC_BACK) != 0)
        return -ENODATA;
    header_crc_write(digits, header.at, header.bytes);
    return memcmp(header.at + header.bytes - HEADER_CRC_BACK, digits, sizeof(digits)) == 0
               ? 0
               : -EBADMSG;
}

long block_read_header(struct span bytes, uint8_t sync[BLOCK_SYNC_BYTES])
{
    const uint8_t *at = bytes.at, *end = bytes.at + bytes.bytes;
    if (bytes.bytes < 4)
        return -ENODATA;
    if (memcmp(at, "Obj\x01", 4) != 0)
        return -EBADMSG;
    at += 4;
    int64_t entries, length;
    for (;;) {
        int used = varint_read(at, end, &entries);
        if (used <= 0)
            return used == 0 ? -ENODATA : -EBADMSG;
        at += used;
        if (entries == 0)
            break;
        if (entries < 0)
            return -EBADMSG; /* we never write a block size */
        for (int64_t i = 0; i < 2 * entries; i++) {
            used = varint_read(at, end, &length);
            if (used <= 0)
                return used == 0 ? -ENODATA : -EBADMSG;
            at += used;
            if (length < 0)
                return -EBADMSG;
            if (length > end - at)
                return -ENODATA;
            at += length;
        }
    }
    if (end - at < (long)BLOCK_SYNC_BYTES)
        return -ENODATA;
    memcpy(sync, at, BLOCK_SYNC_BYTES);
    return (long)(at - bytes.at) + BLOCK_SYNC_BYTES;
}
