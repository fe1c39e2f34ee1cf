/* SPDX-License-Identifier: MIT
 * A thread by pthreads, a wake-up by futex(2). */
#define _GNU_SOURCE
#include "os/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 }; /* <linux/futex.h> */

struct thread_begin {
    void (*run)(void *context);
    void *context;
    struct thread *thread;
};

/* By the system's own calls: musl has none of these in a thread's terms. Giving up priority is
 * everybody's right. */
static void stand_back(void)
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

static void *thread_run(void *argument)
{
    struct thread_begin begin = *(struct thread_begin *)argument;
    free(argument);
    stand_back();
    atomic_store_explicit(&begin.thread->id, (uint32_t)syscall(SYS_gettid), memory_order_release);
    syscall(SYS_futex, &begin.thread->id, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
    begin.run(begin.context);
    return NULL;
}

int thread_start(struct thread *thread, void (*run)(void *context), void *context,
                 size_t stack_bytes)
{
    _Static_assert(sizeof(pthread_t) <= sizeof(thread->handle), "a handle holds a thread");
    struct thread_begin *begin = malloc(sizeof(*begin));
    if (begin == NULL)
        return -ENOMEM;
    *begin = (struct thread_begin){run, context, thread};
    atomic_store_explicit(&thread->id, 0, memory_order_relaxed);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_t handle;
    int error = pthread_create(&handle, &attributes, thread_run, begin);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        free(begin);
        return -error;
    }
    thread->handle = (uintptr_t)handle;
    thread->running = 1;
    while (atomic_load_explicit(&thread->id, memory_order_acquire) == 0)
        syscall(SYS_futex, &thread->id, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    return 0;
}

void thread_join(struct thread *thread)
{
    if (!thread->running)
        return;
    int error = pthread_join((pthread_t)thread->handle, NULL);
    CHECK(error == 0);
    thread->running = 0;
}

void wake_signal(struct wake *wake)
{
    atomic_fetch_add_explicit(&wake->word, 1, memory_order_release);
    syscall(SYS_futex, &wake->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void wake_wait(struct wake *wake, uint32_t seen, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    syscall(SYS_futex, &wake->word, FUTEX_WAIT_PRIVATE, seen, timeout_ns < 0 ? NULL : &timeout,
            NULL, 0);
}
