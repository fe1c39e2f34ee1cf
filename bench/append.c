/* SPDX-License-Identifier: MIT
 * Appends to a file past the page cache in one of the ways a recorder could, and prints what it
 * took as JSON: seconds until all was synced, seconds of CPU, the longest write, and after how many
 * of the writes a reader could have met bytes that were not written yet. For bench/disk.
 *
 *   append FILE MODE WRITE_BYTES TOTAL_BYTES STEP_BYTES WRITERS
 *
 * MODE: plain (the file grows with each write), reserve (space is reserved STEP_BYTES ahead, behind
 * the end), ahead (the length itself is set STEP_BYTES ahead). WRITERS threads take turns at the
 * ranges. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { KEEP_SIZE = 1, WRITERS_MAX = 8 };

static int file;
static uint64_t write_bytes, total_bytes, step_bytes;
static unsigned writers;
static int reserves, sets_length;
static _Atomic uint64_t taken, prepared, worst_ns, unreadable;
static _Atomic uint64_t in_flight[WRITERS_MAX]; /* where each is writing */
static pthread_mutex_t preparing = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "append: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void prepare(uint64_t end)
{
    if (atomic_load(&prepared) >= end)
        return;
    pthread_mutex_lock(&preparing);
    uint64_t from = atomic_load(&prepared);
    if (from < end) {
        if (reserves && fallocate(file, KEEP_SIZE, (off_t)from, (off_t)step_bytes) < 0)
            fail("fallocate");
        if (sets_length && ftruncate(file, (off_t)(from + step_bytes)) < 0)
            fail("ftruncate");
        atomic_store(&prepared, from + step_bytes);
    }
    pthread_mutex_unlock(&preparing);
}

struct writer {
    unsigned number;
    void *buffer;
};

/* What a reader finds: a length beyond what is written in one piece is bytes of zero. */
static int has_gap(uint64_t end)
{
    struct stat about;
    if (fstat(file, &about) < 0)
        fail("fstat");
    for (unsigned i = 0; i < writers; i++) {
        uint64_t other = atomic_load(&in_flight[i]);
        end = other < end ? other : end;
    }
    return (uint64_t)about.st_size > end;
}

static void *run(void *argument)
{
    const struct writer *writer = argument;
    for (;;) {
        uint64_t at = atomic_fetch_add(&taken, write_bytes);
        if (at >= total_bytes)
            return NULL;
        atomic_store(&in_flight[writer->number], at);
        if (reserves || sets_length)
            prepare(at + write_bytes);
        uint64_t start_ns = now_ns();
        ssize_t done = pwrite(file, writer->buffer, write_bytes, (off_t)at);
        if (done != (ssize_t)write_bytes)
            fail("pwrite");
        uint64_t took_ns = now_ns() - start_ns, worst = atomic_load(&worst_ns);
        while (took_ns > worst && !atomic_compare_exchange_weak(&worst_ns, &worst, took_ns))
            ;
        atomic_store(&in_flight[writer->number], UINT64_MAX);
        unreadable += (uint64_t)has_gap(at + write_bytes);
    }
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fputs("usage: append FILE plain|reserve|ahead WRITE_BYTES TOTAL_BYTES STEP_BYTES WRITERS\n",
              stderr);
        return 2;
    }
    reserves = strcmp(argv[2], "reserve") == 0;
    sets_length = strcmp(argv[2], "ahead") == 0;
    write_bytes = strtoull(argv[3], NULL, 10);
    total_bytes = strtoull(argv[4], NULL, 10);
    step_bytes = strtoull(argv[5], NULL, 10);
    writers = (unsigned)strtoul(argv[6], NULL, 10);
    if (writers == 0 || writers > WRITERS_MAX || write_bytes == 0 || step_bytes < write_bytes) {
        fputs("append: from 1 to 8 writers, a step of at least a write\n", stderr);
        return 2;
    }
    file = open(argv[1], O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0640);
    if (file < 0)
        fail(argv[1]);
    double cpu = cpu_seconds();
    uint64_t start_ns = now_ns();
    pthread_t threads[WRITERS_MAX];
    struct writer all[WRITERS_MAX];
    for (unsigned i = 0; i < writers; i++) {
        uint8_t *buffer = mmap(NULL, write_bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (buffer == MAP_FAILED)
            fail("mmap");
        memset(buffer, 0x5a, write_bytes);
        atomic_store(&in_flight[i], UINT64_MAX);
        all[i] = (struct writer){i, buffer};
    }
    for (unsigned i = 0; i < writers; i++)
        if (pthread_create(&threads[i], NULL, run, &all[i]) != 0)
            fail("a thread");
    for (unsigned i = 0; i < writers; i++)
        pthread_join(threads[i], NULL);
    if (ftruncate(file, (off_t)total_bytes) < 0 || fdatasync(file) < 0)
        fail("ending it");
    printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"worst_ms\": %.3f, \"writes\": %" PRIu64
           ", \"unreadable\": %" PRIu64 "}\n",
           (double)(now_ns() - start_ns) / 1e9, cpu_seconds() - cpu, (double)worst_ns / 1e6,
           total_bytes / write_bytes, (uint64_t)unreadable);
    unlink(argv[1]);
    return 0;
}
