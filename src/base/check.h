/* SPDX-License-Identifier: MIT
 * CHECK states what must hold unless Flotilla itself is wrong; input is never CHECKed but handled.
 * A failed CHECK prints the place and aborts, in every build. */
#ifndef FLOTILLA_BASE_CHECK_H
#define FLOTILLA_BASE_CHECK_H

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(__FILE__, __LINE__, #condition);                                          \
    } while (0)

/* Prints "FILE:LINE: check failed: TEXT" to stderr and aborts. Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *text);

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
