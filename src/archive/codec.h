/* SPDX-License-Identifier: MIT
 * The codecs of Avro's container files: a block's bytes unpacked, within a bound. Pure bytes.
 * Relies on zlib, libsnappy, libzstd, libbz2 and liblzma. Source: Avro 1.11 specification,
 * "Required Codecs", "Optional Codecs". */
#ifndef FLOTILLA_ARCHIVE_CODEC_H
#define FLOTILLA_ARCHIVE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

/* Of one block, unpacked; what a bomb costs. The memory a codec asks for is bounded by it, too. */
#define CODEC_BYTES_MAX (1u << 30)

/* By what proves a block: the last ones have checksums. */
enum codec {
    CODEC_UNKNOWN,
    CODEC_NULL,
    CODEC_DEFLATE,
    CODEC_SNAPPY, /* with the CRC-32 that Avro puts behind it */
    CODEC_ZSTANDARD,
    CODEC_BZIP2,
    CODEC_XZ,
    CODECS
};

/* The codec of a header's avro.codec; no name is null. */
enum codec codec_of(struct span name);
/* Its name there; NULL for CODEC_UNKNOWN. */
const char *codec_name(enum codec codec);
/* All names, for people: "null, deflate ... and xz". */
extern const char codec_names[];

struct unpacker; /* holds what was unpacked last, and what costs time to make */

/* NULL if there is no memory. Freed by unpacker_free. */
struct unpacker *unpacker_new(void);
void unpacker_free(struct unpacker *unpacker);

/* Room for `bytes`, until the next call of these two; NULL if there is no memory. */
uint8_t *unpacker_room(struct unpacker *unpacker, size_t bytes);

/* Unpacks `stored`, which must be used up exactly; `*data` is the unpacker's until the next call.
 * 0; -EBADMSG with the reason in `*why`, and what came out before it in `*data`; -EFBIG if that is
 * more than CODEC_BYTES_MAX, or needs more memory; -ENOMEM. */
int codec_unpack(struct unpacker *unpacker, enum codec codec, struct span stored, struct span *data,
                 const char **why);

/* Packs `data` for a block in a file of that codec, null or deflate; `*stored` is from malloc, the
 * caller's to free. 0, -ENOTSUP for another codec, or -ENOMEM. */
int codec_pack(enum codec codec, struct span data, uint8_t **stored, size_t *stored_bytes);

#endif
