/* SPDX-License-Identifier: MIT
 * Values with units as users write them: 64MiB, 10s, 7d, 100Hz, 5%. Reading and printing.
 * Pure text; every reader takes exactly one whole NUL-terminated word. */
#ifndef FLOTILLA_BASE_UNITS_H
#define FLOTILLA_BASE_UNITS_H

#include <stddef.h>
#include <stdint.h>

#define UNITS_TEXT_BYTES 32 /* room for what the format functions write */

/* "0", "512B", "64KiB", "64MiB", "1GiB", "2TiB", also "kB MB GB TB" (powers of 1000); whole or with
 * a fraction ("1.5GiB"). 0, -EINVAL (no number, no or unknown unit), -ERANGE. */
int units_read_bytes(const char *text, uint64_t *bytes);

/* "100ms", "10s", "5min", "1h", "7d", "2w"; 0 needs no unit. Milliseconds. As above. */
int units_read_duration(const char *text, uint64_t *ms);

/* "100Hz", "1kHz", "0.5Hz". As above. */
int units_read_rate(const char *text, double *hertz);

/* "5%", 0 to 100. As above. */
int units_read_percent(const char *text, double *percent);

/* A whole number without unit, within [low, high]. 0, -EINVAL, -ERANGE. */
int units_read_count(const char *text, uint64_t low, uint64_t high, uint64_t *count);

/* The shortest text that reads back to the same value. Returns `text`. */
char *units_write_bytes(char text[UNITS_TEXT_BYTES], uint64_t bytes);
char *units_write_duration(char text[UNITS_TEXT_BYTES], uint64_t ms);

#endif
