/* SPDX-License-Identifier: MIT
 * The latency histogram against the sorted values themselves. Relies on cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/latency.h"

enum { VALUES = 20000 };

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* At least the true quantile, and at most an eighth more. */
static void check_quantile(uint64_t shown, const uint64_t *sorted, size_t count, double part)
{
    size_t rank = (size_t)((double)count * part + 0.999999);
    uint64_t value = sorted[rank > 0 ? rank - 1 : 0];
    assert_true(shown >= value);
    assert_true(shown <= value + value / 8);
}

static void test_against_sorted_values(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    srand(4711);
    for (int round = 0; round < 30; round++) {
        struct latency latency = {0};
        struct latency_figures figures;
        size_t count = round == 0 ? 1 : (size_t)rand() % VALUES + 1;
        for (size_t i = 0; i < count; i++) {
            values[i] = (uint64_t)rand() >> (rand() % 31); /* some of every size */
            if (values[i] > 100000000)
                values[i] = 100000000;
            latency_add(&latency, values[i], 1);
        }
        qsort(values, count, sizeof(values[0]), by_size);
        latency_figures(&latency, &figures);
        assert_true(figures.count == count && figures.max_us == values[count - 1]);
        check_quantile(figures.p50_us, values, count, 0.5);
        check_quantile(figures.p95_us, values, count, 0.95);
        check_quantile(figures.p99_us, values, count, 0.99);
        check_quantile(figures.p999_us, values, count, 0.999);
    }
}

static void test_ends(void **state)
{
    (void)state;
    struct latency latency = {0};
    struct latency_figures figures;
    latency_figures(&latency, &figures);
    assert_true(figures.count == 0 && figures.p50_us == 0 && figures.max_us == 0);
    latency_add(&latency, 0, 54);
    latency_add(&latency, UINT64_MAX, 1); /* beyond the last bucket: only the longest tells it */
    latency_figures(&latency, &figures);
    assert_true(figures.count == 55 && figures.p50_us == 0 && figures.p95_us == 0);
    assert_true(figures.p999_us == UINT64_MAX && figures.max_us == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorted_values),
        cmocka_unit_test(test_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
