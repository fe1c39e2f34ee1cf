/* SPDX-License-Identifier: MIT
 * One loop for all codecs but snappy: a step takes what it can of the input and fills what it can
 * of the output, which grows. Where a step does neither, the input is cut short.
 * Relies on the libraries to bound their own memory where they are told to. */
#include "archive/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <bzlib.h>
#include <lzma.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/check.h"

#define FIRST_BYTES        (16u << 10) /* the least room to unpack into */
#define PIECE_BYTES        (1u << 30)  /* of input at once: some libraries count in 32 bits */
#define ZLIB_TRAILER_BYTES 4u
#define SNAPPY_CRC_BYTES   4u
#define SNAPPY_RATIO_MAX   64u /* a copy of 2 bytes makes no more than 64 */
#define ZSTD_WINDOW_LOG    30  /* of CODEC_BYTES_MAX */

static const char *const names[CODECS] = {
    [CODEC_NULL] = "null",           [CODEC_DEFLATE] = "deflate", [CODEC_SNAPPY] = "snappy",
    [CODEC_ZSTANDARD] = "zstandard", [CODEC_BZIP2] = "bzip2",     [CODEC_XZ] = "xz",
};
const char codec_names[] = "null, deflate, snappy, zstandard, bzip2 and xz";

struct unpacker {
    uint8_t *bytes;
    size_t room;
    z_stream zlib;
    ZSTD_DStream *zstd;
    bool zlib_ready;
};

/* What a step moves on. */
struct flow {
    const uint8_t *in;
    uint8_t *out;
    size_t in_left, out_left;
    const char *why;
};

enum { GOES_ON, ENDED };

enum codec codec_of(struct span name)
{
    if (name.bytes == 0)
        return CODEC_NULL;
    for (enum codec codec = CODEC_NULL; codec < CODECS; codec++)
        if (name.bytes == strlen(names[codec]) && memcmp(name.at, names[codec], name.bytes) == 0)
            return codec;
    return CODEC_UNKNOWN;
}

const char *codec_name(enum codec codec)
{
    return names[codec];
}

struct unpacker *unpacker_new(void)
{
    return calloc(1, sizeof(struct unpacker));
}

void unpacker_free(struct unpacker *unpacker)
{
    if (unpacker == NULL)
        return;
    if (unpacker->zlib_ready)
        inflateEnd(&unpacker->zlib);
    ZSTD_freeDStream(unpacker->zstd);
    free(unpacker->bytes);
    free(unpacker);
}

uint8_t *unpacker_room(struct unpacker *unpacker, size_t bytes)
{
    if (bytes > unpacker->room || unpacker->bytes == NULL) {
        uint8_t *grown = realloc(unpacker->bytes, bytes + 1);
        if (grown == NULL)
            return NULL;
        unpacker->bytes = grown;
        unpacker->room = bytes;
    }
    return unpacker->bytes;
}

static unsigned piece(size_t left)
{
    return left < PIECE_BYTES ? (unsigned)left : PIECE_BYTES;
}

/* ---- the steps ---- */

static int step_deflate(struct unpacker *unpacker, struct flow *flow)
{
    z_stream *stream = &unpacker->zlib;
    stream->next_in = (Bytef *)(uintptr_t)flow->in;
    stream->avail_in = piece(flow->in_left);
    stream->next_out = flow->out;
    stream->avail_out = piece(flow->out_left);
    int result = inflate(stream, Z_NO_FLUSH);
    flow->in_left -= (size_t)(stream->next_in - flow->in);
    flow->out_left -= (size_t)(stream->next_out - flow->out);
    flow->in = stream->next_in;
    flow->out = stream->next_out;
    flow->why = stream->msg != NULL ? stream->msg : "it is cut short";
    if (result == Z_MEM_ERROR)
        return -ENOMEM;
    if (result != Z_OK && result != Z_STREAM_END)
        return -EBADMSG;
    return result == Z_STREAM_END ? ENDED : GOES_ON;
}

static int step_zstandard(struct unpacker *unpacker, struct flow *flow)
{
    ZSTD_inBuffer in = {flow->in, flow->in_left, 0};
    ZSTD_outBuffer out = {flow->out, flow->out_left, 0};
    size_t result = ZSTD_decompressStream(unpacker->zstd, &out, &in);
    flow->in += in.pos;
    flow->in_left -= in.pos;
    flow->out += out.pos;
    flow->out_left -= out.pos;
    if (ZSTD_isError(result)) {
        flow->why = ZSTD_getErrorName(result);
        ZSTD_ErrorCode code = ZSTD_getErrorCode(result);
        return code == ZSTD_error_memory_allocation               ? -ENOMEM
               : code == ZSTD_error_frameParameter_windowTooLarge ? -EFBIG
                                                                  : -EBADMSG;
    }
    return result == 0 && flow->in_left == 0 ? ENDED : GOES_ON; /* some write several frames */
}

