/* SPDX-License-Identifier: MIT
 * Which recordings go to make room, and which names are recordings at all; then the thread itself
 * on a folder of real files. Relies on cmocka and a writable temporary folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "manager/retention.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/storage.h"

#define NOW_NS (RETENTION_TIME_MIN_NS + 1000ull * 86400 * NS_PER_S)
#define DAY_NS (86400ull * NS_PER_S)
#define DAY_MS (86400ull * 1000)

/* A file of `bytes`, the `number`th of its channel, written `age_days` ago. */
static struct retention_file make_file(uint32_t channel, uint64_t number, uint64_t bytes,
                                       int64_t age_days)
{
    return (struct retention_file){.channel = channel,
                                   .number = number,
                                   .bytes = bytes,
                                   .modified_ns =
                                       (uint64_t)((int64_t)NOW_NS - age_days * (int64_t)DAY_NS)};
}

/* The files that go, as "CHANNEL.NUMBER:REASON" in order. */
static const char *chosen(struct retention_file *files, size_t count, uint32_t channels,
                          struct retention_limits limits, uint64_t free_bytes, uint64_t total_bytes)
{
    static char text[1000];
    size_t used = 0;
    assert_int_equal(
        retention_choose(files, count, channels, &limits, NOW_NS, free_bytes, total_bytes), 0);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        if (files[i].removed_for != RETENTION_KEPT)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%u.%u:%c", used ? " " : "",
                                     (unsigned)files[i].channel, (unsigned)files[i].number,
                                     "?ASF"[files[i].removed_for]);
    return text;
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    struct retention_file files[] = {make_file(0, 1, 10, 900)};
    assert_string_equal(chosen(files, 1, 1, (struct retention_limits){0}, 0, 100), "");
    assert_string_equal(chosen(NULL, 0, 0, (struct retention_limits){.bytes = 1}, 0, 100), "");
    assert_string_equal(chosen(NULL, 0, 0, (struct retention_limits){.free_percent = 5}, 0, 100),
                        "");
}

static void test_age(void **state)
{
    (void)state;
    struct retention_limits week = {.age_ms = 7 * DAY_MS};
    struct retention_file files[] = {
        make_file(0, 3, 10, 6),  make_file(0, 1, 10, 9), make_file(0, 2, 10, 8),
        make_file(1, 1, 10, 30), make_file(1, 2, 10, 7),
    };
    files[3].fixed = true;
    assert_string_equal(chosen(files, 5, 2, week, 0, 100), "0.1:A 0.2:A");
    /* Clocks that were set later, or set back: their times tell no age. */
    struct retention_file odd[] = {make_file(0, 1, 10, -30), make_file(0, 2, 10, 0)};
    odd[1].modified_ns = 12345 * NS_PER_S;
    assert_string_equal(chosen(odd, 2, 1, week, 0, 100), "");
    odd[1].modified_ns = RETENTION_TIME_MIN_NS;
    assert_string_equal(chosen(odd, 2, 1, week, 0, 100), "0.2:A");
}

/* Begun and last written so many days ago. */
static struct retention_file make_dated(uint64_t number, int64_t begun_days, int64_t age_days)
{
    struct retention_file file = make_file(0, number, 10, age_days);
    file.begun_ns = (uint64_t)((int64_t)NOW_NS - begun_days * (int64_t)DAY_NS);
    return file;
}

