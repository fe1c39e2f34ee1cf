/* SPDX-License-Identifier: MIT
 * What POSIX does not say of threads: a wake-up, by futex(2), the number of a thread, and giving up
 * priority. */
#define _GNU_SOURCE
#include "os/thread.h"

#include <limits.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 }; /* <linux/futex.h> */

/* A time as the kernel takes it, whatever the C library's is: where `long` has 32 bits, the call of
 * old takes two of these and would read a time of 64 bits as another one. */
#ifdef SYS_futex_time64
#define SYS_FUTEX SYS_futex_time64
struct kernel_time {
    int64_t seconds, nanoseconds;
};
#else
#define SYS_FUTEX SYS_futex
struct kernel_time {
    long seconds, nanoseconds;
};
#endif

/* By the system's own calls: musl has none of these in a thread's terms. Giving up priority is
 * everybody's right. */
void thread_stand_back(void)
{
    struct sched_param now = {0};
    long policy = syscall(SYS_sched_getscheduler, 0) & ~SCHED_RESET_ON_FORK;
    if ((policy != SCHED_FIFO && policy != SCHED_RR) || syscall(SYS_sched_getparam, 0, &now) < 0)
        return;
    now.sched_priority--;
    if (now.sched_priority > 0)
        syscall(SYS_sched_setparam, 0, &now);
    else
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &now);
}

uint32_t thread_own_id(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

unsigned thread_processors(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (unsigned)count : 1;
}

void wake_signal(struct wake *wake)
{
    atomic_fetch_add_explicit(&wake->word, 1, memory_order_release);
    syscall(SYS_FUTEX, &wake->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void wake_wait(struct wake *wake, uint32_t seen, int64_t timeout_ns)
{
    struct kernel_time timeout = {.seconds = timeout_ns / 1000000000,
                                  .nanoseconds = timeout_ns % 1000000000};
    syscall(SYS_FUTEX, &wake->word, FUTEX_WAIT_PRIVATE, seen, timeout_ns < 0 ? NULL : &timeout,
            NULL, 0);
}
