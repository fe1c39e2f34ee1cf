/* SPDX-License-Identifier: MIT
 * What a command says of words that it cannot take. */
#include "command/usage.h"

#include <stdarg.h>
#include <stdio.h>

int verb_usage(const char *verb, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "flotilla %s: ", verb);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry 'flotilla %s --help'.\n", verb);
    return EXIT_USAGE;
}
