/* SPDX-License-Identifier: MIT
 * Numbers as text: known ones, and random and hard ones against the C library, which prints to a
 * given number of digits and reads. tests/test_digits.py has Python's and C++'s word on it.
 * The seed is printed; FLOTILLA_SEED repeats a run. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/digits.h"

enum { RANDOMS = 100000 };

static uint64_t random_state;

static uint64_t random_word(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int set_seed(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    random_state = given != NULL ? strtoull(given, NULL, 10) : 88172645463325252u;
    print_message("seed %" PRIu64 "\n", random_state);
    return random_state != 0 ? 0 : -1;
}

static const char *text_of(double value)
{
    static char text[DIGITS_BYTES_MAX + 1];
    size_t bytes = digits_double(text, value);
    assert_true(bytes <= DIGITS_BYTES_MAX);
    text[bytes] = '\0';
    return text;
}

static const char *text_of_float(float value)
{
    static char text[DIGITS_BYTES_MAX + 1];
    size_t bytes = digits_float(text, value);
    assert_true(bytes <= DIGITS_BYTES_MAX);
    text[bytes] = '\0';
    return text;
}

static void test_known_doubles(void **state)
{
    (void)state;
    const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {-0.0, "-0.0"},
        {1, "1.0"},
        {-1, "-1.0"},
        {10, "10.0"},
        {0.1, "0.1"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {-273.15, "-273.15"},
        {12.5, "12.5"},
        {0.0001, "0.0001"},
        {0.00012, "0.00012"},
        {0.00001, "1e-05"},
        {0.000012, "1.2e-05"},
        {999999999999999, "999999999999999.0"},
        {1e15, "1e+15"},
        {1234567890123456, "1234567890123456.0"},
        {9007199254740991, "9007199254740991.0"},
        {9007199254740992, "9007199254740992.0"},
        {12345678901234568, "12345678901234568.0"},
        {123456789012345680, "1.2345678901234568e+17"},
        {1e16, "1e+16"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
        {1e100, "1e+100"},
        {DBL_MAX, "1.7976931348623157e+308"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {-DBL_MIN, "-2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {1.5e-323, "1.5e-323"},
        {9007199254740993.0 * 2, "18014398509481984.0"},
        {0x1p-44, "5.684341886080802e-14"}, /* the nearer of two that read back */
        {0x1p+86, "7.737125245533627e+25"},
        {NAN, "NaN"},
        {INFINITY, "Infinity"},
        {-INFINITY, "-Infinity"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(text_of(cases[i].value), cases[i].text);
}

static void test_known_floats(void **state)
{
    (void)state;
    const struct {
        float value;
        const char *text;
    } cases[] = {
        {0, "0.0"},
        {-0.0f, "-0.0"},
        {0.1f, "0.1"},
        {16777216, "16777216.0"},
        {33554432, "33554432.0"},
        {1e10f, "10000000000.0"},
        {1e15f, "1e+15"},
        {FLT_MAX, "3.4028235e+38"},
        {FLT_MIN, "1.1754944e-38"},
        {1e-45f, "1e-45"},
        {-1.5f, "-1.5"},
        {NAN, "NaN"},
        {-INFINITY, "-Infinity"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(text_of_float(cases[i].value), cases[i].text);
}

static void test_integers(void **state)
{
    (void)state;
    char text[DIGITS_BYTES_MAX], expected[DIGITS_BYTES_MAX];
    for (int bits = 0; bits < 64; bits++)
        for (int turn = 0; turn < 400; turn++) {
            int64_t value = (int64_t)(random_word() >> bits);
            if (turn == 0)
                value = INT64_MIN >> bits;
            if (turn == 1)
                value = INT64_MAX >> bits;
            int64_t tens = 1;
            for (int i = 0; turn < 4 && i < bits % 19; i++)
                tens *= 10;
            if (turn == 2 || turn == 3)
                value = tens - (turn == 3);
            size_t bytes = digits_integer(text, value);
            snprintf(expected, sizeof(expected), "%" PRId64, value);
            assert_int_equal(bytes, strlen(expected));
            assert_memory_equal(text, expected, bytes);
        }
}

/* The digits of a text that digits_double wrote, without point, exponent and zeros around them. */
static size_t count_digits(const char *text)
{
    size_t count = 0, zeros = 0;
    for (const char *at = text; *at != '\0' && *at != 'e'; at++) {
        if (*at < '0' || *at > '9')
            continue;
        zeros = *at == '0' ? zeros + 1 : 0;
        count += *at != '0' || count > 0;
    }
    return count > zeros ? count - zeros : 1;
}

/* It reads back, in no more digits than the first precision that does, and is laid out as printf
 * has it where it has the same digits. */
static void assert_shortest(double value)
{
    char printed[40];
    const char *text = text_of(value);
    if (strtod(text, NULL) != value)
        fail_msg("%.17g: %s", value, text);
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(printed, sizeof(printed), "%.*g", precision, value);
        if (strtod(printed, NULL) != value)
            continue;
        if (count_digits(text) > (size_t)precision)
            fail_msg("%.17g: %s, where %s is enough", value, text, printed);
        snprintf(printed, sizeof(printed), "%.*g", precision < 15 ? 15 : precision, value);
        size_t bytes = strlen(printed);
        if (count_digits(text) == count_digits(printed) && fabs(value) >= DBL_MIN &&
            (memcmp(text, printed, bytes) != 0 ||
             strcmp(text + bytes, strpbrk(printed, ".e") == NULL ? ".0" : "") != 0) &&
            /* of two that are as short the nearer one: printf takes another where the gap is not
             * even */
            frexp(value, &(int){0}) != 0.5)
            fail_msg("%s, where printf has %s", text, printed);
        return;
    }
}

static void test_random_and_hard_doubles(void **state)
{
    (void)state;
    for (int i = 0; i < RANDOMS; i++) {
        uint64_t bits = random_word();
        double value;
        memcpy(&value, &bits, sizeof(value));
        if (isfinite(value))
            assert_shortest(value);
        /* Of the measured kind: few digits, and sizes that occur. */
        assert_shortest((double)((int64_t)bits >> (bits & 31)) / 1000);
        assert_shortest(ldexp((double)(bits >> 11), (int)(bits & 127) - 116));
    }
    for (int exponent = -1074; exponent < 1024; exponent++) { /* where the gaps are uneven */
        double value = ldexp(1, exponent);
        assert_shortest(value);
        assert_shortest(nextafter(value, 0));
        assert_shortest(nextafter(value, DBL_MAX));
    }
    for (int exponent = -323; exponent < 309; exponent++) {
        char text[16];
        snprintf(text, sizeof(text), "1e%d", exponent);
        double value = strtod(text, NULL);
        for (int i = -3; i <= 3; i++) {
            double near = value;
            for (int step = 0; step < abs(i); step++)
                near = nextafter(near, i < 0 ? 0 : DBL_MAX);
            assert_shortest(near);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_doubles),
        cmocka_unit_test(test_known_floats),
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_random_and_hard_doubles),
    };
    return cmocka_run_group_tests_name("digits", tests, set_seed, NULL);
}
