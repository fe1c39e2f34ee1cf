/* SPDX-License-Identifier: MIT
 * Blocks of a recording that was compacted: what stands in a block of avro/block as it is stands
 * here packed. All else is the same: count, trailer, checksum over the datums, pages, place and
 * marker; so they are found by time and proved as those are, and read by any Avro reader of the
 * codec.
 *
 * flotilla.format 2, deflate; blocks of format 1 may stand between these, where packing gains
 * nothing:
 *   offset 0    count, size
 *               filler that carries the trailer     (ends at BLOCK_DATA_OFFSET - 5)
 *   127         the datums as a deflate stream, flushed to a byte, not ended
 *               filler with zero bits, an empty final stored block
 *   -16         sync marker, up to a multiple of the alignment
 *
 * flotilla.format 3, zstandard: one frame, of which blocks that hold nothing carry the rest:
 *
 *   offset 0    count, size
 *               magic, descriptor 80, window 40 (256 KiB), content size (4 bytes)
 *               the trailer's 14 bytes b, each as an empty RLE block: 02 00 00 b
 *               the datums, in blocks of which none is the last
 *               empty raw blocks 00 00 00, then, up to two, empty RLE blocks 02 00 00 00
 *               01 00 00: the last block, empty
 *   -16         sync marker, up to a multiple of the alignment
 *
 * Pure bytes. Relies on zlib and libzstd. Sources: RFC 1951; avro/block.h for the filler; RFC 8878,
 * 3.1.1. */
#ifndef FLOTILLA_ARCHIVE_PACKED_H
#define FLOTILLA_ARCHIVE_PACKED_H

#include <stdint.h>

#include "archive/codec.h"
#include "avro/block.h"
#include "base/span.h"

/* The value of flotilla.format for a codec, CODEC_DEFLATE or CODEC_ZSTANDARD; and the codec of a
 * value: CODEC_UNKNOWN for every other one. */
const char *packed_format(enum codec codec);
enum codec packed_codec(struct span format);

/* Writes the block to `image` (BLOCK_BYTES_MAX). Its bytes; -ENOSPC if it would be longer than any,
 * as only what deflate cannot pack is: it stays as it was; or -ENOMEM. */
long packed_write(uint8_t *image, enum codec codec, struct span data, uint64_t count,
                  uint64_t arrival_ns, const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment,
                  uint16_t place);

/* As block_read_front, also of a block of format 3 (which needs no BLOCK_DATA_OFFSET bytes). */
int packed_read_front(struct span bytes, struct block_info *info);

/* Whether `data`, unpacked from the whole block `image`, is what its front says: `info` gets that,
 * but for data_bytes. -EBADMSG if there is no such front. */
int packed_check(struct span image, struct span data, struct block_info *info);

#endif
