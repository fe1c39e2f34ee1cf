/* SPDX-License-Identifier: MIT
 * The supervision rules, told event by event. Relies on cmocka; pure, no process is started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/child.h"

/* A child that was spawned at `now_ms`. */
static struct child spawned_child(uint64_t now_ms)
{
    struct child child = {0};
    assert_true(child_step(&child, CHILD_START_WANTED, 0, now_ms) & CHILD_SPAWN);
    assert_int_equal(child_step(&child, CHILD_SPAWNED, 0, now_ms), 0);
    assert_int_equal(child.state, CHILD_STARTING);
    return child;
}

static void test_worker_restarts_at_once(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    child_step(&child, CHILD_WORKED, 0, 400);
    assert_int_equal(child.state, CHILD_RUNNING);
    assert_int_equal(child_step(&child, CHILD_KILLED, 9, 500), CHILD_SPAWN);
    assert_int_equal(child.restarts, 1);
    assert_false(child.worked);
    /* An orderly exit that nobody asked for is no reason to stay away either. */
    child_step(&child, CHILD_SPAWNED, 0, 500);
    child_step(&child, CHILD_WORKED, 0, 900);
    assert_int_equal(child_step(&child, CHILD_EXITED, 0, 1000), CHILD_SPAWN);
    assert_int_equal(child.restarts, 2);
}

static void test_one_that_asks_for_a_fresh_one(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    /* At once, without any work done, and again: a channel is relayed all the while. */
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(child_step(&child, CHILD_EXITED, CHILD_EXIT_RENEW, 1000 * i), CHILD_SPAWN);
        child_step(&child, CHILD_SPAWNED, 0, 1000 * i);
    }
    assert_int_equal(child.restarts, 20);
    /* But it cannot spin. */
    unsigned todo = CHILD_SPAWN;
    for (unsigned i = 0; i <= CHILD_BLINKS_MAX && todo == CHILD_SPAWN; i++) {
        todo = child_step(&child, CHILD_EXITED, CHILD_EXIT_RENEW, 20000);
        if (todo == CHILD_SPAWN)
            child_step(&child, CHILD_SPAWNED, 0, 20000);
    }
    assert_int_equal(todo, CHILD_ARM);
    assert_int_equal(child.wait_ms, CHILD_BLINK_WAIT_MS);
    /* Asked to stop, it is not followed. */
    child = spawned_child(0);
    child_step(&child, CHILD_STOP_WANTED, 100, 0);
    assert_int_equal(child_step(&child, CHILD_EXITED, CHILD_EXIT_RENEW, 1), CHILD_DISARM);
    assert_int_equal(child.state, CHILD_STOPPED);
}

static void test_idler_waits_longer_each_time(void **state)
{
    (void)state;
    static const uint32_t waits_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000, 60000};
    struct child child = spawned_child(0);
    for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
        assert_int_equal(child_step(&child, CHILD_EXITED, 1, 0), CHILD_ARM);
        assert_int_equal(child.state, CHILD_BACKOFF);
        assert_int_equal(child.wait_ms, waits_ms[i]);
        assert_int_equal(child.restarts, i);
        assert_int_equal(child_step(&child, CHILD_TIMER, 0, 0), CHILD_SPAWN);
        assert_int_equal(child.restarts, i + 1);
        child_step(&child, CHILD_SPAWNED, 0, 0);
    }
    /* Useful work forgives everything. */
    child_step(&child, CHILD_WORKED, 0, 0);
    assert_int_equal(child_step(&child, CHILD_KILLED, 11, 1000), CHILD_SPAWN);
    /* It also pays for a few that come to nothing: one killed in its first millisecond must not
     * cost a second of a fast channel. Then they wait again. */
    for (unsigned i = 0; i < CHILD_CREDIT; i++) {
        child_step(&child, CHILD_SPAWNED, 0, 1000);
        assert_int_equal(child_step(&child, CHILD_KILLED, 9, 1001), CHILD_SPAWN);
    }
    child_step(&child, CHILD_SPAWNED, 0, 1000);
    assert_int_equal(child_step(&child, CHILD_KILLED, 9, 1001), CHILD_ARM);
    assert_int_equal(child.wait_ms, 1000);
}

