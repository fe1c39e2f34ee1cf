/* SPDX-License-Identifier: MIT
 * SHA-1 by the vectors of RFC 3174, 7.3 and of FIPS 180, and of each length around a block's end by
 * digests that Python's hashlib made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha1.h"

static void check(const void *bytes, size_t count, const char *wanted)
{
    uint8_t digest[SHA1_BYTES];
    char text[2 * SHA1_BYTES + 1];
    uint8_t *copy = malloc(count > 0 ? count : 1); /* that a sanitizer sees a read beyond it */
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    sha1(digest, copy, count);
    free(copy);
    for (unsigned i = 0; i < SHA1_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    assert_string_equal(text, wanted);
}

static void test_vectors(void **state)
{
    (void)state;
    check("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
          "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    char *many = malloc(1000000);
    assert_non_null(many);
    memset(many, 'a', 1000000);
    check(many, 1000000, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    for (size_t i = 0; i < 640; i++)
        many[i] = "0123456701234567012345670123456701234567012345670123456701234567"[i % 64];
    check(many, 640, "dea356a2cddd90c7a7ecedc5ebb563934f460452");
    free(many);
}

/* The digests of 0 to 130 bytes "x", one behind the other. */
static void test_lengths(void **state)
{
    (void)state;
    static uint8_t all[131 * SHA1_BYTES];
    uint8_t bytes[131];
    memset(bytes, 'x', sizeof(bytes));
    for (size_t count = 0; count <= 130; count++)
        sha1(all + count * SHA1_BYTES, bytes, count);
    check(all, sizeof(all), "c8aae94427ef2bc2653160a5197170068f5fc9fd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
