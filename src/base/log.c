/* SPDX-License-Identifier: MIT
 * One line a message on stderr. Relies on stderr being unbuffered, so that a line is one write. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char *log_program = "flotilla";
static const char *log_name;

void log_start(const char *program, const char *name)
{
    log_program = program;
    log_name = name;
}

void log_line(const char *format, ...)
{
    char line[1100];
    int used = log_name ? snprintf(line, 100, "%s[%s]: ", log_program, log_name)
                        : snprintf(line, 100, "%s: ", log_program);
    if (used > 99)
        used = 99;
    va_list arguments;
    va_start(arguments, format);
    int text = vsnprintf(line + used, 1000, format, arguments);
    va_end(arguments);
    used += text < 0 ? 0 : text > 999 ? 999 : text;
    line[used++] = '\n';
    fwrite(line, 1, (size_t)used, stderr);
}

void check_failed(const char *file, int line, const char *text)
{
    log_line("%s:%d: check failed: %s", file, line, text);
    abort();
}
