/* SPDX-License-Identifier: MIT
 * Schubfach. A number v = c * 2^q stands between two that halve the way to its neighbours; all
 * decimals in between read back to v. With k so that 10^k is at most as long as that gap, and
 * 10^(k+1) longer, the gap holds a multiple of 10^k, and at most one of 10^(k+1), which has fewer
 * digits. Both ends and v, each times four, are multiplied by 10^-k to 64 bits and a sticky one
 * ("rounded to odd"), which the paper proves to be enough where 10^-k is known to 126 bits.
 * The powers are made at the first use, exactly, by long arithmetic: 10 KB, in a tenth of a
 * millisecond. Known faults: none. */
#include "base/digits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/wide.h"

#define POWER_LOW      (-292) /* the powers of ten that are needed */
#define POWER_HIGH     324
#define LONG_WORDS     36 /* 2^1152 / 10^292 still has more than 128 bits; 10^324 has 1077 */
#define EIGHT_DIGITS   100000000u
#define SIXTEEN_DIGITS 1000000000000000u
#define PLACES_MAX     17
#define PLAIN_MAX      1000000000000000.0 /* from here on an exponent is written */

/* ---- powers of ten ---- */

/* 10^k = power * 2^(e - 127), 1 <= power / 2^127 < 2, the next number above where it is none. */
static struct wide_product powers[POWER_HIGH - POWER_LOW + 1];

/* The topmost 128 bits of a long number, most significant word last, the rest rounded up if it, or
 * what was cut off before, is not zero. */
static struct wide_product top_bits(const uint32_t *words, bool cut)
{
    int top = LONG_WORDS - 1, shift = 0;
    uint64_t part[5] = {0};
    while (words[top] == 0)
        top--;
    while (words[top] >> (31 - shift) == 0)
        shift++;
    for (int i = 0; i < 5 && top - i >= 0; i++)
        part[i] = words[top - i];
    for (int i = top - 5; i >= 0 && !cut; i--)
        cut = words[i] != 0;
    cut = cut || (uint32_t)(part[4] << shift) != 0;
    for (int i = 0; i < 4; i++)
        part[i] = (uint32_t)(part[i] << shift | part[i + 1] >> (32 - shift));
    struct wide_product bits = {part[0] << 32 | part[1], part[2] << 32 | part[3]};
    bits.low += cut;
    bits.high += cut && bits.low == 0;
    return bits;
}

static void make_powers(void)
{
    uint32_t words[LONG_WORDS] = {1};
    for (int k = 0; k <= POWER_HIGH; k++) {
        powers[k - POWER_LOW] = top_bits(words, false);
        uint64_t carry = 0;
        for (int i = 0; i < LONG_WORDS; i++) {
            carry += (uint64_t)words[i] * 10;
            words[i] = (uint32_t)carry;
            carry >>= 32;
        }
    }
    /* 2^1151, divided again and again: cutting off each time leaves what cutting off once does. */
    memset(words, 0, sizeof(words));
    words[LONG_WORDS - 1] = 1u << 31;
    for (int k = -1; k >= POWER_LOW; k--) {
        uint64_t rest = 0;
        for (int i = LONG_WORDS - 1; i >= 0; i--) {
            rest = rest << 32 | words[i];
            words[i] = (uint32_t)(rest / 10);
            rest %= 10;
        }
        powers[k - POWER_LOW] = top_bits(words, true);
    }
}

static struct wide_product power_of_ten(int k)
{
    static _Atomic int made;
    if (!atomic_load_explicit(&made, memory_order_acquire)) {
        make_powers(); /* two threads that do so at the same time write the same values */
        atomic_store_explicit(&made, 1, memory_order_release);
    }
    return powers[k - POWER_LOW];
}

/* Rounded down, of |q| and |k| up to 1200. */
static int log10_of_power_of_2(int q)
{
    return (q * 1262611) >> 22;
}

static int log10_of_three_quarters_of_power_of_2(int q)
{
    return (q * 1262611 - 524031) >> 22;
}

static int log2_of_power_of_10(int k)
{
    return (k * 1741647) >> 19;
}

/* ---- the shortest digits ---- */

struct decimal {
    uint64_t digits;
    int exponent;
};

