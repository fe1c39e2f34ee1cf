/* SPDX-License-Identifier: MIT
 * Whole small files, and reading in pieces. No known faults. */
#define _XOPEN_SOURCE 700 /* SIGXFSZ */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads to the end and closes. */
static int read_to_end(descriptor_t descriptor, size_t bytes_max, uint8_t **bytes,
                       size_t *byte_count)
{
    uint8_t *all = NULL;
    size_t used = 0, room = 0;
    int status = 0;
    for (;;) {
        if (used == room) {
            room = room == 0 ? 16384 : room * 2;
            uint8_t *more = realloc(all, room + 1);
            if (more == NULL) {
                status = -ENOMEM;
                break;
            }
            all = more;
        }
        ssize_t got = read(descriptor, all + used, room - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            status = -errno;
        if (got <= 0)
            break;
        used += (size_t)got;
        if (used > bytes_max) {
            status = -EFBIG;
            break;
        }
    }
    close(descriptor);
    if (status < 0) {
        free(all);
        return status;
    }
    all[used] = 0;
    *bytes = all;
    *byte_count = used;
    return 0;
}

int file_read_whole(const char *path, size_t bytes_max, uint8_t **bytes, size_t *byte_count)
{
    struct stat about;
    /* Without O_NONBLOCK the open itself would wait for a pipe's writer. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0)
        return errno == ENXIO ? -ESPIPE : -errno; /* ENXIO: a socket, a device without a driver */
    int status = fstat(descriptor, &about) < 0 ? -errno
                 : S_ISDIR(about.st_mode)      ? -EISDIR
                 : !S_ISREG(about.st_mode)     ? -ESPIPE
                                               : 0;
    if (status < 0) {
        close(descriptor);
        return status;
    }
    return read_to_end(descriptor, bytes_max, bytes, byte_count);
}

int file_read_handed(const char *path, size_t bytes_max, uint8_t **bytes, size_t *byte_count)
{
    if (strncmp(path, "/dev/fd/", 8) != 0 && strcmp(path, "/dev/stdin") != 0)
        return file_read_whole(path, bytes_max, bytes, byte_count);
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return descriptor < 0 ? -errno : read_to_end(descriptor, bytes_max, bytes, byte_count);
}

const char *file_error_text(int status)
{
    return status == -ESPIPE ? "not a regular file" : strerror(-status);
}

/* Takes `descriptor` over, of a failed call as well: then errno says why. */
static int begin_reading(int descriptor, int advice, bool *once)
{
    struct stat about;
    if (descriptor < 0)
        return -errno;
    int status = fstat(descriptor, &about) < 0 ? -errno : S_ISDIR(about.st_mode) ? -EISDIR : 0;
    if (status < 0) {
        close(descriptor);
        return status;
    }
    *once = !S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode);
    if (!*once)
        posix_fadvise(descriptor, 0, 0, advice);
    return descriptor;
}

static int open_regular(const char *path, int advice)
{
    bool once = false;
    int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    int descriptor = begin_reading(open(path, flags), advice, &once);
    if (descriptor < 0 || !once)
        return descriptor;
    close(descriptor);
    return -ESPIPE; /* a pipe, a terminal: it cannot be read twice */
}

descriptor_t file_open_read(const char *path)
{
    return open_regular(path, POSIX_FADV_SEQUENTIAL);
}

descriptor_t file_open_search(const char *path)
{
    return open_regular(path, POSIX_FADV_RANDOM);
}

descriptor_t file_open_any(const char *path, bool *once)
{
    int descriptor = strcmp(path, "-") == 0 ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                            : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    return begin_reading(descriptor, POSIX_FADV_SEQUENTIAL, once);
}

