/* SPDX-License-Identifier: MIT
 * What POSIX does not say of folders, on Linux: an identity that outlives no mount, renaming that
 * never replaces, a lock of an open file. */
#define _GNU_SOURCE
#include "os/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
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

/* Whether a call is missing: in the kernel, in the file system, or as a container refuses it. */
static bool is_missing(int error)
{
    return error == EINVAL || error == ENOSYS || error == EOPNOTSUPP || error == EPERM;
}

static bool same_file(descriptor_t folder, const char *one, const char *other)
{
    struct stat first, second;
    return fstatat(folder, one, &first, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(folder, other, &second, AT_SYMLINK_NOFOLLOW) == 0 &&
           first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

int folder_rename(descriptor_t folder, const char *from, const char *to)
{
    enum { NO_REPLACE = 1 }; /* RENAME_NOREPLACE */
    if (syscall(SYS_renameat2, folder, from, folder, to, NO_REPLACE) == 0)
        return 0;
    if (!is_missing(errno))
        return -errno;
    /* NFS, FUSE and others: link fails where the name is taken. Killed behind it, the file has both
     * names, and is the same under the other when it is renamed again. */
    if (linkat(folder, from, folder, to, 0) == 0 ||
        (errno == EEXIST && same_file(folder, from, to)))
        return unlinkat(folder, from, 0) < 0 ? -errno : 0;
    if (!is_missing(errno) && errno != EACCES && errno != EMLINK)
        return -errno;
    /* exFAT and the like have no links: renamed where the name is free as we look. */
    struct stat taken;
    if (fstatat(folder, to, &taken, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    if (errno != ENOENT)
        return -errno;
    return renameat(folder, from, folder, to) < 0 ? -errno : 0;
}

int folder_exchange(descriptor_t folder, const char *one, const char *other)
{
    enum { EXCHANGE = 2 }; /* RENAME_EXCHANGE */
    if (syscall(SYS_renameat2, folder, one, folder, other, EXCHANGE) == 0)
        return 0;
    return is_missing(errno) ? -EOPNOTSUPP : -errno;
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

int folder_hold(descriptor_t folder)
{
    return flock(folder, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}
