/* SPDX-License-Identifier: MIT
 * Direct files and folders on Linux. Relies on O_DIRECT, statx(2) and fallocate(2).
 * Known: some file systems accept O_DIRECT at open and refuse, or quietly cache, the writes. */
#define _GNU_SOURCE
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "os/memory.h"

enum { ALIGNMENT_MIN = 4096, ALIGNMENT_MAX = 65536, PARTS_MAX = 16 };

/* statx(2) as of Linux 6.1; older C libraries do not know the last fields. */
struct statx_answer {
    uint32_t mask, blksize;
    uint64_t attributes;
    uint32_t nlink, uid, gid;
    uint16_t mode, spare0;
    uint64_t ino, size, blocks, attributes_mask;
    uint64_t times[8];
    uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
    uint64_t mnt_id;
    uint32_t dio_mem_align, dio_offset_align;
    uint64_t spare[12];
};
_Static_assert(sizeof(struct statx_answer) == 256, "as the kernel has it");
#define STATX_DIOALIGN_BIT 0x2000u
#define AT_EMPTY_PATH_BIT  0x1000

/* The alignment the file system asks for, at least a page; 0 where it says it has no direct I/O. */
static uint32_t direct_alignment(int descriptor)
{
    struct statx_answer answer;
    memset(&answer, 0, sizeof(answer));
    long status =
        syscall(SYS_statx, descriptor, "", AT_EMPTY_PATH_BIT, STATX_DIOALIGN_BIT, &answer);
    if (status < 0 || !(answer.mask & STATX_DIOALIGN_BIT))
        return ALIGNMENT_MIN;
    if (answer.dio_offset_align == 0 || answer.dio_offset_align > ALIGNMENT_MAX)
        return 0;
    uint32_t alignment = answer.dio_offset_align > answer.dio_mem_align ? answer.dio_offset_align
                                                                        : answer.dio_mem_align;
    return alignment < ALIGNMENT_MIN ? ALIGNMENT_MIN : alignment;
}

/* tmpfs and ramfs take O_DIRECT since Linux 6.6, but the page cache is all they have. */
static bool lives_in_memory(int descriptor)
{
    enum { TMPFS = 0x01021994, RAMFS = 0x858458f6 };
    struct statfs about;
    return fstatfs(descriptor, &about) == 0 &&
           ((uint32_t)about.f_type == (uint32_t)TMPFS || (uint32_t)about.f_type == (uint32_t)RAMFS);
}

int direct_file_open(struct direct_file *file, int folder, const char *name, enum file_open how,
                     bool direct)
{
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_RDWR;
    flags |= how == FILE_CREATE ? O_CREAT | O_EXCL : 0;
    flags |= direct ? O_DIRECT : 0;
    *file = (struct direct_file){.descriptor = -1, .alignment = ALIGNMENT_MIN};
    int descriptor = openat(folder, name, flags, 0640);
    if (descriptor < 0) {
        int error = errno;
        /* A file system that refuses O_DIRECT has made the file all the same. */
        if (direct && how == FILE_CREATE && error == EINVAL)
            unlinkat(folder, name, 0);
        return -error;
    }
    if (direct) {
        file->alignment = lives_in_memory(descriptor) ? 0 : direct_alignment(descriptor);
        if (file->alignment == 0) {
            close(descriptor);
            if (how == FILE_CREATE)
                unlinkat(folder, name, 0);
            file->alignment = ALIGNMENT_MIN;
            return -EOPNOTSUPP;
        }
    }
    file->descriptor = descriptor;
    file->direct = direct;
    return 0;
}

int direct_file_probe(int folder, const char *name, bool direct, uint32_t *alignment)
{
    struct direct_file file;
    folder_remove(folder, name);
    int status = direct_file_open(&file, folder, name, FILE_CREATE, direct);
    if (status < 0)
        return status;
    uint8_t *page = private_memory_map(file.alignment);
    status = -ENOMEM;
    if (page != NULL) {
        struct span part = {page, file.alignment};
        status = direct_file_write(&file, &part, 1, 0);
        shared_memory_unmap(page, file.alignment);
    }
    *alignment = file.alignment;
    direct_file_close(&file);
    folder_remove(folder, name);
    return status;
}

