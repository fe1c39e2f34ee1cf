/* SPDX-License-Identifier: MIT
 * The terminal. Relies on TIOCGWINSZ, which every Unix has. Known: of keys that send longer
 * sequences than arrows the rest counts as keys. */
#define _POSIX_C_SOURCE 200809L
#include "os/terminal.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { NS_PER_MS = 1000000, ESCAPE_MS = 20 }; /* in which the rest of a key's bytes comes */

static struct termios before;
static bool changed;

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

bool terminal_keys_begin(void)
{
    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
        tcgetattr(STDIN_FILENO, &before) < 0)
        return false;
    struct termios raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals stay */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    changed = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    return changed;
}

void terminal_keys_end(void)
{
    if (changed)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    changed = false;
}

/* One byte; -1 if none comes in time, TERMINAL_END where none ever will. */
static int next_byte(int timeout_ms)
{
    struct pollfd waiting = {.fd = STDIN_FILENO, .events = POLLIN};
    unsigned char byte;
    if (poll(&waiting, 1, timeout_ms) <= 0)
        return -1;
    ssize_t got = read(STDIN_FILENO, &byte, 1);
    if (got == 1)
        return byte;
    return got < 0 && (errno == EINTR || errno == EAGAIN) ? -1 : TERMINAL_END;
}

int terminal_key(int64_t timeout_ns)
{
    int byte = next_byte(timeout_ns < 0 ? -1 : (int)(timeout_ns / NS_PER_MS));
    if (byte < 0)
        return TERMINAL_NONE;
    if (byte != 0x1b)
        return byte;
    if (next_byte(ESCAPE_MS) != '[')
        return TERMINAL_OTHER;
    switch (next_byte(ESCAPE_MS)) {
    case 'A':
        return TERMINAL_UP;
    case 'B':
        return TERMINAL_DOWN;
    case 'C':
        return TERMINAL_RIGHT;
    case 'D':
        return TERMINAL_LEFT;
    default:
        return TERMINAL_OTHER;
    }
}
