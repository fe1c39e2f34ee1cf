/* SPDX-License-Identifier: MIT
 * Shared memory by memfd_create(2), its size sealed; private pages by mmap(2). */
#define _GNU_SOURCE
#include "os/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3 */
#endif

descriptor_t shared_memory_create(const char *name, size_t bytes)
{
    int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (descriptor < 0 && errno == EINVAL)
        descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0)
        return -errno;
    if (ftruncate(descriptor, (off_t)bytes) < 0 ||
        fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        int error = errno;
        close(descriptor);
        return -error;
    }
    return descriptor;
}

int64_t shared_memory_bytes(int descriptor)
{
    int seals = fcntl(descriptor, F_GET_SEALS);
    if (seals < 0 || !(seals & F_SEAL_SHRINK) || !(seals & F_SEAL_GROW))
        return -EPERM; /* a memory that shrinks under us ends in SIGBUS */
    struct stat status;
    return fstat(descriptor, &status) < 0 ? -errno : (int64_t)status.st_size;
}

int shared_memory_map(descriptor_t descriptor, size_t bytes, void **memory)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (at == MAP_FAILED)
        return -errno;
    /* A manager maps a thousand of these; no child that it forks needs a copy. */
    madvise(at, bytes, MADV_DONTFORK);
    *memory = at;
    return 0;
}

void shared_memory_unmap(void *memory, size_t bytes)
{
    if (memory != NULL)
        munmap(memory, bytes);
}

/* A record lock, not flock: the manager and its relays share one open file description. */
static struct flock whole_memory(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

int shared_memory_claim(descriptor_t descriptor)
{
    struct flock lock = whole_memory();
    if (fcntl(descriptor, F_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
}

long shared_memory_holder(descriptor_t descriptor)
{
    struct flock lock = whole_memory();
    return fcntl(descriptor, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK ? 0 : (long)lock.l_pid;
}

size_t shared_memory_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* The kernel takes whole pages only: it refuses another begin, and rounds a length up, over bytes
 * that are needed. */
int shared_memory_release(void *at, size_t bytes)
{
    size_t page = shared_memory_page_bytes(), before = (page - (uintptr_t)at % page) % page;
    if (before > bytes)
        before = bytes;
    size_t whole = (bytes - before) / page * page;
    uint8_t *begin = (uint8_t *)at + before;
    memset(at, 0, before);
    memset(begin + whole, 0, bytes - before - whole);
    return whole > 0 && madvise(begin, whole, MADV_REMOVE) < 0 ? -errno : 0;
}

void private_memory_unmap(void *memory, size_t bytes)
{
    shared_memory_unmap(memory, bytes);
}

void *private_memory_map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}
