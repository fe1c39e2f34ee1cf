/* SPDX-License-Identifier: MIT
 * What is missing of a sequence, against the set of all that came, and by hand. Relies on cmocka.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/sequence_watch.h"

static int64_t sum_of(uint32_t factor, const int64_t *numbers, size_t count)
{
    struct sequence_watch watch = {.factor = factor};
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += sequence_watch_add(&watch, numbers[i]);
    return sum;
}
#define SUM(factor, ...)                                                                           \
    sum_of(factor, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / 8)

static void test_single(void **state)
{
    (void)state;
    assert_int_equal(SUM(1, 5, 6, 7), 0);
    assert_int_equal(SUM(1, -3, -2, 2), 3);
    assert_int_equal(SUM(1, 1, 3, 2, 4), 0);       /* overtaken */
    assert_int_equal(SUM(1, 1, 3, 3, 2, 2, 4), 0); /* and doubled */
    assert_int_equal(SUM(1, 1, 5, 3), 2);
    assert_int_equal(SUM(1, 1000, 1, 2, 3), 0); /* begun anew */
    assert_int_equal(SUM(1, 1000, 1, 2, 5), 2);
    assert_int_equal(SUM(1, 0, 200, 199, 130, 201), 198); /* too late for the last but one */
    assert_true(SUM(1, INT64_MIN, INT64_MAX, INT64_MIN) > 0);
}

/* Shuffled within the window, some left out. */
static void test_random(void **state)
{
    enum { COUNT = 5000, REACH = 20 };
    static int64_t numbers[COUNT];
    (void)state;
    srand(7);
    for (int run = 0; run < 20; run++) {
        size_t count = 0;
        int64_t missing = 0;
        for (int i = 0; i < COUNT; i++) {
            if (i == 0 || i == COUNT - 1 || rand() % 10 > 0)
                numbers[count++] = i;
            else
                missing++;
        }
        for (size_t i = 1; i + REACH + 1 < count; i += REACH)
            for (size_t k = 0; k < REACH; k++) {
                size_t other = i + (size_t)rand() % REACH;
                int64_t one = numbers[i + k];
                numbers[i + k] = numbers[other];
                numbers[other] = one;
            }
        assert_int_equal(sum_of(1, numbers, count), missing);
    }
}

static void test_windows(void **state)
{
    (void)state;
    assert_int_equal(SUM(50, 49, 49, 99, 99, 149, 149), 0); /* minima and maxima */
    assert_int_equal(SUM(50, 49, 99, 152), 3);
    assert_int_equal(SUM(50, 49, 99, 199), 50);      /* a window that did not come */
    assert_int_equal(SUM(50, 49, 100, 149, 199), 0); /* the last of a window was overtaken */
    assert_int_equal(SUM(50, 49, 98, 149, 199), 0);
    assert_int_equal(SUM(50, 49, 102, 150, 202), 3);
    assert_int_equal(SUM(50, 49, 110, 160), 11); /* nothing takes that back */
    assert_int_equal(SUM(50, 5049, 49, 99), 0);  /* begun anew */
    assert_true(SUM(50, INT64_MIN, INT64_MAX, INT64_MIN, 0) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
