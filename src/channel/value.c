/* SPDX-License-Identifier: MIT
 * Reading and writing values by their form. Part of the static relay: no allocation, no files.
 * Relies on enums having the size of int, which is asserted beside their tables.
 * Known faults: messages quote at most 80 bytes of a text. */
#include "channel/value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/units.h"
#include "channel/recording_name.h"
#include "channel/settings.h"
#include "os/net.h"

#define PERCENT_DECIMALS 6

struct message {
    char *text;
    size_t bytes;
};

__attribute__((format(printf, 2, 3))) static int fault(struct message message, const char *format,
                                                       ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (message.bytes > 0)
        vsnprintf(message.text, message.bytes, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int read_text(const struct value_form *form, const char *text, char *into,
                     struct message message)
{
    size_t bytes = strlen(text);
    if (bytes < form->low)
        return fault(message, "a value is needed");
    if (bytes > form->high)
        return fault(message, "%zu bytes is too long; at most %llu", bytes,
                     (unsigned long long)form->high);
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            return fault(message, "control characters are not allowed");
    memcpy(into, text, bytes + 1);
    return 0;
}

static int read_name(const char *text, char *into, struct message message)
{
    if (!channel_name_is_valid(text))
        return fault(message,
                     "\"%.80s\" is not a channel name: 1 to %d of a-z 0-9 _ . -, beginning with a "
                     "letter or digit",
                     text, CHANNEL_NAME_BYTES_MAX);
    memcpy(into, text, strlen(text) + 1);
    return 0;
}

static int read_interface(const char *text, char *into, struct message message)
{
    size_t bytes = strlen(text);
    bool good = bytes > 0 && bytes < NET_INTERFACE_BYTES;
    for (size_t i = 0; good && i < bytes; i++)
        good = (unsigned char)text[i] > ' ' && text[i] != '/' && text[i] != 0x7f;
    if (!good)
        return fault(message, "\"%.80s\" is not an interface name, such as eth0: 1 to %d bytes",
                     text, NET_INTERFACE_BYTES - 1);
    memcpy(into, text, bytes + 1);
    return 0;
}

static int read_address(const char *text, struct address *into, struct message message)
{
    struct address address;
    if (net_read_address(text, &address) < 0) {
        const char *colon = strrchr(text, ':'), *closing = strrchr(text, ']');
        bool no_port = colon == NULL || (closing != NULL && closing > colon);
        return fault(message,
                     "\"%.80s\" is not ADDRESS:PORT, such as 239.10.0.1:26000 or [ff15::1]:26000%s",
                     text, no_port && *text != '\0' ? "; the port is missing" : "");
    }
    *into = address;
    return 0;
}

static int read_prefix(const char *text, struct prefix *into, struct message message)
{
    struct prefix prefix;
    if (net_read_prefix(text, &prefix) < 0)
        return fault(message,
                     "\"%.80s\" is not ADDRESS or NETWORK/BITS, such as 10.0.0.7 or 10.0.0.0/24",
                     text);
    *into = prefix;
    return 0;
}

static int read_count(const struct value_form *form, const char *text, uint32_t *into,
                      struct message message)
{
    uint64_t count;
    if (units_read_count(text, form->low, form->high, &count) < 0)
        return fault(message, "\"%.80s\" is not a whole number from %llu to %llu", text,
                     (unsigned long long)form->low, (unsigned long long)form->high);
    *into = (uint32_t)count;
    return 0;
}

static int read_amount(const struct value_form *form, const char *text, uint64_t *into,
                       struct message message)
{
    bool bytes = form->kind == VALUE_BYTES;
    uint64_t amount = 0;
    int error = bytes ? units_read_bytes(text, &amount) : units_read_duration(text, &amount);
    if (error == -EINVAL)
        return fault(message,
                     bytes ? "\"%.80s\" is not a size with its unit, such as 512KiB, 64MiB or 1GiB"
                           : "\"%.80s\" is not a duration with its unit, such as 100ms, 10s, 5min, "
                             "1h or 7d",
                     text);
    if (error < 0 || amount > form->high ||
        (amount < form->low && !(amount == 0 && form->zero != NULL))) {
        char low[UNITS_TEXT_BYTES], high[UNITS_TEXT_BYTES];
        if (bytes) {
            units_write_bytes(low, form->low);
            units_write_bytes(high, form->high);
        } else {
            units_write_duration(low, form->low);
            units_write_duration(high, form->high);
        }
        return fault(message, "%.80s is out of range: %s to %s%s%s%s", text, low, high,
                     form->zero != NULL ? ", or 0 for \"" : "",
                     form->zero != NULL ? form->zero : "", form->zero != NULL ? "\"" : "");
    }
    *into = amount;
    return 0;
}

static int read_percent(const char *text, double *into, struct message message)
{
    /* More decimals would not survive value_write. */
    const char *point = strchr(text, '.');
    double percent;
    if (units_read_percent(text, &percent) < 0 ||
        (point != NULL && strlen(point + 1) > PERCENT_DECIMALS + 1))
        return fault(message, "\"%.80s\" is not a percentage from 0%% to 100%%, such as 5%%", text);
    *into = percent;
    return 0;
}

static int read_choice(const struct value_form *form, const char *text, int *into,
                       struct message message)
{
    const char *best = NULL;
    char known[200] = "";
    size_t used = 0;
    for (int i = 0; form->choices[i] != NULL; i++) {
        if (strcmp(form->choices[i], text) == 0) {
            *into = i;
            return 0;
        }
        nearest_offer(text, form->choices[i], &best);
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 form->choices[i]);
        if (used >= sizeof known)
            used = sizeof known - 1;
    }
    if (best != NULL)
        return fault(message, "unknown value \"%.80s\"; did you mean \"%s\"?", text, best);
    return fault(message, "unknown value \"%.80s\"; one of: %s", text, known);
}

static int read_boolean(const char *text, bool *into, struct message message)
{
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0)
        return fault(message, "\"%.80s\" is neither true nor false", text);
    *into = yes;
    return 0;
}

