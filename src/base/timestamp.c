/* SPDX-License-Identifier: MIT
 * Points in time from text. Relies on base/calendar and base/units. */
#include "base/timestamp.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/calendar.h"
#include "base/units.h"

#define SECOND_NS 1000000000ull

/* What is left of the text. */
struct reader {
    const char *at;
    bool failed;
};

/* Exactly `digits` digits, between `low` and `high`. */
static int64_t take_number(struct reader *reader, int digits, int64_t low, int64_t high)
{
    int64_t value = 0;
    for (int i = 0; i < digits && !reader->failed; i++) {
        char letter = *reader->at;
        reader->failed = letter < '0' || letter > '9';
        value = value * 10 + (letter - '0');
        reader->at += !reader->failed;
    }
    reader->failed = reader->failed || value < low || value > high;
    return value;
}

/* One of the letters; which. */
static char take_letter(struct reader *reader, const char *letters)
{
    char letter = *reader->at;
    reader->failed = reader->failed || letter == '\0' || strchr(letters, letter) == NULL;
    reader->at += !reader->failed;
    return letter;
}

/* ".25" in nanoseconds; 0 where no fraction stands here. */
static uint64_t take_fraction(struct reader *reader)
{
    uint64_t ns = 0, scale = SECOND_NS;
    if (reader->failed || *reader->at != '.')
        return 0;
    reader->at++;
    do {
        scale /= 10; /* 0 behind the ninth digit */
        ns += (uint64_t)take_number(reader, 1, 0, 9) * scale;
    } while (!reader->failed && *reader->at >= '0' && *reader->at <= '9');
    return ns;
}

static int read_calendar(const char *text, uint64_t *ns)
{
    struct reader reader = {.at = text};
    struct calendar date;
    date.year = (int)take_number(&reader, 4, 0, 9999);
    take_letter(&reader, "-");
    date.month = (int)take_number(&reader, 2, 1, 12);
    take_letter(&reader, "-");
    date.day = (int)take_number(&reader, 2, 1, 31);
    take_letter(&reader, "Tt ");
    date.hour = (int)take_number(&reader, 2, 0, 23);
    take_letter(&reader, ":");
    date.minute = (int)take_number(&reader, 2, 0, 59);
    take_letter(&reader, ":");
    uint64_t second = (uint64_t)take_number(&reader, 2, 0, 60);
    date.second = 0;
    date.nanosecond = (int)take_fraction(&reader);
    char zone = take_letter(&reader, "Zz+-");
    uint64_t offset = 0;
    if (!reader.failed && (zone == '+' || zone == '-')) {
        offset = (uint64_t)take_number(&reader, 2, 0, 23) * 3600;
        take_letter(&reader, ":");
        offset += (uint64_t)take_number(&reader, 2, 0, 59) * 60;
    }
    uint64_t at;
    if (reader.failed || *reader.at != '\0' || calendar_to_ns(&date, &at) < 0)
        return -EINVAL;
    uint64_t forward = (second + (zone == '-' ? offset : 0)) * SECOND_NS;
    uint64_t back = zone == '+' ? offset * SECOND_NS : 0;
    if (forward > UINT64_MAX - at || back > at + forward)
        return -ERANGE;
    *ns = at + forward - back;
    return 0;
}

static int read_relative(const char *text, uint64_t now_ns, uint64_t *ns)
{
    uint64_t ms;
    int status = units_read_duration(text + 1, &ms);
    if (status < 0)
        return status;
    uint64_t room = text[0] == '-' ? now_ns : UINT64_MAX - now_ns;
    if (ms > room / 1000000)
        return -ERANGE;
    *ns = text[0] == '-' ? now_ns - ms * 1000000 : now_ns + ms * 1000000;
    return 0;
}

/* "1769860800.5". */
static int read_seconds(const char *text, uint64_t *ns)
{
    uint64_t seconds = 0;
    struct reader reader = {.at = text};
    do {
        uint64_t digit = (uint64_t)take_number(&reader, 1, 0, 9);
        if (!reader.failed && seconds > (UINT64_MAX / SECOND_NS - digit) / 10)
            return -ERANGE;
        seconds = seconds * 10 + digit;
    } while (!reader.failed && *reader.at >= '0' && *reader.at <= '9');
    uint64_t fraction_ns = take_fraction(&reader);
    if (reader.failed || *reader.at != '\0')
        return -EINVAL;
    if (seconds > (UINT64_MAX - fraction_ns) / SECOND_NS)
        return -ERANGE;
    *ns = seconds * SECOND_NS + fraction_ns;
    return 0;
}

int timestamp_read(const char *text, uint64_t now_ns, uint64_t *ns)
{
    if (strcmp(text, "now") == 0) {
        *ns = now_ns;
        return 0;
    }
    if (text[0] == '-' || text[0] == '+')
        return read_relative(text, now_ns, ns);
    if (strlen(text) > 4 && text[4] == '-')
        return read_calendar(text, ns);
    return read_seconds(text, ns);
}
