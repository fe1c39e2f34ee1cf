/* SPDX-License-Identifier: MIT
 * One line a message, through a sink that never waits. What a sink does not take is counted, and
 * the count is told before the next line that it takes. No system headers: see os/output. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static int write_to_stdio(const char *line, size_t bytes)
{
    fwrite(line, 1, bytes, stderr); /* unbuffered: a line is one write */
    return 0;
}

static const char *log_program = "flotilla";
static const char *log_name;
static log_sink *log_taker = write_to_stdio;
static _Atomic unsigned log_dropped;

void log_start(const char *program, const char *name)
{
    log_program = program;
    log_name = name;
}

void log_use(log_sink *sink)
{
    log_taker = sink;
}

static size_t write_start(char line[100])
{
    int used = log_name ? snprintf(line, 100, "%s[%s]: ", log_program, log_name)
                        : snprintf(line, 100, "%s: ", log_program);
    return used < 0 ? 0 : used > 99 ? 99 : (size_t)used;
}

/* Passes on a line, and before it what became of earlier ones. */
static void pass(const char *line, size_t bytes)
{
    /* Taken out before it is told, so that two threads never tell the same. */
    unsigned dropped = atomic_exchange(&log_dropped, 0);
    bool told = true;
    if (dropped) {
        char note[200];
        size_t used = write_start(note);
        int more = snprintf(note + used, 100, "%u lines of this log were dropped: nobody read it\n",
                            dropped);
        told = log_taker(note, used + (size_t)more) == 0;
    }
    if (!told)
        atomic_fetch_add(&log_dropped, dropped + 1);
    else if (log_taker(line, bytes) < 0)
        atomic_fetch_add(&log_dropped, 1);
}

void log_line(const char *format, ...)
{
    char line[1102];
    size_t used = write_start(line);
    va_list arguments;
    va_start(arguments, format);
    int text = vsnprintf(line + used, 1001, format, arguments);
    va_end(arguments);
    used += text < 0 ? 0 : text > 1000 ? 1000 : (size_t)text;
    line[used++] = '\n';
    pass(line, used);
}

void log_text(const char *text)
{
    while (*text) {
        char line[LOG_LINE_BYTES_MAX];
        size_t bytes = strcspn(text, "\n");
        size_t kept = bytes < sizeof line - 1 ? bytes : sizeof line - 1;
        memcpy(line, text, kept);
        line[kept] = '\n';
        pass(line, kept + 1);
        text += bytes + (text[bytes] == '\n');
    }
}

int log_end_output(void)
{
    static bool told;
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    /* Of a write that failed before, nothing but that is known. */
    if (!told)
        log_line("could not write all of the output%s%s", errno != 0 ? ": " : "",
                 errno != 0 ? strerror(errno) : "");
    told = true;
    return 1;
}

void check_failed(const char *file, int line, const char *text)
{
    log_line("%s:%d: check failed: %s", file, line, text);
    abort();
}
