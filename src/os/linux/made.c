/* SPDX-License-Identifier: MIT
 * Files that are there whole or not at all, on Linux: without a name where the file system knows
 * that (O_TMPFILE) and /proc shows it, else under a name of their own, held by a lock, so that one
 * that nobody holds is known to be left over.
 * Known fault: where a file of that name stands already, a kill in the instant between giving the
 * new one a name and renaming it leaves that name; the file is whole by then, and the next export
 * of that name removes it. */
#define _GNU_SOURCE
#include "os/made.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/folder.h"

#define BESIDE         "unfinished-"
#define PATH_BYTES_MAX 4096
#define LINKS_MAX      40

/* Splits `target` into the folder, opened, and the name. */
static int open_folder(struct made *made, const char *target)
{
    const char *slash = strrchr(target, '/');
    const char *name = slash != NULL ? slash + 1 : target;
    size_t bytes = slash == NULL ? 0 : slash == target ? 1 : (size_t)(slash - target);
    char folder[PATH_BYTES_MAX];
    if (bytes >= sizeof(folder) || strlen(name) >= sizeof(made->name))
        return -ENAMETOOLONG;
    memcpy(folder, target, bytes);
    folder[bytes] = '\0';
    if (name[0] == '\0')
        return -EISDIR;
    memcpy(made->name, name, strlen(name) + 1);
    made->folder = open(bytes > 0 ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return made->folder < 0 ? -errno : 0;
}

/* Where the links lead that stand at `target`: to a path that need not be there. 1 for what is no
 * file of a folder, as /dev/stdout. */
static int follow_links(const char *target, char path[PATH_BYTES_MAX])
{
    char to[PATH_BYTES_MAX];
    if (strlen(target) >= PATH_BYTES_MAX)
        return -ENAMETOOLONG;
    memcpy(path, target, strlen(target) + 1);
    for (int links = 0; links < LINKS_MAX; links++) {
        ssize_t bytes = readlink(path, to, sizeof(to) - 1);
        if (bytes < 0)
            return 0; /* no link, or nothing: what opens it says so */
        if (strncmp(path, "/proc/", 6) == 0)
            return 1;
        to[bytes] = '\0';
        char *slash = strrchr(path, '/');
        size_t kept = to[0] == '/' || slash == NULL ? 0 : (size_t)(slash + 1 - path);
        if (kept + (size_t)bytes >= PATH_BYTES_MAX)
            return -ENAMETOOLONG;
        memcpy(path + kept, to, (size_t)bytes + 1);
    }
    return -ELOOP;
}

static int take_away_left(void *context, const char *name)
{
    const struct made *made = context;
    size_t bytes = strlen(made->name);
    if (name[0] != '.' || strncmp(name + 1, made->name, bytes) != 0 || name[bytes + 1] != '.' ||
        strncmp(name + bytes + 2, BESIDE, strlen(BESIDE)) != 0)
        return 0;
    int left = openat(made->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (left >= 0 && flock(left, LOCK_EX | LOCK_NB) == 0)
        unlinkat(made->folder, name, 0);
    descriptor_close(left);
    return 0;
}

static void name_beside(struct made *made)
{
    snprintf(made->beside, sizeof(made->beside), ".%s." BESIDE "%ld", made->name, (long)getpid());
}

/* Under a name of its own. */
static int open_beside(struct made *made)
{
    name_beside(made);
    made->descriptor = openat(made->folder, made->beside,
                              O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (made->descriptor < 0) {
        made->beside[0] = '\0';
        return -errno;
    }
    flock(made->descriptor, LOCK_EX | LOCK_NB);
    return 0;
}

static int open_file(struct made *made)
{
    char path[64];
    folder_list(made->folder, take_away_left, made);
    made->descriptor = openat(made->folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (made->descriptor >= 0) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", made->descriptor);
        if (access(path, F_OK) == 0)
            return 0;
        descriptor_close(made->descriptor);
    } else if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) {
        return -errno;
    }
    return open_beside(made);
}

bool made_is_there(void)
{
    struct stat about;
    int flags = fcntl(STDOUT_FILENO, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) == O_RDWR && (flags & O_APPEND) == 0 &&
           fstat(STDOUT_FILENO, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == 0;
}

int made_begin(struct made *made, const char *target)
{
    struct stat about;
    char path[PATH_BYTES_MAX];
    *made = (struct made){.descriptor = DESCRIPTOR_NONE, .folder = DESCRIPTOR_NONE};
    if (strcmp(target, "-") == 0) {
        made->there = made_is_there();
        made->once = !made->there;
        made->descriptor = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        return made->descriptor < 0 ? -errno : 0;
    }
    int status = follow_links(target, path);
    if (status < 0)
        return status;
    bool there = stat(target, &about) == 0;
    if (there && S_ISDIR(about.st_mode))
        return -EISDIR;
    if (there && (status > 0 || !S_ISREG(about.st_mode))) {
        made->once = true;
        made->descriptor = open(target, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_TRUNC);
        return made->descriptor < 0 ? -errno : 0;
    }
    status = open_folder(made, path);
    return status < 0 ? status : open_file(made);
}

int made_write(struct made *made, struct span bytes)
{
    while (bytes.bytes > 0) {
        ssize_t written = made->once
                              ? write(made->descriptor, bytes.at, bytes.bytes)
                              : pwrite(made->descriptor, bytes.at, bytes.bytes, (off_t)made->bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        bytes.at += written;
        bytes.bytes -= (size_t)written;
        made->bytes += (uint64_t)written;
    }
    return 0;
}

int made_write_at(struct made *made, struct span bytes, uint64_t offset)
{
    if (made->once)
        return -ESPIPE;
    while (bytes.bytes > 0) {
        ssize_t written = pwrite(made->descriptor, bytes.at, bytes.bytes, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        bytes.at += written;
        bytes.bytes -= (size_t)written;
        offset += (uint64_t)written;
    }
    return 0;
}

int made_set_bytes(struct made *made, uint64_t bytes)
{
    if (made->once)
        return -ESPIPE;
    return ftruncate(made->descriptor, (off_t)bytes) < 0 ? -errno : 0;
}

/* Gives a file without a name its own, or one beside it where that is taken. */
static int link_file(struct made *made)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", made->descriptor);
    if (linkat(AT_FDCWD, path, made->folder, made->name, AT_SYMLINK_FOLLOW) == 0)
        return 1;
    if (errno != EEXIST)
        return -errno;
    name_beside(made);
    flock(made->descriptor, LOCK_EX | LOCK_NB);
    if (linkat(AT_FDCWD, path, made->folder, made->beside, AT_SYMLINK_FOLLOW) < 0) {
        made->beside[0] = '\0';
        return -errno;
    }
    return 0;
}

int made_finish(struct made *made)
{
    if (made->once || made->there)
        return 0;
    if (fsync(made->descriptor) < 0)
        return -errno;
    int linked = made->beside[0] == '\0' ? link_file(made) : 0;
    if (linked < 0)
        return linked;
    if (linked == 0 && renameat(made->folder, made->beside, made->folder, made->name) < 0)
        return -errno;
    made->beside[0] = '\0';
    int status = folder_sync(made->folder);
    made_discard(made);
    return status;
}

void made_discard(struct made *made)
{
    if (made->beside[0] != '\0')
        unlinkat(made->folder, made->beside, 0);
    made->beside[0] = '\0';
    descriptor_close(made->descriptor);
    descriptor_close(made->folder);
    made->descriptor = made->folder = DESCRIPTOR_NONE;
}