int direct_file_write(struct direct_file *file, const struct span *parts, uint32_t part_count,
                      uint64_t offset)
{
    CHECK(part_count <= PARTS_MAX);
    struct iovec vectors[PARTS_MAX];
    for (uint32_t i = 0; i < part_count; i++)
        vectors[i] = (struct iovec){(void *)(uintptr_t)parts[i].at, parts[i].bytes};
    uint32_t first = 0;
    while (first < part_count) {
        ssize_t written =
            pwritev(file->descriptor, vectors + first, (int)(part_count - first), (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        if (written == 0)
            return -EIO;
        offset += (uint64_t)written;
        while (first < part_count && (size_t)written >= vectors[first].iov_len)
            written -= (ssize_t)vectors[first++].iov_len;
        if (first < part_count) {
            vectors[first].iov_base = (uint8_t *)vectors[first].iov_base + written;
            vectors[first].iov_len -= (size_t)written;
        }
    }
    return 0;
}

long direct_file_read(struct direct_file *file, uint8_t *into, size_t bytes, uint64_t offset)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(file->descriptor, into + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
        if (file->direct && got % (ssize_t)file->alignment != 0)
            break; /* the end of the file */
    }
    return (long)done;
}

int direct_file_reserve(struct direct_file *file, uint64_t offset, uint64_t bytes)
{
    enum { KEEP_SIZE = 1 }; /* FALLOC_FL_KEEP_SIZE */
    return fallocate(file->descriptor, KEEP_SIZE, (off_t)offset, (off_t)bytes) < 0 ? -errno : 0;
}

int direct_file_sync(struct direct_file *file)
{
    int status;
    do
        status = fdatasync(file->descriptor);
    while (status < 0 && errno == EINTR);
    return status < 0 ? -errno : 0;
}

int direct_file_truncate(struct direct_file *file, uint64_t bytes)
{
    int status;
    do
        status = ftruncate(file->descriptor, (off_t)bytes);
    while (status < 0 && errno == EINTR);
    return status < 0 ? -errno : 0;
}

int64_t direct_file_size(struct direct_file *file)
{
    struct stat status;
    return fstat(file->descriptor, &status) < 0 ? -errno : (int64_t)status.st_size;
}

void direct_file_close(struct direct_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
}

int folder_open(const char *path)
{
    char part[4096];
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

/* What keeps us off now need not keep off a superuser that has not dropped its capabilities yet. */
static int unless_superuser(int error)
{
    return error == EACCES && geteuid() == 0 ? 0 : -error;
}

uint64_t folder_identity(int folder)
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

int folder_possible(const char *path)
{
    char part[4096];
    size_t bytes = strlen(path);
    if (bytes == 0 || bytes >= sizeof(part))
        return bytes == 0 ? -ENOENT : -ENAMETOOLONG;
    memcpy(part, path, bytes + 1);
    struct stat about;
    int wanted = R_OK | W_OK | X_OK;
    while (stat(part, &about) < 0) {
        if (errno != ENOENT)
            return unless_superuser(errno);
        wanted = W_OK | X_OK; /* of what is there: the rest has to be made in it */
        char *slash = strrchr(part, '/');
        if (slash == NULL && strcmp(part, ".") == 0)
            return -ENOENT;
        if (slash == NULL)
            memcpy(part, ".", 2);
        else
            slash[slash == part] = '\0';
    }
    if (!S_ISDIR(about.st_mode))
        return -ENOTDIR;
    return access(part, wanted) == 0 ? 0 : unless_superuser(errno);
}

int folder_rename(int folder, const char *from, const char *to)
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

int folder_remove(int folder, const char *name)
{
    return unlinkat(folder, name, 0) < 0 ? -errno : 0;
}

int folder_clear(int folder, const char *name)
{
    return unlinkat(folder, name, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTDIR ? -errno
                                                                                           : 0;
}

int folder_sync(int folder)
{
    return fsync(folder) < 0 ? -errno : 0;
}

int folder_list(int folder, int (*each)(void *context, const char *name), void *context)
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

int folder_lock(int folder, const char *name)
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

bool descriptor_is_at(int descriptor, const char *path)
{
    struct stat open, named;
    if (fstat(descriptor, &open) < 0)
        return true;
    if (stat(path, &named) < 0)
        return errno != ENOENT && errno != ENOTDIR;
    return open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

bool direct_file_linked(const struct direct_file *file)
{
    struct stat found; /* where it cannot be told, nothing was removed that we know of */
    return fstat(file->descriptor, &found) < 0 || found.st_nlink > 0;
}

/* Reads to the end and closes. */
static int read_to_end(int descriptor, size_t bytes_max, uint8_t **bytes, size_t *byte_count)
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

int file_open_read(const char *path)
{
    struct stat about;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (descriptor < 0)
        return -errno;
    int status = fstat(descriptor, &about) < 0 ? -errno : S_ISDIR(about.st_mode) ? -EISDIR : 0;
    if (status == 0 && !S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode))
        status = -ESPIPE; /* a pipe, a terminal: it cannot be read twice */
    if (status < 0) {
        close(descriptor);
        return status;
    }
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL);
    return descriptor;
}

long file_read_at(int descriptor, uint8_t *into, size_t bytes, uint64_t offset)
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

int64_t file_bytes(int descriptor)
{
    off_t end = lseek(descriptor, 0, SEEK_END); /* of a disk, too */
    return end < 0 ? -errno : (int64_t)end;
}

static int create(const char *path, mode_t mode)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    return descriptor < 0 ? -errno : descriptor;
}

/* 0 or a negative errno. */
static int write_all(int descriptor, struct span bytes)
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
static int put_in_place(int descriptor, int status, const char *temporary, const char *path)
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

int descriptor_copy(int descriptor)
{
    return fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
}

void descriptor_close(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
}