/* The topmost 64 bits of power * factor * 2^-128, the last of them set if anything is below. */
static inline uint64_t round_to_odd(struct wide_product power, uint64_t factor)
{
    struct wide_product low = wide_multiply(power.low, factor);
    struct wide_product high = wide_multiply(power.high, factor);
    uint64_t below = high.low + low.high;
    return (high.high + (below < low.high)) | (below > 1);
}

/* The shortest decimal of c * 2^q; `narrow`: the neighbour below is only half as far. */
static struct decimal shortest(uint64_t c, int q, bool narrow)
{
    bool odd = c & 1; /* then the ends of the gap read back to a neighbour */
    int k = narrow ? log10_of_three_quarters_of_power_of_2(q) : log10_of_power_of_2(q);
    int shift = q + log2_of_power_of_10(-k) + 1;
    struct wide_product power = power_of_ten(-k);
    uint64_t low = round_to_odd(power, (4 * c - 2 + narrow) << shift) + odd;
    uint64_t middle = round_to_odd(power, 4 * c << shift);
    uint64_t high = round_to_odd(power, (4 * c + 2) << shift) - odd;
    uint64_t whole = middle / 4, tens = whole / 10;
    if (whole >= 10) {
        bool below = low <= 40 * tens, above = 40 * tens + 40 <= high;
        if (below != above)
            return (struct decimal){tens + above, k + 1};
    }
    bool below = low <= 4 * whole, above = 4 * whole + 4 <= high;
    if (below == above) { /* both are in the gap: the nearer one, of two as near the even one */
        uint64_t half = 4 * whole + 2;
        above = middle > half || (middle == half && (whole & 1));
    }
    return (struct decimal){whole + above, k};
}

/* ---- text ---- */

static const char pairs[] = "0001020304050607080910111213141516171819"
                            "2021222324252627282930313233343536373839"
                            "4041424344454647484950515253545556575859"
                            "6061626364656667686970717273747576777879"
                            "8081828384858687888990919293949596979899";

static inline void write_pair(char *out, uint32_t value)
{
    memcpy(out, pairs + 2 * (size_t)value, 2);
}

static inline void write_eight(char *out, uint32_t value)
{
    uint32_t high = value / 10000, low = value % 10000;
    write_pair(out, high / 100);
    write_pair(out + 2, high % 100);
    write_pair(out + 4, low / 100);
    write_pair(out + 6, low % 100);
}

/* Of a number below EIGHT_DIGITS, without zeros in front; returns how many. */
static inline size_t write_small(char *out, uint32_t value)
{
    size_t count = 1u + (value >= 10) + (value >= 100) + (value >= 1000) + (value >= 10000) +
                   (value >= 100000) + (value >= 1000000) + (value >= 10000000);
    size_t at = count;
    for (; at > 1; at -= 2, value /= 100)
        write_pair(out + at - 2, value % 100);
    if (at == 1)
        out[0] = (char)('0' + value);
    return count;
}

static inline size_t write_unsigned(char *out, uint64_t value)
{
    size_t bytes = 0;
    if (value < EIGHT_DIGITS)
        return write_small(out, (uint32_t)value);
    uint64_t front = value / EIGHT_DIGITS;
    if (front < EIGHT_DIGITS) {
        bytes = write_small(out, (uint32_t)front);
    } else {
        bytes = write_small(out, (uint32_t)(front / EIGHT_DIGITS));
        write_eight(out + bytes, (uint32_t)(front % EIGHT_DIGITS));
        bytes += 8;
    }
    write_eight(out + bytes, (uint32_t)(value % EIGHT_DIGITS));
    return bytes + 8;
}

size_t digits_integer(char *out, int64_t value)
{
    if (value >= 0)
        return write_unsigned(out, (uint64_t)value);
    out[0] = '-';
    return 1 + write_unsigned(out + 1, 0 - (uint64_t)value);
}

static size_t write_exponent(char *out, int exponent)
{
    uint32_t size = (uint32_t)(exponent < 0 ? -exponent : exponent);
    size_t bytes = 2;
    out[0] = 'e';
    out[1] = exponent < 0 ? '-' : '+';
    if (size >= 100)
        out[bytes++] = (char)('0' + size / 100);
    write_pair(out + bytes, size % 100);
    return bytes + 2;
}

