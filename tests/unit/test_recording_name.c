/* SPDX-License-Identifier: MIT
 * The names of recordings: what is written is read back the same, for random parts; what is not
 * one of ours, down to a letter, is refused; calendar dates against the system's own. */
#define _POSIX_C_SOURCE 200809L /* gmtime_r */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/calendar.h"
#include "channel/recording_name.h"

static uint64_t any(void)
{
    return (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
}

static int set_up(void **state)
{
    (void)state;
    const char *given = getenv("FLOTILLA_SEED");
    unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 20260105u;
    print_message("seed %u\n", seed);
    srand(seed);
    return 0;
}

static void test_calendar_is_the_systems(void **state)
{
    (void)state;
    static const uint64_t edges[] = {0, 951782399, 951782400, 951868800, 4107542399, 18446744073};
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t ns = i < sizeof edges / sizeof edges[0] ? edges[i] * 1000000000 : any(), back = 0;
        time_t seconds = (time_t)(ns / 1000000000);
        struct tm parts;
        struct calendar at;
        gmtime_r(&seconds, &parts);
        calendar_from_ns(ns, &at);
        assert_int_equal(at.year, parts.tm_year + 1900);
        assert_int_equal(at.month, parts.tm_mon + 1);
        assert_int_equal(at.day, parts.tm_mday);
        assert_int_equal(at.hour, parts.tm_hour);
        assert_int_equal(at.minute, parts.tm_min);
        assert_int_equal(at.second, parts.tm_sec);
        assert_int_equal(calendar_to_ns(&at, &back), 0);
        assert_true(back == ns);
    }
    static const struct calendar none[] = {
        {2026, 2, 29, 0, 0, 0, 0},  {2026, 13, 1, 0, 0, 0, 0}, {2026, 0, 1, 0, 0, 0, 0},
        {2026, 4, 31, 0, 0, 0, 0},  {2026, 1, 0, 0, 0, 0, 0},  {2026, 1, 1, 24, 0, 0, 0},
        {2026, 1, 1, 0, 60, 0, 0},  {2026, 1, 1, 0, 0, 60, 0}, {1969, 12, 31, 23, 59, 59, 0},
        {2100, 2, 29, 0, 0, 0, 0},  {9999, 1, 1, 0, 0, 0, 0},  {2026, 1, 1, 0, 0, 0, 1000000000},
        {2554, 12, 31, 0, 0, 0, 0}, {2026, 1, 1, -1, 0, 0, 0},
    };
    uint64_t ns;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_true(calendar_to_ns(&none[i], &ns) < 0);
}

static void random_channel(char *channel)
{
    static const char letters[] = "abcxyz0189_.-";
    size_t bytes = 1 + any() % CHANNEL_NAME_BYTES_MAX;
    for (size_t i = 0; i < bytes; i++)
        channel[i] = letters[any() % (i == 0 ? 10 : sizeof letters - 1)];
    channel[bytes] = '\0';
    static const char *const like_names[] = {
        "e-20260101t000000.000000z-000001", "e-rejects", "e.avro", "e.avro.part", "0", "a-000001",
    };
    if (any() % 4 == 0)
        snprintf(channel, CHANNEL_NAME_BYTES_MAX + 1, "%s", like_names[any() % 6]);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        struct recording_name name = {.stamp_ns = any() / 1000 * 1000,
                                      .number = any() % 1000000000000000000u >> any() % 60,
                                      .lane = any() % RECORDING_LANES,
                                      .stage = any() % RECORDING_STAGES};
        struct recording_name read;
        char text[RECORDING_NAME_BYTES], again[RECORDING_NAME_BYTES];
        random_channel(name.channel);
        recording_name_write(text, &name);
        if (!recording_name_read(&read, text))
            fail_msg("\"%s\" is not read back", text);
        assert_int_equal(read.lane, name.lane);
        assert_int_equal(read.stage, name.stage);
        if (name.stage != RECORDING_OPENING) {
            assert_string_equal(read.channel, name.channel);
            assert_true(read.stamp_ns == name.stamp_ns && read.number == name.number);
        }
        assert_string_equal(recording_name_write(again, &read), text);
        /* One letter changed is another name or none. */
        text[any() % strlen(text)] = (char)(33 + any() % 94);
        if (recording_name_read(&read, text))
            assert_string_equal(recording_name_write(again, &read), text);
    }
}

static void test_known_names(void **state)
{
    (void)state;
    struct recording_name name;
    assert_true(recording_name_read(&name, "a.b-20260101T000000.000001Z-000042.avro"));
    assert_string_equal(name.channel, "a.b");
    assert_true(name.number == 42 && name.stamp_ns == 1767225600000001000u);
    assert_true(name.lane == RECORDING_DATUMS && name.stage == RECORDING_DONE);
    assert_true(recording_name_read(&name, "e-20260101T000000.000000Z-1234567-rejects.avro.part"));
    assert_true(name.number == 1234567 && name.lane == RECORDING_REJECTS &&
                name.stage == RECORDING_PART);
    assert_true(recording_name_read(&name, "e-20260101T000000.000000Z-000001.avro.damaged"));
    assert_true(name.stage == RECORDING_DAMAGED);
    assert_true(recording_name_read(&name, ".opening-rejects"));
    assert_true(name.lane == RECORDING_REJECTS && name.stage == RECORDING_OPENING);
}

static void test_names_that_are_not_ours(void **state)
{
    (void)state;
    static const char *const others[] = {
        "e-20260101T000000.000000Z-000001.avro.pin",
        "e-20260101T000000.000000Z-000001.avro.bak",
        "e-20260101T000000.000000Z-000001.avro.part.part",
        "e-20260101T000000.000000Z-000001.avro.",
        "e-20260101T000000.000000Z-000001.AVRO",
        "e-20260101T000000.000000Z-000001.recovered.avro",
        "e-20260101T000000.000000Z-000001-losses.avro",
        "e-20260101T000000.000000Z-000001-rejects-rejects.avro",
        "e-20260101T000000.000000Z-.avro",
        "e-20260101T000000.000000Z-1.avro",
        "e-20260101T000000.000000Z-0000001.avro",
        "e-20260101T000000.000000Z-1234567890123456789012.avro",
        "e-20260101T000000.000000Z-000001",
        "e-20260101T000000.000000Z-00000x.avro",
        "e-2026010XT000000.000000Z-000001.avro",
        "e-20260230T000000.000000Z-000001.avro",
        "e-20260101T240000.000000Z-000001.avro",
        "e-20260101T000000.000000-000001.avro",
        "e-20260101T000000Z-000001.avro",
        "e20260101T000000.000000Z-000001.avro",
        "-20260101T000000.000000Z-000001.avro",
        "20260101T000000.000000Z-000001.avro",
        "E-20260101T000000.000000Z-000001.avro",
        "../e-20260101T000000.000000Z-000001.avro",
        ".e-20260101T000000.000000Z-000001.avro",
        "e e-20260101T000000.000000Z-000001.avro",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "-20260101T000000.000000Z-000001.avro",
        ".opening-",
        ".openings",
        ".opening.avro",
        ".lock",
        ".probe",
        ".",
        "..",
        ".avro",
        "e.avro",
        "notes.txt",
        "",
    };
    struct recording_name name;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (recording_name_read(&name, others[i]))
            fail_msg("\"%s\" is taken for one of ours", others[i]);
    char long_text[4000];
    memset(long_text, 'a', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    assert_false(recording_name_read(&name, long_text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calendar_is_the_systems),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_known_names),
        cmocka_unit_test(test_names_that_are_not_ours),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
