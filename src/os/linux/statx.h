/* SPDX-License-Identifier: MIT
 * statx(2) of an open file, as of Linux 6.1: C libraries know it not at all, or without its last
 * fields. */
#ifndef FLOTILLA_OS_LINUX_STATX_H
#define FLOTILLA_OS_LINUX_STATX_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STATX_ANSWER_MOUNT  0x1000u /* STATX_MNT_ID: `mount` */
#define STATX_ANSWER_DIRECT 0x2000u /* STATX_DIOALIGN: the two of direct I/O */

struct statx_answer {
    uint32_t mask, block_bytes;
    uint64_t attributes;
    uint32_t links, user, group;
    uint16_t mode, spare0;
    uint64_t inode, size, blocks, attributes_mask;
    uint64_t times[8];
    uint32_t device_major, device_minor, on_major, on_minor;
    uint64_t mount;
    uint32_t direct_memory_alignment, direct_offset_alignment;
    uint64_t spare[12];
};
_Static_assert(sizeof(struct statx_answer) == 256, "as the kernel has it");

static inline long statx_ask(int descriptor, uint32_t mask, struct statx_answer *answer)
{
    enum { EMPTY_PATH = 0x1000 }; /* AT_EMPTY_PATH */
    return syscall(SYS_statx, descriptor, "", EMPTY_PATH, mask, answer);
}

#endif
