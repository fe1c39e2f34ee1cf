/* SPDX-License-Identifier: MIT
 * Blocks of a recording against zlib: every length, every count, and a flip anywhere shows.
 * The seed is printed; FLOTILLA_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "avro/block.h"
#include "base/crc32c.h"
#include "base/varint.h"

enum { PAGE = BLOCK_PAGE_BYTES };
static const uint8_t marker[BLOCK_SYNC_BYTES] = "0123456789abcde";
static uint8_t image[BLOCK_BYTES_MAX + 65536], data[BLOCK_BYTES_MAX], inflated[BLOCK_BYTES_MAX];

static unsigned seed_once(void)
{
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260101u;
    print_message("seed %u\n", seed);
    srand(seed);
    return seed;
}

static void fill(size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)rand();
}

/* Builds a block from pieces of random length, as datums come; now and then the checksum is carried
 * on over what came since, as a receiver does after a batch, and half of the time it is used. */
static size_t build(size_t data_bytes, uint64_t count, uint64_t arrival_ns, size_t alignment,
                    uint16_t place)
{
    uint32_t checksum = 0;
    size_t checked = 0;
    for (size_t at = 0; at < data_bytes;) {
        size_t piece = (size_t)rand() % 70000 + 1;
        if (piece > data_bytes - at)
            piece = data_bytes - at;
        block_append(image, at, (struct span){data + at, piece});
        at += piece;
        if (rand() % 2) {
            checksum = block_carry_checksum(checksum, image, checked, at);
            checked = at;
        }
    }
    checksum = block_carry_checksum(checksum, image, checked, data_bytes);
    if (rand() % 2)
        return block_finish_checked(image, data_bytes, count, arrival_ns, marker, alignment, place,
                                    checksum);
    return block_finish_at(image, data_bytes, count, arrival_ns, marker, alignment, place);
}

static void assert_inflates_to_data(size_t bytes, size_t data_bytes)
{
    int64_t count = 0, size = 0;
    const uint8_t *at = image;
    at += varint_read(at, image + bytes, &count);
    at += varint_read(at, image + bytes, &size);
    assert_int_equal((size_t)(at - image) + (size_t)size + BLOCK_SYNC_BYTES, bytes);
    z_stream stream = {0};
    assert_int_equal(inflateInit2(&stream, -15), Z_OK);
    stream.next_in = (uint8_t *)(uintptr_t)at;
    stream.avail_in = (uInt)size;
    stream.next_out = inflated;
    stream.avail_out = sizeof(inflated);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_int_equal(stream.total_out, data_bytes);
    assert_int_equal(stream.avail_in, 0);
    assert_memory_equal(inflated, data, data_bytes);
    inflateEnd(&stream);
}

static void check_block(size_t data_bytes, uint64_t count, size_t alignment)
{
    uint64_t arrival_ns = (uint64_t)rand() << 33 ^ (uint64_t)rand();
    uint16_t place = (uint16_t)rand();
    size_t bytes = build(data_bytes, count, arrival_ns, alignment, place);
    assert_int_equal(bytes % alignment, 0);
    assert_int_equal(bytes, block_finished_bytes(data_bytes, alignment));
    assert_inflates_to_data(bytes, data_bytes);

    struct block_info info;
    assert_int_equal(block_inspect((struct span){image, bytes}, marker, &info), 0);
    assert_true(info.sound);
    assert_int_equal(info.count, count);
    assert_int_equal(info.arrival_ns, arrival_ns);
    assert_int_equal(info.data_bytes, data_bytes);
    assert_int_equal(info.bytes, bytes);
    assert_int_equal(info.place, place);
    struct block_info front;
    assert_int_equal(block_read_front((struct span){image, BLOCK_DATA_OFFSET}, &front), 0);
    assert_int_equal(front.count, count);
    assert_int_equal(front.arrival_ns, arrival_ns);
    assert_int_equal(front.place, place);
    assert_int_equal(front.bytes, bytes);
    memset(inflated, 0, data_bytes);
    block_take_data(inflated, image, data_bytes);
    assert_memory_equal(inflated, data, data_bytes);
    for (int flips = 0; flips < 4; flips++) {
        size_t at = (size_t)rand() % bytes;
        uint8_t bit = (uint8_t)(1 << rand() % 8);
        image[at] ^= bit;
        int status = block_inspect((struct span){image, bytes}, marker, &info);
        assert_true(status < 0 || !info.sound || info.bytes != bytes);
        image[at] ^= bit;
    }
    assert_true(block_inspect((struct span){image, bytes - 1}, marker, &info) < 0);
}

