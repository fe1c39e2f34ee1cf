/* SPDX-License-Identifier: MIT
 * A ring of chunks between two threads: one reads into the chunk at the end, the other takes from
 * that at the front. Each counts what it has done; nothing else is shared. Known faults: none. */
#include "archive/ahead.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "os/direct.h"
#include "os/memory.h"
#include "os/thread.h"

#define STACK_BYTES (64u << 10)

struct ahead {
    struct direct_file file;
    struct thread thread;
    uint8_t *chunks;
    long filled_bytes[AHEAD_CHUNKS]; /* of each; fewer than a chunk: the end; or a negative errno */
    uint64_t from;                   /* where the first chunk begins */
    uint64_t at;                     /* where the next read is to begin */
    bool started, given_up;
    _Atomic uint64_t filled, taken; /* chunks, ever */
    _Atomic bool ended;
    struct wake is_filled, is_taken;
};

static void run(void *context)
{
    struct ahead *ahead = context;
    for (uint64_t next = 0;; next++) {
        uint32_t seen = wake_seen(&ahead->is_taken);
        while (next - atomic_load(&ahead->taken) == AHEAD_CHUNKS && !atomic_load(&ahead->ended)) {
            wake_wait(&ahead->is_taken, seen, -1);
            seen = wake_seen(&ahead->is_taken);
        }
        if (atomic_load(&ahead->ended))
            return;
        size_t slot = next % AHEAD_CHUNKS;
        long got = direct_file_read(&ahead->file, ahead->chunks + slot * AHEAD_CHUNK_BYTES,
                                    AHEAD_CHUNK_BYTES, ahead->from + next * AHEAD_CHUNK_BYTES);
        ahead->filled_bytes[slot] = got;
        atomic_store(&ahead->filled, next + 1);
        wake_signal(&ahead->is_filled);
        if (got < (long)AHEAD_CHUNK_BYTES)
            return;
    }
}

int ahead_open(struct ahead **ahead, const char *path)
{
    struct ahead *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    int status = direct_file_open_read(&made->file, path);
    if (status == 0 && (made->chunks = private_memory_map(AHEAD_BYTES)) == NULL)
        status = -ENOMEM;
    if (status < 0)
        ahead_close(made);
    else
        *ahead = made;
    return status;
}

/* The bytes of chunk `number`, once it is there; a negative errno where it cannot be read. */
static long wait_for(struct ahead *ahead, uint64_t number)
{
    for (;;) {
        uint32_t seen = wake_seen(&ahead->is_filled);
        if (atomic_load(&ahead->filled) > number)
            return ahead->filled_bytes[number % AHEAD_CHUNKS];
        wake_wait(&ahead->is_filled, seen, -1);
    }
}

static bool start(struct ahead *ahead, uint64_t offset)
{
    ahead->started = true;
    ahead->from = ahead->at = offset;
    return offset % ahead->file.alignment == 0 &&
           thread_start(&ahead->thread, run, ahead, STACK_BYTES) == 0;
}

long ahead_read(struct ahead *ahead, uint8_t *into, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    if (ahead->given_up || (!ahead->started && !start(ahead, offset)) || offset != ahead->at) {
        ahead->given_up = true;
        return -EAGAIN;
    }
    while (done < bytes) {
        uint64_t number = (ahead->at - ahead->from) / AHEAD_CHUNK_BYTES;
        size_t skip = (size_t)((ahead->at - ahead->from) % AHEAD_CHUNK_BYTES);
        long filled = wait_for(ahead, number);
        if (filled < 0) {
            ahead->given_up = true;
            return -EAGAIN;
        }
        size_t there = (size_t)filled > skip ? (size_t)filled - skip : 0;
        size_t part = bytes - done < there ? bytes - done : there;
        if (part == 0)
            break;
        memcpy(into + done, ahead->chunks + number % AHEAD_CHUNKS * AHEAD_CHUNK_BYTES + skip, part);
        done += part;
        ahead->at += part;
        if (skip + part == AHEAD_CHUNK_BYTES) {
            atomic_store(&ahead->taken, number + 1);
            wake_signal(&ahead->is_taken);
        }
    }
    return (long)done;
}

void ahead_close(struct ahead *ahead)
{
    if (ahead == NULL)
        return;
    atomic_store(&ahead->ended, true);
    wake_signal(&ahead->is_taken);
    thread_join(&ahead->thread);
    if (ahead->chunks != NULL)
        private_memory_unmap(ahead->chunks, AHEAD_BYTES);
    direct_file_close(&ahead->file);
    free(ahead);
}
