/* SPDX-License-Identifier: MIT
 * Jobs are taken one by one by whichever of the two threads is free. */
#include "export/deflate.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread.h"

#define DEFLATE_STACK_BYTES (256u << 10)

struct deflate_worker {
    struct libdeflate_compressor *compressor;
    uint8_t *apart; /* a job's bytes with those of one place together */
    size_t room;
};

struct deflate {
    struct deflate_worker workers[2]; /* of the caller, of the thread */
    struct thread thread;
    bool has_thread;
    struct deflate_job *jobs;
    _Atomic size_t count, next, done;
    struct wake more, finished;
    _Atomic bool over;
};

static void put_apart(uint8_t *to, const uint8_t *from, size_t bytes, uint32_t width)
{
    size_t count = bytes / width;
    for (uint32_t place = 0; place < width; place++)
        for (size_t i = 0; i < count; i++)
            to[place * count + i] = from[i * width + place];
    memcpy(to + count * width, from + count * width, bytes - count * width);
}

static void do_job(struct deflate_worker *worker, struct deflate_job *job)
{
    const uint8_t *from = job->from;
    size_t most = libdeflate_zlib_compress_bound(worker->compressor, job->bytes);
    job->made = malloc(most);
    if (job->width > 1 && job->bytes > worker->room) {
        free(worker->apart);
        worker->apart = malloc(job->bytes);
        worker->room = worker->apart != NULL ? job->bytes : 0;
    }
    if (job->made == NULL || (job->width > 1 && worker->apart == NULL)) {
        free(job->made);
        job->made = NULL;
        return;
    }
    if (job->width > 1) {
        put_apart(worker->apart, from, job->bytes, job->width);
        from = worker->apart;
    }
    job->made_bytes =
        libdeflate_zlib_compress(worker->compressor, from, job->bytes, job->made, most);
}

/* Takes jobs while there are any. */
static void take_jobs(struct deflate *deflate, struct deflate_worker *worker)
{
    for (;;) {
        size_t index = atomic_load(&deflate->next);
        do
            if (index >= atomic_load(&deflate->count))
                return;
        while (!atomic_compare_exchange_weak(&deflate->next, &index, index + 1));
        do_job(worker, &deflate->jobs[index]);
        if (atomic_fetch_add(&deflate->done, 1) + 1 == atomic_load(&deflate->count))
            wake_signal(&deflate->finished);
    }
}

static void work(void *context)
{
    struct deflate *deflate = context;
    for (;;) {
        uint32_t seen = wake_seen(&deflate->more);
        take_jobs(deflate, &deflate->workers[1]);
        if (atomic_load(&deflate->over))
            return;
        wake_wait(&deflate->more, seen, -1);
    }
}

int deflate_open(struct deflate **opened, unsigned level)
{
    struct deflate *deflate = calloc(1, sizeof(*deflate));
    if (deflate == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < 2; i++)
        deflate->workers[i].compressor = libdeflate_alloc_compressor((int)level);
    if (deflate->workers[0].compressor == NULL || deflate->workers[1].compressor == NULL) {
        deflate_close(deflate);
        return -ENOMEM;
    }
    atomic_store(&deflate->next, SIZE_MAX);
    /* Without it the caller does all alone. */
    deflate->has_thread = thread_start(&deflate->thread, work, deflate, DEFLATE_STACK_BYTES) == 0;
    *opened = deflate;
    return 0;
}

int deflate_run(struct deflate *deflate, struct deflate_job *jobs, size_t job_count)
{
    /* In this order: the thread may be looking for one. With `next` at the end it finds none. */
    deflate->jobs = jobs;
    atomic_store(&deflate->done, 0);
    atomic_store(&deflate->count, job_count);
    atomic_store(&deflate->next, 0);
    wake_signal(&deflate->more);
    take_jobs(deflate, &deflate->workers[0]);
    while (atomic_load(&deflate->done) < job_count) {
        uint32_t seen = wake_seen(&deflate->finished);
        if (atomic_load(&deflate->done) < job_count)
            wake_wait(&deflate->finished, seen, -1);
    }
    atomic_store(&deflate->next, SIZE_MAX);
    for (size_t i = 0; i < job_count; i++)
        if (jobs[i].made == NULL)
            return -ENOMEM;
    return 0;
}

void deflate_close(struct deflate *deflate)
{
    if (deflate == NULL)
        return;
    atomic_store(&deflate->over, true);
    wake_signal(&deflate->more);
    if (deflate->has_thread)
        thread_join(&deflate->thread);
    for (size_t i = 0; i < 2; i++) {
        if (deflate->workers[i].compressor != NULL)
            libdeflate_free_compressor(deflate->workers[i].compressor);
        free(deflate->workers[i].apart);
    }
    free(deflate);
}
