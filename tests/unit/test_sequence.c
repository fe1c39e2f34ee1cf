/* SPDX-License-Identifier: MIT
 * Missing, late and repeated numbers against the set of all that came, and by hand. Relies on
 * cmocka. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "relay/sequence.h"

enum { NUMBERS = 3000 };

static void check(const struct receiver_state *state, uint64_t gaps, uint64_t reordered,
                  uint64_t duplicates)
{
    assert_int_equal(state->sequence_gaps, gaps);
    assert_int_equal(state->sequence_reordered, reordered);
    assert_int_equal(state->sequence_duplicates, duplicates);
}

static void note_span(struct receiver_state *state, int64_t from, int64_t to)
{
    for (int64_t number = from; number < to; number++)
        sequence_note(state, number);
}

static void test_in_order(void **state)
{
    (void)state;
    struct receiver_state one = {0};
    note_span(&one, -5, 2000);
    check(&one, 0, 0, 0);
    note_span(&one, 2010, 2020);
    check(&one, 10, 0, 0);
    note_span(&one, 1000000, 1000001); /* ahead: as if all between were lost */
    check(&one, 10 + 997980, 0, 0);
}

static void test_overtaken_by(void **state)
{
    (void)state;
    for (int64_t back = 1; back <= (int64_t)SEQUENCE_WINDOW; back++) {
        struct receiver_state one = {0};
        note_span(&one, 0, 500);
        note_span(&one, 501, 501 + back);
        check(&one, 1, 0, 0);
        sequence_note(&one, 500);
        check(&one, 0, 1, 0);
        sequence_note(&one, 500);
        check(&one, 0, 1, 1);
        note_span(&one, 501 + back, 2000);
        check(&one, 0, 1, 1);
    }
}

static void test_overtaken_at_the_beginning(void **state)
{
    (void)state;
    struct receiver_state one = {0};
    const int64_t numbers[] = {3, 1, 0, 2, 4};
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++)
        sequence_note(&one, numbers[i]);
    check(&one, 0, 3, 0);
}

static void test_one_that_is_too_late(void **state)
{
    (void)state;
    struct receiver_state one = {0};
    note_span(&one, 0, 20);
    note_span(&one, 21, 200);
    for (int i = 0; i < 3; i++) { /* is never what the next one is measured by */
        sequence_note(&one, 20);
        note_span(&one, 200 + i, 201 + i);
    }
    check(&one, 1, 1, 2); /* known again, as it is the same */
    sequence_note(&one, 7);
    sequence_note(&one, 90);
    note_span(&one, 203, 300);
    check(&one, 1, 3, 2);
}

static void test_a_sender_that_begins_again(void **state)
{
    (void)state;
    struct receiver_state one = {0};
    note_span(&one, 0, 1000);
    note_span(&one, 0, 1000);
    check(&one, 0, 0, 0);
    note_span(&one, 3, 500); /* whose first ones were lost */
    check(&one, 0, 0, 0);
    note_span(&one, 505, 600);
    check(&one, 5, 0, 0);
    note_span(&one, INT64_MAX - 100, INT64_MAX);
    sequence_note(&one, INT64_MAX);
    uint64_t gaps = one.sequence_gaps;
    note_span(&one, INT64_MIN, INT64_MIN + 1000); /* around */
    check(&one, gaps, 0, 0);
}

static void test_a_wrap_with_overtaking(void **state)
{
    (void)state;
    struct receiver_state one = {0};
    note_span(&one, 65000, 65535);
    sequence_note(&one, 1);
    sequence_note(&one, 65535);
    sequence_note(&one, 0);
    note_span(&one, 2, 2000);
    check(&one, 0, 1, 0);
}

static void test_a_sender_that_begins_again_within_the_window(void **state)
{
    (void)state;
    struct receiver_state one = {0};
    note_span(&one, 0, 50);
    note_span(&one, 0, 200);
    check(&one, 0, 0, 50);
}

static void test_two_paths(void **state)
{
    (void)state;
    for (int64_t behind = 1; behind <= 64; behind++) {
        struct receiver_state one = {0};
        for (int64_t number = 0; number < 1000 + behind; number++) {
            if (number < 1000)
                sequence_note(&one, number);
            if (number >= behind)
                sequence_note(&one, number - behind);
        }
        check(&one, 0, 0, 1000);
    }
    /* So far apart that nobody knows them for the same: still nothing is missing. */
    struct receiver_state far = {0};
    for (int64_t number = 0; number < 3200; number += 32) {
        note_span(&far, 100000 + number, 100032 + number);
        note_span(&far, number, number + 32);
    }
    assert_int_equal(far.sequence_gaps, 0);
    assert_int_equal(far.sequence_duplicates, 0);
}

struct arrival {
    int64_t number, place;
};

static int by_place(const void *a, const void *b)
{
    const struct arrival *x = a, *y = b;
    return x->place != y->place ? (x->place < y->place ? -1 : 1) : x->number < y->number ? -1 : 1;
}

/* Numbers of which some are lost, some come twice, and each late by less than the window. */
static void test_against_the_set(void **state)
{
    (void)state;
    static struct arrival arrivals[2 * NUMBERS];
    static uint8_t seen[NUMBERS];
    srand(4711);
    for (int round = 0; round < 300; round++) {
        struct receiver_state one = {0};
        size_t count = 0;
        int late = 1 + rand() % 31, loss = rand() % 30, twice = rand() % 30;
        memset(seen, 0, sizeof(seen));
        for (int64_t number = 0; number < NUMBERS; number++)
            for (int copy = 0; copy <= (rand() % 100 < twice); copy++)
                if (rand() % 100 >= loss)
                    arrivals[count++] = (struct arrival){number, number + rand() % late};
        qsort(arrivals, count, sizeof(arrivals[0]), by_place);
        int64_t first = INT64_MAX, newest = -1;
        uint64_t distinct = 0, reordered = 0;
        for (size_t i = 0; i < count; i++) {
            int64_t number = arrivals[i].number;
            reordered += !seen[number] && number < newest;
            distinct += !seen[number];
            seen[number] = 1;
            newest = number > newest ? number : newest;
            first = number < first ? number : first;
            sequence_note(&one, number);
            check(&one, (uint64_t)(newest - first) + 1 - distinct, reordered, i + 1 - distinct);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_overtaken_by),
        cmocka_unit_test(test_overtaken_at_the_beginning),
        cmocka_unit_test(test_one_that_is_too_late),
        cmocka_unit_test(test_a_sender_that_begins_again),
        cmocka_unit_test(test_a_wrap_with_overtaking),
        cmocka_unit_test(test_a_sender_that_begins_again_within_the_window),
        cmocka_unit_test(test_two_paths),
        cmocka_unit_test(test_against_the_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
