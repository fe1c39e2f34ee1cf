/* SPDX-License-Identifier: MIT
 * What the processor can do. Sources: Intel SDM 2A (CPUID) and 1 (13.3, XGETBV), getauxval(3), the
 * kernel's Documentation/arch/arm64/elf_hwcaps.rst. */
#define _GNU_SOURCE
#include "base/processor.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* The registers' states that the system saves: XCR0. */
static uint32_t saved_states(void)
{
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

uint32_t processor_features(void)
{
    enum { STATES_256 = 0x06, STATES_512 = 0xe6 }; /* XCR0: SSE, AVX; opmask, ZMM_Hi256, Hi16_ZMM */
    uint32_t a, b, c, d, basic, features = 0;
    if (!__get_cpuid(1, &a, &b, &basic, &d) || !(basic & bit_SSE4_2))
        return 0;
    features |= PROCESSOR_CRC32C;
    if (!(basic & bit_OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(c & bit_VPCLMULQDQ))
        return features;
    uint32_t states = saved_states();
    if ((states & STATES_256) == STATES_256 && (b & bit_AVX2))
        features |= PROCESSOR_FOLD_256;
    if ((states & STATES_512) == STATES_512 && (b & bit_AVX512F))
        features |= PROCESSOR_FOLD_512;
    return features;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

uint32_t processor_features(void)
{
    enum { CRC32 = 1 << 7 }; /* HWCAP_CRC32 */
    return getauxval(AT_HWCAP) & CRC32 ? PROCESSOR_CRC32C : 0;
}
#else
uint32_t processor_features(void)
{
    return 0;
}
#endif
