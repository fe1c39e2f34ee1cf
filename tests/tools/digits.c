/* SPDX-License-Identifier: MIT
 * Doubles from standard input, as they are in memory, to standard output as base/digits has them,
 * one a line: for another language's word on them. */
#include <stdio.h>

#include "base/digits.h"

int main(void)
{
    double value;
    char text[DIGITS_BYTES_MAX];
    while (fread(&value, sizeof(value), 1, stdin) == 1) {
        fwrite(text, 1, digits_double(text, value), stdout);
        putchar('\n');
    }
    return ferror(stdin) || fflush(stdout) != 0;
}
