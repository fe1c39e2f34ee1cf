/* SPDX-License-Identifier: MIT
 * The histogram of writes: each time falls to the first bound that it does not pass. Relies on
 * cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "channel/disk_times.h"

static uint32_t bucket_of(uint64_t took_ns)
{
    struct disk_times times = {0};
    struct disk_figures figures;
    uint32_t found = UINT32_MAX;
    disk_times_add(&times, took_ns);
    disk_times_read(&times, &figures);
    assert_int_equal(figures.sum_ns, took_ns);
    for (uint32_t i = 0; i <= DISK_TIMES_BOUNDS; i++)
        if (figures.count[i] == 1 && found == UINT32_MAX)
            found = i;
        else
            assert_int_equal(figures.count[i], 0);
    return found;
}

static void test_bounds(void **state)
{
    (void)state;
    char text[DISK_TIMES_TEXT_BYTES];
    for (uint32_t i = 0; i < DISK_TIMES_BOUNDS; i++) {
        uint64_t bound_ns = (uint64_t)(strtod(disk_times_bound(text, i), NULL) * 1e9 + 0.5);
        assert_int_equal(bound_ns, disk_times_bounds_us[i] * UINT64_C(1000));
        assert_int_equal(bucket_of(bound_ns), i);
        assert_int_equal(bucket_of(bound_ns + 1), i + 1);
    }
    assert_int_equal(bucket_of(0), 0);
    assert_int_equal(bucket_of(UINT64_MAX), DISK_TIMES_BOUNDS);
    assert_string_equal(disk_times_bound(text, 0), "0.0001");
    assert_string_equal(disk_times_bound(text, 1), "0.00025");
    assert_string_equal(disk_times_bound(text, 12), "1.0");
    assert_string_equal(disk_times_bound(text, 13), "2.5");
    assert_string_equal(disk_times_bound(text, DISK_TIMES_BOUNDS), "+Inf");
}

static void test_it_adds_up(void **state)
{
    (void)state;
    struct disk_times times = {0};
    struct disk_figures figures;
    uint64_t sum = 0, count = 0;
    srand(4711);
    for (int i = 0; i < 10000; i++) {
        uint64_t took = (uint64_t)rand() << (rand() % 8);
        disk_times_add(&times, took);
        sum += took;
    }
    disk_times_read(&times, &figures);
    for (uint32_t i = 0; i <= DISK_TIMES_BOUNDS; i++)
        count += figures.count[i];
    assert_int_equal(count, 10000);
    assert_int_equal(figures.sum_ns, sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_it_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
