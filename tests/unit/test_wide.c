/* SPDX-License-Identifier: MIT
 * Sums that are wider than 64 bits, their means, and products: by hand, and against the compiler's
 * numbers of 128 bits. */
#include "base/wide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static int64_t mean_of(const int64_t *values, uint32_t count)
{
    struct wide sum = {0};
    for (uint32_t i = 0; i < count; i++)
        wide_add(&sum, values[i]);
    return wide_mean(&sum, count);
}

static void test_by_hand(void **state)
{
    (void)state;
    const struct {
        int64_t values[4], mean;
        uint32_t count;
    } cases[] = {
        {{7}, 7, 1},
        {{-7}, -7, 1},
        {{1, 2}, 2, 2}, /* 1.5 */
        {{-1, -2}, -2, 2},
        {{1, 1, 2}, 1, 3}, /* 1.33 */
        {{-1, -1, -2}, -1, 3},
        {{0, 0, 0, 1}, 0, 4},
        {{0, 1, 0, 1}, 1, 4}, /* 0.5 */
        {{0, -1, 0, -1}, -1, 4},
        {{1, -1, 1, -1}, 0, 4},
        {{INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX}, INT64_MAX, 4},
        {{INT64_MIN, INT64_MIN, INT64_MIN}, INT64_MIN, 3},
        {{INT64_MIN, INT64_MAX}, -1, 2}, /* -0.5 */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(mean_of(cases[i].values, cases[i].count) == cases[i].mean);
}

#ifdef __SIZEOF_INT128__
__extension__ typedef __int128 compilers;
__extension__ typedef unsigned __int128 compilers_unsigned;

static void test_against_the_compiler(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u; /* xorshift */
    for (int turn = 0; turn < 20000; turn++) {
        struct wide sum = {0};
        compilers expected = 0;
        uint32_t count = 1 + (uint32_t)(turn % 300);
        for (uint32_t i = 0; i < count; i++) {
            random ^= random << 13, random ^= random >> 7, random ^= random << 17;
            int64_t value = (int64_t)random >> turn % 64;
            wide_add(&sum, value);
            expected += value;
        }
        assert_true(sum.low == (uint64_t)expected && sum.high == (int64_t)(expected >> 64));
        if (turn % 3 == 0) /* as of the most there can be */
            count = UINT32_MAX - (uint32_t)turn;
        compilers_unsigned magnitude =
            expected < 0 ? -(compilers_unsigned)expected : (compilers_unsigned)expected;
        compilers mean = (compilers)((2 * magnitude + count) / (2 * (compilers_unsigned)count));
        assert_true(wide_mean(&sum, count) == (int64_t)(expected < 0 ? -mean : mean));
    }
}

static void test_products(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u, other = 1;
    for (int turn = 0; turn < 20000; turn++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint64_t a = turn % 5 == 0 ? UINT64_MAX >> turn % 64 : random >> turn % 64;
        compilers_unsigned product = (compilers_unsigned)a * other;
        struct wide_product fast = wide_multiply(a, other), plain = wide_multiply_halves(a, other);
        assert_true(fast.high == (uint64_t)(product >> 64) && fast.low == (uint64_t)product);
        assert_true(plain.high == fast.high && plain.low == fast.low);
        other = turn % 7 == 0 ? UINT64_MAX << turn % 64 : random;
    }
}
#else
static void test_against_the_compiler(void **state)
{
    (void)state;
    skip();
}

static void test_products(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_against_the_compiler),
        cmocka_unit_test(test_products),
    };
    return cmocka_run_group_tests_name("wide", tests, NULL, NULL);
}
