/* SPDX-License-Identifier: MIT
 * Blocks of a recording that was compacted (flotilla.format 2): what stands in a block of
 * avro/block as it is stands here deflated, where that makes it smaller (blocks of both forms may
 * follow each other). All else is the same: front, trailer, checksum over the datums, pages, place,
 * marker; so they are found by time and proved as those are, and read by any Avro reader.
 *
 *   offset 0    count, size
 *               filler that carries the trailer     (ends at BLOCK_DATA_OFFSET - 5)
 *   127         the datums as a deflate stream, flushed to a byte, not ended
 *               filler with zero bits, an empty final stored block
 *   -16         sync marker, up to a multiple of the alignment
 *
 * Pure bytes. Relies on zlib. Sources: RFC 1951; avro/block.h for the filler. */
#ifndef FLOTILLA_ARCHIVE_PACKED_H
#define FLOTILLA_ARCHIVE_PACKED_H

#include <stdint.h>

#include "avro/block.h"
#include "base/span.h"

#define PACKED_FORMAT "2"

/* Writes the block to `image` (BLOCK_BYTES_MAX). Its bytes; -ENOSPC if it would be longer than any,
 * as only what cannot be packed is: it stays as it was; or -ENOMEM. */
long packed_write(uint8_t *image, struct span data, uint64_t count, uint64_t arrival_ns,
                  const uint8_t sync[BLOCK_SYNC_BYTES], size_t alignment, uint16_t place);

/* Whether `data`, unpacked from the whole block `image`, is what its front says: `info` gets that,
 * but for data_bytes. -EBADMSG if there is no such front. */
int packed_check(struct span image, struct span data, struct block_info *info);

#endif
