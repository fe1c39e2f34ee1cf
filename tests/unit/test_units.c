/* SPDX-License-Identifier: MIT
 * Values with units: what is taken, what is refused and how, and that what is written reads back.
 * Expected values are written out by hand or computed with long double, never by the code under
 * test. */
#define _GNU_SOURCE
#include "base/units.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

#define UNTOUCHED 0x5555555555555555ull

static void test_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t bytes;
    } cases[] = {
        {"0", 0, 0},
        {"0B", 0, 0},
        {"0.0", 0, 0},
        {"0MiB", 0, 0},
        {"512B", 0, 512},
        {"64KiB", 0, 65536},
        {"64kB", 0, 64000},
        {"64MiB", 0, 67108864},
        {"1GiB", 0, 1073741824},
        {"2TiB", 0, 2199023255552},
        {"3TB", 0, 3000000000000},
        {"7GB", 0, 7000000000},
        {"9MB", 0, 9000000},
        {"1.5GiB", 0, 1610612736},
        {"0.5KiB", 0, 512},
        {"1.3KiB", 0, 1331},
        {"0.1kB", 0, 100},
        {"0.999999999999999TiB", 0, 1099511627776},
        {"0.333333333333333333333KiB", 0, 341},
        {"18446744073709551615B", 0, UINT64_MAX},
        {"0000000000000000000000001B", 0, 1},
        {"18446744073709551616B", -ERANGE, 0},
        {"16777216TiB", -ERANGE, 0},
        {"16777215.9999999TiB", 0, UINT64_MAX - 109950},
        {"18014398509481983.9999KiB", -ERANGE, 0},
        {"0.0001KiB", -ERANGE, 0},
        {"1.5B", -EINVAL, 0},
        {"1", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"B", -EINVAL, 0},
        {"KiB", -EINVAL, 0},
        {"64 MiB", -EINVAL, 0},
        {"64mib", -EINVAL, 0},
        {"64KB", -EINVAL, 0},
        {"64MiBs", -EINVAL, 0},
        {"-1MiB", -EINVAL, 0},
        {"+1MiB", -EINVAL, 0},
        {"1e3B", -EINVAL, 0},
        {"0x10B", -EINVAL, 0},
        {".5MiB", -EINVAL, 0},
        {"5.MiB", -EINVAL, 0},
        {"1.2.3MiB", -EINVAL, 0},
        {"1,5MiB", -EINVAL, 0},
        {" 1MiB", -EINVAL, 0},
        {"1MiB ", -EINVAL, 0},
        {"nan", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t bytes = UNTOUCHED;
        int result = units_read_bytes(cases[i].text, &bytes);
        if (result != cases[i].result || (result == 0 && bytes != cases[i].bytes))
            fail_msg("\"%s\": %d, %llu", cases[i].text, result, (unsigned long long)bytes);
        if (result != 0)
            assert_true(bytes == UNTOUCHED);
    }
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t ms;
    } cases[] = {
        {"0", 0, 0},
        {"0s", 0, 0},
        {"100ms", 0, 100},
        {"10s", 0, 10000},
        {"0.1s", 0, 100},
        {"1.5s", 0, 1500},
        {"5min", 0, 300000},
        {"1h", 0, 3600000},
        {"7d", 0, 604800000},
        {"2w", 0, 1209600000},
        {"0.5h", 0, 1800000},
        {"0.001s", 0, 1},
        {"0.0001s", -ERANGE, 0},
        {"0.5ms", -EINVAL, 0},
        {"5m", -EINVAL, 0},
        {"1month", -EINVAL, 0},
        {"5 s", -EINVAL, 0},
        {"10", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"99999999999999999999w", -ERANGE, 0},
        {"30500568905w", -ERANGE, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t ms = UNTOUCHED;
        int result = units_read_duration(cases[i].text, &ms);
        if (result != cases[i].result || (result == 0 && ms != cases[i].ms))
            fail_msg("\"%s\": %d, %llu", cases[i].text, result, (unsigned long long)ms);
        if (result != 0)
            assert_true(ms == UNTOUCHED);
    }
}

static void test_rate(void **state)
{
    (void)state;
    double hertz = -1;
    assert_int_equal(units_read_rate("100Hz", &hertz), 0);
    assert_true(hertz == 100);
    assert_int_equal(units_read_rate("1kHz", &hertz), 0);
    assert_true(hertz == 1000);
    assert_int_equal(units_read_rate("2.5kHz", &hertz), 0);
    assert_true(hertz == 2500);
    assert_int_equal(units_read_rate("1.5MHz", &hertz), 0);
    assert_true(hertz == 1500000);
    assert_int_equal(units_read_rate("0.5Hz", &hertz), 0);
    assert_true(hertz == 0.5);
    assert_int_equal(units_read_rate("0.1Hz", &hertz), 0);
    assert_true(hertz == 0.1);
    assert_int_equal(units_read_rate("33.333333333333333333Hz", &hertz), 0);
    assert_true(fabs(hertz - 100.0 / 3) < 1e-12);
    assert_int_equal(units_read_rate("0", &hertz), 0);
    assert_true(hertz == 0);
    assert_int_equal(units_read_rate("100", &hertz), -EINVAL);
    assert_int_equal(units_read_rate("100hz", &hertz), -EINVAL);
    assert_int_equal(units_read_rate("100 Hz", &hertz), -EINVAL);
    assert_int_equal(units_read_rate("9007199254740993Hz", &hertz), -ERANGE);
}