static void test_blinks_are_slowed_down(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    uint64_t now_ms = 0;
    for (unsigned i = 1; i < CHILD_BLINKS_MAX; i++) {
        child_step(&child, CHILD_WORKED, 0, now_ms);
        now_ms += CHILD_BLINK_MS - 1;
        assert_int_equal(child_step(&child, CHILD_KILLED, 11, now_ms), CHILD_SPAWN);
        child_step(&child, CHILD_SPAWNED, 0, now_ms);
    }
    child_step(&child, CHILD_WORKED, 0, now_ms);
    assert_int_equal(child_step(&child, CHILD_KILLED, 11, now_ms + 1), CHILD_ARM);
    assert_int_equal(child.wait_ms, CHILD_BLINK_WAIT_MS);
    now_ms += 101;
    assert_int_equal(child_step(&child, CHILD_TIMER, 0, now_ms), CHILD_SPAWN);
    assert_int_equal(child.restarts, CHILD_BLINKS_MAX);
    /* One long life, and ends are followed at once again. */
    child_step(&child, CHILD_SPAWNED, 0, now_ms);
    child_step(&child, CHILD_WORKED, 0, now_ms);
    assert_int_equal(child_step(&child, CHILD_KILLED, 11, now_ms + CHILD_BLINK_MS), CHILD_SPAWN);
    assert_int_equal(child.blinks, 0);
}

static void test_bad_configuration_is_final(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    child_step(&child, CHILD_WORKED, 0, 0);
    assert_int_equal(child_step(&child, CHILD_EXITED, 78, 0), 0);
    assert_int_equal(child.state, CHILD_FAILED);
    /* A signal of that number is a crash like any other. */
    struct child other = spawned_child(0);
    assert_int_equal(child_step(&other, CHILD_KILLED, 78, 0), CHILD_ARM);
    assert_int_equal(other.state, CHILD_BACKOFF);
    /* Until it is wanted anew. */
    child_step(&child, CHILD_STOP_WANTED, 10000, 0);
    assert_int_equal(child.state, CHILD_STOPPED);
    assert_true(child_step(&child, CHILD_START_WANTED, 0, 0) & CHILD_SPAWN);
    assert_int_equal(child.restarts, 0);
}

static void test_unable_is_tried_again(void **state)
{
    (void)state;
    struct child child = {0};
    assert_true(child_step(&child, CHILD_START_WANTED, 0, 0) & CHILD_SPAWN);
    assert_int_equal(child_step(&child, CHILD_UNABLE, 0, 0), CHILD_ARM);
    assert_int_equal(child.state, CHILD_FAILED);
    assert_int_equal(child.wait_ms, 1000);
    assert_int_equal(child_step(&child, CHILD_TIMER, 0, 1000), CHILD_SPAWN);
    assert_int_equal(child_step(&child, CHILD_UNABLE, 0, 1000), CHILD_ARM);
    assert_int_equal(child.wait_ms, 1000); /* no longer each time: its cause ends when it ends */
    assert_int_equal(child_step(&child, CHILD_TIMER, 0, 2000), CHILD_SPAWN);
    child_step(&child, CHILD_SPAWNED, 0, 2000);
    assert_int_equal(child.restarts, 0); /* nothing ever ran that could have been restarted */
    assert_int_equal(child.state, CHILD_STARTING);
}

static void test_stop_and_kill(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    child_step(&child, CHILD_WORKED, 0, 0);
    assert_int_equal(child_step(&child, CHILD_STOP_WANTED, 15000, 0), CHILD_TERMINATE | CHILD_ARM);
    assert_int_equal(child.wait_ms, 15000);
    assert_true(child_alive(&child));
    assert_int_equal(child_step(&child, CHILD_TIMER, 0, 15000), CHILD_KILL);
    assert_int_equal(child_step(&child, CHILD_KILLED, 9, 15001), CHILD_DISARM);
    assert_int_equal(child.state, CHILD_STOPPED);
    assert_false(child_alive(&child));
    /* A timer that was due at the same instant finds nothing to do. */
    assert_int_equal(child_step(&child, CHILD_TIMER, 0, 15001), 0);
    /* Waiting for its turn, it stops without a process. */
    child = spawned_child(0);
    child_step(&child, CHILD_EXITED, 1, 0);
    assert_int_equal(child_step(&child, CHILD_STOP_WANTED, 10000, 0), CHILD_DISARM);
    assert_int_equal(child.state, CHILD_STOPPED);
}