long file_read_at(descriptor_t descriptor, uint8_t *into, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(descriptor, into + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (long)done;
}

long file_read_next(descriptor_t descriptor, uint8_t *into, size_t bytes)
{
    ssize_t got = read(descriptor, into, bytes);
    return got < 0 ? -errno : (long)got;
}

int file_write_at(descriptor_t descriptor, struct span bytes)
{
    for (size_t done = 0; done < bytes.bytes;) {
        ssize_t written =
            pwrite(descriptor, bytes.at + done, bytes.bytes - done, (off_t)done);
        if (written < 0 && errno != EINTR)
            return -errno;
        done += written > 0 ? (size_t)written : 0;
    }
    return 0;
}

int64_t file_bytes(int descriptor)
{
    off_t end = lseek(descriptor, 0, SEEK_END); /* of a disk, too */
    return end < 0 ? -errno : (int64_t)end;
}

void file_limit_is_error(void)
{
    sigaction(SIGXFSZ, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

static int create(const char *path, mode_t mode)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    return descriptor < 0 ? -errno : descriptor;
}

/* 0 or a negative errno. */
static int write_all(descriptor_t descriptor, struct span bytes)
{
    int status = 0;
    while (bytes.bytes > 0 && status == 0) {
        ssize_t written = write(descriptor, bytes.at, bytes.bytes);
        if (written < 0 && errno != EINTR)
            status = -errno;
        if (written > 0) {
            bytes.at += written;
            bytes.bytes -= (size_t)written;
        }
    }
    return status;
}

/* Closes the file and renames it, if `status` says that all went well; else removes it. */
static int put_in_place(descriptor_t descriptor, int status, const char *temporary,
                        const char *path)
{
    close(descriptor);
    if (status == 0 && rename(temporary, path) < 0)
        status = -errno;
    if (status < 0)
        unlink(temporary);
    return status;
}

int file_replace(const char *path, const char *beside, struct span bytes, bool only_try)
{
    int descriptor = create(beside, 0666);
    if (descriptor < 0)
        return descriptor;
    int status = write_all(descriptor, bytes);
    if (status < 0 || !only_try)
        return put_in_place(descriptor, status, beside, path);
    close(descriptor);
    return unlink(beside) < 0 ? -errno : 0;
}

static int write_whole(const char *path, struct span bytes, mode_t mode)
{
    char temporary[4096];
    int length = snprintf(temporary, sizeof(temporary), "%s.%d~", path, (int)getpid());
    if (length < 0 || (size_t)length >= sizeof(temporary))
        return -ENAMETOOLONG;
    int descriptor = create(temporary, 0640);
    if (descriptor < 0)
        return descriptor;
    /* Whatever the user's mask says. */
    int status = mode == 0640 || fchmod(descriptor, mode) == 0 ? 0 : -errno;
    if (status == 0)
        status = write_all(descriptor, bytes);
    if (status == 0 && fsync(descriptor) < 0)
        status = -errno;
    return put_in_place(descriptor, status, temporary, path);
}

int file_put(descriptor_t folder, const char *path, const char *beside, const char *like,
             struct span bytes)
{
    struct stat about;
    if (stat(like, &about) < 0)
        return -errno;
    int descriptor = create(beside, 0600);
    if (descriptor < 0)
        return descriptor;
    int status = write_all(descriptor, bytes);
    /* Another's file stays ours where we may not give it away. */
    if (status == 0 && fchown(descriptor, about.st_uid, about.st_gid) < 0 && errno != EPERM)
        status = -errno;
    if (status == 0 && (fchmod(descriptor, about.st_mode & 0777) < 0 || fsync(descriptor) < 0))
        status = -errno;
    status = put_in_place(descriptor, status, beside, path);
    return status == 0 ? folder_sync(folder) : status;
}

int file_write_whole(const char *path, struct span bytes)
{
    return write_whole(path, bytes, 0640);
}

int file_write_public(const char *path, struct span bytes)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t length = slash != NULL ? (size_t)(slash - path) : 0;
    if (length >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (length > 0 && mkdir(folder, 0755) == 0 && chmod(folder, 0755) < 0)
        return -errno;
    return write_whole(path, bytes, 0644); /* fails where the folder could not be made */
}
