/* SPDX-License-Identifier: MIT
 * What POSIX does not say of folders, on Linux: an identity that outlives no mount, renaming that
 * never replaces, a lock of an open file. */
#define _GNU_SOURCE
#include "os/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

uint64_t folder_identity(descriptor_t folder)
{
    struct stat status;
    struct statfs about;
    if (fstat(folder, &status) < 0 || fstatfs(folder, &about) < 0)
        return 0;
    struct {
        uint64_t device, inode, type;
        fsid_t system;
    } of = {status.st_dev, status.st_ino, (uint64_t)about.f_type, about.f_fsid};
    uint64_t identity = 0xcbf29ce484222325u; /* FNV-1a, 64 bits */
    for (size_t i = 0; i < sizeof(of); i++)
        identity = (identity ^ ((const uint8_t *)&of)[i]) * 0x100000001b3u;
    return identity ? identity : 1;
}

int folder_rename(descriptor_t folder, const char *from, const char *to)
{
    enum { NO_REPLACE = 1 }; /* RENAME_NOREPLACE */
    if (syscall(SYS_renameat2, folder, from, folder, to, NO_REPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* File systems without it: link fails where the name is taken. */
    if (linkat(folder, from, folder, to, 0) < 0)
        return -errno;
    return unlinkat(folder, from, 0) < 0 ? -errno : 0;
}

descriptor_t folder_lock(descriptor_t folder, const char *name)
{
    const int how = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    int descriptor = openat(folder, name, how, 0640);
    if (descriptor < 0 && errno == EISDIR && folder_clear(folder, name) == 0)
        descriptor = openat(folder, name, how, 0640);
    if (descriptor < 0)
        return -errno;
    if (flock(descriptor, LOCK_EX | LOCK_NB) < 0) {
        int error = errno;
        close(descriptor);
        return -error;
    }
    return descriptor;
}
