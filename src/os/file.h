/* SPDX-License-Identifier: MIT
 * Small files read and written as a whole, and files read in pieces.
 * Sources: open(2), fsync(2), rename(2). */
#ifndef FLOTILLA_OS_FILE_H
#define FLOTILLA_OS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "os/descriptor.h"
#include "os/direct.h"
#include "os/folder.h"

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
descriptor_t file_open_read(const char *path);
/* As file_open_read, for reading here and there: nothing is read ahead. */
descriptor_t file_open_search(const char *path);
/* Reads up to `bytes` at `offset`. Returns how many (fewer only at the end), or a negative errno.
 */
long file_read_at(descriptor_t descriptor, uint8_t *into, size_t bytes, uint64_t offset);
/* As file_open_read, but opens a pipe or a terminal as well, whose bytes come once and in order:
 * then `*once` is true. Waits for who writes a named pipe. "-" is standard input. */
descriptor_t file_open_any(const char *path, bool *once);
/* Reads what comes next, up to `bytes`, and waits until anything does. Returns how many, 0 at the
 * end, -EINTR if a signal came first, or another negative errno. */
long file_read_next(descriptor_t descriptor, uint8_t *into, size_t bytes);
/* Writes at its begin. 0 or a negative errno. */
int file_write_at(descriptor_t descriptor, struct span bytes);
/* The size of an open file, or a negative errno. */
int64_t file_bytes(descriptor_t descriptor);
/* From now on a write past the limit of file sizes (RLIMIT_FSIZE) fails with EFBIG, here and in
 * every program started from here, where the system would end the process (SIGXFSZ). */
void file_limit_is_error(void);
/* Writes a small file as a whole: under another name, synced, renamed over `path`. */
int file_write_whole(const char *path, struct span bytes);
/* The same, meanwhile as `beside`, with the permissions (and, where that is allowed, the owner) of
 * the file `like`; and the folder, open as `folder`, is synced. */
int file_put(descriptor_t folder, const char *path, const char *beside, const char *like,
             struct span bytes);
/* The same without a sync, as `beside`: for what says nothing any more after a power cut. With
 * `only_try`, finds out whether that would do, and leaves all as it was. */
int file_replace(const char *path, const char *beside, struct span bytes, bool only_try);
/* As file_write_whole, for everybody to read, in a folder for everybody to enter, made where it is
 * missing. */
int file_write_public(const char *path, struct span bytes);

#endif
