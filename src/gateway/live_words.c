/* SPDX-License-Identifier: MIT
 * A table of what each message may have. Nesting is looked at before jansson reads it, which else
 * goes as deep as a message does. */
#include "gateway/live_words.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "channel/recording_name.h"

#define DEPTH_MAX       4
#define FIELD_BYTES_MAX 512u
#define WIDTH_NS_MIN    UINT64_C(1000000)
#define WIDTH_NS_MAX    UINT64_C(3600000000000)
#define WIDTH_POWER_MAX UINT64_C(100000000000000000)

struct reading {
    struct live_request *request;
    char *error;
    size_t error_bytes;
};

__attribute__((format(printf, 2, 3))) static bool refuse(const struct reading *reading,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reading->error, reading->error_bytes, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- values ---- */

/* Decimal digits, and a minus where it may be negative. */
static bool read_digits(const json_t *value, bool negative, int64_t *number)
{
    const char *at = json_string_value(value);
    bool minus = negative && at != NULL && *at == '-';
    if (at == NULL || strlen(at) != json_string_length(value))
        return false;
    at += minus;
    if (*at == '\0' || (at[0] == '0' && (at[1] != '\0' || minus)) || strlen(at) > 19)
        return false;
    *number = 0;
    for (; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || *number > (INT64_MAX - (*at - '0')) / 10)
            return false;
        *number = *number * 10 + (*at - '0');
    }
    if (minus)
        *number = -*number;
    return true;
}

static bool take_channel(struct reading *reading, const json_t *value)
{
    const char *name = json_string_value(value);
    if (name == NULL || strlen(name) != json_string_length(value) || !channel_name_is_valid(name))
        return refuse(reading, "channel: that is no name of a channel");
    snprintf(reading->request->channel, sizeof(reading->request->channel), "%s", name);
    return true;
}

static bool take_fields(struct reading *reading, const json_t *value)
{
    struct live_request *request = reading->request;
    size_t count = json_array_size(value);
    if (count == 0 || count > LIVE_FIELDS_MAX)
        return refuse(reading, "fields: a list of 1 to %u names", LIVE_FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(value, i);
        const char *name = json_string_value(one);
        size_t bytes = json_string_length(one);
        if (name == NULL || bytes > FIELD_BYTES_MAX || strlen(name) != bytes)
            return refuse(reading, "fields: each is a name of at most %u bytes", FIELD_BYTES_MAX);
        request->fields[request->field_count++] = name;
    }
    return true;
}

static bool is_of_series(uint64_t width_ns)
{
    while (width_ns >= 10 && width_ns % 10 == 0)
        width_ns /= 10;
    return width_ns == 1 || width_ns == 2 || width_ns == 5;
}

static bool take_bin(struct reading *reading, const json_t *value)
{
    int64_t number = 0;
    if (!read_digits(value, false, &number) ||
        (number != 0 && ((uint64_t)number < WIDTH_NS_MIN || (uint64_t)number > WIDTH_NS_MAX ||
                         !is_of_series((uint64_t)number))))
        return refuse(reading, "bin_ns: \"0\", or 1, 2 or 5 times a power of ten, from "
                               "\"1000000\" to \"3600000000000\", as a string");
    reading->request->bin_ns = (uint64_t)number;
    return true;
}

static bool take_back(struct reading *reading, const json_t *value)
{
    int64_t number = 0;
    if (!read_digits(value, false, &number) || number > LIVE_TIME_NS_MAX)
        return refuse(reading, "back_ns: nanoseconds, as a string of digits");
    reading->request->back_ns = (uint64_t)number;
    return true;
}

static bool take_latest(struct reading *reading, const json_t *value)
{
    if (!json_is_boolean(value))
        return refuse(reading, "latest: true or false");
    reading->request->latest = json_is_true(value);
    return true;
}

static bool take_time(struct reading *reading, const json_t *value, const char *key, int64_t *into)
{
    if (!read_digits(value, true, into) || *into > LIVE_TIME_NS_MAX || *into < -LIVE_TIME_NS_MAX)
        return refuse(reading, "%s: nanoseconds since 1970, as a string of digits", key);
    return true;
}

static bool take_from(struct reading *reading, const json_t *value)
{
    return take_time(reading, value, "from", &reading->request->from_ns);
}

static bool take_to(struct reading *reading, const json_t *value)
{
    return take_time(reading, value, "to", &reading->request->to_ns);
}

static bool take_points(struct reading *reading, const json_t *value)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 1 || number > (json_int_t)LIVE_POINTS_MAX)
        return refuse(reading, "points: a number from 1 to %u", LIVE_POINTS_MAX);
    reading->request->points = (uint32_t)number;
    return true;
}

/* ---- messages ---- */

#define OF(op) (1u << (op))