static void test_percent(void **state)
{
    (void)state;
    double percent = -1;
    assert_int_equal(units_read_percent("5%", &percent), 0);
    assert_true(percent == 5);
    assert_int_equal(units_read_percent("0", &percent), 0);
    assert_true(percent == 0);
    assert_int_equal(units_read_percent("12.5%", &percent), 0);
    assert_true(percent == 12.5);
    assert_int_equal(units_read_percent("0.1%", &percent), 0);
    assert_true(percent == 0.1);
    assert_int_equal(units_read_percent("100%", &percent), 0);
    assert_true(percent == 100);
    assert_int_equal(units_read_percent("100.1%", &percent), -ERANGE);
    assert_int_equal(units_read_percent("5", &percent), -EINVAL);
    assert_int_equal(units_read_percent("%", &percent), -EINVAL);
    assert_int_equal(units_read_percent("5%%", &percent), -EINVAL);
    assert_int_equal(units_read_percent("-5%", &percent), -EINVAL);
}

static void test_count(void **state)
{
    (void)state;
    uint64_t count = UNTOUCHED;
    assert_int_equal(units_read_count("0", 0, 255, &count), 0);
    assert_true(count == 0);
    assert_int_equal(units_read_count("255", 0, 255, &count), 0);
    assert_true(count == 255);
    assert_int_equal(units_read_count("010", 0, 255, &count), 0); /* never octal */
    assert_true(count == 10);
    assert_int_equal(units_read_count("256", 0, 255, &count), -ERANGE);
    assert_int_equal(units_read_count("0", 1, 255, &count), -ERANGE);
    assert_int_equal(units_read_count("18446744073709551615", 0, UINT64_MAX, &count), 0);
    assert_true(count == UINT64_MAX);
    assert_int_equal(units_read_count("18446744073709551616", 0, UINT64_MAX, &count), -ERANGE);
    assert_int_equal(units_read_count("", 0, 255, &count), -EINVAL);
    assert_int_equal(units_read_count("1.0", 0, 255, &count), -EINVAL);
    assert_int_equal(units_read_count("-1", 0, 255, &count), -EINVAL);
    assert_int_equal(units_read_count("1 ", 0, 255, &count), -EINVAL);
    assert_int_equal(units_read_count("0x1", 0, 255, &count), -EINVAL);
}

static void test_writing(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *bytes, *duration;
    } cases[] = {
        {0, "0", "0"},
        {1, "1B", "1ms"},
        {100, "100B", "0.1s"},
        {1000, "1kB", "1s"},
        {1500, "1500B", "1.5s"},
        {67108864, "64MiB", "67108864ms"},
        {8388608, "8MiB", "8388608ms"},
        {1073741824, "1GiB", "1073741824ms"},
        {1610612736, "1.5GiB", "1610612736ms"},
        {604800000, "604.8MB", "7d"},
        {1209600000, "1209.6MB", "2w"},
        {3600000, "3.6MB", "1h"},
        {90000, "90kB", "90s"},
        {UINT64_MAX, "18446744073709551615B", "18446744073709551615ms"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[UNITS_TEXT_BYTES];
        uint64_t again;
        assert_string_equal(units_write_bytes(text, cases[i].value), cases[i].bytes);
        assert_string_equal(units_write_duration(text, cases[i].value), cases[i].duration);
        assert_int_equal(units_read_duration(text, &again), 0);
        assert_true(again == cases[i].value);
    }
}

/* Every value of a wide random sample reads back from what is written for it. */
static void test_round_trip(void **state)
{
    (void)state;
    unsigned seed = 20260101;
    for (int i = 0; i < 200000; i++) {
        char text[UNITS_TEXT_BYTES];
        uint64_t value = 0, again = UNTOUCHED;
        for (int word = 0; word < 3; word++)
            value = value << 24 ^ (uint64_t)rand_r(&seed);
        value >>= rand_r(&seed) % 64;
        if (i % 3 == 0)
            value &= ~((UINT64_C(1) << (rand_r(&seed) % 40)) - 1);
        if (i % 3 == 1)
            value = value / 36000 * 36000;
        if (units_read_bytes(units_write_bytes(text, value), &again) != 0 || again != value)
            fail_msg("seed 20260101, %d: %llu bytes is \"%s\"", i, (unsigned long long)value, text);
        if (units_read_duration(units_write_duration(text, value), &again) != 0 || again != value)
            fail_msg("seed 20260101, %d: %llu ms is \"%s\"", i, (unsigned long long)value, text);
    }
}

/* Fractions against long double arithmetic. */
static void test_fractions(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int i = 0; i < 20000; i++) {
        char text[64];
        uint64_t bytes;
        unsigned whole = (unsigned)rand_r(&seed) % 1000,
                 fraction = (unsigned)rand_r(&seed) % 1000000;
        snprintf(text, sizeof text, "%u.%06uGiB", whole, fraction);
        assert_int_equal(units_read_bytes(text, &bytes), 0);
        long double exact = ((long double)whole + (long double)fraction / 1e6L) * 1073741824.0L;
        if (fabsl((long double)bytes - exact) > 0.51L)
            fail_msg("%s is %llu", text, (unsigned long long)bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),      cmocka_unit_test(test_duration),
        cmocka_unit_test(test_rate),       cmocka_unit_test(test_percent),
        cmocka_unit_test(test_count),      cmocka_unit_test(test_writing),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_fractions),
    };
    return cmocka_run_group_tests_name("units", tests, NULL, NULL);
}
