/* SPDX-License-Identifier: MIT
 * A file's bytes from a place on, read by a thread of their own, past the system's cache, while
 * what came before is looked at: for who goes through a large file once. Memory: AHEAD_BYTES.
 * Relies on os/direct and os/thread. */
#ifndef FLOTILLA_ARCHIVE_AHEAD_H
#define FLOTILLA_ARCHIVE_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#define AHEAD_CHUNK_BYTES (1u << 20)
#define AHEAD_CHUNKS      6u
#define AHEAD_BYTES       (AHEAD_CHUNKS * AHEAD_CHUNK_BYTES)

struct ahead;

/* Prepares for `path`. 0; a negative errno where it cannot be read so (-EOPNOTSUPP: not past the
 * cache). Freed by ahead_close. */
int ahead_open(struct ahead **ahead, const char *path);

/* Reads as file_read_at does. The first call says where to begin, each other one goes on where the
 * one before has ended. -EAGAIN where it does not, or the bytes cannot be read: to be read another
 * way, from here on. */
long ahead_read(struct ahead *ahead, uint8_t *into, size_t bytes, uint64_t offset);

void ahead_close(struct ahead *ahead); /* NULL is fine */

#endif
