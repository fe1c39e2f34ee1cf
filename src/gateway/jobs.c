/* SPDX-License-Identifier: MIT
 * A slot a job: the adder fills a free one, whichever thread comes first empties it. */
#include "gateway/jobs.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "os/thread.h"

#define STACK_BYTES (1u << 20)

struct jobs {
    _Atomic(void *) slots[JOBS_MAX];
    struct wake wake;
    void (*run)(void *job);
    struct thread threads[JOBS_THREADS];
};

static void work(void *context)
{
    struct jobs *jobs = context;
    for (;;) {
        uint32_t seen = wake_seen(&jobs->wake);
        bool any = false;
        for (unsigned i = 0; i < JOBS_MAX; i++) {
            void *job = atomic_exchange(&jobs->slots[i], NULL);
            if (job == NULL)
                continue;
            any = true;
            jobs->run(job);
        }
        if (!any)
            wake_wait(&jobs->wake, seen, -1);
    }
}

int jobs_start(struct jobs **made, void (*run)(void *job))
{
    struct jobs *jobs = calloc(1, sizeof(*jobs));
    if (jobs == NULL)
        return -ENOMEM;
    *made = jobs;
    jobs->run = run;
    for (unsigned i = 0; i < JOBS_THREADS; i++) {
        int status = thread_start(&jobs->threads[i], work, jobs, STACK_BYTES);
        if (status < 0)
            return status;
    }
    return 0;
}

bool jobs_add(struct jobs *jobs, void *job)
{
    for (unsigned i = 0; i < JOBS_MAX; i++) {
        void *empty = NULL;
        if (!atomic_compare_exchange_strong(&jobs->slots[i], &empty, job))
            continue;
        wake_signal(&jobs->wake);
        return true;
    }
    return false;
}
