/* SPDX-License-Identifier: MIT
 * Points in time as users write them: what is taken, what is refused and how. The calendar is held
 * against the C library's, day by day over centuries. */
#define _GNU_SOURCE
#include "base/timestamp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/check.h"

#define UNTOUCHED 0x5555555555555555ull
#define NOW       1767225600000000000ull /* 2026-01-01T00:00:00Z */
#define S         1000000000ull

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        uint64_t ns;
    } cases[] = {
        {"now", 0, NOW},
        {"-10min", 0, NOW - 600 * S},
        {"-2h", 0, NOW - 7200 * S},
        {"+1.5s", 0, NOW + 1500000000},
        {"-0", 0, NOW},
        {"-250ms", 0, NOW - 250000000},
        {"0", 0, 0},
        {"1", 0, S},
        {"1767225600", 0, NOW},
        {"1767225600.000000001", 0, NOW + 1},
        {"1767225600.25", 0, NOW + 250000000},
        {"1767225600.9999999999", 0, NOW + 999999999},
        {"18446744073", 0, 18446744073 * S},
        {"18446744073.709551615", 0, UINT64_MAX},
        {"2026-01-01T00:00:00Z", 0, NOW},
        {"2026-01-01t00:00:00z", 0, NOW},
        {"2026-01-01 00:00:00Z", 0, NOW},
        {"2026-01-01T01:00:00+01:00", 0, NOW},
        {"2025-12-31T18:30:00-05:30", 0, NOW},
        {"2025-12-31T23:59:60Z", 0, NOW},
        {"2026-01-01T00:00:00.5Z", 0, NOW + 500000000},
        {"2026-01-01T00:00:00.123456789Z", 0, NOW + 123456789},
        {"2026-01-01T00:00:00.1234567899Z", 0, NOW + 123456789},
        {"1970-01-01T00:00:00Z", 0, 0},
        {"1970-01-01T00:00:00-00:01", 0, 60 * S},
        {"2024-02-29T00:00:00Z", 0, 1709164800 * S},
        {"2554-07-21T23:34:33.709551615Z", 0, UINT64_MAX},
        {"2554-07-21T23:34:33.709551616Z", -ERANGE, 0},
        {"2554-07-21T23:34:34Z", -ERANGE, 0},
        {"9999-12-31T23:59:59Z", -EINVAL, 0},
        {"0000-01-01T00:00:00Z", -EINVAL, 0},
        {"1969-12-31T23:59:59Z", -EINVAL, 0},
        {"1970-01-01T00:00:00+00:01", -ERANGE, 0},
        {"18446744073.709551616", -ERANGE, 0},
        {"18446744074", -ERANGE, 0},
        {"99999999999999999999999", -ERANGE, 0},
        {"-3000w", -ERANGE, 0},
        {"+99999999999999999w", -ERANGE, 0},
        {"2023-02-29T00:00:00Z", -EINVAL, 0},
        {"1900-02-29T00:00:00Z", -EINVAL, 0},
        {"2026-04-31T00:00:00Z", -EINVAL, 0},
        {"2026-13-01T00:00:00Z", -EINVAL, 0},
        {"2026-00-01T00:00:00Z", -EINVAL, 0},
        {"2026-01-00T00:00:00Z", -EINVAL, 0},
        {"2026-01-01T24:00:00Z", -EINVAL, 0},
        {"2026-01-01T00:60:00Z", -EINVAL, 0},
        {"2026-01-01T00:00:61Z", -EINVAL, 0},
        {"2026-01-01T00:00:00", -EINVAL, 0},
        {"2026-01-01T00:00:00.Z", -EINVAL, 0},
        {"2026-01-01T00:00:00Z ", -EINVAL, 0},
        {"2026-01-01T00:00:00+0100", -EINVAL, 0},
        {"2026-01-01T00:00:00+24:00", -EINVAL, 0},
        {"2026-01-01", -EINVAL, 0},
        {"2026-1-1T00:00:00Z", -EINVAL, 0},
        {"12:00", -EINVAL, 0},
        {"yesterday", -EINVAL, 0},
        {"Now", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"-", -EINVAL, 0},
        {"--1s", -EINVAL, 0},
        {"-10", -EINVAL, 0},
        {"-10m", -EINVAL, 0},
        {"10min", -EINVAL, 0},
        {"1.", -EINVAL, 0},
        {".5", -EINVAL, 0},
        {"1e9", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t ns = UNTOUCHED;
        int result = timestamp_read(cases[i].text, NOW, &ns);
        if (result != cases[i].result || ns != (result < 0 ? UNTOUCHED : cases[i].ns))
            fail_msg("\"%s\": %d, %llu", cases[i].text, result, (unsigned long long)ns);
    }
}

static void test_every_day(void **state)
{
    (void)state;
    for (time_t day = 0; day < (time_t)18446744073; day += 86400) {
        struct tm at;
        char text[64];
        uint64_t ns = UNTOUCHED;
        assert_non_null(gmtime_r(&day, &at));
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &at);
        assert_int_equal(timestamp_read(text, NOW, &ns), 0);
        assert_int_equal(ns, (uint64_t)day * S);
    }
}

/* Every text of few letters, and every prefix and replaced letter of a long one: no reading beyond
 * its end (the sanitizers tell), and no time out of what is none. */
static void test_rough_text(void **state)
{
    (void)state;
    static const char letters[] = "0179-+:.TZzn w\xff";
    static const char whole[] = "2026-01-31T12:34:56.789012345678+01:30";
    uint64_t ns;
    for (unsigned i = 0; i < 15 * 15 * 15 * 15; i++) {
        char *text = strdup((char[]){letters[i % 15], letters[i / 15 % 15], letters[i / 225 % 15],
                                     letters[i / 3375], '\0'});
        timestamp_read(text, NOW, &ns);
        free(text);
    }
    for (size_t cut = 0; cut < strlen(whole); cut++) {
        char *text = strndup(whole, cut);
        assert_int_equal(timestamp_read(text, NOW, &ns), cut >= 1 && cut <= 4 ? 0 : -EINVAL);
        free(text);
        for (unsigned letter = 1; letter < 256; letter++) {
            text = strdup(whole);
            text[cut] = (char)letter;
            timestamp_read(text, NOW, &ns);
            free(text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_rough_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
