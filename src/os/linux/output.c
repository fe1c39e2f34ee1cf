/* SPDX-License-Identifier: MIT
 * Standard error that never waits, on Linux. O_NONBLOCK belongs to an open file, and that one is
 * shared with the user's shell and with whoever else logs there; so a pipe or a terminal is opened
 * once more through /proc/self/fd, as an open file of our own. A socket (the journal) is told with
 * each send. Known limit: where it cannot be opened again (no /proc, another user's terminal), a
 * poll stands in front of a plain write, and two writers can meet in between. */
#define _GNU_SOURCE
#include "os/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STANDARD_OUTPUT = 1, STANDARD_ERROR = 2 };

static enum { PLAIN, POLLED, OWN, SOCKET } output_kind = POLLED;
static int output_own = -1;

void output_start(void)
{
    struct stat about;
    if (output_own >= 0 || fstat(STANDARD_ERROR, &about) < 0)
        return;
    if (S_ISREG(about.st_mode)) {
        output_kind = PLAIN;
    } else if (S_ISSOCK(about.st_mode)) {
        output_kind = SOCKET;
    } else {
        output_own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        output_kind = output_own >= 0 ? OWN : POLLED;
    }
}

static ssize_t write_once(const char *line, size_t bytes)
{
    struct pollfd room = {.fd = STANDARD_ERROR, .events = POLLOUT};
    switch (output_kind) {
    case PLAIN:
        return write(STANDARD_ERROR, line, bytes);
    case OWN:
        return write(output_own, line, bytes);
    case SOCKET:
        return send(STANDARD_ERROR, line, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    case POLLED:
        /* Writable means room for PIPE_BUF bytes at least. */
        if (poll(&room, 1, 0) != 1 || !(room.revents & POLLOUT)) {
            errno = EAGAIN;
            return -1;
        }
        return write(STANDARD_ERROR, line, bytes);
    }
    return 0;
}

int output_line(const char *line, size_t bytes)
{
    ssize_t took;
    do
        took = write_once(line, bytes < OUTPUT_LINE_BYTES_MAX ? bytes : OUTPUT_LINE_BYTES_MAX);
    while (took < 0 && errno == EINTR);
    return took < 0 ? -errno : (size_t)took < bytes ? -EAGAIN : 0;
}

bool output_is_unread(void)
{
    struct pollfd reader = {.fd = STANDARD_OUTPUT};
    return poll(&reader, 1, 0) == 1 && (reader.revents & (POLLERR | POLLHUP)) != 0;
}
