/* SPDX-License-Identifier: MIT
 * Standard error as the place of a service's log: a line is written at once or not at all, so that
 * a reader that stalls (a full pipe, a terminal on hold) never stops the program.
 * And whether standard output is read at all.
 * Sources: pipe(7) on PIPE_BUF, proc(5) on /proc/PID/fd, send(2) on MSG_DONTWAIT. */
#ifndef FLOTILLA_OS_OUTPUT_H
#define FLOTILLA_OS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#define OUTPUT_LINE_BYTES_MAX 4096u /* what a pipe takes whole or not at all */

/* Finds out what standard error is. Once, before the first thread and before any sandbox: it may
 * open a descriptor, which stays open to the program's end. */
void output_start(void);

/* Writes `bytes` <= OUTPUT_LINE_BYTES_MAX to standard error, never waiting for whoever reads it. 0,
 * or a negative errno if they were not taken (-EAGAIN: not now). From any thread. */
int output_line(const char *line, size_t bytes);

/* Whether nobody reads standard output any more: a pipe or socket whose other end was closed. For
 * who may have nothing to write for long. */
bool output_is_unread(void);

#endif
