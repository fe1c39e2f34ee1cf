/* SPDX-License-Identifier: MIT
 * The codecs of container files: what the libraries pack comes back, of any size; cut anywhere or
 * with a bit that is wrong it is never taken for whole where the codec has a checksum, and what
 * came out before is the begin of it. Relies on cmocka and on those libraries to pack. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <bzlib.h>
#include <lzma.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include "archive/codec.h"

enum { ROOM = 1 << 20, EBADMSG_NUMBER = -74, ENOTSUP_NUMBER = -95 };
static uint8_t data[ROOM], packed[2 * ROOM];

/* Bytes that pack somewhat. */
static void make_data(void)
{
    for (size_t i = 0; i < ROOM; i++)
        data[i] = (uint8_t)(rand() % 4 == 0 ? rand() : "telemetry "[i % 10]);
}

static size_t pack(enum codec codec, size_t bytes)
{
    size_t room = sizeof(packed), position = 0;
    unsigned room_32 = sizeof(packed);
    uint8_t *made;
    switch (codec) {
    case CODEC_SNAPPY: {
        assert_int_equal(snappy_compress((char *)data, bytes, (char *)packed, &room), SNAPPY_OK);
        uint32_t crc = (uint32_t)crc32_z(0, data, bytes);
        for (int i = 0; i < 4; i++)
            packed[room++] = (uint8_t)(crc >> (24 - 8 * i));
        return room;
    }
    case CODEC_ZSTANDARD: {
        ZSTD_CCtx *context = ZSTD_createCCtx();
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
        room = ZSTD_compress2(context, packed, sizeof(packed), data, bytes);
        assert_false(ZSTD_isError(room));
        ZSTD_freeCCtx(context);
        return room;
    }
    case CODEC_BZIP2:
        assert_int_equal(BZ2_bzBuffToBuffCompress((char *)packed, &room_32, (char *)data,
                                                  (unsigned)bytes, 9, 0, 0),
                         BZ_OK);
        return room_32;
    case CODEC_XZ:
        assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, data, bytes, packed,
                                                 &position, sizeof(packed)),
                         LZMA_OK);
        return position;
    default:
        assert_int_equal(codec_pack(codec, (struct span){data, bytes}, &made, &room), 0);
        memcpy(packed, made, room);
        free(made);
        return room;
    }
}

static void test_what_is_packed_comes_back(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 1000, 65535, 65536, 300000, ROOM};
    struct unpacker *unpacker = unpacker_new();
    struct span out;
    const char *why;
    (void)state;
    make_data();
    for (enum codec codec = CODEC_NULL; codec < CODECS; codec++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t bytes = pack(codec, sizes[i]);
            assert_int_equal(
                codec_unpack(unpacker, codec, (struct span){packed, bytes}, &out, &why), 0);
            assert_int_equal(out.bytes, sizes[i]);
            assert_true(sizes[i] == 0 || memcmp(out.at, data, sizes[i]) == 0);
        }
    unpacker_free(unpacker);
}

/* As pbzip2, pixz and others write them: several streams of one kind are one. */
static void test_several_streams(void **state)
{
    static const enum codec codecs[] = {CODEC_ZSTANDARD, CODEC_BZIP2, CODEC_XZ};
    struct unpacker *unpacker = unpacker_new();
    struct span out;
    const char *why;
    (void)state;
    make_data();
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        size_t bytes = pack(codecs[i], 300000);
        memmove(packed + bytes, packed, bytes);
        struct span both = {packed, 2 * bytes}, cut = {packed, 2 * bytes - 1};
        assert_int_equal(codec_unpack(unpacker, codecs[i], both, &out, &why), 0);
        assert_int_equal(out.bytes, 600000);
        assert_memory_equal(out.at, data, 300000);
        assert_memory_equal(out.at + 300000, data, 300000);
        assert_int_equal(codec_unpack(unpacker, codecs[i], cut, &out, &why), EBADMSG_NUMBER);
    }
    unpacker_free(unpacker);
}

static void test_cut_or_wrong(void **state)
{
    struct unpacker *unpacker = unpacker_new();
    struct span out;
    const char *why;
    (void)state;
    make_data();
    for (enum codec codec = CODEC_DEFLATE; codec < CODECS; codec++) {
        size_t bytes = pack(codec, 5000);
        for (size_t cut = 0; cut < bytes; cut++) {
            int status = codec_unpack(unpacker, codec, (struct span){packed, cut}, &out, &why);
            assert_int_equal(status, EBADMSG_NUMBER);
            assert_true(why[0] != '\0' && out.bytes <= 5000);
            assert_true(codec == CODEC_SNAPPY || out.bytes == 0 ||
                        memcmp(out.at, data, out.bytes) == 0);
        }
        for (unsigned i = 0; i < 2000 && codec != CODEC_DEFLATE; i++) {
            size_t bit = (size_t)rand() % (8 * bytes);
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            int status = codec_unpack(unpacker, codec, (struct span){packed, bytes}, &out, &why);
            /* A few bits say nothing: of the window's size, say. */
            assert_true(status < 0 || (out.bytes == 5000 && memcmp(out.at, data, 5000) == 0));
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        packed[bytes] = packed[bytes + 1] = packed[bytes + 2] = 7;
        packed[bytes + 3] = packed[bytes + 4] = 7;
        assert_true(codec_unpack(unpacker, codec, (struct span){packed, bytes + 5}, &out, &why) <
                    0);
    }
    unpacker_free(unpacker);
}

/* A length that what is there cannot make: no memory is asked for it. */
static void test_a_length_that_lies(void **state)
{
    static const uint8_t snappy[] = {0xff, 0xff, 0xff, 0xff, 0x0f, 0, 'x', 0, 0, 0, 0};
    struct unpacker *unpacker = unpacker_new();
    struct span out;
    const char *why;
    (void)state;
    assert_int_equal(
        codec_unpack(unpacker, CODEC_SNAPPY, (struct span){snappy, sizeof(snappy)}, &out, &why),
        EBADMSG_NUMBER);
    unpacker_free(unpacker);
}

static void test_names(void **state)
{
    uint8_t *made;
    size_t bytes;
    (void)state;
    for (enum codec codec = CODEC_NULL; codec < CODECS; codec++) {
        const char *name = codec_name(codec);
        assert_int_equal(codec_of((struct span){(const uint8_t *)name, strlen(name)}), codec);
        assert_non_null(strstr(codec_names, name));
        assert_int_equal(codec_pack(codec, (struct span){data, 9}, &made, &bytes),
                         codec <= CODEC_DEFLATE ? 0 : ENOTSUP_NUMBER);
        if (codec <= CODEC_DEFLATE)
            free(made);
    }
    assert_int_equal(codec_of((struct span){NULL, 0}), CODEC_NULL);
    assert_int_equal(codec_of((struct span){(const uint8_t *)"Deflate", 7}), CODEC_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_packed_comes_back),
        cmocka_unit_test(test_several_streams),
        cmocka_unit_test(test_cut_or_wrong),
        cmocka_unit_test(test_a_length_that_lies),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
