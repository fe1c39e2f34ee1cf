/* SPDX-License-Identifier: MIT
 * Instants as calendar parts in UTC, proleptic Gregorian, and back. Pure arithmetic, without a time
 * zone or a leap second. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
#ifndef FLOTILLA_BASE_CALENDAR_H
#define FLOTILLA_BASE_CALENDAR_H

#include <stdint.h>

struct calendar {
    int year, month, day, hour, minute, second, nanosecond;
};

/* The parts of an instant in nanoseconds since 1970. */
void calendar_from_ns(uint64_t ns, struct calendar *calendar);

/* The instant of these parts. 0, or -EINVAL if there is no such date or time (a second of 60, the
 * 30th of February) or it is not one of uint64_t nanoseconds since 1970 (to 2554). */
int calendar_to_ns(const struct calendar *calendar, uint64_t *ns);

#define CALENDAR_TEXT_BYTES 40
/* "2026-01-01T00:00:00Z", or with as many `digits` of the second's parts (0 to 9), cut, not
 * rounded. Returns `text`. */
char *calendar_write(char text[CALENDAR_TEXT_BYTES], uint64_t ns, int digits);
/* The same of an instant before or after 1970 (1677 to 2262). */
char *calendar_write_signed(char text[CALENDAR_TEXT_BYTES], int64_t ns, int digits);

#endif
