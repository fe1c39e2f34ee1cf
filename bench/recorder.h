/* SPDX-License-Identifier: MIT
 * The least that recording can cost: a copy into a ring of 1 MiB blocks, and a thread that writes
 * the full ones past the page cache (O_DIRECT) into a preallocated file. No format, no checksum, no
 * sync: for floors. Ends the process on any error; blocks when the ring is full. */
#ifndef FLOTILLA_BENCH_RECORDER_H
#define FLOTILLA_BENCH_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recorder_options {
    const char *path;    /* of the file; replaced */
    uint64_t file_bytes; /* preallocated; beyond, it begins anew at its start */
    uint32_t blocks;     /* of the ring */
    bool shared, huge; /* memory: of a memfd, else anonymous; in huge pages where they can be had */
    bool streaming;    /* copies past the cache (non-temporal stores, x86-64 only) */
    bool nothing_written; /* the thread only hands the blocks back: the copy alone */
};

void recorder_open(const struct recorder_options *options);
void recorder_append(const void *bytes, size_t count);
/* Writes what is whole, ends the thread; bytes written. */
uint64_t recorder_close(void);

#endif
