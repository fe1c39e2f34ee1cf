/* SPDX-License-Identifier: MIT
 * The terminal. Relies on TIOCGWINSZ, which every Unix has. No known faults. */
#define _POSIX_C_SOURCE 200809L
#include "os/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

bool terminal_is_output(uint32_t *columns)
{
    if (!isatty(STDOUT_FILENO))
        return false;
    struct winsize size = {0};
    *columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    return true;
}
