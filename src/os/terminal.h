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

#endif
