/* SPDX-License-Identifier: MIT
 * Folders by openat(2) and its kin. No known faults. */
#define _POSIX_C_SOURCE 200809L
#include "os/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096

descriptor_t folder_open(const char *path)
{
    char part[PATH_BYTES];
    size_t bytes = strlen(path);
    if (bytes == 0 || bytes >= sizeof(part))
        return bytes == 0 ? -ENOENT : -ENAMETOOLONG;
    int refused = 0;
    memcpy(part, path, bytes + 1);
    for (size_t at = 1; at <= bytes; at++)
        if (part[at] == '/' || part[at] == '\0') {
            char kept = part[at];
            part[at] = '\0';
            /* Any failure but "it is there" shows when the folder is opened. */
            if (mkdir(part, 0750) < 0 && errno != EEXIST) {
                if (errno != EROFS && errno != EACCES && errno != EPERM)
                    return -errno;
                refused = -errno;
            }
            part[at] = kept;
        }
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 && errno == ENOENT && refused < 0)
        return refused; /* it is missing because it may not be made */
    return folder < 0 ? -errno : folder;
}

descriptor_t folder_open_there(const char *path)
{
    int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return descriptor < 0 ? -errno : descriptor;
}

static void take_place(const struct stat *about, struct folder_place *place)
{
    *place = (struct folder_place){about->st_dev, about->st_ino};
}

int folder_place(descriptor_t folder, struct folder_place *place)
{
    struct stat about;
    if (fstat(folder, &about) < 0)
        return -errno;
    take_place(&about, place);
    return 0;
}

/* Looks at what is at the path: 0; or, where nothing is: 1, at the nearest above it that is, whose
 * path `part` gets; a link that leads nowhere stands for itself. */
static int find_nearest(const char *path, char part[PATH_BYTES], struct stat *about)
{
    int status = 0;
    if (strlen(path) >= PATH_BYTES)
        return -ENAMETOOLONG;
    memcpy(part, path, strlen(path) + 1);
    while (stat(part, about) < 0) {
        if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
            return -errno;
        status = 1;
        char *slash = strrchr(part, '/');
        if (lstat(part, about) == 0)
            break;
        if (slash == NULL && strcmp(part, ".") == 0)
            return -ENOENT;
        if (slash == NULL)
            memcpy(part, ".", 2);
        else
            slash[slash == part] = '\0';
    }
    return status;
}

int folder_place_at(const char *path, struct folder_place *place)
{
    char part[PATH_BYTES];
    struct stat about;
    int status = find_nearest(path, part, &about);
    if (status < 0)
        return status;
    take_place(&about, place);
    return S_ISDIR(about.st_mode) ? status : 1;
}

/* What keeps us off now need not keep off a superuser that has not dropped its capabilities yet. */
static int unless_superuser(int error)
{
    return error == EACCES && geteuid() == 0 ? 0 : -error;
}

int folder_possible(const char *path)
{
    char part[PATH_BYTES];
    struct stat about;
    int status = find_nearest(path, part, &about);
    if (status < 0)
        return unless_superuser(-status);
    if (!S_ISDIR(about.st_mode)) /* nothing is made through a link that leads nowhere */
        return S_ISLNK(about.st_mode) ? -ENOENT : -ENOTDIR;
    /* What is not there has to be made in what is. */
    return access(part, W_OK | X_OK | (status == 0 ? R_OK : 0)) == 0 ? 0 : unless_superuser(errno);
}

int folder_replace(descriptor_t folder, const char *from, const char *to)
{
    return renameat(folder, from, folder, to) < 0 ? -errno : 0;
}

int folder_remove(descriptor_t folder, const char *name)
{
    return unlinkat(folder, name, 0) < 0 ? -errno : 0;
}

int folder_clear(descriptor_t folder, const char *name)
{
    return unlinkat(folder, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTDIR ? -errno
                                                                                           : 0;
}

int folder_clear_at(const char *path)
{
    return folder_clear(AT_FDCWD, path);
}

int folder_sync(descriptor_t folder)
{
    if (fsync(folder) == 0)
        return 0;
    /* Some file systems have no such call: they order names by themselves, or not at all. */
    return errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
}

int folder_list(descriptor_t folder, int (*each)(void *context, const char *name), void *context)
{
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return -errno;
    DIR *stream = fdopendir(copy);
    if (stream == NULL) {
        int error = errno;
        close(copy);
        return -error;
    }
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir(stream)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            status = each(context, entry->d_name);
    closedir(stream);
    return status;
}
