/* SPDX-License-Identifier: MIT
 * The programs' voice on stderr: one line a message, "PROGRAM: text" or "PROGRAM[NAME]: text".
 * Libraries never log, programs do, and never per datum. No timestamps (the journal adds its own).
 * A line that cannot be taken at once is dropped and counted; the count comes before the next. */
#ifndef FLOTILLA_BASE_LOG_H
#define FLOTILLA_BASE_LOG_H

#include <stddef.h>

/* Takes one whole line of at most LOG_LINE_BYTES_MAX with its end, without ever waiting. 0, or a
 * negative errno if it was not taken. Called from any thread. */
typedef int log_sink(const char *line, size_t bytes);

#define LOG_LINE_BYTES_MAX 4096u

/* Sets the words each line starts with; `name` may be NULL. Both must outlive the process's
 * logging. */
void log_start(const char *program, const char *name);

/* Sends all lines to `sink` from now on. Without one they go to stdio's stderr, which waits: good
 * enough for commands, wrong for what serves others. Before the first thread. */
void log_use(log_sink *sink);

/* Prints one whole line with a single write, so that lines of several processes do not mix.
 * Text longer than 1000 bytes is cut. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What was printed on stdio's stdout has to have arrived: 0, or 1 after telling why it has not,
 * once. For the end of a program. */
int log_end_output(void);

/* Prints text of several lines as it is, line by line; a line without an end gets one. */
void log_text(const char *text);

#endif
