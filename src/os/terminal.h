/* SPDX-License-Identifier: MIT
 * Whether a person looks at standard output or error, and how wide their window is. Source:
 * ioctl_tty(2). */
#ifndef FLOTILLA_OS_TERMINAL_H
#define FLOTILLA_OS_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* Whether standard output is a terminal; then `*columns` is its width (80 if it does not say). */
bool terminal_is_output(uint32_t *columns);
/* The same of standard error. */
bool terminal_is_error(uint32_t *columns);

/* Whether keys come one by one from standard input from here on, unseen, until terminal_keys_end:
 * false where it is no terminal, or this process is not in its foreground. */
bool terminal_keys_begin(void);
/* Puts the terminal back; harmless without terminal_keys_begin. */
void terminal_keys_end(void);

enum terminal_key {
    TERMINAL_NONE = 0,  /* in time; else a key is its character, or: */
    TERMINAL_END = 256, /* of standard input */
    TERMINAL_UP,
    TERMINAL_DOWN,
    TERMINAL_LEFT,
    TERMINAL_RIGHT,
    TERMINAL_OTHER
};
/* The next key, or byte of standard input, waited for up to `timeout_ns` (-1: for ever) or until a
 * signal comes. */
int terminal_key(int64_t timeout_ns);

#endif
