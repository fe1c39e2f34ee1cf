/* SPDX-License-Identifier: MIT
 * The programs' voice on stderr: one line a message, "PROGRAM: text" or "PROGRAM[NAME]: text".
 * Libraries never log, programs do, and never per datum. Relies on stdio; no timestamps (the
 * journal adds its own). */
#ifndef FLOTILLA_BASE_LOG_H
#define FLOTILLA_BASE_LOG_H

/* Sets the words each line starts with; `name` may be NULL. Both must outlive the process's
 * logging. */
void log_start(const char *program, const char *name);

/* Prints one whole line with a single write, so that lines of several processes do not mix.
 * Text longer than 1000 bytes is cut. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