static const struct {
    const char *name;
    bool (*take)(struct reading *reading, const json_t *value);
    unsigned may, must; /* operations that may, and must have it */
} keys[] = {
    {"channel", take_channel, OF(LIVE_SUBSCRIBE) | OF(LIVE_HISTORY),
     OF(LIVE_SUBSCRIBE) | OF(LIVE_HISTORY)},
    {"fields", take_fields, OF(LIVE_SUBSCRIBE) | OF(LIVE_HISTORY),
     OF(LIVE_SUBSCRIBE) | OF(LIVE_HISTORY)},
    {"bin_ns", take_bin, OF(LIVE_SUBSCRIBE), OF(LIVE_SUBSCRIBE)},
    {"back_ns", take_back, OF(LIVE_SUBSCRIBE), 0},
    {"latest", take_latest, OF(LIVE_SUBSCRIBE), 0},
    {"from", take_from, OF(LIVE_HISTORY), OF(LIVE_HISTORY)},
    {"to", take_to, OF(LIVE_HISTORY), OF(LIVE_HISTORY)},
    {"points", take_points, OF(LIVE_HISTORY), OF(LIVE_HISTORY)},
};

static const char *const ops[] = {
    [LIVE_SUBSCRIBE] = "subscribe",
    [LIVE_UNSUBSCRIBE] = "unsubscribe",
    [LIVE_HISTORY] = "history",
    [LIVE_CANCEL] = "cancel",
};

static bool is_nested_too_deep(struct span message)
{
    int depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < message.bytes; i++) {
        uint8_t letter = message.at[i];
        if (quoted && letter == '\\')
            i++;
        else if (letter == '"')
            quoted = !quoted;
        else if (!quoted && (letter == '[' || letter == '{'))
            most = ++depth > most ? depth : most;
        else if (!quoted && (letter == ']' || letter == '}'))
            depth--;
    }
    return most > DEPTH_MAX;
}

/* Its op and id, so that a refusal can name it. */
static bool take_head(struct reading *reading)
{
    struct live_request *request = reading->request;
    const json_t *id = json_object_get(request->message, "id");
    const char *op = json_string_value(json_object_get(request->message, "op"));
    json_int_t number = json_integer_value(id);
    if (json_is_integer(id) && number >= 1 && number <= (json_int_t)UINT32_MAX) {
        request->has_id = true;
        request->id = (uint32_t)number;
    }
    for (size_t i = 0; i < ARRAY_COUNT(ops) && op != NULL; i++)
        if (strcmp(ops[i], op) == 0) {
            request->op = (enum live_op)i;
            return request->has_id || refuse(reading, "id: a number from 1 to 4294967295");
        }
    return refuse(reading, "op: one of subscribe, unsubscribe, history, cancel");
}

static bool take_keys(struct reading *reading)
{
    struct live_request *request = reading->request;
    unsigned op = OF(request->op);
    const char *name;
    json_t *value;
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++)
        if ((keys[i].must & op) != 0 && json_object_get(request->message, keys[i].name) == NULL)
            return refuse(reading, "%s is missing", keys[i].name);
    json_object_foreach(request->message, name, value)
    {
        size_t i = 0;
        if (strcmp(name, "op") == 0 || strcmp(name, "id") == 0)
            continue;
        while (i < ARRAY_COUNT(keys) && strcmp(keys[i].name, name) != 0)
            i++;
        if (i == ARRAY_COUNT(keys) || (keys[i].may & op) == 0)
            return refuse(reading, "there is no \"%.40s\" in %s", name, ops[request->op]);
        if (!keys[i].take(reading, value))
            return false;
    }
    return true;
}

/* What goes together only so. */
static bool is_possible(const struct reading *reading)
{
    const struct live_request *request = reading->request;
    if (request->op == LIVE_SUBSCRIBE && request->bin_ns == 0 && request->back_ns > 0)
        return refuse(reading, "back_ns: single datums have no past; ask for history");
    if (request->op == LIVE_SUBSCRIBE && request->bin_ns > 0 &&
        request->back_ns / request->bin_ns > LIVE_BINS_MAX)
        return refuse(reading, "back_ns: at most %u bins", LIVE_BINS_MAX);
    if (request->op == LIVE_HISTORY && request->from_ns >= request->to_ns)
        return refuse(reading, "the span ends before it begins");
    if (request->op == LIVE_HISTORY &&
        (uint64_t)request->points * request->field_count > LIVE_CELLS_MAX)
        return refuse(reading, "points times fields are at most %u", LIVE_CELLS_MAX);
    return true;
}

bool live_read(struct live_request *request, struct span message, char *error, size_t error_bytes)
{
    struct reading reading = {request, error, error_bytes};
    json_error_t fault;
    *request = (struct live_request){0};
    if (is_nested_too_deep(message))
        return refuse(&reading, "the message is nested too deep");
    request->message =
        json_loadb((const char *)message.at, message.bytes, JSON_REJECT_DUPLICATES, &fault);
    if (request->message == NULL)
        return refuse(&reading, "the message is no JSON: line %d, column %d: %s", fault.line,
                      fault.column, fault.text);
    if (!json_is_object(request->message))
        return refuse(&reading, "the message is no JSON object");
    return take_head(&reading) && take_keys(&reading) && is_possible(&reading);
}

uint64_t live_width(uint64_t span_ns, uint32_t points)
{
    static const uint64_t steps[] = {1, 2, 5};
    uint64_t width = 1;
    for (uint64_t power = 1;; power *= 10)
        for (size_t i = 0; i < ARRAY_COUNT(steps); i++) {
            if (power > WIDTH_POWER_MAX || steps[i] * power > span_ns / points)
                return width;
            width = steps[i] * power;
        }
}
