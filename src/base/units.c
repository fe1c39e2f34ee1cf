/* SPDX-License-Identifier: MIT
 * Values with units, by tables of units and decimal arithmetic on integers: "0.1s" is 100 ms
 * exactly, and the relay needs no floating point to read its flags.
 * Relies on the C library only.
 * Known faults: more than 15 digits behind the point are read but no longer change the value. */
#include "base/units.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define FRACTION_DIGITS_MAX 15

struct unit {
    const char *name;
    uint64_t scale;
};

/* From small to large: among texts of the same length the writer takes the first. */
static const struct unit units_bytes[] = {
    {"B", 1},
    {"KiB", 1ull << 10},
    {"kB", 1000},
    {"MiB", 1ull << 20},
    {"MB", 1000000},
    {"GiB", 1ull << 30},
    {"GB", 1000000000},
    {"TiB", 1ull << 40},
    {"TB", 1000000000000},
};

static const struct unit units_duration[] = {
    {"ms", 1},       {"s", 1000},      {"min", 60000},     {"h", 3600000},
    {"d", 86400000}, {"w", 604800000}, {"y", 31536000000},
};

/* A number as written: digits, a point, digits. No sign, no exponent, no white space. */
struct decimal {
    uint64_t whole;
    uint32_t fraction_digits;              /* as written */
    uint8_t fraction[FRACTION_DIGITS_MAX]; /* the first of them */
    const char *end;                       /* what stands behind it */
};

static bool is_digit(char letter)
{
    return letter >= '0' && letter <= '9';
}

static int decimal_read(const char *text, struct decimal *decimal)
{
    *decimal = (struct decimal){0};
    if (!is_digit(*text))
        return -EINVAL;
    for (; is_digit(*text); text++) {
        uint64_t digit = (uint64_t)(*text - '0');
        if (decimal->whole > (UINT64_MAX - digit) / 10)
            return -ERANGE;
        decimal->whole = decimal->whole * 10 + digit;
    }
    if (*text == '.') {
        if (!is_digit(*++text))
            return -EINVAL;
        for (; is_digit(*text); text++) {
            if (decimal->fraction_digits < FRACTION_DIGITS_MAX)
                decimal->fraction[decimal->fraction_digits] = (uint8_t)(*text - '0');
            decimal->fraction_digits++;
        }
    }
    decimal->end = text;
    return 0;
}

/* The fraction of `scale`, rounded to the nearest. Worked from the last digit to the first in
 * 1/1024ths, so that nothing overflows: scale < 2^41. */
static uint64_t decimal_fraction_of(const struct decimal *decimal, uint64_t scale)
{
    uint64_t sum = 0;
    uint32_t digit = decimal->fraction_digits;
    if (digit > FRACTION_DIGITS_MAX)
        digit = FRACTION_DIGITS_MAX;
    while (digit-- > 0)
        sum = (decimal->fraction[digit] * (scale << 10) + sum) / 10;
    return (sum + 512) >> 10;
}

static bool decimal_is_zero(const struct decimal *decimal)
{
    for (uint32_t i = 0; i < decimal->fraction_digits && i < FRACTION_DIGITS_MAX; i++)
        if (decimal->fraction[i] != 0)
            return false;
    return decimal->whole == 0;
}

static int read_with_unit(const char *text, const struct unit *units, size_t unit_count,
                          uint64_t *value)
{
    struct decimal decimal;
    int error = decimal_read(text, &decimal);
    if (error < 0)
        return error;
    const struct unit *unit = NULL;
    for (size_t i = 0; i < unit_count; i++)
        if (strcmp(units[i].name, decimal.end) == 0)
            unit = &units[i];
    if (unit == NULL) {
        if (*decimal.end != '\0' || !decimal_is_zero(&decimal))
            return -EINVAL;
        *value = 0;
        return 0;
    }
    if (unit->scale == 1 && decimal.fraction_digits > 0)
        return -EINVAL; /* there is no half byte */
    if (decimal.whole > UINT64_MAX / unit->scale)
        return -ERANGE;
    uint64_t whole = decimal.whole * unit->scale;
    uint64_t fraction = decimal_fraction_of(&decimal, unit->scale);
    if (fraction > UINT64_MAX - whole)
        return -ERANGE;
    /* A value too small to tell from 0 must not turn into the "0: never" that some keys know. */
    if (whole + fraction == 0 && !decimal_is_zero(&decimal))
        return -ERANGE;
    *value = whole + fraction;
    return 0;
}

