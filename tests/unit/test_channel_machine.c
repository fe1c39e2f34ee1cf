/* SPDX-License-Identifier: MIT
 * The machine of a channel, told event by event: the one way to replace a relay, and what happens
 * where it does not go that way. Relies on cmocka; pure, no process is started. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "manager/channel_machine.h"

static const struct channel_facts nothing;
static const struct channel_facts same = {.fits = true, .unrecorded = true};
static const struct channel_facts moved = {.fits = true, .moves = true, .unrecorded = true};
static const struct channel_facts other = {.unrecorded = true};
static const struct channel_facts empty = {.moves = true};
static const struct channel_facts left = {.moves = true, .unrecorded = true};

static unsigned step(struct channel_machine *machine, enum channel_event event, long detail,
                     const struct channel_facts *facts)
{
    return channel_machine_step(machine, event, detail, facts, 1000);
}

static struct channel_machine at_work(void)
{
    struct channel_machine machine = {0};
    assert_true(step(&machine, CHANNEL_WANTED, CHANNEL_RUN, &nothing) & CHANNEL_SPAWN);
    assert_int_equal(step(&machine, CHANNEL_SPAWNED, 0, &nothing), 0);
    step(&machine, CHANNEL_WORKED, 0, &nothing);
    assert_int_equal(machine.step, CHANNEL_AT_WORK);
    return machine;
}

static void test_hand_over(void **state)
{
    (void)state;
    const struct channel_facts *each[] = {&same, &moved};
    for (int i = 0; i < 2; i++) {
        unsigned socket = each[i]->moves ? CHANNEL_QUIESCE : CHANNEL_RESUME;
        struct channel_machine machine = at_work();
        assert_int_equal(step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, each[i]),
                         CHANNEL_PREFLIGHT);
        assert_int_equal(step(&machine, CHANNEL_CHECKED, true, each[i]),
                         CHANNEL_ARM | socket | CHANNEL_HAND_OVER);
        assert_int_equal(machine.step, CHANNEL_HANDING_OVER);
        assert_int_equal(machine.child.wait_ms, CHANNEL_GRACE_MS);
        /* Killed, it leaves as much. */
        enum channel_event event = i ? CHANNEL_KILLED : CHANNEL_EXITED;
        assert_int_equal(step(&machine, event, CHILD_EXIT_RENEW, each[i]),
                         CHANNEL_DISARM | CHANNEL_PREFLIGHT);
        assert_int_equal(step(&machine, CHANNEL_CHECKED, true, each[i]),
                         socket | CHANNEL_ADOPT | CHANNEL_SPAWN);
        assert_int_equal(step(&machine, CHANNEL_SPAWNED, 0, &nothing), 0);
        assert_int_equal(machine.goal, CHANNEL_RUN);
        assert_int_equal(machine.step, CHANNEL_AT_WORK);
    }
}

static void test_drain(void **state)
{
    (void)state;
    struct channel_machine machine = at_work();
    step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, &other);
    assert_true(step(&machine, CHANNEL_CHECKED, true, &other) & CHANNEL_DRAIN);
    /* Killed before it has: another one like it is asked the same, three times at most. */
    for (unsigned i = 0; i < CHANNEL_DRAINS_MAX; i++) {
        assert_true(step(&machine, CHANNEL_KILLED, 9, &other) & CHANNEL_PREFLIGHT);
        assert_int_equal(step(&machine, CHANNEL_CHECKED, true, &other),
                         CHANNEL_RESUME | CHANNEL_SPAWN);
        assert_true(step(&machine, CHANNEL_SPAWNED, 0, &other) & CHANNEL_DRAIN);
        assert_int_equal(machine.step, CHANNEL_DRAINING);
    }
    assert_true(step(&machine, CHANNEL_KILLED, 9, &other) & CHANNEL_PREFLIGHT);
    assert_true(step(&machine, CHANNEL_CHECKED, true, &other) & CHANNEL_ADOPT);
    step(&machine, CHANNEL_SPAWNED, 0, &nothing);
    assert_int_equal(machine.goal, CHANNEL_RUN);
    /* One that ends as asked has; what it could not record, another one could not either. */
    step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, &other);
    step(&machine, CHANNEL_CHECKED, true, &other);
    step(&machine, CHANNEL_EXITED, 0, &other);
    assert_true(step(&machine, CHANNEL_CHECKED, true, &other) & CHANNEL_ADOPT);
}

