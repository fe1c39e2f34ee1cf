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

#define DAY_NS (86400ull * NS_PER_S)
#define DAY_MS (86400ull * 1000)

/* A file of `bytes`, the `number`th of its channel, ended `age_days` ago. */
static struct retention_file make_file(uint32_t channel, uint64_t number, uint64_t bytes,
                                       uint64_t age_days)
{
    return (struct retention_file){
        .channel = channel, .number = number, .bytes = bytes, .age_ns = age_days * DAY_NS + 1};
}

/* The files that go, as "CHANNEL.NUMBER:REASON" in order. */
static const char *chosen(struct retention_file *files, size_t count, uint32_t channels,
                          struct retention_limits limits, uint64_t free_bytes, uint64_t total_bytes)
{
    static char text[1000];
    size_t used = 0;
    retention_sort(files, count);
    assert_int_equal(retention_choose(files, count, channels, &limits, free_bytes, total_bytes), 0);
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

static void test_parts_go_in_their_turn(void **state)
{
    (void)state;
    struct retention_limits limits = {.bytes = 100};
    struct retention_file files[] = {make_file(0, 3, 40, 0), make_file(0, 5, 40, 0),
                                     make_file(0, 6, 10, 0), make_file(0, 12, 40, 0)};
    files[0].part = files[1].part = true;
    /* Not the newest, for the bytes of what nobody could end. */
    assert_string_equal(chosen(files, 4, 1, limits, 0, 130), "0.3:S");
    assert_string_equal(chosen(files, 4, 1, (struct retention_limits){.free_percent = 30}, 0, 130),
                        "0.3:F");
    /* The last one of a lane is being written. */
    assert_true(files[1].open && files[1].fixed && !files[0].open && !files[0].fixed);
    struct retention_file lanes[] = {make_file(0, 1, 40, 9), make_file(0, 2, 40, 9),
                                     make_file(0, 7, 40, 9), make_file(1, 1, 40, 9),
                                     make_file(1, 2, 40, 9)};
    for (size_t i = 0; i < 4; i++)
        lanes[i].part = true;
    lanes[1].rejects = true;
    limits = (struct retention_limits){.age_ms = 7 * DAY_MS, .bytes = 1};
    assert_string_equal(chosen(lanes, 5, 2, limits, 0, 100), "0.1:A 1.2:A");
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
    put(folder, "engine-20260101T000000.000000Z-000002.avro.part", 4000);
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
    assert_false(is_there(engine, "engine-20260101T000000.000000Z-000002.avro.part"));
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
        cmocka_unit_test(test_size_takes_from_the_largest),
        cmocka_unit_test(test_age_makes_room_for_size),
        cmocka_unit_test(test_free_space),
        cmocka_unit_test(test_parts_go_in_their_turn),
        cmocka_unit_test(test_thread_removes_only_what_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
