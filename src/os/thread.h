/* SPDX-License-Identifier: MIT
 * Threads beside the main one, and a word to wake them with. Sources: pthreads(7), futex(2). */
#ifndef FLOTILLA_OS_THREAD_H
#define FLOTILLA_OS_THREAD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* A wake-up that is never missed: wait returns at once if a signal came since `seen` was read. */
struct wake {
    _Atomic uint32_t word;
};

struct thread {
    uintptr_t handle;
    int running;
    struct wake begun;
    uint32_t id; /* the system's number of it */
};
/* Starts `run(context)` on a stack of `stack_bytes` and returns when it runs, so that its id is
 * known. Where its maker has real-time priority (sched(7)) it gets the one below, so that it never
 * holds its maker up. 0 or a negative errno. `thread` stays where it is until thread_join. */
int thread_start(struct thread *thread, void (*run)(void *context), void *context,
                 size_t stack_bytes);
/* Waits for its end. */
void thread_join(struct thread *thread);

/* For thread_start: has the calling thread stand back as it says; its number. */
void thread_stand_back(void);
uint32_t thread_own_id(void);

/* How many processors this process may run on; at least 1. */
unsigned thread_processors(void);

static inline uint32_t wake_seen(struct wake *wake)
{
    return atomic_load_explicit(&wake->word, memory_order_acquire);
}
/* Wakes the waiter. Costs a system call. */
void wake_signal(struct wake *wake);
/* Waits for a signal since `seen`, at most `timeout_ns` (-1: for ever). */
void wake_wait(struct wake *wake, uint32_t seen, int64_t timeout_ns);

#endif
