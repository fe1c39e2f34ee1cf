/* SPDX-License-Identifier: MIT
 * os/memory.h: the channel's memory, which outlives every relay and is mapped at another address by
 * each, and private memory, which does not. */
#define _GNU_SOURCE
#include "os/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "avro/block.h"
#include "sim.h"
#include "world.h"

#define PRIVATE_BYTES ((size_t)1 << 30) /* of addresses */
#define MAPPINGS      2

static size_t memory_size, page_bytes;
static uint8_t *mappings[MAPPINGS];
static uint32_t mapping;
static uint8_t *private_base;
static size_t private_used;

void memory_make(size_t bytes, size_t page)
{
    page_bytes = page;
    memory_size = bytes;
    int memory_descriptor = memfd_create("simulation", MFD_CLOEXEC);
    MUST(memory_descriptor >= 0 && ftruncate(memory_descriptor, (off_t)bytes) == 0);
    for (int i = 0; i < MAPPINGS; i++) {
        void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_descriptor, 0);
        MUST(at != MAP_FAILED);
        mappings[i] = at;
    }
}

void memory_forget(void)
{
    MUST(madvise(mappings[0], memory_size, MADV_REMOVE) == 0);
}

void memory_garble(size_t from, size_t to, uint32_t bits)
{
    machine.garbled = true;
    for (uint32_t i = 0; i < bits; i++) {
        uint64_t bit = random_between(from * 8, to * 8 - 1);
        mappings[0][bit / 8] ^= (uint8_t)(1u << bit % 8);
        note("flips bit", bit / 8, bit % 8);
    }
}

uint8_t *memory_bytes(size_t *bytes)
{
    *bytes = memory_size;
    return mappings[0];
}

void memory_life_begins(void)
{
    if (private_base == NULL) {
        void *at = mmap(NULL, PRIVATE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        MUST(at != MAP_FAILED);
        private_base = at;
    }
    if (private_used > 0)
        madvise(private_base, private_used, MADV_DONTNEED);
    private_used = 0;
    mapping = (mapping + 1) % MAPPINGS;
}

descriptor_t shared_memory_create(const char *name, size_t bytes)
{
    (void)name, (void)bytes;
    fail("a relay makes a memory of its own though it was given one");
}

int64_t shared_memory_bytes(int descriptor)
{
    seam("memory_bytes", 500);
    MUST(descriptor == DESCRIPTOR_MEMORY);
    return (int64_t)memory_size;
}

int shared_memory_map(descriptor_t descriptor, size_t bytes, void **memory)
{
    seam("memory_map", 5000);
    MUST(descriptor == DESCRIPTOR_MEMORY && bytes <= memory_size);
    if (fault(machine.faults.memory)) {
        events.out_of_memory++;
        return -ENOMEM;
    }
    *memory = mappings[fiber_now() >= 0 ? mapping : 0];
    return 0;
}

void shared_memory_unmap(void *memory, size_t bytes)
{
    (void)memory, (void)bytes;
    seam("memory_unmap", 2000);
}

void private_memory_unmap(void *memory, size_t bytes)
{
    seam("memory_unmap", 2000);
    size_t pages = (bytes + 65535) / 65536 * 65536;
    if (private_used >= pages && memory == private_base + private_used - pages) { /* the newest */
        private_used -= pages;
        madvise(memory, pages, MADV_DONTNEED);
    }
}

int shared_memory_claim(descriptor_t descriptor)
{
    seam("memory_claim", 500);
    MUST(descriptor == DESCRIPTOR_MEMORY);
    return 0; /* one relay at a time */
}

long shared_memory_holder(descriptor_t descriptor)
{
    (void)descriptor;
    return 0;
}

size_t shared_memory_page_bytes(void)
{
    return page_bytes;
}

/* Where pages are larger than those of this machine, less of a range is whole pages. */
int shared_memory_release(void *at, size_t bytes)
{
    seam("memory_release", 2000);
    MUST((uintptr_t)at % 4096 == 0);
    uint8_t *base = mappings[fiber_now() >= 0 ? mapping : 0];
    MUST((uint8_t *)at >= base && (uint8_t *)at + bytes <= base + memory_size);
    size_t from = (size_t)((uint8_t *)at - base), to = from + bytes;
    size_t begin = (from + page_bytes - 1) / page_bytes * page_bytes,
           end = to / page_bytes * page_bytes;
    if (begin >= end) {
        memset(at, 0, bytes);
        return 0;
    }
    memset(at, 0, begin - from);
    memset(base + end, 0, to - end);
    if (bytes % BLOCK_BYTES_MAX == 0)
        events.slots_given_back++;
    else
        events.queue_given_back++;
    return madvise(base + begin, end - begin, MADV_REMOVE) < 0 ? -errno : 0;
}

void *private_memory_map(size_t bytes)
{
    seam("private_map", 5000);
    size_t pages = (bytes + 65535) / 65536 * 65536; /* aligned for any file system */
    if (fault(machine.faults.memory) || private_used + pages > PRIVATE_BYTES) {
        events.out_of_memory++;
        return NULL;
    }
    void *at = private_base + private_used;
    private_used += pages;
    return at;
}
