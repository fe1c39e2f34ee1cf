/* SPDX-License-Identifier: MIT
 * Options of a verb, read by a table: "--name VALUE", "--name=VALUE", "-c VALUE", "--flag"; words
 * that are none stand where they like, and "--" ends the options. Relies on base/units,
 * base/timestamp and os/clock. */
#ifndef FLOTILLA_COMMAND_OPTIONS_H
#define FLOTILLA_COMMAND_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,          /* into: bool */
    OPTION_TEXT,          /* into: const char *, pointing into argv */
    OPTION_LEVEL,         /* into: uint64_t, 1; "--name=N": N, from 1 to `high` */
    OPTION_COUNT,         /* into: uint64_t; from `low` on */
    OPTION_RATE,          /* into: double, Hz; "100", "100Hz", "1kHz", 0 */
    OPTION_FACTOR,        /* into: double, at least 0; "2", "0.5" */
    OPTION_DURATION,      /* into: uint64_t, ms */
    OPTION_TIME,          /* into: uint64_t, ns since 1970; as base/timestamp.h has it */
    OPTION_PLACE_OR_TIME, /* into: struct option_place_or_time; what is no time is a place */
};

/* Of an option that may be given twice: once with a file or address, once with a time. Another of
 * the same kind is an error. */
struct option_place_or_time {
    char *place; /* NULL: not given */
    uint64_t ns;
    bool ns_given;
};

struct option_rule {
    const char *name; /* without the dashes */
    char letter;      /* as in "-c"; 0 for none */
    enum option_kind kind;
    void *into;
    unsigned low;  /* of OPTION_COUNT */
    unsigned high; /* of OPTION_LEVEL */
};

/* Reads the options in argv[1..] by `rules`, and moves the other words to argv[1..]. Returns their
 * number, or -1 after telling what is wrong (verb_usage). */
int options_read(const struct option_rule *rules, size_t rule_count, int argc, char **argv);

#endif
