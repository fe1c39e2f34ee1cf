/* SPDX-License-Identifier: MIT
 * A thread by pthreads(7). */
#define _POSIX_C_SOURCE 200809L
#include "os/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"

struct thread_begin {
    void (*run)(void *context);
    void *context;
    struct thread *thread;
};

static void *thread_run(void *argument)
{
    struct thread_begin begin = *(struct thread_begin *)argument;
    free(argument);
    thread_stand_back();
    begin.thread->id = thread_own_id();
    wake_signal(&begin.thread->begun);
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
    uint32_t before = wake_seen(&thread->begun);
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
    while (wake_seen(&thread->begun) == before)
        wake_wait(&thread->begun, before, -1);
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