static void test_never_two(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    assert_int_equal(child_step(&child, CHILD_START_WANTED, 0, 0), 0);
    /* Replacing: the successor comes only when the old one has gone. */
    child_step(&child, CHILD_STOP_WANTED, 10000, 0);
    assert_int_equal(child_step(&child, CHILD_START_WANTED, 0, 0), 0);
    assert_int_equal(child.state, CHILD_STOPPING);
    assert_int_equal(child_step(&child, CHILD_EXITED, 0, 5), CHILD_DISARM | CHILD_SPAWN);
    assert_int_equal(child.restarts, 0);
    /* Wanted, and then no longer, while the old one is still there. */
    child_step(&child, CHILD_SPAWNED, 0, 5);
    child_step(&child, CHILD_STOP_WANTED, 10000, 6);
    child_step(&child, CHILD_START_WANTED, 0, 7);
    child_step(&child, CHILD_STOP_WANTED, 10000, 8);
    assert_int_equal(child_step(&child, CHILD_EXITED, 0, 9), CHILD_DISARM);
    assert_int_equal(child.state, CHILD_STOPPED);
    /* What follows a stop is a new beginning: old failures do not make it wait longer. */
    child = spawned_child(0);
    child.failures = 5;
    child_step(&child, CHILD_STOP_WANTED, 10000, 0);
    child_step(&child, CHILD_START_WANTED, 0, 0);
    child_step(&child, CHILD_EXITED, 0, 0);
    assert_int_equal(child_step(&child, CHILD_UNABLE, 0, 0), CHILD_ARM);
    assert_int_equal(child.wait_ms, 1000);
    /* A replacement whose old relay ends with 78 is started all the same. */
    child = spawned_child(0);
    child_step(&child, CHILD_STOP_WANTED, 10000, 0);
    child_step(&child, CHILD_START_WANTED, 0, 0);
    assert_true(child_step(&child, CHILD_EXITED, 78, 0) & CHILD_SPAWN);
}

static void test_public_states(void **state)
{
    (void)state;
    struct child child = spawned_child(0);
    struct child_signs fresh = {.quiet_ms = UINT64_MAX, .recording = true};
    struct child_signs signs = fresh;
    assert_string_equal(child_public_state(&child, &signs), "starting");
    signs.ready = true;
    assert_string_equal(child_public_state(&child, &signs), "running");
    signs.ready = false;
    signs.alive_ms = CHILD_READY_MS;
    assert_string_equal(child_public_state(&child, &signs), "running");
    signs.alive_ms = 5000;
    assert_string_equal(child_public_state(&child, &signs), "silent");
    signs.deaf = true;
    assert_string_equal(child_public_state(&child, &signs), "failed");
    signs.deaf = false;
    /* A new relay on a channel that was quiet before gets its five seconds. */
    signs.alive_ms = 4999;
    signs.quiet_ms = 100000;
    assert_string_equal(child_public_state(&child, &signs), "running");
    signs.alive_ms = 100000;
    signs.quiet_ms = 4999;
    assert_string_equal(child_public_state(&child, &signs), "running");
    signs.rejected_in_a_row = 9;
    assert_string_equal(child_public_state(&child, &signs), "running");
    signs.rejected_in_a_row = 10;
    assert_string_equal(child_public_state(&child, &signs), "schema_mismatch");
    signs.write_errno = 28;
    assert_string_equal(child_public_state(&child, &signs), "not_recording");
    signs.recording = false;
    assert_string_equal(child_public_state(&child, &signs), "schema_mismatch");

    signs = fresh;
    child_step(&child, CHILD_WORKED, 0, 0);
    assert_string_equal(child_public_state(&child, &signs), "running");
    child_step(&child, CHILD_STOP_WANTED, 10, 0);
    assert_string_equal(child_public_state(&child, &signs), "stopped");
    child_step(&child, CHILD_START_WANTED, 0, 0);
    assert_string_equal(child_public_state(&child, &signs), "starting");
    child_step(&child, CHILD_EXITED, 0, 0);
    child_step(&child, CHILD_UNABLE, 0, 0);
    assert_string_equal(child_public_state(&child, &signs), "failed");
    child_step(&child, CHILD_TIMER, 0, 0);
    child_step(&child, CHILD_SPAWNED, 0, 0);
    child.credit = 0;
    child_step(&child, CHILD_EXITED, 1, 0);
    assert_string_equal(child_public_state(&child, &signs), "backoff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_worker_restarts_at_once),
        cmocka_unit_test(test_one_that_asks_for_a_fresh_one),
        cmocka_unit_test(test_idler_waits_longer_each_time),
        cmocka_unit_test(test_blinks_are_slowed_down),
        cmocka_unit_test(test_bad_configuration_is_final),
        cmocka_unit_test(test_unable_is_tried_again),
        cmocka_unit_test(test_stop_and_kill),
        cmocka_unit_test(test_never_two),
        cmocka_unit_test(test_public_states),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
