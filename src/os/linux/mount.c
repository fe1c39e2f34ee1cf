/* SPDX-License-Identifier: MIT
 * Mount points on Linux: statx(2) tells them, else their device does.
 * Known: inside a sandbox, where no folder can be listed, one that was mounted onto itself counts.
 */
#define _GNU_SOURCE
#include "os/mount.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ATTRIBUTES = 1, ATTRIBUTES_MASK = 7, MOUNT_ROOT = 0x2000, AUTOFS = 0x0187 };

/* Whether what `path` covers is the same folder: a folder lists its entries without what is mounted
 * on them. */
static bool covers_itself(const char *path, const char *above, const struct stat *here)
{
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/'; begin--)
        ;
    bool same = false;
    DIR *stream = opendir(above);
    for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;)
        if (strlen(entry->d_name) == end - begin &&
            memcmp(entry->d_name, path + begin, end - begin) == 0)
            same = entry->d_ino == here->st_ino;
    if (stream != NULL)
        closedir(stream);
    return same;
}

bool mount_is_at(const char *path)
{
    char above[4096];
    struct stat here, there;
    struct statfs about;
    uint64_t answer[32]; /* statx(2)'s; older C libraries lack it */
    int used = snprintf(above, sizeof(above), "%s/..", path);
    if (used < 0 || (size_t)used >= sizeof(above) || stat(path, &here) < 0 ||
        stat(above, &there) < 0)
        return false;
    if (statfs(path, &about) == 0 && about.f_type == AUTOFS)
        return false;
    if (here.st_dev == there.st_dev && here.st_ino == there.st_ino)
        return true; /* that of all */
    bool told = syscall(SYS_statx, AT_FDCWD, path, 0, 0, answer) == 0 &&
                (answer[ATTRIBUTES_MASK] & MOUNT_ROOT) != 0;
    if (told && !(answer[ATTRIBUTES] & MOUNT_ROOT))
        return false;
    return here.st_dev != there.st_dev || (told && !covers_itself(path, above, &here));
}