static void test_age_where_the_clock_was_wrong(void **state)
{
    (void)state;
    struct retention_limits week = {.age_ms = 7 * DAY_MS};
    /* Set back by a month, and right again: those of then are as old as the next, at the most. */
    struct retention_file back[] = {
        make_dated(1, 9, 8),  make_dated(2, 8, 37), make_dated(3, 36, 35),
        make_dated(4, 35, 6), make_dated(5, 6, 5),  make_dated(6, 5, 4),
    };
    assert_string_equal(chosen(back, 6, 1, week, 0, 100), "0.1:A");
    assert_string_equal(chosen(back + 1, 5, 1, week, 0, 100), "");
    assert_string_equal(
        chosen(back, 6, 1, (struct retention_limits){.age_ms = 9 * DAY_MS / 2}, 0, 100),
        "0.1:A 0.2:A 0.3:A 0.4:A 0.5:A");
    /* Right again in two steps. */
    struct retention_file steps[] = {make_dated(1, 9, 9), make_dated(2, 40, 40),
                                     make_dated(3, 11, 11), make_dated(4, 6, 5)};
    assert_string_equal(chosen(steps, 4, 1, week, 0, 100), "");
    /* Still set back: nothing is known of those. */
    assert_string_equal(chosen(back, 3, 1, week, 0, 100), "0.1:A");
    /* Ahead by a month, for a moment: those behind are dated properly, as the clock ran on. */
    struct retention_file ahead[11] = {make_dated(1, 41, 40), make_dated(2, 10, 9)};
    for (uint64_t i = 2; i < 11; i++)
        ahead[i] = make_dated(i + 1, 40 - 4 * ((int64_t)i - 2), 36 - 4 * ((int64_t)i - 2));
    assert_string_equal(chosen(ahead, 11, 1, (struct retention_limits){.age_ms = 30 * DAY_MS}, 0,
                               100),
                        "0.1:A 0.3:A 0.4:A");
    /* Ahead for ever, set back for a moment by a day, and again, for now, by an hour or so. */
    struct retention_file mixed[] = {
        make_dated(1, 8, 8),         make_dated(2, -7000, -7000), make_dated(3, 3, 3),
        make_dated(4, 1, 40),        make_dated(5, 40, 40),       make_dated(6, 0, 0),
        make_dated(7, 39, 39),
    };
    assert_string_equal(chosen(mixed, 7, 1, week, 0, 100), "0.1:A");
    mixed[3].begun_ns = mixed[5].begun_ns = mixed[5].modified_ns = NOW_NS + 3600 * NS_PER_S;
    assert_string_equal(chosen(mixed, 6, 1, week, 0, 100), "0.1:A");
    /* The numbers of the rejects are their own. */
    struct retention_file lanes[] = {make_dated(1, 9, 8), make_dated(2, 8, 8),
                                     make_dated(1, 30, 30), make_dated(2, 29, 28)};
    lanes[2].rejects = lanes[3].rejects = true;
    assert_string_equal(chosen(lanes, 4, 1, week, 0, 100), "0.1:A 0.1:A 0.2:A 0.2:A");
}

static void test_size_takes_from_the_largest(void **state)
{
    (void)state;
    /* 100 for two channels: 50 each. The first holds 70, the second 40, half of it pinned. */
    struct retention_limits limits = {.bytes = 100};
    struct retention_file files[] = {
        make_file(0, 9, 30, 0),  make_file(0, 10, 30, 1), make_file(0, 11, 10, 2),
        make_file(1, 1, 20, 50), make_file(1, 2, 20, 60),
    };
    /* The number says which is oldest, not the time. */
    assert_string_equal(chosen(files, 5, 2, limits, 0, 100), "0.9:S");
    struct retention_file pinned[] = {make_file(0, 1, 60, 0), make_file(0, 2, 60, 0),
                                      make_file(1, 1, 30, 9)};
    pinned[0].fixed = pinned[1].fixed = true;
    /* The one above its share has nothing to give: the other, within its share, pays nothing. */
    assert_string_equal(chosen(pinned, 3, 2, limits, 0, 100), "");
    pinned[1].fixed = false; /* sorted already: the second file of the first channel */
    assert_string_equal(chosen(pinned, 3, 2, limits, 0, 100), "0.2:S");
    /* What is written still counts, though it stays. */
    struct retention_file open[] = {make_file(0, 1, 40, 0), make_file(0, 2, 80, 0)};
    open[1].fixed = true;
    assert_string_equal(chosen(open, 2, 1, limits, 0, 100), "0.1:S");
    /* Three above their shares: always the one that is furthest above. */
    struct retention_file three[] = {
        make_file(0, 1, 20, 0), make_file(0, 2, 20, 0), make_file(1, 1, 25, 0),
        make_file(1, 2, 25, 0), make_file(2, 1, 15, 0), make_file(2, 2, 15, 0),
    };
    assert_string_equal(chosen(three, 6, 3, (struct retention_limits){.bytes = 80}, 0, 100),
                        "0.1:S 1.1:S");
}

static void test_age_makes_room_for_size(void **state)
{
    (void)state;
    struct retention_file files[] = {make_file(0, 1, 60, 9), make_file(0, 2, 60, 1)};
    struct retention_limits limits = {.age_ms = 7 * DAY_MS, .bytes = 100};
    assert_string_equal(chosen(files, 2, 1, limits, 0, 100), "0.1:A");
}

