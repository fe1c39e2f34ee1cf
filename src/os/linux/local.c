/* SPDX-License-Identifier: MIT
 * Local stream sockets on Linux. A socket address holds 107 characters of path, less than many a
 * temporary folder; so the folder is opened and named through /proc/self/fd. */
#include "os/local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/clock.h"

/* Opens the folder and names the socket through it. Returns the folder's descriptor, to be closed
 * once the address was used. */
static int name_socket(const char *folder, const char *name, struct sockaddr_un *address)
{
    int descriptor = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return -errno;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    int used = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s",
                        descriptor, name);
    if (used < 0 || (size_t)used >= sizeof address->sun_path) {
        close(descriptor);
        return -ENAMETOOLONG;
    }
    return descriptor;
}

int local_listen(const char *folder, const char *name, unsigned mode)
{
    struct sockaddr_un address;
    int place = name_socket(folder, name, &address);
    if (place < 0)
        return place;
    int error = 0;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        error = -errno;
    else if (unlinkat(place, name, 0) < 0 && errno != ENOENT)
        error = -errno;
    /* Nobody can connect before listen, so the permissions are never wider than asked for. */
    else if (bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
             fchmodat(place, name, (mode_t)mode, 0) < 0 || listen(listener, 64) < 0)
        error = -errno;
    close(place);
    if (error < 0 && listener >= 0)
        close(listener);
    return error < 0 ? error : listener;
}

int local_accept(int listener)
{
    for (;;) {
        int descriptor = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (descriptor >= 0)
            return descriptor;
        if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}

int local_connect(const char *folder, const char *name)
{
    struct sockaddr_un address;
    int place = name_socket(folder, name, &address);
    if (place < 0)
        return place;
    int error = 0;
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 ||
        connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0)
        error = -errno;
    close(place);
    if (error < 0 && descriptor >= 0)
        close(descriptor);
    return error < 0 ? error : descriptor;
}

long local_read(int descriptor, void *into, size_t bytes)
{
    ssize_t got;
    do
        got = recv(descriptor, into, bytes, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

long local_write(int descriptor, const void *from, size_t bytes)
{
    ssize_t took;
    do
        took = send(descriptor, from, bytes, MSG_NOSIGNAL);
    while (took < 0 && errno == EINTR);
    return took < 0 ? -errno : took;
}

int local_wait(int descriptor, uint64_t timeout_ms)
{
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    for (;;) {
        uint64_t now_ns = clock_monotonic_ns();
        uint64_t left_ms = now_ns >= end_ns ? 0 : (end_ns - now_ns) / NS_PER_MS + 1;
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        int ready = poll(&wait, 1, left_ms > 3600000 ? 3600000 : (int)left_ms);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready == 0 && left_ms == 0)
            return -ETIMEDOUT;
    }
}
