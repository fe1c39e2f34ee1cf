/* SPDX-License-Identifier: MIT
 * Folder entries and free room. Plain system calls; no known faults. */
#define _POSIX_C_SOURCE 200809L
#include "os/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "os/clock.h"

int storage_look(descriptor_t folder, const char *name, struct storage_entry *entry)
{
    struct stat found, target;
    if (fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    memset(entry, 0, sizeof *entry);
    entry->regular = S_ISREG(found.st_mode);
    entry->socket = S_ISSOCK(found.st_mode);
    entry->folder = S_ISDIR(found.st_mode) ||
                    (S_ISLNK(found.st_mode) && fstatat(folder, name, &target, 0) == 0 &&
                     S_ISDIR(target.st_mode));
    entry->bytes = (uint64_t)found.st_size;
    if (found.st_mtim.tv_sec >= 0)
        entry->modified_ns =
            (uint64_t)found.st_mtim.tv_sec * NS_PER_S + (uint64_t)found.st_mtim.tv_nsec;
    return 0;
}

int storage_look_at(const char *path, struct storage_entry *entry)
{
    return storage_look(AT_FDCWD, path, entry);
}

int storage_room(descriptor_t folder, uint64_t *free_bytes, uint64_t *total_bytes)
{
    struct statvfs room;
    if (fstatvfs(folder, &room) < 0)
        return -errno;
    *free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    *total_bytes = (uint64_t)room.f_blocks * room.f_frsize;
    return 0;
}

bool storage_is_full(int status)
{
    return status == -ENOSPC || status == -EDQUOT;
}