static void test_free_space(void **state)
{
    (void)state;
    struct retention_limits tenth = {.free_percent = 10};
    struct retention_file files[] = {
        make_file(0, 1, 10, 0), make_file(0, 2, 10, 0), make_file(0, 3, 10, 0),
        make_file(1, 1, 10, 0), make_file(1, 2, 10, 0),
    };
    assert_string_equal(chosen(files, 5, 2, tenth, 100, 1000), "");
    assert_string_equal(chosen(files, 5, 2, tenth, 95, 1000), "0.1:F");
    /* Equal then: both are at the average, and the first gives. */
    assert_string_equal(chosen(files, 5, 2, tenth, 85, 1000), "0.1:F 0.2:F");
    /* What went for its size counts as freed. */
    struct retention_limits both = {.bytes = 40, .free_percent = 10};
    assert_string_equal(chosen(files, 5, 2, both, 90, 1000), "0.1:S");
    /* Pinned down by one that holds most: the small one does not pay for it. */
    struct retention_file hog[] = {make_file(0, 1, 90, 0), make_file(1, 1, 10, 0)};
    hog[0].fixed = true;
    assert_string_equal(chosen(hog, 2, 2, tenth, 0, 1000), "");
}

/* ---- the clock ---- */

#define HOUR_NS (3600ull * NS_PER_S)
#define YEAR_NS (365ull * DAY_NS)
#define AGE_MS  (30 * DAY_MS)

/* A machine whose clocks a test moves. */
struct machine {
    struct retention_clock clock;
    struct clock_look now;
    uint64_t times[6]; /* of recordings */
    size_t count;
};

/* Up for four hours; recordings of 40, 20, 10 days ago, of yesterday, and one that is written. */
static struct machine usual(void)
{
    return (struct machine){.now = {.realtime_ns = NOW_NS, .uptime_ns = 4 * HOUR_NS},
                            .times = {NOW_NS - 40 * DAY_NS, NOW_NS - 20 * DAY_NS,
                                      NOW_NS - 10 * DAY_NS, NOW_NS - DAY_NS, NOW_NS},
                            .count = 5};
}

/* What is thought of the clock when so much time has passed, with the newest recording written. */
static enum clock_doubt after(struct machine *machine, uint64_t passed_ns)
{
    machine->now.realtime_ns += passed_ns;
    machine->now.uptime_ns += passed_ns;
    machine->times[machine->count - 1] = machine->now.realtime_ns;
    return retention_clock_judge(&machine->clock, &machine->now, machine->times, machine->count,
                                 AGE_MS);
}

/* The same after the clock was set. */
static enum clock_doubt after_step(struct machine *machine, int64_t step_ns)
{
    machine->now.realtime_ns = (uint64_t)((int64_t)machine->now.realtime_ns + step_ns);
    return after(machine, 30 * NS_PER_S);
}

static void test_a_clock_that_runs_on_is_believed(void **state)
{
    (void)state;
    struct machine machine = usual(); /* nobody synchronises it */
    for (int i = 0; i < 10000; i++)
        assert_int_equal(after(&machine, 30 * NS_PER_S), CLOCK_BELIEVED);
    assert_int_equal(after(&machine, 3 * DAY_NS), CLOCK_BELIEVED); /* suspended: time passes */
}

static void test_a_step_forward_is_waited_out(void **state)
{
    (void)state;
    const uint64_t steps[] = {2 * HOUR_NS, 31 * DAY_NS, 20 * YEAR_NS, 200 * YEAR_NS};
    char text[RETENTION_DOUBT_BYTES];
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct machine machine = usual();
        assert_int_equal(after(&machine, NS_PER_S), CLOCK_BELIEVED);
        assert_int_equal(after_step(&machine, (int64_t)steps[i]), CLOCK_STEPPED);
        for (int look = 0; look < 100; look++)
            assert_int_equal(after(&machine, 30 * NS_PER_S), CLOCK_STEPPED);
        /* Set back, in one step or two. */
        assert_int_equal(after_step(&machine, -(int64_t)(steps[i] / 2)), CLOCK_STEPPED);
        assert_int_equal(after_step(&machine, -(int64_t)(steps[i] - steps[i] / 2)),
                         CLOCK_BELIEVED);
        assert_int_equal(after(&machine, 30 * NS_PER_S), CLOCK_BELIEVED);
    }
    assert_string_equal(retention_clock_explain(CLOCK_STEPPED, 20 * YEAR_NS, text),
                        "the clock was set forward by 7300d");
    assert_string_equal(retention_clock_explain(CLOCK_BELIEVED, 0, text), "");
}

