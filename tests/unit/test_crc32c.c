/* SPDX-License-Identifier: MIT
 * CRC-32C, every way the processor has, against one bit after the other as RFC 3720 has it.
 * The seed is printed; FLOTILLA_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/processor.h"

enum { LARGE = 300000, REST = 64 };

/* The polynomial's long division, most significant bit first, over bytes that are mirrored on the
 * way in and a result that is mirrored on the way out. */
static uint32_t mirrored(uint32_t value, int bits)
{
    uint32_t out = 0;
    for (int bit = 0; bit < bits; bit++)
        out |= (value >> bit & 1) << (bits - 1 - bit);
    return out;
}

static uint32_t reference(uint32_t crc, const uint8_t *at, size_t count)
{
    uint32_t remainder = mirrored(~crc, 32);
    for (size_t i = 0; i < count; i++) {
        remainder ^= mirrored(at[i], 8) << 24;
        for (int bit = 0; bit < 8; bit++)
            remainder = (remainder << 1) ^ (remainder & 0x80000000u ? 0x1edc6f41u : 0);
    }
    return ~mirrored(remainder, 32);
}

/* The bytes at the end of their own memory, so that a sanitizer sees a read beyond it. */
static uint8_t *bytes_at(size_t count, size_t misalignment, uint8_t **memory)
{
    *memory = malloc(count + misalignment > 0 ? count + misalignment : 1);
    assert_non_null(*memory);
    uint8_t *at = *memory + misalignment;
    for (size_t i = 0; i < count; i++)
        at[i] = (uint8_t)(rand() >> 7);
    return at;
}

static const struct crc32c_way *all_ways;
static size_t way_count;

static int find_ways(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260101u;
    print_message("seed %u\n", seed);
    srand(seed);
    way_count = crc32c_ways(&all_ways);
    uint32_t features = processor_features();
    for (size_t i = 0; i < way_count; i++)
        print_message("%s: %s\n", all_ways[i].name,
                      (all_ways[i].features & features) == all_ways[i].features
                          ? "tested"
                          : "not on this processor");
    return way_count > 0 && way_count <= CRC32C_WAYS_MAX ? 0 : -1;
}

/* All ways, and the one that is chosen, from the same start over the same bytes. */
static void assert_all_agree(uint32_t start, const uint8_t *at, size_t count)
{
    uint32_t expected = reference(start, at, count), features = processor_features();
    assert_int_equal(crc32c(start, at, count), expected);
    for (size_t i = 0; i < way_count; i++)
        if ((all_ways[i].features & features) == all_ways[i].features &&
            ~all_ways[i].carry(~start, at, count) != expected)
            fail_msg("%s: %zu bytes", all_ways[i].name, count);
}

static void test_known_values(void **state)
{
    (void)state;
    /* RFC 3720, appendix B.4 */
    uint8_t bytes[32];
    assert_int_equal(reference(0, (const uint8_t *)"123456789", 9), 0xe3069283u);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(reference(0, bytes, 32), 0x8a9136aau);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(reference(0, bytes, 32), 0x62a8ab43u);
    assert_all_agree(0, (const uint8_t *)"123456789", 9);
    assert_all_agree(0, bytes, 32);
}

static void test_short_spans_at_every_alignment(void **state)
{
    (void)state;
    for (size_t misalignment = 0; misalignment < 16; misalignment++)
        for (size_t count = 0; count <= 300; count++) {
            uint8_t *memory, *at = bytes_at(count, misalignment, &memory);
            assert_all_agree(count % 3 ? (uint32_t)rand() * 3u : 0, at, count);
            free(memory);
        }
}

/* Around every multiple that a way could work in. */
static void test_around_strides(void **state)
{
    (void)state;
    static const size_t strides[] = {256, 512, 768, 1024, 1536, 2048, 4096, 12288, 13824, 49152};
    for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++)
        for (size_t more = 0; more<2 * REST; more += strides[i]> 4096 ? 21 : 1) {
            size_t count = strides[i] - REST + more;
            uint8_t *memory, *at = bytes_at(count, more % 16, &memory);
            assert_all_agree((uint32_t)rand(), at, count);
            free(memory);
        }
}

static void test_large_spans_and_random_chains(void **state)
{
    (void)state;
    for (int round = 0; round < 8; round++) {
        size_t count = LARGE - (size_t)rand() % 1000;
        uint8_t *memory, *at = bytes_at(count, (size_t)rand() % 16, &memory);
        assert_all_agree(0, at, count);
        uint32_t expected = reference(0, at, count), features = processor_features();
        for (size_t i = 0; i < way_count; i++) {
            if ((all_ways[i].features & features) != all_ways[i].features)
                continue;
            uint32_t crc = 0;
            for (size_t done = 0, piece; done < count; done += piece) {
                piece = (size_t)rand() % (rand() % 2 ? 700u : 70000u);
                piece = piece < count - done ? piece : count - done;
                crc = ~all_ways[i].carry(~crc, at + done, piece);
            }
            assert_int_equal(crc, expected);
        }
        free(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_short_spans_at_every_alignment),
        cmocka_unit_test(test_around_strides),
        cmocka_unit_test(test_large_spans_and_random_chains),
    };
    return cmocka_run_group_tests(tests, find_ways, NULL);
}
