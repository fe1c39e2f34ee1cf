/* SPDX-License-Identifier: MIT
 * Blocks go round in their order, so that the thread finds the next one where it left off. */
#define _GNU_SOURCE
#include "recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK_BYTES = 1 << 20, BLOCKS = 32, FILE_BYTES = 1 << 30 };

static uint8_t *ring;
static size_t fill;                      /* of the block that is being filled */
static _Atomic uint64_t filled, written; /* blocks */
static _Atomic bool ending;
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int file = -1;

static void die(const char *what)
{
    fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void tell(_Atomic uint64_t *count)
{
    pthread_mutex_lock(&lock);
    atomic_fetch_add(count, 1);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void *write_blocks(void *unused)
{
    (void)unused;
    for (;;) {
        uint64_t number = atomic_load(&written);
        pthread_mutex_lock(&lock);
        while (atomic_load(&filled) == number && !atomic_load(&ending))
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        if (atomic_load(&filled) == number)
            return NULL;
        off_t at = (off_t)(number * BLOCK_BYTES % FILE_BYTES);
        if (pwrite(file, ring + number % BLOCKS * BLOCK_BYTES, BLOCK_BYTES, at) != BLOCK_BYTES)
            die("write");
        tell(&written);
    }
}

void recorder_open(const char *path)
{
    size_t bytes = (size_t)BLOCKS * BLOCK_BYTES;
    int memory = memfd_create("ring", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, (off_t)bytes) < 0)
        die("memory");
    ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (ring == MAP_FAILED)
        die("memory");
    memset(ring, 0, bytes);
    file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);
    if (file < 0 || (errno = posix_fallocate(file, 0, FILE_BYTES)) != 0)
        die(path);
    if (pthread_create(&thread, NULL, write_blocks, NULL) != 0)
        die("thread");
}

void recorder_append(const void *bytes, size_t count)
{
    for (const uint8_t *from = bytes; count > 0;) {
        uint64_t number = atomic_load(&filled);
        if (fill == 0 && number - atomic_load(&written) == BLOCKS) {
            pthread_mutex_lock(&lock);
            while (number - atomic_load(&written) == BLOCKS)
                pthread_cond_wait(&changed, &lock);
            pthread_mutex_unlock(&lock);
        }
        size_t part = BLOCK_BYTES - fill < count ? BLOCK_BYTES - fill : count;
        memcpy(ring + number % BLOCKS * BLOCK_BYTES + fill, from, part);
        from += part;
        count -= part;
        fill += part;
        if (fill == BLOCK_BYTES) {
            fill = 0;
            tell(&filled);
        }
    }
}

void recorder_close(void)
{
    pthread_mutex_lock(&lock);
    atomic_store(&ending, true);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
    close(file);
}
