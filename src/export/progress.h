/* SPDX-License-Identifier: MIT
 * How far a command is, on one line of a terminal; nothing where standard error is none. */
#ifndef FLOTILLA_EXPORT_PROGRESS_H
#define FLOTILLA_EXPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown;       /* it is a terminal */
    uint32_t columns; /* wide */
    uint64_t begun_ns, next_ns;
    bool on_line; /* a line is there that is to be cleared */
};

void progress_begin(struct progress *progress);
/* Shows that `done` of `total` bytes are, at `what`; at most a few times a second. */
void progress_show(struct progress *progress, const char *what, uint64_t done, uint64_t total);
/* Clears the line, for another or at the end. */
void progress_clear(struct progress *progress);

#endif
