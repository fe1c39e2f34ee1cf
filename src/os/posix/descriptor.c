/* SPDX-License-Identifier: MIT
 * Descriptors as the system has them. */
#define _POSIX_C_SOURCE 200809L
#include "os/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void descriptor_fill_standard(void)
{
    /* The wrong way round, so that the first two refuse. */
    static const int ways[] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int number = 0; number < 3; number++) {
        if (fcntl(number, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* The lowest number that is free is this one. Without /dev there is still a socket that
         * leads nowhere. */
        if (open("/dev/null", ways[number]) < 0)
            (void)socket(AF_UNIX, SOCK_STREAM, 0);
    }
}

bool descriptor_is_at(descriptor_t descriptor, const char *path)
{
    struct stat open, named;
    if (fstat(descriptor, &open) < 0)
        return true;
    if (stat(path, &named) < 0)
        return errno != ENOENT && errno != ENOTDIR;
    return open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

descriptor_t descriptor_copy(descriptor_t descriptor)
{
    return fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

void descriptor_close(descriptor_t descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
}