/* One that noted the datagram it crashed over has brought the channel further; not for ever. */
static void test_noted(void **state)
{
    (void)state;
    const struct channel_facts noted = {.moves = true, .waiting = true, .noted = true};
    struct channel_machine machine = at_work();
    step(&machine, CHANNEL_WANTED, CHANNEL_STOP, &noted);
    unsigned relays = 0;
    while (step(&machine, CHANNEL_KILLED, 6, &noted) & CHANNEL_SPAWN) {
        assert_true(step(&machine, CHANNEL_SPAWNED, 0, &noted) & CHANNEL_DRAIN);
        relays++;
    }
    assert_int_equal(relays, CHANNEL_NOTED_MAX + CHANNEL_DRAINS_MAX);
    assert_int_equal(machine.step, CHANNEL_ABSENT);
}

static void test_blocked(void **state)
{
    (void)state;
    struct channel_machine machine = at_work();
    step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, &moved);
    assert_int_equal(step(&machine, CHANNEL_CHECKED, false, &moved),
                     CHANNEL_CLOSE_NEXT | CHANNEL_RESUME | CHANNEL_ARM);
    assert_int_equal(machine.step, CHANNEL_BLOCKED);
    assert_int_equal(machine.child.wait_ms, CHANNEL_BLOCKED_RETRY_MS);
    assert_int_equal(step(&machine, CHANNEL_DUE, 0, &moved), CHANNEL_PREFLIGHT);
    step(&machine, CHANNEL_CHECKED, false, &moved);
    /* It dies: followed by one like it, while the change cannot be adopted. */
    assert_true(step(&machine, CHANNEL_KILLED, 9, &moved) & CHANNEL_PREFLIGHT);
    assert_int_equal(step(&machine, CHANNEL_CHECKED, false, &moved),
                     CHANNEL_CLOSE_NEXT | CHANNEL_RESUME | CHANNEL_SPAWN);
    assert_int_equal(step(&machine, CHANNEL_SPAWNED, 0, &moved), CHANNEL_ARM);
    assert_int_equal(machine.step, CHANNEL_BLOCKED);
    /* Also one that cannot work with the settings that are to go. */
    assert_int_equal(step(&machine, CHANNEL_EXITED, CHILD_EXIT_CONFIG, &moved), CHANNEL_ARM);
    assert_int_equal(machine.step, CHANNEL_WAITING);
    assert_int_equal(step(&machine, CHANNEL_DUE, 0, &moved), CHANNEL_PREFLIGHT);
    step(&machine, CHANNEL_CHECKED, false, &moved);
    step(&machine, CHANNEL_SPAWNED, 0, &moved);
    /* Where the last socket is still being drained, it is waited for; nobody is told of that. */
    const struct channel_facts drains = {.moves = true, .drains = true, .unrecorded = true};
    struct channel_machine other_machine = at_work();
    step(&other_machine, CHANNEL_WANTED, CHANNEL_CHANGE, &drains);
    assert_int_equal(step(&other_machine, CHANNEL_CHECKED, true, &drains), CHANNEL_ARM);
    assert_false(other_machine.blocked);
    assert_int_equal(step(&other_machine, CHANNEL_DUE, 0, &moved), CHANNEL_PREFLIGHT);
    assert_true(step(&other_machine, CHANNEL_CHECKED, true, &moved) & CHANNEL_HAND_OVER);
    /* Called off. */
    assert_int_equal(step(&machine, CHANNEL_WANTED, CHANNEL_RUN, &nothing),
                     CHANNEL_DISARM | CHANNEL_CLOSE_NEXT | CHANNEL_RESUME);
    assert_int_equal(machine.step, CHANNEL_AT_WORK);
    assert_false(machine.blocked);
}

