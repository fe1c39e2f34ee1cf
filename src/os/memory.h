/* SPDX-License-Identifier: MIT
 * Memory that two processes share and that outlives either. Source: memfd_create(2). */
#ifndef FLOTILLA_OS_MEMORY_H
#define FLOTILLA_OS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* Makes `bytes` of zeroed shared memory whose size can never change. Only what is touched takes
 * room. Returns a descriptor, or a negative errno. */
int shared_memory_create(const char *name, size_t bytes);
/* The size of such a memory, or a negative errno (-EPERM if its size could still change). */
int64_t shared_memory_bytes(int descriptor);
/* Maps the first `bytes`. 0 or a negative errno. */
int shared_memory_map(int descriptor, size_t bytes, void **memory);
void shared_memory_unmap(void *memory, size_t bytes);
/* Gives page-aligned parts of a mapping back; they read as zero afterwards. 0 or a negative errno.
 */
int shared_memory_release(void *at, size_t bytes);

/* Private zeroed pages, never freed but by shared_memory_unmap. NULL if there are none. */
void *private_memory_map(size_t bytes);

#endif