int value_read(const struct value_form *form, const char *text, void *into, char *error,
               size_t error_bytes)
{
    struct message message = {error, error_bytes};
    switch (form->kind) {
    case VALUE_TEXT:
    case VALUE_PATH:
        return read_text(form, text, into, message);
    case VALUE_NAME:
        return read_name(text, into, message);
    case VALUE_INTERFACE:
        return read_interface(text, into, message);
    case VALUE_ADDRESS:
        return read_address(text, into, message);
    case VALUE_PREFIX:
        return read_prefix(text, into, message);
    case VALUE_COUNT:
        return read_count(form, text, into, message);
    case VALUE_BYTES:
    case VALUE_DURATION:
        return read_amount(form, text, into, message);
    case VALUE_PERCENT:
        return read_percent(text, into, message);
    case VALUE_CHOICE:
        return read_choice(form, text, into, message);
    case VALUE_BOOLEAN:
        return read_boolean(text, into, message);
    }
    return fault(message, "no such kind of value");
}

static void write_percent(double percent, char text[VALUE_TEXT_BYTES])
{
    int used = snprintf(text, VALUE_TEXT_BYTES, "%.*f", PERCENT_DECIMALS, percent);
    while (used > 0 && text[used - 1] == '0')
        used--;
    if (used > 0 && text[used - 1] == '.')
        used--;
    snprintf(text + used, VALUE_TEXT_BYTES - (size_t)used, "%%");
}

char *value_write(const struct value_form *form, const void *from, char text[VALUE_TEXT_BYTES])
{
    text[0] = '\0';
    switch (form->kind) {
    case VALUE_TEXT:
    case VALUE_PATH:
    case VALUE_NAME:
    case VALUE_INTERFACE:
        snprintf(text, VALUE_TEXT_BYTES, "%s", (const char *)from);
        break;
    case VALUE_ADDRESS:
        if (((const struct address *)from)->family != 0)
            net_write_address(text, from);
        break;
    case VALUE_PREFIX:
        net_write_prefix(text, from);
        break;
    case VALUE_COUNT:
        snprintf(text, VALUE_TEXT_BYTES, "%lu", (unsigned long)*(const uint32_t *)from);
        break;
    case VALUE_BYTES:
        units_write_bytes(text, *(const uint64_t *)from);
        break;
    case VALUE_DURATION:
        units_write_duration(text, *(const uint64_t *)from);
        break;
    case VALUE_PERCENT:
        write_percent(*(const double *)from, text);
        break;
    case VALUE_CHOICE:
        snprintf(text, VALUE_TEXT_BYTES, "%s", form->choices[*(const int *)from]);
        break;
    case VALUE_BOOLEAN:
        snprintf(text, VALUE_TEXT_BYTES, "%s", *(const bool *)from ? "true" : "false");
        break;
    }
    return text;
}

char *value_describe(const struct value_form *form, char text[VALUE_TEXT_BYTES])
{
    static const char *const names[] = {
        [VALUE_TEXT] = "TEXT",
        [VALUE_PATH] = "PATH",
        [VALUE_NAME] = "NAME",
        [VALUE_INTERFACE] = "NAME",
        [VALUE_ADDRESS] = "ADDRESS:PORT",
        [VALUE_PREFIX] = "ADDRESS[/BITS]",
        [VALUE_COUNT] = "N",
        [VALUE_BYTES] = "SIZE",
        [VALUE_DURATION] = "TIME",
        [VALUE_PERCENT] = "PERCENT",
        [VALUE_CHOICE] = "",
        [VALUE_BOOLEAN] = "true|false",
    };
    size_t used = (size_t)snprintf(text, VALUE_TEXT_BYTES, "%s", names[form->kind]);
    for (int i = 0; form->kind == VALUE_CHOICE && form->choices[i] != NULL; i++)
        used += (size_t)snprintf(text + used, VALUE_TEXT_BYTES - used, "%s%s", i > 0 ? "|" : "",
                                 form->choices[i]);
    return text;
}
