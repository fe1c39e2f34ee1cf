/* SPDX-License-Identifier: MIT
 * Files without a name on Linux. Where the file system knows none, one is made under a name of this
 * process's and the name removed at once. */
#define _GNU_SOURCE
#include "os/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

descriptor_t scratch_in_memory(void)
{
    int descriptor = memfd_create("flotilla-scratch", MFD_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

descriptor_t scratch_in_folder(descriptor_t folder)
{
    char name[48];
    int descriptor = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor >= 0)
        return descriptor;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
        return -errno;
    snprintf(name, sizeof name, ".scratch-%ld~", (long)getpid());
    unlinkat(folder, name, 0);
    descriptor = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (descriptor < 0)
        return -errno;
    unlinkat(folder, name, 0);
    return descriptor;
}

int scratch_pipe(descriptor_t *from, descriptor_t *to)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *from = ends[0];
    *to = ends[1];
    return 0;
}