/* Writes the digits to `buffer`; returns where they begin, `*count` of them without zeros behind,
 * `*point` in front of the decimal point. */
static inline const char *write_digits(char *buffer, struct decimal decimal, size_t *count,
                                       int *point)
{
    const char *digits = buffer;
    size_t zeros = 0;
    if (decimal.digits >= SIXTEEN_DIGITS) { /* or seventeen: nearly all are of such length */
        uint64_t front = decimal.digits / EIGHT_DIGITS;
        uint32_t first = (uint32_t)(front / EIGHT_DIGITS);
        uint32_t behind = (uint32_t)(decimal.digits % EIGHT_DIGITS);
        buffer[0] = (char)('0' + first);
        write_eight(buffer + 1, (uint32_t)(front % EIGHT_DIGITS));
        write_eight(buffer + 9, behind);
        digits += first == 0;
        *count = 16u + (first != 0);
        zeros = behind == 0 ? 8 : 0;
    } else {
        *count = write_unsigned(buffer, decimal.digits);
    }
    *point = decimal.exponent + (int)*count;
    *count -= zeros;
    while (*count > 1 && digits[*count - 1] == '0')
        --*count;
    return digits;
}

/* Lays the digits out. Copies run over their ends, as they are faster so. */
static size_t write_decimal(char *out, struct decimal decimal)
{
    char buffer[DIGITS_BYTES_MAX] = {0};
    size_t count, bytes;
    int point;
    const char *digits = write_digits(buffer, decimal, &count, &point);
    int exponent = point - 1; /* of the first digit */
    int places = (int)count;
    if (exponent < -4 || exponent >= (places > 15 ? places : 15)) {
        out[0] = digits[0];
        out[1] = '.';
        memcpy(out + 2, digits + 1, PLACES_MAX);
        bytes = count == 1 ? 1 : count + 1;
        return bytes + write_exponent(out + bytes, exponent);
    }
    if (exponent < 0) {
        memcpy(out, "0.000", 5);
        bytes = 1 + (size_t)-exponent;
        memcpy(out + bytes, digits, PLACES_MAX);
        return bytes + count;
    }
    bytes = (size_t)exponent + 1; /* in front of the point */
    memcpy(out, digits, PLACES_MAX);
    if (bytes < count) {
        out[bytes] = '.';
        memcpy(out + bytes + 1, digits + bytes, PLACES_MAX);
        return count + 1;
    }
    memset(out + count, '0', bytes - count);
    memcpy(out + bytes, ".0", 2);
    return bytes + 2;
}

static size_t write_text(char *out, const char *text)
{
    size_t bytes = strlen(text);
    memcpy(out, text, bytes);
    return bytes;
}

size_t digits_double(char *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint64_t fraction = bits & ((1ull << 52) - 1);
    int exponent = (int)(bits >> 52 & 2047);
    size_t sign = bits >> 63;
    if (exponent == 2047 && fraction != 0)
        return write_text(out, "NaN");
    out[0] = '-';
    out += sign;
    if (exponent == 2047)
        return sign + write_text(out, "Infinity");
    double size = sign ? -value : value;
    if (size < PLAIN_MAX && (double)(uint64_t)size == size) {
        size_t bytes = write_unsigned(out, (uint64_t)size);
        memcpy(out + bytes, ".0", 2);
        return sign + bytes + 2;
    }
    bool normal = exponent > 0;
    return sign + write_decimal(out, shortest(fraction | (uint64_t)normal << 52,
                                              (normal ? exponent : 1) - 1075,
                                              fraction == 0 && exponent > 1));
}

size_t digits_float(char *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    uint32_t fraction = bits & ((1u << 23) - 1);
    int exponent = (int)(bits >> 23 & 255);
    if (exponent == 255 || value == 0)
        return digits_double(out, (double)value);
    size_t sign = bits >> 31;
    bool normal = exponent > 0;
    out[0] = '-';
    return sign + write_decimal(out + sign, shortest(fraction | (uint32_t)normal << 23,
                                                     (normal ? exponent : 1) - 150,
                                                     fraction == 0 && exponent > 1));
}
