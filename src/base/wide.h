/* SPDX-License-Identifier: MIT
 * Sums of 64-bit numbers, of which there may be 2^32, and products of two: wider than C has a type
 * for everywhere. */
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

struct wide_product {
    uint64_t high, low;
};

/* The product of two numbers, by their halves: where the compiler has no type for it. */
static inline struct wide_product wide_multiply_halves(uint64_t a, uint64_t b)
{
    uint64_t a0 = a & UINT32_MAX, a1 = a >> 32, b0 = b & UINT32_MAX, b1 = b >> 32;
    uint64_t low = a0 * b0, cross = a1 * b0 + (low >> 32), middle = a0 * b1 + (cross & UINT32_MAX);
    return (struct wide_product){a1 * b1 + (cross >> 32) + (middle >> 32),
                                 middle << 32 | (low & UINT32_MAX)};
}

static inline struct wide_product wide_multiply(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    __extension__ typedef unsigned __int128 product;
    product both = (product)a * b;
    return (struct wide_product){(uint64_t)(both >> 64), (uint64_t)both};
#else
    return wide_multiply_halves(a, b);
#endif
}

#endif
