/* SPDX-License-Identifier: MIT
 * How the commands end and how they are told to be used. */
#ifndef FLOTILLA_COMMAND_USAGE_H
#define FLOTILLA_COMMAND_USAGE_H

enum verb_exit {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_LOSS = 3,
    EXIT_BEYOND = 4, /* over a limit of this program, or in a codec that it does not know */
    EXIT_CONFIG = 78
};

/* Prints "flotilla VERB: text" and "Try 'flotilla VERB --help'." to stderr; returns EXIT_USAGE. */
int verb_usage(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
