/* SPDX-License-Identifier: MIT
 * A state that is kept twice, by one thread for others and for whoever comes after it: the copy
 * that is not current is changed, and becomes current with one store. */
#ifndef FLOTILLA_CHANNEL_TWIN_H
#define FLOTILLA_CHANNEL_TWIN_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TWIN_COPY_TRIES_MAX 100000u

/* The copy to change, made equal to the current one. */
static inline void *twin_begin(_Atomic uint64_t *version, void *states, size_t bytes)
{
    uint64_t now = atomic_load_explicit(version, memory_order_relaxed);
    uint8_t *copies = states;
    atomic_thread_fence(memory_order_release); /* a reader of this copy must see the last commit */
    memcpy(copies + ((now + 1) & 1) * bytes, copies + (now & 1) * bytes, bytes);
    return copies + ((now + 1) & 1) * bytes;
}

/* Makes that copy the current one. */
static inline void twin_commit(_Atomic uint64_t *version)
{
    uint64_t now = atomic_load_explicit(version, memory_order_relaxed);
    atomic_store_explicit(version, now + 1, memory_order_release);
}

/* The current copy is changed only after the next commit, so a copy taken while the version stood
 * still is of one instant. A relay that was taken over could go on changing it: no reader is held
 * up for that. */
static inline void twin_copy(_Atomic uint64_t *version, const void *states, size_t bytes,
                             void *copy)
{
    uint64_t before;
    uint32_t tries = 0;
    do {
        before = atomic_load_explicit(version, memory_order_acquire);
        memcpy(copy, (const uint8_t *)states + (before & 1) * bytes, bytes);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(version, memory_order_relaxed) != before &&
             ++tries < TWIN_COPY_TRIES_MAX);
}

#endif
