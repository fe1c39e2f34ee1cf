/* SPDX-License-Identifier: MIT
 * Where the compiler tells of the core's steps. Built with -fsanitize=thread, it calls out before
 * each load and store and for each atomic operation; linked with these functions instead of its
 * runtime, each of them is a step. Under other sanitizers, which exclude that one, only the entries
 * and exits of functions are (-finstrument-functions). memcpy is taken apart, so that a copy can be
 * cut in two; the core is compiled with -Dmemcpy=sim_memcpy. */
#include <stdint.h>
#include <string.h>

#include "sim.h"

void *sim_memcpy(void *to, const void *from, size_t bytes);
void __cyg_profile_func_enter(void *function, void *caller);
void __cyg_profile_func_exit(void *function, void *caller);

void __cyg_profile_func_enter(void *function, void *caller)
{
    (void)function, (void)caller;
    fiber_step(STEP_FUNCTION);
}

void __cyg_profile_func_exit(void *function, void *caller)
{
    (void)function, (void)caller;
    fiber_step(STEP_FUNCTION);
}

void *sim_memcpy(void *to, const void *from, size_t bytes)
{
    size_t part = bytes < 64 ? 8 : bytes < 4096 ? 64 : 1024;
    for (size_t at = 0; at < bytes; at += part) {
        fiber_step(STEP_ACCESS);
        memcpy((uint8_t *)to + at, (const uint8_t *)from + at,
               bytes - at < part ? bytes - at : part);
    }
    return to;
}

#if !defined(__SANITIZE_ADDRESS__)

#define ACCESS(name)                                                                               \
    void name(void *at);                                                                           \
    void name(void *at)                                                                            \
    {                                                                                              \
        (void)at;                                                                                  \
        fiber_step(STEP_ACCESS);                                                                   \
    }
#define ACCESS_RANGE(name)                                                                         \
    void name(void *at, long bytes);                                                               \
    void name(void *at, long bytes)                                                                \
    {                                                                                              \
        (void)at, (void)bytes;                                                                     \
        fiber_step(STEP_ACCESS);                                                                   \
    }
#define FUNCTION(name)                                                                             \
    void name(void *at);                                                                           \
    void name(void *at)                                                                            \
    {                                                                                              \
        (void)at;                                                                                  \
        fiber_step(STEP_FUNCTION);                                                                 \
    }

ACCESS(__tsan_read1)
ACCESS(__tsan_read2)
ACCESS(__tsan_read4)
ACCESS(__tsan_read8)
ACCESS(__tsan_read16)
ACCESS(__tsan_write1)
ACCESS(__tsan_write2)
ACCESS(__tsan_write4)
ACCESS(__tsan_write8)
ACCESS(__tsan_write16)
ACCESS(__tsan_unaligned_read2)
ACCESS(__tsan_unaligned_read4)
ACCESS(__tsan_unaligned_read8)
ACCESS(__tsan_unaligned_read16)
ACCESS(__tsan_unaligned_write2)
ACCESS(__tsan_unaligned_write4)
ACCESS(__tsan_unaligned_write8)
ACCESS(__tsan_unaligned_write16)
ACCESS(__tsan_volatile_read4)
ACCESS(__tsan_volatile_write4)
ACCESS_RANGE(__tsan_read_range)
ACCESS_RANGE(__tsan_write_range)
FUNCTION(__tsan_func_entry)
void __tsan_init(void);
void __tsan_init(void)
{
}
FUNCTION(__tsan_func_exit)

#define ATOMICS(bits)                                                                              \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *at, int order);                 \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *at, int order)                  \
    {                                                                                              \
        (void)order;                                                                               \
        fiber_step(STEP_ACCESS);                                                                   \
        return *(const volatile uint##bits##_t *)at;                                               \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile void *at, uint##bits##_t value, int order);          \
    void __tsan_atomic##bits##_store(volatile void *at, uint##bits##_t value, int order)           \
    {                                                                                              \
        (void)order;                                                                               \
        fiber_step(STEP_ACCESS);                                                                   \
        *(volatile uint##bits##_t *)at = value;                                                    \
        fiber_step(STEP_ACCESS);                                                                   \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_exchange(volatile void *at, uint##bits##_t value,         \
                                                  int order);                                      \
    uint##bits##_t __tsan_atomic##bits##_exchange(volatile void *at, uint##bits##_t value,         \
                                                  int order)                                       \
    {                                                                                              \
        (void)order;                                                                               \
        fiber_step(STEP_ACCESS);                                                                   \
        uint##bits##_t before = *(volatile uint##bits##_t *)at;                                    \
        *(volatile uint##bits##_t *)at = value;                                                    \
        return before;                                                                             \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile void *at, uint##bits##_t value,        \
                                                   int order);                                     \
    uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile void *at, uint##bits##_t value,        \
                                                   int order)                                      \
    {                                                                                              \
        (void)order;                                                                               \
        fiber_step(STEP_ACCESS);                                                                   \
        uint##bits##_t before = *(volatile uint##bits##_t *)at;                                    \
        *(volatile uint##bits##_t *)at = (uint##bits##_t)(before + value);                         \
        return before;                                                                             \
    }                                                                                              \
    bool __tsan_atomic##bits##_compare_exchange_strong(                                            \
        volatile void *at, void *expected, uint##bits##_t value, int order, int failure);          \
    bool __tsan_atomic##bits##_compare_exchange_strong(                                            \
        volatile void *at, void *expected, uint##bits##_t value, int order, int failure)           \
    {                                                                                              \
        (void)order, (void)failure;                                                                \
        fiber_step(STEP_ACCESS);                                                                   \
        uint##bits##_t before = *(volatile uint##bits##_t *)at;                                    \
        if (before != *(uint##bits##_t *)expected) {                                               \
            *(uint##bits##_t *)expected = before;                                                  \
            return false;                                                                          \
        }                                                                                          \
        *(volatile uint##bits##_t *)at = value;                                                    \
        fiber_step(STEP_ACCESS);                                                                   \
        return true;                                                                               \
    }                                                                                              \
    bool __tsan_atomic##bits##_compare_exchange_weak(                                              \
        volatile void *at, void *expected, uint##bits##_t value, int order, int failure);          \
    bool __tsan_atomic##bits##_compare_exchange_weak(volatile void *at, void *expected,            \
                                                     uint##bits##_t value, int order, int failure) \
    {                                                                                              \
        if (random_chance(50000)) {                                                                \
            *(uint##bits##_t *)expected = *(volatile uint##bits##_t *)at;                          \
            return false;                                                                          \
        }                                                                                          \
        return __tsan_atomic##bits##_compare_exchange_strong(at, expected, value, order, failure); \
    }
ATOMICS(32)
ATOMICS(64)

void __tsan_atomic_signal_fence(int order);
void __tsan_atomic_signal_fence(int order)
{
    (void)order;
    fiber_step(STEP_ACCESS);
}

void __tsan_atomic_thread_fence(int order);
void __tsan_atomic_thread_fence(int order)
{
    (void)order;
    fiber_step(STEP_ACCESS);
}

#endif
