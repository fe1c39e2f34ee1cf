/* SPDX-License-Identifier: MIT
 * CRC-32C with the processor's instruction where it has one, else by table.
 * The table is made at the first use: 1 KiB that most machines never touch. */
#include "base/crc32c.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *at,
                                                                  size_t count)
{
    uint64_t wide = crc;
    for (; count >= 8; at += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; count > 0; at++, count--)
        crc = __builtin_ia32_crc32qi(crc, *at);
    return crc;
}

/* CPUID leaf 1, ECX bit 20 (Intel SDM 2A). */
static bool crc32c_has_hardware(void)
{
    uint32_t a = 1, b, c = 0, d;
    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (c >> 20) & 1;
}
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *at, size_t count)
{
    for (; count >= 8; at += 8, count -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc = __crc32cd(crc, word);
    }
    for (; count > 0; at++, count--)
        crc = __crc32cb(crc, *at);
    return crc;
}
static bool crc32c_has_hardware(void)
{
    return true;
}
#else
static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *at, size_t count)
{
    (void)at, (void)count;
    return crc;
}
static bool crc32c_has_hardware(void)
{
    return false;
}
#endif

static uint32_t crc32c_table[256];

static uint32_t crc32c_by_table(uint32_t crc, const uint8_t *at, size_t count)
{
    for (; count > 0; at++, count--)
        crc = (crc >> 8) ^ crc32c_table[(crc ^ *at) & 0xff];
    return crc;
}

/* Decides once: asking the processor is slow under a hypervisor. Two threads that decide at the
 * same time write the same values. */
static bool crc32c_use_hardware(void)
{
    enum { UNKNOWN, HARDWARE, TABLE };
    static _Atomic int choice = UNKNOWN;
    int chosen = atomic_load_explicit(&choice, memory_order_acquire);
    if (chosen != UNKNOWN)
        return chosen == HARDWARE;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = (value >> 1) ^ (value & 1 ? 0x82f63b78u : 0);
        crc32c_table[i] = value;
    }
    chosen = crc32c_has_hardware() ? HARDWARE : TABLE;
    atomic_store_explicit(&choice, chosen, memory_order_release);
    return chosen == HARDWARE;
}

uint32_t crc32c(uint32_t crc, const void *bytes, size_t count)
{
    crc = ~crc;
    crc = crc32c_use_hardware() ? crc32c_hardware(crc, bytes, count)
                                : crc32c_by_table(crc, bytes, count);
    return ~crc;
}
