/* SPDX-License-Identifier: MIT
 * Days and dates by eras of 400 years that begin with March, so that a leap day ends its year. */
#include "base/calendar.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

#define NS_PER_SECOND   1000000000ull
#define SECONDS_PER_DAY 86400ull
#define ERA_DAYS        146097u /* 400 years */
#define DAYS_TO_1970    719468u /* from the first of March of the year 0 */

void calendar_from_ns(uint64_t ns, struct calendar *calendar)
{
    uint64_t seconds = ns / NS_PER_SECOND;
    unsigned of_day = (unsigned)(seconds % SECONDS_PER_DAY);
    unsigned days = (unsigned)(seconds / SECONDS_PER_DAY) + DAYS_TO_1970;
    unsigned era = days / ERA_DAYS, of_era = days % ERA_DAYS;
    unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / (ERA_DAYS - 1)) / 365;
    unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153; /* 0: March */
    *calendar = (struct calendar){
        .year = (int)(era * 400 + year + (month >= 10)),
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .day = (int)(of_year - (153 * month + 2) / 5 + 1),
        .hour = (int)(of_day / 3600),
        .minute = (int)(of_day / 60 % 60),
        .second = (int)(of_day % 60),
        .nanosecond = (int)(ns % NS_PER_SECOND),
    };
}

static bool is_date(const struct calendar *calendar)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = calendar->year;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return year >= 1970 && year <= 2554 && calendar->month >= 1 && calendar->month <= 12 &&
           calendar->day >= 1 &&
           calendar->day <= days[calendar->month - 1] + (leap && calendar->month == 2);
}

int calendar_to_ns(const struct calendar *calendar, uint64_t *ns)
{
    if (!is_date(calendar) || calendar->hour < 0 || calendar->hour > 23 || calendar->minute < 0 ||
        calendar->minute > 59 || calendar->second < 0 || calendar->second > 59 ||
        calendar->nanosecond < 0 || calendar->nanosecond >= (int)NS_PER_SECOND)
        return -EINVAL;
    unsigned month = (unsigned)calendar->month;
    unsigned year = (unsigned)calendar->year - (month <= 2);
    unsigned era = year / 400, of_era = year % 400;
    unsigned of_year =
        (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + (unsigned)calendar->day - 1;
    uint64_t days =
        era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_1970;
    uint64_t seconds = days * SECONDS_PER_DAY + (unsigned)calendar->hour * 3600u +
                       (unsigned)calendar->minute * 60u + (unsigned)calendar->second;
    if (seconds > UINT64_MAX / NS_PER_SECOND ||
        seconds * NS_PER_SECOND > UINT64_MAX - (unsigned)calendar->nanosecond)
        return -EINVAL;
    *ns = seconds * NS_PER_SECOND + (unsigned)calendar->nanosecond;
    return 0;
}

static char *write_parts(char text[CALENDAR_TEXT_BYTES], const struct calendar *at, int digits)
{
    char parts[16] = ".";
    snprintf(parts + 1, sizeof parts - 1, "%09u", (unsigned)at->nanosecond % 1000000000);
    snprintf(text, CALENDAR_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u%.*sZ",
             (unsigned)at->year % 10000, (unsigned)at->month % 100, (unsigned)at->day % 100,
             (unsigned)at->hour % 100, (unsigned)at->minute % 100, (unsigned)at->second % 100,
             digits > 0 ? digits + 1 : 0, parts);
    return text;
}

char *calendar_write(char text[CALENDAR_TEXT_BYTES], uint64_t ns, int digits)
{
    struct calendar at;
    calendar_from_ns(ns, &at);
    return write_parts(text, &at, digits);
}

char *calendar_write_signed(char text[CALENDAR_TEXT_BYTES], int64_t ns, int digits)
{
    /* 400 years later the calendar is the same. */
    const uint64_t era_ns = ERA_DAYS * SECONDS_PER_DAY * NS_PER_SECOND;
    struct calendar at;
    calendar_from_ns(ns < 0 ? (uint64_t)ns + era_ns : (uint64_t)ns, &at);
    at.year -= ns < 0 ? 400 : 0;
    return write_parts(text, &at, digits);
}
