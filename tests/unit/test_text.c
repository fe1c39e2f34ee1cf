/* SPDX-License-Identifier: MIT
 * Growing text and arrays, and looking for bytes: against what the C library makes of the same, and
 * against looking at every place. */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/find.h"

static void test_grows(void **state)
{
    (void)state;
    char expected[40000];
    size_t used = 0;
    struct text text = {0};
    for (int i = 0; i < 2000; i++) {
        text_add(&text, "%d-%s ", i, i % 3 == 0 ? "" : "word");
        text_add_char(&text, '|');
        text_add_bytes(&text, "ab\0c", 4);
        used += (size_t)snprintf(expected + used, sizeof(expected) - used, "%d-%s |", i,
                                 i % 3 == 0 ? "" : "word");
        memcpy(expected + used, "ab\0c", 4);
        used += 4;
        assert_int_equal(text.bytes, used);
        assert_int_equal(text.at[used], 0);
    }
    assert_false(text.failed);
    char *taken = text_take(&text);
    assert_memory_equal(taken, expected, used);
    free(taken);
    assert_null(text.at);
    assert_int_equal(text.bytes, 0);
}

static void test_nothing(void **state)
{
    (void)state;
    struct text text = {0};
    text_add_bytes(&text, NULL, 0);
    char *taken = text_take(&text);
    assert_string_equal(taken, "");
    free(taken);
    text_add(&text, "%s", "");
    assert_string_equal(text.at, "");
    text.failed = true; /* as where a word could not be added */
    text_add(&text, "behind");
    assert_int_equal(text.bytes, 0);
    assert_null(text_take(&text));
    char *copy = text_copy("a copy");
    assert_string_equal(copy, "a copy");
    free(copy);
}

static void test_room(void **state)
{
    (void)state;
    size_t room = 0, moves = 0;
    uint64_t *list = NULL;
    for (size_t i = 0; i < 10000; i++) {
        size_t before = room;
        list = room_grow(list, &room, i + 1, sizeof *list);
        assert_true(room > i);
        moves += room != before;
        list[i] = i * i;
    }
    for (size_t i = 0; i < 10000; i++)
        assert_true(list[i] == i * i);
    assert_true(moves < 30);
    size_t kept = room;
    assert_null(room_grow(list, &room, SIZE_MAX / 4, sizeof *list));
    assert_int_equal(room, kept);
    free(list);
}

static void test_find(void **state)
{
    (void)state;
    uint8_t bytes[64];
    unsigned found = 0;
    for (unsigned seed = 0; seed < 4096; seed++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (seed * 2654435761u >> (i % 29)) & 1; /* many begins that lead nowhere */
        for (size_t length = 1; length <= 9; length++) {
            struct span wanted = {bytes + 40, length};
            struct span within = {bytes, seed % 41};
            const uint8_t *expected = NULL;
            for (size_t at = 0; expected == NULL && at + length <= within.bytes; at++)
                if (memcmp(bytes + at, wanted.at, length) == 0)
                    expected = bytes + at;
            assert_ptr_equal(find_bytes(within, wanted), expected);
            found += expected != NULL;
        }
    }
    assert_true(found > 1000 && found < 36000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
