/* SPDX-License-Identifier: MIT
 * Options of a verb, read by a table: "--name VALUE", "--name=VALUE", "-c VALUE", "--flag"; words
 * that are none stand where they like, and "--" ends the options. Relies on base/units. */
#ifndef FLOTILLA_CLI_OPTIONS_H
#define FLOTILLA_CLI_OPTIONS_H

#include <stddef.h>

enum option_kind {
    OPTION_FLAG,     /* into: bool */
    OPTION_TEXT,     /* into: const char *, pointing into argv */
    OPTION_COUNT,    /* into: uint64_t; from `low` on */
    OPTION_RATE,     /* into: double, Hz; "100", "100Hz", "1kHz", 0 */
    OPTION_DURATION, /* into: uint64_t, ms */
};

struct option_rule {
    const char *name; /* without the dashes */
    char letter;      /* as in "-c"; 0 for none */
    enum option_kind kind;
    void *into;
    unsigned low; /* of OPTION_COUNT */
};

/* Reads the options in argv[1..] by `rules`, and moves the other words to argv[1..]. Returns their
 * number, or -1 after telling what is wrong (verb_usage). */
int options_read(const struct option_rule *rules, size_t rule_count, int argc, char **argv);

#endif
