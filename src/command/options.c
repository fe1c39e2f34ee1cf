/* SPDX-License-Identifier: MIT
 * The reader behind a verb's table of options. An option given twice keeps its last value, but for
 * OPTION_PLACE_OR_TIME.
 * Relies on argv being the verb's own to rearrange. */
#include "command/options.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/timestamp.h"
#include "base/units.h"
#include "command/usage.h"
#include "os/clock.h"

/* A plain number, without a unit. */
static int read_factor(const char *text, double *factor)
{
    char *end;
    double plain = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(plain) || plain < 0)
        return -1;
    *factor = plain;
    return 0;
}

static int tell_level(const struct option_rule *rule, const char *verb, const char *value)
{
    verb_usage(verb, "--%s, or --%s=N with N from 1 to %u, not \"%s\"", rule->name, rule->name,
               rule->high, value);
    return -1;
}

static int take_value(const struct option_rule *rule, const char *verb, char *value)
{
    const char *wanted = NULL;
    switch (rule->kind) {
    case OPTION_FLAG:
        *(bool *)rule->into = true;
        break;
    case OPTION_LEVEL:
        *(uint64_t *)rule->into = 1;
        if (value != NULL && units_read_count(value, 1, rule->high, rule->into) < 0)
            return tell_level(rule, verb, value);
        break;
    case OPTION_TEXT:
        *(const char **)rule->into = value;
        break;
    case OPTION_COUNT:
        if (units_read_count(value, rule->low, UINT64_MAX, rule->into) < 0)
            wanted = rule->low > 0 ? "a whole number from 1" : "a whole number";
        break;
    case OPTION_RATE:
        if (read_factor(value, rule->into) < 0 && units_read_rate(value, rule->into) < 0)
            wanted = "a rate (100, 100Hz, 1kHz)";
        break;
    case OPTION_FACTOR:
        if (read_factor(value, rule->into) < 0)
            wanted = "a number (2, 0.5)";
        break;
    case OPTION_DURATION:
        if (units_read_duration(value, rule->into) < 0)
            wanted = "a duration (500ms, 10s, 5min)";
        break;
    case OPTION_TIME:
        if (timestamp_read(value, clock_realtime_ns(), rule->into) < 0)
            wanted = "a time (" TIMESTAMP_FORMS ")";
        break;
    case OPTION_PLACE_OR_TIME: {
        struct option_place_or_time *into = rule->into;
        bool is_time = timestamp_read(value, clock_realtime_ns(), &into->ns) == 0;
        if (is_time ? into->ns_given : into->place != NULL)
            wanted = is_time ? "one time" : "one file or address";
        into->ns_given = into->ns_given || is_time;
        into->place = is_time ? into->place : value;
        break;
    }
    }
    if (wanted == NULL)
        return 0;
    verb_usage(verb, "--%s needs %s, not %s\"%s\"", rule->name, wanted,
               rule->kind == OPTION_PLACE_OR_TIME ? "also " : "", value);
    return -1;
}

static const struct option_rule *find_rule(const struct option_rule *rules, size_t rule_count,
                                           char *word, char **value)
{
    bool is_long = word[1] == '-';
    char *name = word + (is_long ? 2 : 1);
    size_t bytes = is_long ? strcspn(name, "=") : strlen(name);
    *value = name[bytes] == '=' ? name + bytes + 1 : NULL;
    for (size_t i = 0; i < rule_count; i++)
        if (is_long ? strlen(rules[i].name) == bytes && memcmp(rules[i].name, name, bytes) == 0
                    : bytes == 1 && rules[i].letter == name[0])
            return &rules[i];
    return NULL;
}

int options_read(const struct option_rule *rules, size_t rule_count, int argc, char **argv)
{
    int words = 0;
    bool ended = false;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (ended || word[0] != '-' || word[1] == '\0') {
            argv[1 + words++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            ended = true;
            continue;
        }
        char *value;
        const struct option_rule *rule = find_rule(rules, rule_count, word, &value);
        if (rule == NULL) {
            verb_usage(argv[0], "unknown option %s", word);
            return -1;
        }
        if (rule->kind == OPTION_FLAG && value != NULL) {
            verb_usage(argv[0], "--%s takes no value", rule->name);
            return -1;
        }
        if (rule->kind != OPTION_FLAG && rule->kind != OPTION_LEVEL && value == NULL) {
            if (i + 1 == argc) {
                verb_usage(argv[0], "%s needs a value", word);
                return -1;
            }
            value = argv[++i];
        }
        if (take_value(rule, argv[0], value) < 0)
            return -1;
    }
    return words;
}