static void test_every_small_length(void **state)
{
    (void)state;
    seed_once();
    fill(9000);
    for (size_t bytes = 0; bytes < 9000; bytes += 1 + bytes / 4200)
        check_block(bytes, 1 + bytes, PAGE);
}

static void test_random_blocks(void **state)
{
    (void)state;
    seed_once();
    fill(BLOCK_BYTES_MAX);
    size_t most = block_data_max(BLOCK_BYTES_MAX);
    for (int round = 0; round < 300; round++) {
        uint64_t count = round % 3 == 0 ? 1 : 1 + (uint64_t)rand() % BLOCK_DATUMS_MAX;
        check_block((size_t)rand() % (most + 1), count, round % 2 ? PAGE : 4 * PAGE);
    }
    check_block(most, BLOCK_DATUMS_MAX, PAGE);
    for (size_t edge = BLOCK_STORED_BYTES - 2; edge <= BLOCK_STORED_BYTES + 2; edge++)
        check_block(edge, 7, PAGE);
}

static void test_data_max_fits(void **state)
{
    (void)state;
    for (size_t room = PAGE; room <= BLOCK_BYTES_MAX; room += PAGE) {
        size_t most = block_data_max(room);
        for (size_t bytes = most > 5000 ? most - 5000 : 0; bytes <= most; bytes++)
            assert_true(block_finished_bytes(bytes, PAGE) <= room);
    }
}

static void test_finish_again_gives_the_same(void **state)
{
    (void)state;
    seed_once();
    fill(100000);
    size_t bytes = build(100000, 5, 77, PAGE, 0);
    uint8_t *first = malloc(bytes);
    assert_non_null(first);
    memcpy(first, image, bytes);
    assert_int_equal(block_finish_at(image, 100000, 5, 77, marker, PAGE, 0), bytes);
    assert_memory_equal(first, image, bytes);
    free(first);
}

static void test_header_every_schema_length(void **state)
{
    (void)state;
    memset(data, 'x', 13000);
    for (size_t bytes = 0; bytes < 13000; bytes++) {
        struct block_header_text text = {.schema = {data, bytes},
                                         .channel = "engine",
                                         .host = "host",
                                         .started = "2026-01-01",
                                         .version = "0.1.0",
                                         .ordered_since = bytes,
                                         .time = {data, bytes % 40},
                                         .sequence = {data, bytes / 40 % 40}};
        uint8_t found[BLOCK_SYNC_BYTES];
        long header = block_write_header(image, sizeof(image), &text, marker, PAGE);
        assert_true(header > 0 && header % PAGE == 0);
        assert_int_equal(block_read_header((struct span){image, (size_t)header}, found), header);
        assert_memory_equal(found, marker, sizeof(found));
        struct span whole = {image, (size_t)header};
        assert_int_equal(block_check_header(whole), 0);
        size_t at = (size_t)rand() % whole.bytes;
        uint8_t bit = (uint8_t)(1 << rand() % 8);
        image[at] ^= bit;
        assert_true(block_check_header(whole) < 0);
        image[at] ^= bit;
    }
    struct block_header_text text = {.schema = {data, 5000},
                                     .channel = "engine",
                                     .host = "host",
                                     .started = "2026-01-01",
                                     .version = "0.1.0"};
    assert_true(block_write_header(image, PAGE, &text, marker, PAGE) < 0);
}

static void test_places_go_round(void **state)
{
    (void)state;
    for (uint64_t page = 0; page < 200000; page += 7) {
        assert_int_equal(block_place(page * PAGE), page % 65535 + 1);
        assert_int_equal(block_place(page * PAGE + PAGE - 1), block_place(page * PAGE));
    }
}

static void test_crc32c_known_values(void **state)
{
    (void)state; /* RFC 3720, B.4 */
    uint8_t zeros[32] = {0};
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aau);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_small_length),
        cmocka_unit_test(test_random_blocks),
        cmocka_unit_test(test_data_max_fits),
        cmocka_unit_test(test_finish_again_gives_the_same),
        cmocka_unit_test(test_header_every_schema_length),
        cmocka_unit_test(test_places_go_round),
        cmocka_unit_test(test_crc32c_known_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
