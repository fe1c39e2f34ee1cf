/* SPDX-License-Identifier: MIT
 * When a file ends for its age: never too late, hardly ever too soon, at the channel's own moment.
 * The seed is printed; FLOTILLA_SEED repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/writer.h"

static uint64_t random_below(uint64_t bound)
{
    uint64_t value = 0;
    for (int i = 0; i < 5; i++)
        value = value << 15 ^ (uint64_t)rand();
    return value % bound;
}

static void test_ages_stay_in_bounds_and_settle(void **state)
{
    (void)state;
    static const uint64_t ages_ns[] = {100000000, 1600000000, 3600000000000, 315360000000000000};
    for (int round = 0; round < 100000; round++) {
        uint64_t age_ns = ages_ns[round % 4], phase_ns = random_below(age_ns);
        uint64_t opened_ns = random_below(4 * age_ns);
        for (int file = 0; file < 4; file++) {
            uint64_t end_ns = writer_age_end_ns(opened_ns, age_ns, phase_ns);
            uint64_t lasts_ns = end_ns - opened_ns;
            assert_true(end_ns > opened_ns && lasts_ns <= age_ns && lasts_ns >= age_ns / 2);
            opened_ns = end_ns; /* the next one follows at once */
            if (file > 0)       /* within rounding, the channel's own moment, then always */
                assert_true((end_ns % age_ns + age_ns - phase_ns + 2) % age_ns <= 4);
            if (file > 1)
                assert_true(lasts_ns + 4 >= age_ns);
        }
    }
}

static void test_moments_by_hand(void **state)
{
    (void)state;
    assert_int_equal(writer_age_end_ns(1000, 100, 0), 1100);  /* just missed: the next */
    assert_int_equal(writer_age_end_ns(1000, 100, 70), 1070); /* 70 left */
    assert_int_equal(writer_age_end_ns(1000, 100, 50), 1050); /* half left is enough */
    assert_int_equal(writer_age_end_ns(1000, 100, 20), 1060); /* 20 left: 120 in two files */
    assert_int_equal(writer_age_end_ns(1060, 100, 20), 1120);
    assert_int_equal(writer_age_end_ns(1120, 100, 20), 1220);
    assert_int_equal(writer_age_end_ns(3, 100, 99), 99); /* a clock that has just begun */
}

static int begin(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260101u;
    print_message("seed %u\n", seed);
    srand(seed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ages_stay_in_bounds_and_settle),
        cmocka_unit_test(test_moments_by_hand),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
