/* SPDX-License-Identifier: MIT
 * Descriptors as the system has them. */
#define _POSIX_C_SOURCE 200809L
#include "os/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