static char *write_with_unit(char text[UNITS_TEXT_BYTES], uint64_t value, const struct unit *units,
                             size_t unit_count)
{
    if (value == 0) {
        snprintf(text, UNITS_TEXT_BYTES, "0");
        return text;
    }
    text[0] = '\0';
    for (size_t i = 0; i < unit_count; i++) {
        uint64_t scale = units[i].scale, rest = value % scale, thousandths = rest * 1000;
        if (thousandths % scale != 0)
            continue; /* not without a loss */
        char candidate[UNITS_TEXT_BYTES];
        int digits = 3;
        for (thousandths /= scale; digits > 0 && thousandths % 10 == 0; digits--)
            thousandths /= 10;
        if (digits == 0)
            snprintf(candidate, sizeof candidate, "%llu%s", (unsigned long long)(value / scale),
                     units[i].name);
        else
            snprintf(candidate, sizeof candidate, "%llu.%0*llu%s",
                     (unsigned long long)(value / scale), digits, (unsigned long long)thousandths,
                     units[i].name);
        uint64_t again;
        if (text[0] != '\0' && strlen(candidate) >= strlen(text))
            continue;
        CHECK(read_with_unit(candidate, units, unit_count, &again) == 0 && again == value);
        memcpy(text, candidate, sizeof candidate);
    }
    return text;
}

/* A real number; `scale_digits` more digits move before the point (3 for "k"). */
static int real_read(const struct decimal *decimal, uint32_t scale_digits, double *value)
{
    uint64_t digits = decimal->whole;
    uint32_t fraction = 0;
    while (fraction < decimal->fraction_digits && fraction < FRACTION_DIGITS_MAX &&
           digits < UINT64_C(100000000000000)) /* 15 digits survive a double */
        digits = digits * 10 + decimal->fraction[fraction++];
    if (digits >= UINT64_C(1) << 53)
        return -ERANGE;
    /* Both are exact in a double, so the quotient is the nearest double to what was written. */
    double power = 1, factor = 1;
    for (; fraction > scale_digits; fraction--)
        power *= 10;
    for (; fraction < scale_digits; fraction++)
        factor *= 10;
    *value = (double)digits * factor / power;
    return 0;
}

int units_read_bytes(const char *text, uint64_t *bytes)
{
    return read_with_unit(text, units_bytes, ARRAY_COUNT(units_bytes), bytes);
}

int units_read_duration(const char *text, uint64_t *ms)
{
    return read_with_unit(text, units_duration, ARRAY_COUNT(units_duration), ms);
}

int units_read_rate(const char *text, double *hertz)
{
    static const struct {
        const char *name;
        uint32_t digits;
    } units[] = {{"Hz", 0}, {"kHz", 3}, {"MHz", 6}};
    struct decimal decimal;
    int error = decimal_read(text, &decimal);
    if (error < 0)
        return error;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        if (strcmp(decimal.end, units[i].name) == 0)
            return real_read(&decimal, units[i].digits, hertz);
    if (*decimal.end != '\0' || !decimal_is_zero(&decimal))
        return -EINVAL;
    *hertz = 0;
    return 0;
}

int units_read_percent(const char *text, double *percent)
{
    struct decimal decimal;
    int error = decimal_read(text, &decimal);
    if (error < 0)
        return error;
    if (strcmp(decimal.end, "%") != 0 && !(*decimal.end == '\0' && decimal_is_zero(&decimal)))
        return -EINVAL;
    double value;
    error = real_read(&decimal, 0, &value);
    if (error < 0)
        return error;
    if (value > 100)
        return -ERANGE;
    *percent = value;
    return 0;
}

int units_read_count(const char *text, uint64_t low, uint64_t high, uint64_t *count)
{
    struct decimal decimal;
    int error = decimal_read(text, &decimal);
    if (error < 0)
        return error;
    if (*decimal.end != '\0' || decimal.fraction_digits > 0)
        return -EINVAL;
    if (decimal.whole < low || decimal.whole > high)
        return -ERANGE;
    *count = decimal.whole;
    return 0;
}

char *units_write_bytes(char text[UNITS_TEXT_BYTES], uint64_t bytes)
{
    return write_with_unit(text, bytes, units_bytes, ARRAY_COUNT(units_bytes));
}

char *units_write_duration(char text[UNITS_TEXT_BYTES], uint64_t ms)
{
    return write_with_unit(text, ms, units_duration, ARRAY_COUNT(units_duration));
}