/* Those that could not start count no more once one has: what that one leaves is finished. */
static void test_started_at_last(void **state)
{
    (void)state;
    struct channel_machine machine = {0};
    assert_int_equal(step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, &empty),
                     CHANNEL_DISARM | CHANNEL_PREFLIGHT);
    for (unsigned i = 0; i < CHANNEL_DRAINS_MAX; i++) {
        assert_true(step(&machine, CHANNEL_CHECKED, false, &empty) & CHANNEL_SPAWN);
        assert_int_equal(step(&machine, CHANNEL_UNABLE, 0, &empty), CHANNEL_ARM);
        assert_int_equal(step(&machine, CHANNEL_DUE, 0, &empty), CHANNEL_PREFLIGHT);
    }
    assert_true(step(&machine, CHANNEL_CHECKED, false, &empty) & CHANNEL_SPAWN);
    step(&machine, CHANNEL_SPAWNED, 0, &empty);
    step(&machine, CHANNEL_WORKED, 0, &left);
    assert_int_equal(machine.step, CHANNEL_BLOCKED);
    assert_true(step(&machine, CHANNEL_KILLED, 9, &left) & CHANNEL_PREFLIGHT);
    assert_int_equal(step(&machine, CHANNEL_CHECKED, true, &left),
                     CHANNEL_QUIESCE | CHANNEL_SPAWN);
    assert_true(step(&machine, CHANNEL_SPAWNED, 0, &left) & CHANNEL_DRAIN);
    assert_true(step(&machine, CHANNEL_EXITED, 0, &empty) & CHANNEL_PREFLIGHT);
    assert_true(step(&machine, CHANNEL_CHECKED, true, &empty) & CHANNEL_ADOPT);
}

static void test_change_of_the_change(void **state)
{
    (void)state;
    struct channel_machine machine = at_work();
    step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, &same);
    step(&machine, CHANNEL_CHECKED, true, &same);
    assert_int_equal(step(&machine, CHANNEL_WANTED, CHANNEL_CHANGE, &other), CHANNEL_PREFLIGHT);
    assert_true(step(&machine, CHANNEL_CHECKED, true, &other) & CHANNEL_DRAIN);
    assert_int_equal(step(&machine, CHANNEL_WANTED, CHANNEL_RUN, &nothing),
                     CHANNEL_CLOSE_NEXT | CHANNEL_RESUME);
    assert_int_equal(step(&machine, CHANNEL_EXITED, 0, &nothing), CHANNEL_DISARM | CHANNEL_SPAWN);
}

static void test_remove(void **state)
{
    (void)state;
    struct channel_machine machine = at_work();
    assert_true(step(&machine, CHANNEL_WANTED, CHANNEL_REMOVE, &left) &
                (CHANNEL_QUIESCE | CHANNEL_DRAIN));
    /* It was killed; the next cannot be started, and is tried again until all is recorded. */
    assert_true(step(&machine, CHANNEL_KILLED, 9, &left) & CHANNEL_SPAWN);
    assert_int_equal(step(&machine, CHANNEL_UNABLE, 0, &left), CHANNEL_ARM);
    assert_int_equal(machine.step, CHANNEL_WAITING);
    assert_int_equal(step(&machine, CHANNEL_DUE, 0, &left), CHANNEL_SPAWN);
    assert_true(step(&machine, CHANNEL_SPAWNED, 0, &left) & CHANNEL_DRAIN);
    assert_true(step(&machine, CHANNEL_EXITED, 0, &nothing) & CHANNEL_GIVE_UP);
    assert_int_equal(machine.step, CHANNEL_ABSENT);
}

static void test_stop(void **state)
{
    (void)state;
    struct channel_machine machine = at_work();
    step(&machine, CHANNEL_WANTED, CHANNEL_STOP, &left);
    assert_int_equal(machine.child.wait_ms, CHANNEL_STOP_GRACE_MS);
    /* It does not end in time: nobody is asked again. */
    assert_int_equal(step(&machine, CHANNEL_DUE, 0, &left), CHANNEL_KILL);
    assert_true(step(&machine, CHANNEL_KILLED, 9, &left) & CHANNEL_GIVE_UP);
    assert_int_equal(machine.step, CHANNEL_ABSENT);
    /* Nor is it waited for one that cannot be started. */
    machine = at_work();
    step(&machine, CHANNEL_KILLED, 9, &left);
    step(&machine, CHANNEL_UNABLE, 0, &left);
    assert_true(step(&machine, CHANNEL_WANTED, CHANNEL_STOP, &left) & CHANNEL_SPAWN);
    assert_true(step(&machine, CHANNEL_UNABLE, 0, &left) & CHANNEL_GIVE_UP);
    assert_int_equal(machine.step, CHANNEL_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_noted),
        cmocka_unit_test(test_blocked),
        cmocka_unit_test(test_started_at_last),
        cmocka_unit_test(test_change_of_the_change),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
