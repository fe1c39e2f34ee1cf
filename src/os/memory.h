/* SPDX-License-Identifier: MIT
 * Memory that two processes share and that outlives either.
 * Sources: memfd_create(2), fcntl_locking(2) (record locks belong to a process). */
#ifndef FLOTILLA_OS_MEMORY_H
#define FLOTILLA_OS_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"

/* Makes `bytes` of zeroed shared memory whose size can never change: sealed where the system has
 * seals, else because nobody else has it. Only what is touched takes room. Returns a descriptor, or
 * a negative errno. */
descriptor_t shared_memory_create(const char *name, size_t bytes);
/* The size of such a memory, or a negative errno (-EPERM if its size could still change). */
int64_t shared_memory_bytes(descriptor_t descriptor);
/* Maps the first `bytes`. 0 or a negative errno. */
int shared_memory_map(descriptor_t descriptor, size_t bytes, void **memory);
void shared_memory_unmap(void *memory, size_t bytes);
/* Takes the memory for this process, until it ends or closes any descriptor of it: 0, -EWOULDBLOCK
 * if another process has it, or another negative errno. One that ends in any way has given it up
 * before its end can be seen. */
int shared_memory_claim(descriptor_t descriptor);
/* The id of the process that has taken the memory; 0: none has. Never the caller's own. */
long shared_memory_holder(descriptor_t descriptor);
/* What the system gives and takes back at once: 4 KiB, on other systems 16 or 64. */
size_t shared_memory_page_bytes(void);
/* Makes a part of a mapping read as zero, and gives back the whole pages of the system in it, if
 * the system takes any: zero is promised, memory is not. 0 or a negative errno. */
int shared_memory_release(void *at, size_t bytes);

/* Private zeroed pages; NULL if there are none. */
void *private_memory_map(size_t bytes);
void private_memory_unmap(void *memory, size_t bytes);

#endif