static void test_a_step_that_stays(void **state)
{
    (void)state;
    struct machine machine = usual(), small, alone;
    after(&machine, NS_PER_S);
    small = alone = machine;
    machine.now.synchronised = true; /* for an hour: a server may be wrong for a moment */
    assert_int_equal(after_step(&machine, 40 * (int64_t)DAY_NS), CLOCK_STEPPED);
    assert_int_equal(after(&machine, HOUR_NS / 2), CLOCK_STEPPED);
    assert_int_equal(after(&machine, HOUR_NS), CLOCK_BELIEVED);
    /* Set by hand by an hour: less than a hundredth of the age. */
    assert_int_equal(after_step(&small, HOUR_NS), CLOCK_STEPPED);
    assert_int_equal(after(&small, 2 * HOUR_NS), CLOCK_BELIEVED);
    /* Nobody says that it is right: after the age it does not matter. */
    assert_int_equal(after_step(&alone, 20 * (int64_t)YEAR_NS), CLOCK_STEPPED);
    assert_int_equal(after(&alone, 29 * DAY_NS), CLOCK_STEPPED);
    assert_int_equal(after(&alone, 2 * DAY_NS), CLOCK_BELIEVED);
}

static void test_a_step_back(void **state)
{
    (void)state;
    struct machine machine = usual();
    after(&machine, NS_PER_S);
    assert_int_equal(after_step(&machine, -5 * (int64_t)HOUR_NS), CLOCK_BELIEVED);
    assert_int_equal(after_step(&machine, -5 * (int64_t)YEAR_NS), CLOCK_UNSET);
    /* And forward again: by the clock before, most recordings were of the future. */
    assert_int_equal(after_step(&machine, 5 * (int64_t)(YEAR_NS + HOUR_NS)), CLOCK_BELIEVED);
}

static void test_a_clock_that_begins_in_the_past(void **state)
{
    (void)state;
    struct machine machine = usual();
    machine.now = (struct clock_look){.realtime_ns = 30 * NS_PER_S, .uptime_ns = 30 * NS_PER_S};
    assert_int_equal(after(&machine, NS_PER_S), CLOCK_UNSET);
    assert_int_equal(after(&machine, 60 * NS_PER_S), CLOCK_UNSET);
    assert_int_equal(after_step(&machine, (int64_t)NOW_NS), CLOCK_BELIEVED);
    assert_int_equal(after(&machine, 60 * NS_PER_S), CLOCK_BELIEVED);
    /* A left-over of a wrong clock does not make it right the next time. */
    machine.times[0] = NOW_NS + 20 * YEAR_NS;
    assert_int_equal(after_step(&machine, 20 * (int64_t)YEAR_NS), CLOCK_STEPPED);
}

static void test_a_clock_that_is_ahead_from_the_first(void **state)
{
    (void)state;
    struct machine machine = usual();
    machine.now.realtime_ns += 20 * YEAR_NS;
    /* Nothing is recorded, or by a clock that is right. */
    assert_int_equal(retention_clock_judge(&machine.clock, &machine.now, machine.times, 5, AGE_MS),
                     CLOCK_AHEAD);
    machine.now.realtime_ns -= 20 * YEAR_NS;
    assert_int_equal(after(&machine, NS_PER_S), CLOCK_BELIEVED);
    /* Recording goes on by the same wrong clock of a machine just started. */
    struct machine started = usual();
    started.now =
        (struct clock_look){.realtime_ns = NOW_NS + 20 * YEAR_NS, .uptime_ns = 60 * NS_PER_S};
    for (int i = 0; i < 1000; i++)
        assert_int_equal(after(&started, 30 * NS_PER_S), CLOCK_AHEAD);
    started.now.synchronised = true;
    assert_int_equal(after(&started, 30 * NS_PER_S), CLOCK_BELIEVED);
    /* Nothing has been recorded for long, and the clock is right: the age later all the same. */
    struct machine idle = usual();
    idle.count = 4;
    idle.now.realtime_ns += 60 * DAY_NS;
    const uint64_t *times = idle.times;
    assert_int_equal(retention_clock_judge(&idle.clock, &idle.now, times, 4, AGE_MS), CLOCK_AHEAD);
    idle.now.realtime_ns += 31 * DAY_NS;
    idle.now.uptime_ns += 31 * DAY_NS;
    assert_int_equal(retention_clock_judge(&idle.clock, &idle.now, times, 4, AGE_MS),
                     CLOCK_BELIEVED);
    assert_int_equal(retention_clock_judge(&idle.clock, &idle.now, times, 0, AGE_MS),
                     CLOCK_BELIEVED);
}

