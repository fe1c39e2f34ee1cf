/* SPDX-License-Identifier: MIT
 * Reads a name from its end: what is in front may be any name. */
#include "channel/pin.h"

#include <stdio.h>
#include <string.h>

#include "base/calendar.h"

#define STAMP_BYTES 23u /* of "20260131T120000.000000Z" */
#define MICROSECOND 1000u

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool pin_name_is_valid(const char *text)
{
    size_t bytes = 0;
    for (; text[bytes] != '\0'; bytes++)
        if (!is_letter(text[bytes]) && (bytes == 0 || strchr("_.-", text[bytes]) == NULL))
            return false;
    return bytes > 0 && bytes <= PIN_NAME_BYTES_MAX;
}

static char *write_stamp(char text[STAMP_BYTES + 1], uint64_t ns)
{
    struct calendar at;
    calendar_from_ns(ns, &at);
    snprintf(text, STAMP_BYTES + 1, "%04u%02u%02uT%02u%02u%02u.%06uZ", (unsigned)at.year % 10000,
             (unsigned)at.month % 100, (unsigned)at.day % 100, (unsigned)at.hour % 100,
             (unsigned)at.minute % 100, (unsigned)at.second % 100,
             (unsigned)at.nanosecond / MICROSECOND % 1000000);
    return text;
}

static int read_digits(const char *text, unsigned count)
{
    int value = 0;
    for (unsigned i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

/* Wrong letters show when it is written again. */
static bool read_stamp(const char *text, uint64_t *ns)
{
    struct calendar at = {.year = read_digits(text, 4),
                          .month = read_digits(text + 4, 2),
                          .day = read_digits(text + 6, 2),
                          .hour = read_digits(text + 9, 2),
                          .minute = read_digits(text + 11, 2),
                          .second = read_digits(text + 13, 2),
                          .nanosecond = read_digits(text + 16, 6) * (int)MICROSECOND};
    return calendar_to_ns(&at, ns) == 0;
}

char *pin_write(char text[PIN_FILE_NAME_BYTES], const struct pin *pin)
{
    char from[STAMP_BYTES + 1], to[STAMP_BYTES + 1];
    uint64_t until_ns = pin->to_ns;
    if (until_ns % MICROSECOND != 0 && until_ns <= UINT64_MAX - MICROSECOND)
        until_ns += MICROSECOND;
    snprintf(text, PIN_FILE_NAME_BYTES, "%.*s@%s@%s" PIN_SUFFIX, (int)PIN_NAME_BYTES_MAX,
             pin->name, write_stamp(from, pin->from_ns), write_stamp(to, until_ns));
    return text;
}

bool pin_read(struct pin *pin, const char *text)
{
    static const size_t behind = 1 + STAMP_BYTES + 1 + STAMP_BYTES + sizeof(PIN_SUFFIX) - 1;
    char again[PIN_FILE_NAME_BYTES];
    size_t bytes = strlen(text);
    if (bytes <= behind || bytes - behind > PIN_NAME_BYTES_MAX)
        return false;
    memcpy(pin->name, text, bytes - behind);
    pin->name[bytes - behind] = '\0';
    const char *stamps = text + bytes - behind + 1;
    return pin_name_is_valid(pin->name) && read_stamp(stamps, &pin->from_ns) &&
        read_stamp(stamps + STAMP_BYTES + 1, &pin->to_ns) && pin->from_ns < pin->to_ns &&
        strcmp(pin_write(again, pin), text) == 0;
}

bool pin_covers(const struct pin *pin, uint64_t first_ns, uint64_t last_ns)
{
    return first_ns < pin->to_ns && last_ns >= pin->from_ns;
}
