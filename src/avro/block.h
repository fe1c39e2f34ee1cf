/* SPDX-License-Identifier: MIT
 * One block of a recording, built in place: codec `deflate` with stored blocks, ended on a page
 * boundary, so that it can be written with O_DIRECT and read by any Avro reader.
 * Pure bytes. Sources: Avro 1.11 specification ("Object container files"), RFC 1951 (3.2.3, 3.2.4).
 *
 *   offset 0    count, size                      (Avro longs: 3 to 7 bytes)
 *               filler that carries the trailer  (ends at BLOCK_DATA_OFFSET - 5)
 *   127         stored-block header, then up to 65,535 bytes of datums; repeated every 65,540 bytes
 *               filler with zero bits, an empty final stored block
 *   -16         sync marker, up to a multiple of the alignment
 *
 * Filler is made of empty stored blocks: 5 bytes with 5 bits that every inflater ignores, or 6
 * bytes (an empty fixed-Huffman block in front) with 3 such bits. The first filler's free bits
 * hold, in order and least significant bit first: 64 bits arrival time of the first datum
 * (nanoseconds since 1970), 32 bits CRC-32C over the datums, then the arrival time and the count as
 * 8 little-endian bytes each, then the place as 2; 16 bits place (block_place), so that a block
 * which is missing, doubled or moved shows. All other free bits are zero.
 *
 * The header's last entry is flotilla.crc32c: 8 hexadecimal digits, the CRC-32C of all the other
 * bytes of the header, the sync marker included. */
#ifndef FLOTILLA_AVRO_BLOCK_H
#define FLOTILLA_AVRO_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define BLOCK_PAGE_BYTES   4096u
#define BLOCK_BYTES_MAX    (256u << 10) /* a finished block at most, at an alignment of one page */
#define BLOCK_DATA_OFFSET  132u         /* of the first datum */
#define BLOCK_STORED_BYTES 65535u       /* datum bytes in one stored block */
#define BLOCK_SYNC_BYTES   16u
#define BLOCK_PLACES       65535u           /* block_place counts 1 to this, in a cycle */
#define BLOCK_DATUMS_MAX   ((1u << 20) - 1) /* in one block */
/* How far the arrival time of a block may lie before that of any block in front of it in its file,
 * and in the files before it since `ordered_since`. What is further back begins a new file. */
#define BLOCK_DISORDER_NS 100000000u

/* The bytes a block of `data_bytes` of datums takes when finished: a multiple of `alignment`,
 * itself a multiple of BLOCK_PAGE_BYTES. */
size_t block_finished_bytes(size_t data_bytes, size_t alignment);

/* Copies `datum` into the image behind the `data_bytes` that are there already. The caller has made
 * sure that block_finished_bytes(data_bytes + datum.bytes) fits the image. */
void block_append(uint8_t *image, size_t data_bytes, struct span datum);

/* The most datum bytes that surely fit a finished block of `room` bytes, a multiple of the page. */
size_t block_data_max(size_t room);

/* Copies the datums of a block from byte `skip` up to `data_bytes` <= BLOCK_STORED_BYTES to the
 * start of another image, for a page that is written while its block still grows. */
void block_copy(uint8_t *image, const uint8_t *from, size_t skip, size_t data_bytes);

/* The place a block notes when it is written at `offset` of its file: the page's number, in a cycle
 * of 65,535 from 1 up. 0 is no place. */
uint16_t block_place(uint64_t offset);

/* Writes the front, the stored-block headers, the filler, the trailer and the sync marker around
 * `data_bytes` of datums, `count` > 0 of them, for a block that is written at `place`. Returns the
 * block's size. Doing it again gives the same bytes. */
size_t block_finish_at(uint8_t *image, size_t data_bytes, uint64_t count, uint64_t arrival_ns,
                       const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment, uint16_t place);

/* Carries the checksum of a block's datums (0 to begin with) on from byte `from` of them to `to`:
 * for who appends, while they are in the cache. */
uint32_t block_carry_checksum(uint32_t checksum, const uint8_t *image, size_t from, size_t to);

/* As block_finish_at, with the checksum of all the datums known already. */
size_t block_finish_checked(uint8_t *image, size_t data_bytes, uint64_t count, uint64_t arrival_ns,
                            const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment, uint16_t place,
                            uint32_t data_checksum);

struct block_info {
    size_t bytes;        /* the whole block */
    uint64_t count;      /* datums */
    uint64_t arrival_ns; /* of the first datum */
    size_t data_bytes;   /* of the datums */
    uint16_t place;      /* where it was written (block_place), 0 where it does not say */
    bool sound;          /* the checksum holds */
};

/* Reads a block of Flotilla's own at the start of `bytes`. 0, or -EBADMSG if it is not one that is
 * whole and ends with `sync`; -ENODATA if `bytes` ends before it does. `info->sound` is false where
 * only the checksum is wrong. */
int block_inspect(struct span bytes, const uint8_t sync[BLOCK_SYNC_BYTES], struct block_info *info);

/* Reads what the first BLOCK_DATA_OFFSET bytes of a block of Flotilla's own say: everything in
 * `info` but data_bytes (0) and sound (false). 0, or -EBADMSG if they are no such front. */
int block_read_front(struct span bytes, struct block_info *info);

/* Copies the `data_bytes` of datums of a finished block out, one behind the other. */
void block_take_data(uint8_t *out, const uint8_t *image, size_t data_bytes);

struct block_header_text {
    struct span schema;                             /* verbatim */
    const char *channel, *host, *started, *version; /* NUL-terminated */
    /* The number of the file since which arrival times have not gone back, this one's or an earlier
     * one's; 0: nothing is known of their order, and the header does not say. */
    uint64_t ordered_since;
    struct span time, sequence; /* paths of those fields; no bytes: none, and no entry */
};

/* The form of the blocks and of this header, in the entry flotilla.format. Any Avro reader reads
 * every form; who knows trailers and checksums does so of this one. */
#define BLOCK_FORMAT "1"

/* Writes a container file's header, padded with one more metadata entry to a multiple of
 * `alignment`, into `image` of `room` bytes. Returns its size, or -ENOSPC. */
long block_write_header(uint8_t *image, size_t room, const struct block_header_text *text,
                        const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment);

/* Finds where the header of a container file ends and its sync marker. Returns the header's bytes,
 * -EBADMSG if it is no such header, -ENODATA if `bytes` ends inside it. */
long block_read_header(struct span bytes, uint8_t sync[BLOCK_SYNC_BYTES]);

/* Whether the checksum of a whole header holds. 0, -EBADMSG if it does not, -ENODATA if there is
 * none where block_write_header puts it. */
int block_check_header(struct span header);

#endif
