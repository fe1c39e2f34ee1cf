/* SPDX-License-Identifier: MIT
 * A wake-up: that it is never missed, and that a wait without one takes as long as it was asked to.
 * A machine that is busy makes a wait longer, so only the other side is held. */
#include "os/thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/units.h"
#include "os/clock.h"

static uint64_t waited_ns(int64_t timeout_ns)
{
    struct wake wake = {0};
    uint64_t begun_ns = clock_monotonic_ns();
    wake_wait(&wake, wake_seen(&wake), timeout_ns);
    return clock_monotonic_ns() - begun_ns;
}

/* With and without whole seconds: the two words of a time are passed on as they are meant. A signal
 * of the system's may end a wait, so the longest of some tries counts. */
static void test_waits_as_long_as_asked(void **state)
{
    (void)state;
    static const int64_t asked_ns[] = {1, 40 * NS_PER_MS, 1100 * NS_PER_MS};
    for (size_t i = 0; i < sizeof(asked_ns) / sizeof(asked_ns[0]); i++) {
        uint64_t longest_ns = 0;
        for (int turn = 0; turn < 3 && longest_ns < (uint64_t)asked_ns[i]; turn++) {
            uint64_t one_ns = waited_ns(asked_ns[i]);
            longest_ns = one_ns > longest_ns ? one_ns : longest_ns;
        }
        assert_true(longest_ns >= (uint64_t)asked_ns[i]);
    }
}

static void test_returns_at_once_if_woken_before(void **state)
{
    (void)state;
    struct wake wake = {0};
    uint32_t seen = wake_seen(&wake);
    wake_signal(&wake);
    wake_wait(&wake, seen, -1);
    assert_int_equal(wake_seen(&wake), seen + 1);
}

static void wake_after_a_while(void *context)
{
    struct wake *wake = context;
    clock_sleep_until(clock_monotonic_ns() + 30 * NS_PER_MS);
    wake_signal(wake);
}

static void test_is_woken_by_another_thread(void **state)
{
    (void)state;
    struct wake wake = {0};
    struct thread thread = {0};
    uint32_t seen = wake_seen(&wake);
    assert_int_equal(thread_start(&thread, wake_after_a_while, &wake, 64 << 10), 0);
    while (wake_seen(&wake) == seen)
        wake_wait(&wake, seen, -1);
    thread_join(&thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_as_long_as_asked),
        cmocka_unit_test(test_returns_at_once_if_woken_before),
        cmocka_unit_test(test_is_woken_by_another_thread),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
