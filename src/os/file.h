/* SPDX-License-Identifier: MIT
 * Files written past the page cache, and the folder they are in. One file per system implements it.
 * Sources: open(2) on O_DIRECT, statx(2) on STATX_DIOALIGN, fallocate(2), fsync(2), rename(2). */
#ifndef FLOTILLA_OS_FILE_H
#define FLOTILLA_OS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

struct direct_file {
    int descriptor;     /* -1 when closed */
    bool direct;        /* writes bypass the page cache */
    uint32_t alignment; /* of offsets, lengths and addresses: a power of two, at least 4096 */
};

enum file_open {
    FILE_CREATE,  /* must not be there */
    FILE_EXISTING /* must be there; opened for reading and writing */
};

/* Opens `name` in the folder. With `direct`, asks for O_DIRECT and fails with -EINVAL or
 * -EOPNOTSUPP where the file system refuses; without, the page cache is used. Mode 0640, no
 * symbolic links. */
int direct_file_open(struct direct_file *file, int folder, const char *name, enum file_open how,
                     bool direct);
/* Finds out how files can be written in the folder: makes `name`, writes a page of it, removes it.
 * A write is needed, as some file systems accept O_DIRECT and refuse then. `*alignment` gets the
 * unit of writes. 0 or a negative errno. */
int direct_file_probe(int folder, const char *name, bool direct, uint32_t *alignment);
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
/* Whether the file still has a name: false once somebody has removed it. */
bool direct_file_linked(const struct direct_file *file);
/* Closes it if it is open. */
void direct_file_close(struct direct_file *file);

/* Opens a folder, made with its parents where missing (mode 0750). A descriptor or a negative
 * errno. */
int folder_open(const char *path);
/* A number that tells this folder from every other one, also from one under the same path on a file
 * system that has taken the place of this one's; 0 where it cannot be told. */
uint64_t folder_identity(int folder);
/* Whether folder_open may work on a folder that could not be opened, or has gone: 0, or the
 * negative errno that stands against it. Opens and makes nothing: for one that cannot any more. */
int folder_possible(const char *path);
/* Renames within the folder, never over an existing file; -EEXIST if there is one. */
int folder_rename(int folder, const char *from, const char *to);
int folder_remove(int folder, const char *name);
/* Removes an empty folder that stands where something of ours is to be: nothing that anybody would
 * miss. `name` may be a path in folder STORAGE_HERE (os/storage.h). 0, also if no folder is there,
 * or a negative errno. */
int folder_clear(int folder, const char *name);
/* Makes renames and new files durable. */
int folder_sync(int folder);
/* Calls `each` with every name in the folder (not "." and ".."), until it returns non-zero, which
 * is then returned. 0, or a negative errno. */
int folder_list(int folder, int (*each)(void *context, const char *name), void *context);
/* Holds an exclusive lock named `name` in the folder, also where an empty folder stands in its
 * place, until the descriptor is closed. A descriptor,
 * -EWOULDBLOCK if somebody holds it, or another negative errno. */
int folder_lock(int folder, const char *name);

/* Reads a whole file of at most `bytes_max` into memory from malloc, 8-byte aligned and with a NUL
 * behind it; the caller frees `*bytes`. Never waits: what is not a regular file (a pipe that nobody
 * writes to, a terminal) is refused. 0, -EFBIG, -ESPIPE or -EISDIR if it is no regular file, or
 * another negative errno. */
int file_read_whole(const char *path, size_t bytes_max, uint8_t **bytes, size_t *byte_count);
/* As file_read_whole, but waits for the end of a pipe that was handed to this process under a name
 * in /dev/fd or as /dev/stdin: for commands, not for services. */
int file_read_handed(const char *path, size_t bytes_max, uint8_t **bytes, size_t *byte_count);
/* What a refusal of these means to people: "not a regular file", or strerror's words. */
const char *file_error_text(int status);
/* Opens a file for reading in pieces, from its begin to its end for the most part. A descriptor for
 * descriptor_close, or a negative errno; -EISDIR for a folder. */
int file_open_read(const char *path);
/* Reads up to `bytes` at `offset`. Returns how many (fewer only at the end), or a negative errno.
 */
long file_read_at(int descriptor, uint8_t *into, size_t bytes, uint64_t offset);
/* The size of an open file, or a negative errno. */
int64_t file_bytes(int descriptor);
/* Writes a small file as a whole: under another name, synced, renamed over `path`. */
int file_write_whole(const char *path, struct span bytes);
/* The same without a sync, as `beside`: for what says nothing any more after a power cut. With
 * `only_try`, finds out whether that would do, and leaves all as it was. */
int file_replace(const char *path, const char *beside, struct span bytes, bool only_try);
/* As file_write_whole, for everybody to read, in a folder for everybody to enter, made where it is
 * missing. */
int file_write_public(const char *path, struct span bytes);
/* Whether the open file is what `path` names: false once it was removed or renamed, or another has
 * taken its place; true where that cannot be told. */
bool descriptor_is_at(int descriptor, const char *path);
/* Another descriptor of the same, close-on-exec; -1 if there is no room for one. */
int descriptor_copy(int descriptor);
/* Closes a descriptor, if it is one. */
void descriptor_close(int descriptor);

#endif
