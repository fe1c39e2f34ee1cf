/* SPDX-License-Identifier: MIT
 * Direct files on Linux. Relies on O_DIRECT, statx(2) and fallocate(2).
 * Known: some file systems accept O_DIRECT at open and refuse, or quietly cache, the writes. */
#define _GNU_SOURCE
#include "os/direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "os/folder.h"
#include "os/linux/statx.h"
#include "os/memory.h"

enum { ALIGNMENT_MIN = 4096, ALIGNMENT_MAX = 65536, PARTS_MAX = 16 };

/* The alignment the file system asks for, at least a page; 0 where it says it has no direct I/O. */
static uint32_t direct_alignment(descriptor_t descriptor)
{
    struct statx_answer answer;
    memset(&answer, 0, sizeof(answer));
    if (statx_ask(descriptor, STATX_ANSWER_DIRECT, &answer) < 0 ||
        !(answer.mask & STATX_ANSWER_DIRECT))
        return ALIGNMENT_MIN;
    uint32_t alignment = answer.direct_offset_alignment;
    if (alignment == 0 || alignment > ALIGNMENT_MAX)
        return 0;
    if (alignment < answer.direct_memory_alignment)
        alignment = answer.direct_memory_alignment;
    return alignment < ALIGNMENT_MIN ? ALIGNMENT_MIN : alignment;
}

/* tmpfs and ramfs take O_DIRECT since Linux 6.6, but the page cache is all they have. */
static bool lives_in_memory(descriptor_t descriptor)
{
    enum { TMPFS = 0x01021994, RAMFS = 0x858458f6 };
    struct statfs about;
    return fstatfs(descriptor, &about) == 0 &&
           ((uint32_t)about.f_type == (uint32_t)TMPFS || (uint32_t)about.f_type == (uint32_t)RAMFS);
}

int direct_file_open(struct direct_file *file, descriptor_t folder, const char *name,
                     enum file_open how, bool direct)
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

int direct_file_open_read(struct direct_file *file, const char *path)
{
    *file = (struct direct_file){.alignment = ALIGNMENT_MIN, .direct = true};
    file->descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_DIRECT);
    if (file->descriptor < 0)
        return -errno;
    file->alignment = lives_in_memory(file->descriptor) ? 0 : direct_alignment(file->descriptor);
    return file->alignment == 0 ? -EOPNOTSUPP : 0;
}

/* Writes a page, and again as a page that is filled bit by bit is; reads it back. */
static int probe_file(struct direct_file *file, struct direct_probe *probe)
{
    uint8_t *page = private_memory_map(file->alignment);
    if (page == NULL)
        return -ENOMEM;
    struct span part = {page, file->alignment};
    probe->step = "write a file";
    int status = direct_file_write(file, &part, 1, 0);
    if (status == 0)
        status = direct_file_write(file, &part, 1, 0);
    probe->refused = file->direct && (status == -EINVAL || status == -EOPNOTSUPP);
    if (status == 0) {
        probe->step = "read a file back";
        long got = direct_file_read(file, page, file->alignment, 0);
        status = got == (long)file->alignment ? 0 : got < 0 ? (int)got : -EIO;
        probe->refused = file->direct && status == -EINVAL;
    }
    if (status == 0) {
        probe->step = "sync a file";
        status = direct_file_sync(file);
    }
    private_memory_unmap(page, file->alignment);
    return status;
}

static int make_probe(struct direct_file *file, descriptor_t folder, const char *name, bool direct,
                      struct direct_probe *probe)
{
    *probe = (struct direct_probe){.alignment = ALIGNMENT_MIN, .step = "make a file"};
    folder_remove(folder, name); /* of a probe that was killed */
    int status = direct_file_open(file, folder, name, FILE_CREATE, direct);
    if (status < 0)
        probe->refused = direct && (status == -EINVAL || status == -EOPNOTSUPP || status == -EPERM);
    else
        probe->alignment = file->alignment;
    return status;
}

int direct_file_probe_open(descriptor_t folder, const char *name, bool direct,
                           struct direct_probe *probe)
{
    struct direct_file file;
    int status = make_probe(&file, folder, name, direct, probe);
    direct_file_close(&file);
    if (status == 0)
        folder_remove(folder, name);
    return status;
}

int direct_file_probe(descriptor_t folder, const char *name, bool direct,
                      struct direct_probe *probe)
{
    struct direct_file file;
    char renamed[64];
    snprintf(renamed, sizeof(renamed), "%.58s.new", name);
    folder_remove(folder, renamed);
    int status = make_probe(&file, folder, name, direct, probe);
    if (status < 0)
        return status;
    status = probe_file(&file, probe);
    direct_file_close(&file);
    const char *left = name;
    if (status == 0) {
        probe->step = "rename a file";
        status = folder_rename(folder, name, renamed);
        left = status == 0 ? renamed : name;
    }
    if (status == 0) {
        probe->step = "sync the folder";
        status = folder_sync(folder);
    }
    int removed = folder_remove(folder, left);
    if (status == 0) {
        probe->step = removed < 0 ? "remove a file" : NULL;
        status = removed;
    }
    return status;
}

/* No position in a file lies beyond the largest size that its file system knows. */
static bool may_reach(descriptor_t file, uint64_t bytes)
{
    return lseek(file, (off_t)bytes, SEEK_SET) >= 0 || (errno != EINVAL && errno != EOVERFLOW);
}

uint64_t direct_file_bytes_max(descriptor_t file, uint32_t alignment, uint64_t wanted,
                               bool *limited)
{
    struct rlimit limit;
    uint64_t most = wanted < INT64_MAX ? wanted : INT64_MAX;
    *limited = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < most;
    if (*limited)
        most = limit.rlim_cur;
    uint64_t units = most / alignment, low = 0;
    if (!may_reach(file, units * alignment)) {
        *limited = false;
        while (units - low > 1) {
            uint64_t middle = low + (units - low) / 2;
            if (may_reach(file, middle * alignment))
                low = middle;
            else
                units = middle;
        }
        units = low;
    }
    return units * alignment;
}

/* A page goes to the device as one request, and a reader past the cache sees what the device has.
 */
bool direct_page_atomic(uint32_t alignment)
{
    return alignment == ALIGNMENT_MIN;
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

int direct_file_set_modified(struct direct_file *file, uint64_t modified_ns)
{
    struct timespec at = {.tv_sec = (time_t)(modified_ns / 1000000000u),
                          .tv_nsec = (long)(modified_ns % 1000000000u)};
    struct timespec times[2] = {at, at};
    return futimens(file->descriptor, times) < 0 ? -errno : 0;
}

bool direct_file_linked(const struct direct_file *file)
{
    struct stat found; /* where it cannot be told, nothing was removed that we know of */
    return fstat(file->descriptor, &found) < 0 || found.st_nlink > 0;
}

void direct_file_close(struct direct_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    file->descriptor = -1;
}