static int step_bzip2(bz_stream *stream, struct flow *flow)
{
    stream->next_in = (char *)(uintptr_t)flow->in;
    stream->avail_in = piece(flow->in_left);
    stream->next_out = (char *)flow->out;
    stream->avail_out = piece(flow->out_left);
    int result = BZ2_bzDecompress(stream);
    flow->in_left -= (size_t)((const uint8_t *)stream->next_in - flow->in);
    flow->out_left -= (size_t)((uint8_t *)stream->next_out - flow->out);
    flow->in = (const uint8_t *)stream->next_in;
    flow->out = (uint8_t *)stream->next_out;
    flow->why = "its bzip2 data is damaged";
    if (result == BZ_MEM_ERROR)
        return -ENOMEM;
    if (result != BZ_OK && result != BZ_STREAM_END)
        return -EBADMSG;
    if (result == BZ_OK || flow->in_left == 0)
        return result == BZ_OK ? GOES_ON : ENDED;
    BZ2_bzDecompressEnd(stream); /* some write several streams */
    return BZ2_bzDecompressInit(stream, 0, 0) == BZ_OK ? GOES_ON : -ENOMEM;
}

static int step_xz(lzma_stream *stream, struct flow *flow)
{
    stream->next_in = flow->in;
    stream->avail_in = flow->in_left;
    stream->next_out = flow->out;
    stream->avail_out = flow->out_left;
    lzma_ret result = lzma_code(stream, LZMA_FINISH);
    flow->in = stream->next_in;
    flow->in_left = stream->avail_in;
    flow->out = stream->next_out;
    flow->out_left = stream->avail_out;
    flow->why = "its xz data is damaged";
    switch (result) {
    case LZMA_OK:
    case LZMA_BUF_ERROR: /* it made no step: seen by who calls */
        return GOES_ON;
    case LZMA_STREAM_END:
        return ENDED;
    case LZMA_MEM_ERROR:
        return -ENOMEM;
    case LZMA_MEMLIMIT_ERROR:
        return -EFBIG;
    default:
        return -EBADMSG;
    }
}

/* ---- a block ---- */

struct streams {
    bz_stream bzip2;
    lzma_stream xz;
};

