/* SPDX-License-Identifier: MIT
 * A socket address holds 107 characters of path, less than many a temporary folder; so the folder
 * is opened and named through /proc/self/fd. */
#define _GNU_SOURCE
#include "os/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/file.h"

/* Returns the folder's descriptor, to be closed once the address was used, or a negative errno. */
static int name_socket(const char *folder, const char *name, struct sockaddr_un *address)
{
    int place = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place < 0)
        return -errno;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    int used =
        snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", place, name);
    if (used >= 0 && (size_t)used < sizeof(address->sun_path))
        return place;
    close(place);
    return -ENAMETOOLONG;
}

/* Gives up the folder, and the socket too if `error` says so. */
static int finish(int place, int made, int error)
{
    close(place);
    if (error < 0 && made >= 0)
        close(made);
    return error < 0 ? error : made;
}

static int make_way(int place, const char *name)
{
    int error = folder_clear(place, name);
    return error < 0 || unlinkat(place, name, 0) == 0 || errno == ENOENT ? error : -errno;
}

descriptor_t socket_path_bind(int type, const char *folder, const char *name, unsigned mode)
{
    struct sockaddr_un address;
    int place = name_socket(folder, name, &address), error = 0;
    if (place < 0)
        return place;
    int made = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = made < 0 ? -errno : make_way(place, name);
    if (error == 0 && (bind(made, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
                       fchmodat(place, name, (mode_t)mode, 0) < 0))
        error = -errno;
    return finish(place, made, error);
}

descriptor_t socket_path_connect(int type, const char *folder, const char *name)
{
    struct sockaddr_un address;
    int place = name_socket(folder, name, &address), error = 0;
    if (place < 0)
        return place;
    struct stat entry;
    if (fstatat(place, name, &entry, AT_SYMLINK_NOFOLLOW) < 0)
        return finish(place, -1, -errno);
    if (!S_ISSOCK(entry.st_mode)) /* a symbolic link may lead to somebody else's */
        return finish(place, -1, -ECONNREFUSED);
    int made = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (made < 0 || connect(made, (const struct sockaddr *)&address, sizeof(address)) < 0)
        error = -errno;
    return finish(place, made, error);
}
