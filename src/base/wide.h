/* SPDX-License-Identifier: MIT
 * Sums of 64-bit numbers, of which there may be 2^32: wider than C has a type for everywhere. */
#ifndef FLOTILLA_BASE_WIDE_H
#define FLOTILLA_BASE_WIDE_H

#include <stdint.h>

/* The sum as a number of 128 bits in two's complement. All zero to begin with. */
struct wide {
    uint64_t low;
    int64_t high;
};

static inline void wide_add(struct wide *to, int64_t value)
{
    uint64_t low = to->low + (uint64_t)value;
    to->high += (low < to->low) - (value < 0);
    to->low = low;
}

/* The sum of `count` numbers divided by it: to the nearest, halves away from zero. */
static inline int64_t wide_mean(const struct wide *sum, uint32_t count)
{
    uint64_t high = (uint64_t)sum->high, low = sum->low;
    if (sum->high < 0) { /* its magnitude */
        high = ~high + (low == 0);
        low = ~low + 1;
    }
    const uint64_t words[] = {high & UINT32_MAX, low >> 32, low & UINT32_MAX};
    uint64_t quotient = 0, rest = high >> 32; /* 0: such sums end below 2^96 */
    for (int i = 0; i < 3; i++) {
        rest = rest << 32 | words[i];
        quotient = quotient << 32 | rest / count;
        rest %= count;
    }
    quotient += 2 * rest >= count;
    return sum->high < 0 ? (int64_t)(0 - quotient) : (int64_t)quotient;
}

#endif