/* 0 or -ENOMEM; end() in any case. */
static int begin(struct unpacker *unpacker, enum codec codec, struct streams *streams)
{
    *streams = (struct streams){.xz = LZMA_STREAM_INIT};
    switch (codec) {
    case CODEC_DEFLATE:
        if (unpacker->zlib_ready)
            return inflateReset(&unpacker->zlib) == Z_OK ? 0 : -ENOMEM;
        unpacker->zlib_ready = inflateInit2(&unpacker->zlib, -MAX_WBITS) == Z_OK;
        return unpacker->zlib_ready ? 0 : -ENOMEM;
    case CODEC_ZSTANDARD:
        if (unpacker->zstd == NULL)
            unpacker->zstd = ZSTD_createDStream();
        if (unpacker->zstd == NULL || ZSTD_isError(ZSTD_initDStream(unpacker->zstd)))
            return -ENOMEM;
        ZSTD_DCtx_setParameter(unpacker->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
        return 0;
    case CODEC_BZIP2:
        return BZ2_bzDecompressInit(&streams->bzip2, 0, 0) == BZ_OK ? 0 : -ENOMEM;
    default:
        /* Several streams, and the form of before, as Python's lzma reads them. */
        return lzma_auto_decoder(&streams->xz, CODEC_BYTES_MAX, LZMA_CONCATENATED) == LZMA_OK
                   ? 0
                   : -ENOMEM;
    }
}

static void end(enum codec codec, struct streams *streams)
{
    if (codec == CODEC_BZIP2)
        BZ2_bzDecompressEnd(&streams->bzip2);
    lzma_end(&streams->xz);
}

static int step(struct unpacker *unpacker, enum codec codec, struct streams *streams,
                struct flow *flow)
{
    size_t in_left = flow->in_left, out_left = flow->out_left;
    int result = codec == CODEC_DEFLATE     ? step_deflate(unpacker, flow)
                 : codec == CODEC_ZSTANDARD ? step_zstandard(unpacker, flow)
                 : codec == CODEC_BZIP2     ? step_bzip2(&streams->bzip2, flow)
                                            : step_xz(&streams->xz, flow);
    if (result == GOES_ON && flow->in_left == in_left && flow->out_left == out_left) {
        flow->why = "it is cut short";
        return -EBADMSG;
    }
    return result;
}

static int unpack_flow(struct unpacker *unpacker, enum codec codec, struct span stored,
                       struct span *data, const char **why)
{
    struct streams streams;
    struct flow flow = {.in = stored.at, .in_left = stored.bytes};
    size_t bytes = 0;
    int result = begin(unpacker, codec, &streams);
    while (result == GOES_ON) {
        if (bytes == CODEC_BYTES_MAX) {
            result = -EFBIG;
            break;
        }
        size_t room = unpacker->room;
        if (bytes == room)
            room = 2 * bytes + 2 * stored.bytes + FIRST_BYTES;
        if (room > CODEC_BYTES_MAX)
            room = CODEC_BYTES_MAX;
        if (unpacker_room(unpacker, room) == NULL) {
            result = -ENOMEM;
            break;
        }
        flow.out = unpacker->bytes + bytes;
        flow.out_left = room - bytes;
        result = step(unpacker, codec, &streams, &flow);
        bytes = room - flow.out_left;
    }
    end(codec, &streams);
    /* Some writers leave what is left of zlib's own checksum behind the data. */
    if (result == ENDED && flow.in_left > (codec == CODEC_DEFLATE ? ZLIB_TRAILER_BYTES : 0)) {
        flow.why = "bytes are left over";
        result = -EBADMSG;
    }
    *data = (struct span){unpacker->bytes, bytes};
    *why = flow.why;
    return result == ENDED ? 0 : result;
}

static int unpack_snappy(struct unpacker *unpacker, struct span stored, struct span *data,
                         const char **why)
{
    size_t bytes = 0;
    *why = "its snappy data is damaged";
    if (stored.bytes < SNAPPY_CRC_BYTES)
        return -EBADMSG;
    const char *packed = (const char *)stored.at;
    size_t packed_bytes = stored.bytes - SNAPPY_CRC_BYTES;
    const uint8_t *crc = stored.at + packed_bytes;
    if (snappy_uncompressed_length(packed, packed_bytes, &bytes) != SNAPPY_OK ||
        bytes / SNAPPY_RATIO_MAX > packed_bytes)
        return -EBADMSG;
    if (bytes > CODEC_BYTES_MAX)
        return -EFBIG;
    if (unpacker_room(unpacker, bytes) == NULL)
        return -ENOMEM;
    if (snappy_uncompress(packed, packed_bytes, (char *)unpacker->bytes, &bytes) != SNAPPY_OK)
        return -EBADMSG;
    *data = (struct span){unpacker->bytes, bytes};
    uint32_t wanted =
        (uint32_t)crc[0] << 24 | (uint32_t)crc[1] << 16 | (uint32_t)crc[2] << 8 | crc[3];
    if ((uint32_t)crc32_z(0, unpacker->bytes, bytes) == wanted)
        return 0;
    *why = "its CRC-32 is wrong";
    return -EBADMSG;
}

int codec_unpack(struct unpacker *unpacker, enum codec codec, struct span stored, struct span *data,
                 const char **why)
{
    CHECK(codec != CODEC_UNKNOWN && codec < CODECS);
    *data = (struct span){NULL, 0};
    *why = "";
    if (codec == CODEC_NULL)
        *data = stored;
    if (codec == CODEC_SNAPPY)
        return unpack_snappy(unpacker, stored, data, why);
    return codec == CODEC_NULL ? 0 : unpack_flow(unpacker, codec, stored, data, why);
}

int codec_pack(enum codec codec, struct span data, uint8_t **stored, size_t *stored_bytes)
{
    if ((codec != CODEC_NULL && codec != CODEC_DEFLATE) || data.bytes > CODEC_BYTES_MAX)
        return -ENOTSUP;
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)data.at, .avail_in = (uInt)data.bytes};
    if (codec == CODEC_DEFLATE && deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED,
                                               -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    size_t room = codec == CODEC_DEFLATE ? deflateBound(&stream, data.bytes) : data.bytes + 1;
    *stored = malloc(room);
    *stored_bytes = data.bytes;
    if (codec == CODEC_DEFLATE) {
        stream.next_out = *stored;
        stream.avail_out = (uInt)room;
        int result = *stored == NULL ? Z_MEM_ERROR : deflate(&stream, Z_FINISH);
        CHECK(result == Z_STREAM_END || result == Z_MEM_ERROR);
        *stored_bytes = stream.total_out;
        deflateEnd(&stream);
    } else if (*stored != NULL && data.bytes > 0) {
        memcpy(*stored, data.at, data.bytes);
    }
    return *stored == NULL ? -ENOMEM : 0;
}
