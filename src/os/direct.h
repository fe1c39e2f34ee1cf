/* SPDX-License-Identifier: MIT
 * Files written past the page cache. One file per system implements it.
 * Sources: open(2) on O_DIRECT, statx(2) on STATX_DIOALIGN, fallocate(2), fsync(2). */
#ifndef FLOTILLA_OS_DIRECT_H
#define FLOTILLA_OS_DIRECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "os/descriptor.h"

struct direct_file {
    descriptor_t descriptor; /* -1 when closed */
    bool direct;             /* writes bypass the page cache */
    uint32_t alignment;      /* of offsets, lengths and addresses: a power of two, at least 4096 */
};

enum file_open {
    FILE_CREATE,  /* must not be there */
    FILE_EXISTING /* must be there; opened for reading and writing */
};

/* Opens `name` in the folder. With `direct`, asks for O_DIRECT and fails with -EINVAL or
 * -EOPNOTSUPP where the file system refuses; without, the page cache is used. Mode 0640, no
 * symbolic links. */
int direct_file_open(struct direct_file *file, descriptor_t folder, const char *name,
                     enum file_open how, bool direct);
/* Opens `path` for reading past the page cache. 0; -EOPNOTSUPP or -EINVAL where that cannot be, or
 * another negative errno. Closed by direct_file_close in any case. */
int direct_file_open_read(struct direct_file *file, const char *path);
/* What a probe has found. */
struct direct_probe {
    uint32_t alignment; /* the unit of writes */
    bool refused;       /* what failed is direct I/O: without it the rest may work */
    const char *step;   /* what failed, as in "cannot STEP": "write a file" ...; NULL: nothing */
};

/* Does in the folder all that is done with a recording: makes a file as `name`, writes a page of
 * it, and writes that again, reads it, syncs, renames to a name that is free (`name` and ".new"),
 * syncs the folder; then removes it. All of it is needed, as file systems take a flag and refuse
 * later, and some have no way to rename without replacing. 0 or a negative errno. */
int direct_file_probe(descriptor_t folder, const char *name, bool direct,
                      struct direct_probe *probe);
/* The first step of it alone, which does not wait for the disk: makes a file and removes it. What
 * is refused at once, and the alignment. */
int direct_file_probe_open(descriptor_t folder, const char *name, bool direct,
                           struct direct_probe *probe);
/* How large an open file can become, in whole units of `alignment`, `wanted` at most: by the limit
 * of this process (RLIMIT_FSIZE) and by the largest size that its file system knows (FAT: 4 GiB).
 * `*limited` if that of the process is the smaller one. Moves the file's position. */
uint64_t direct_file_bytes_max(descriptor_t file, uint32_t alignment, uint64_t wanted,
                               bool *limited);
/* Whether a page of 4 KiB that is written anew in its place, past the page cache in such units, is
 * found old or new after any end of the process, never torn: so that a page can be filled bit by
 * bit. Where it cannot be relied on, each is written once. */
bool direct_page_atomic(uint32_t alignment);
/* Writes all of `parts` (at most 16, whole multiples of the alignment) at `offset`. 0 or a negative
 * errno; short writes are carried on, EINTR is repeated. */
int direct_file_write(struct direct_file *file, const struct span *parts, uint32_t part_count,
                      uint64_t offset);
/* Reads up to `bytes` at `offset` into aligned memory. Returns the bytes read or a negative errno.
 */
long direct_file_read(struct direct_file *file, uint8_t *into, size_t bytes, uint64_t offset);
/* Reserves space from `offset` on without changing the file's size. 0 or a negative errno. */
int direct_file_reserve(struct direct_file *file, uint64_t offset, uint64_t bytes);
/* Waits until all that was written is on the medium. 0 or a negative errno. */
int direct_file_sync(struct direct_file *file);
/* Sets the size, and gives back what was reserved behind it. 0 or a negative errno. */
int direct_file_truncate(struct direct_file *file, uint64_t bytes);
/* The file's size, or a negative errno. */
int64_t direct_file_size(struct direct_file *file);
/* Sets the time that it was modified at, as storage_look tells it. 0 or a negative errno. */
int direct_file_set_modified(struct direct_file *file, uint64_t modified_ns);
/* Whether the file still has a name: false once somebody has removed it. */
bool direct_file_linked(const struct direct_file *file);
/* Closes it if it is open. */
void direct_file_close(struct direct_file *file);

#endif
