/* SPDX-License-Identifier: MIT
 * Reads names from their end, as a channel's name may hold dashes, digits and what looks like a
 * suffix. */
#include "channel/recording_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/calendar.h"

#define OPENING_NAME      ".opening"
#define RECORDING_SUFFIX  ".avro"
#define STAMP_FORM        "-00000000T000000.000000Z-" /* '0' is any digit */
#define NUMBER_DIGITS     6u                          /* at least */
#define NUMBER_DIGITS_MAX 18u

static const char *const lane_suffixes[RECORDING_LANES] = {"", "-rejects"};
static const char *const stage_suffixes[RECORDING_STAGES] = {
    [RECORDING_OPENING] = "",
    [RECORDING_PART] = RECORDING_PART_SUFFIX,
    [RECORDING_DONE] = "",
    [RECORDING_DAMAGED] = ".damaged",
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool channel_name_is_valid(const char *text)
{
    size_t bytes = 0;
    for (; text[bytes] != '\0'; bytes++) {
        bool letter = (text[bytes] >= 'a' && text[bytes] <= 'z') || is_digit(text[bytes]);
        if (!letter && (bytes == 0 || strchr("_.-", text[bytes]) == NULL))
            return false;
    }
    return bytes > 0 && bytes <= CHANNEL_NAME_BYTES_MAX;
}

char *recording_name_write(char text[RECORDING_NAME_BYTES], const struct recording_name *name)
{
    struct calendar at;
    if (name->stage == RECORDING_OPENING) {
        snprintf(text, RECORDING_NAME_BYTES, OPENING_NAME "%s", lane_suffixes[name->lane]);
        return text;
    }
    calendar_from_ns(name->stamp_ns, &at);
    snprintf(text, RECORDING_NAME_BYTES,
             "%.*s-%04u%02u%02uT%02u%02u%02u.%06uZ-%06" PRIu64 "%s" RECORDING_SUFFIX "%s",
             CHANNEL_NAME_BYTES_MAX, name->channel, (unsigned)at.year % 10000,
             (unsigned)at.month % 100, (unsigned)at.day % 100, (unsigned)at.hour % 100,
             (unsigned)at.minute % 100, (unsigned)at.second % 100,
             (unsigned)at.nanosecond / 1000 % 1000000, name->number, lane_suffixes[name->lane],
             stage_suffixes[name->stage]);
    return text;
}

/* Cuts the suffix off the `*bytes` of text, if it is there and something is in front of it. */
static bool cut(const char *text, size_t *bytes, const char *suffix)
{
    size_t length = strlen(suffix);
    if (*bytes <= length || memcmp(text + *bytes - length, suffix, length) != 0)
        return false;
    *bytes -= length;
    return true;
}

/* The number that `count` digits at `text` are. */
static int read_digits(const char *text, unsigned count)
{
    int value = 0;
    for (unsigned i = 0; i < count; i++)
        value = value * 10 + (text[i] - '0');
    return value;
}

/* Cuts "-STAMP-NUMBER" off. */
static bool cut_stamp_and_number(struct recording_name *name, const char *text, size_t *bytes)
{
    static const char form[] = STAMP_FORM;
    uint64_t scale = 1;
    unsigned digits = 0;
    name->number = 0;
    for (; *bytes > 0 && is_digit(text[*bytes - 1]); --*bytes, digits++, scale *= 10) {
        if (digits == NUMBER_DIGITS_MAX)
            return false;
        name->number += scale * (uint64_t)(text[*bytes - 1] - '0');
    }
    if (digits < NUMBER_DIGITS || *bytes <= sizeof(form) - 1)
        return false;
    *bytes -= sizeof(form) - 1;
    const char *stamp = text + *bytes;
    for (size_t i = 0; i < sizeof(form) - 1; i++)
        if (form[i] == '0' ? !is_digit(stamp[i]) : stamp[i] != form[i])
            return false;
    struct calendar at = {.year = read_digits(stamp + 1, 4),
                          .month = read_digits(stamp + 5, 2),
                          .day = read_digits(stamp + 7, 2),
                          .hour = read_digits(stamp + 10, 2),
                          .minute = read_digits(stamp + 12, 2),
                          .second = read_digits(stamp + 14, 2),
                          .nanosecond = read_digits(stamp + 17, 6) * 1000};
    return calendar_to_ns(&at, &name->stamp_ns) == 0;
}

static bool read_opening(struct recording_name *name, const char *text)
{
    static const char opening[] = OPENING_NAME;
    *name = (struct recording_name){.stage = RECORDING_OPENING};
    if (strncmp(text, opening, sizeof(opening) - 1) != 0)
        return false;
    for (; name->lane < RECORDING_LANES; name->lane++)
        if (strcmp(text + sizeof(opening) - 1, lane_suffixes[name->lane]) == 0)
            return true;
    return false;
}

bool recording_name_read(struct recording_name *name, const char *text)
{
    char again[RECORDING_NAME_BYTES];
    size_t bytes = strlen(text);
    if (bytes >= sizeof(again))
        return false;
    if (text[0] == '.')
        return read_opening(name, text);
    *name = (struct recording_name){.stage = RECORDING_DONE};
    if (cut(text, &bytes, stage_suffixes[RECORDING_PART]))
        name->stage = RECORDING_PART;
    else if (cut(text, &bytes, stage_suffixes[RECORDING_DAMAGED]))
        name->stage = RECORDING_DAMAGED;
    if (!cut(text, &bytes, RECORDING_SUFFIX))
        return false;
    if (cut(text, &bytes, lane_suffixes[RECORDING_REJECTS]))
        name->lane = RECORDING_REJECTS;
    if (!cut_stamp_and_number(name, text, &bytes) || bytes >= sizeof(name->channel))
        return false;
    memcpy(name->channel, text, bytes);
    if (!channel_name_is_valid(name->channel))
        return false;
    /* Also refuses a number with more zeros in front than it is written with. */
    return strcmp(recording_name_write(again, name), text) == 0;
}