static void test_a_clock_that_was_set_while_no_manager_was_there(void **state)
{
    (void)state;
    struct machine machine = usual();
    uint64_t ahead_ns = machine.now.realtime_ns - machine.now.uptime_ns;
    retention_clock_follow(&machine.clock, ahead_ns, &machine.now);
    assert_int_equal(after(&machine, NS_PER_S), CLOCK_BELIEVED);
    struct machine set = usual();
    set.now.realtime_ns += 2 * HOUR_NS;
    retention_clock_follow(&set.clock, ahead_ns, &set.now);
    assert_int_equal(after(&set, NS_PER_S), CLOCK_STEPPED);
    assert_int_equal(set.clock.step_ns, 2 * HOUR_NS);
    assert_int_equal(after_step(&set, -2 * (int64_t)HOUR_NS), CLOCK_BELIEVED);
}

/* ---- the thread, on real files ---- */

static void put(const char *folder, const char *name, size_t bytes)
{
    char path[600];
    uint8_t *content = calloc(1, bytes);
    assert_non_null(content);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(file_write_whole(path, (struct span){content, bytes}), 0);
    free(content);
}

static bool is_there(int folder, const char *name)
{
    struct storage_entry entry;
    return storage_look(folder, name, &entry) == 0;
}

static int remove_entry(void *context, const char *name)
{
    return folder_remove(*(int *)context, name);
}

static void test_thread_removes_only_what_it_may(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    char storage[400], folder[500];
    snprintf(storage, sizeof storage, "%s/flotilla-retention-%llu", base ? base : "/tmp",
             (unsigned long long)clock_realtime_ns());
    snprintf(folder, sizeof folder, "%s/engine", storage);
    int engine = folder_open(folder);
    assert_true(engine >= 0);
    put(folder, "engine-20260101T000000.000000Z-000001.avro", 4000);
    put(folder, "engine-20260101T000000.000000Z-000001.avro.pin", 1);
    put(folder, "engine-20260101T000000.000000Z-000002.avro", 4000);
    put(folder, "engine-20260101T000000.000000Z-000003.avro", 4000);
    put(folder, "engine-20260101T000000.000000Z-000004.avro", 4000);
    put(folder, "engine-20260101T000000.000000Z-000005.avro.part", 4000);
    put(folder, "engine-notes.avro", 40000);

    struct config_channel channel = {.settings = {.name = "engine"}};
    struct config config = {.retain_bytes = 13000, .channels = &channel, .channel_count = 1};
    snprintf(config.directory, sizeof config.directory, "%s", storage);
    struct retention *retention = NULL;
    assert_int_equal(retention_start(&retention), 0);
    assert_int_equal(retention_set(retention, &config), 0);
    /* 20,000 bytes of recordings: two have to go. */
    for (int i = 0; i < 500 && is_there(engine, "engine-20260101T000000.000000Z-000003.avro"); i++)
        clock_sleep_until(clock_monotonic_ns() + 10 * NS_PER_MS);
    retention_stop(retention);
    assert_true(is_there(engine, "engine-20260101T000000.000000Z-000001.avro"));
    assert_true(is_there(engine, "engine-20260101T000000.000000Z-000001.avro.pin"));
    assert_false(is_there(engine, "engine-20260101T000000.000000Z-000002.avro"));
    assert_false(is_there(engine, "engine-20260101T000000.000000Z-000003.avro"));
    assert_true(is_there(engine, "engine-20260101T000000.000000Z-000004.avro"));
    assert_true(is_there(engine, "engine-20260101T000000.000000Z-000005.avro.part"));
    assert_true(is_there(engine, "engine-notes.avro"));

    assert_int_equal(folder_list(engine, remove_entry, &engine), 0);
    descriptor_close(engine);
    assert_int_equal(remove(folder), 0);
    assert_int_equal(remove(storage), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_do),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_age_where_the_clock_was_wrong),
        cmocka_unit_test(test_size_takes_from_the_largest),
        cmocka_unit_test(test_age_makes_room_for_size),
        cmocka_unit_test(test_free_space),
        cmocka_unit_test(test_a_clock_that_runs_on_is_believed),
        cmocka_unit_test(test_a_step_forward_is_waited_out),
        cmocka_unit_test(test_a_step_that_stays),
        cmocka_unit_test(test_a_step_back),
        cmocka_unit_test(test_a_clock_that_begins_in_the_past),
        cmocka_unit_test(test_a_clock_that_is_ahead_from_the_first),
        cmocka_unit_test(test_a_clock_that_was_set_while_no_manager_was_there),
        cmocka_unit_test(test_thread_removes_only_what_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
