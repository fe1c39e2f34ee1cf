/* SPDX-License-Identifier: MIT
 * The terminal. Relies on TIOCGWINSZ, which every Unix has. No known faults. */
#define _POSIX_C_SOURCE 200809L
#include "os/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

static bool is_terminal(int descriptor, uint32_t *columns)
{
    if (!isatty(descriptor))
        return false;
    struct winsize size = {0};
    *columns = ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    return true;
}

bool terminal_is_output(uint32_t *columns)
{
    return is_terminal(STDOUT_FILENO, columns);
}

bool terminal_is_error(uint32_t *columns)
{
    return is_terminal(STDERR_FILENO, columns);
}
