/* SPDX-License-Identifier: MIT
 * The least that recording can cost: a copy into a ring of 32 blocks of 1 MiB in shared memory, and
 * a thread that writes the full ones past the page cache (O_DIRECT) into a preallocated file of
 * 1 GiB, over and over. No format, no checksum, no sync: for floors. Ends the process on any error;
 * waits when the ring is full. */
#ifndef FLOTILLA_BENCH_RECORDER_H
#define FLOTILLA_BENCH_RECORDER_H

#include <stddef.h>

/* Makes the file `path`, in place of an older one, and the thread. */
void recorder_open(const char *path);
void recorder_append(const void *bytes, size_t count);
/* Writes the blocks that are full, ends the thread. What the last block had is dropped. */
void recorder_close(void);

#endif
