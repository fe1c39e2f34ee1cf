/* SPDX-License-Identifier: MIT
 * Landlock's calls and words, which the C library's headers lack: for the sandboxes alone.
 * Source: landlock(7). */
#ifndef FLOTILLA_OS_LINUX_LANDLOCK_H
#define FLOTILLA_OS_LINUX_LANDLOCK_H

#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANDLOCK_CREATE       444 /* the three are the same on all architectures */
#define LANDLOCK_ADD          445
#define LANDLOCK_RESTRICT     446
#define LANDLOCK_VERSION      1u /* flag: only tell the ABI */
#define LANDLOCK_PATH_BENEATH 1

enum landlock_right {
    RIGHT_WRITE = 1 << 1,
    RIGHT_READ = 1 << 2,
    RIGHT_LIST = 1 << 3,
    RIGHT_REMOVE = 1 << 5,
    RIGHT_MAKE = 1 << 8,
    RIGHT_TRUNCATE = 1 << 14,
};
#define RIGHTS_FOLDER                                                                              \
    (RIGHT_WRITE | RIGHT_READ | RIGHT_LIST | RIGHT_REMOVE | RIGHT_MAKE | RIGHT_TRUNCATE)

/* All that a version of the ABI can restrict; what is restricted and not allowed is refused. */
struct landlock_rules {
    uint64_t files;  /* 13 rights at first; linking across folders from 2, truncate from 3,
                        ioctl on devices from 5 on */
    uint64_t tcp;    /* bind and connect, from 4 on */
    uint64_t scopes; /* abstract sockets and signals, from 6 on */
};

struct __attribute__((packed)) landlock_beneath {
    uint64_t allowed;
    int32_t folder;
};

static inline struct landlock_rules rules_of(long version)
{
    struct landlock_rules rules = {.files = (1u << 13) - 1};
    rules.files |= version >= 2 ? 1u << 13 : 0;
    rules.files |= version >= 3 ? 1u << 14 : 0;
    rules.files |= version >= 5 ? 1u << 15 : 0;
    rules.tcp = version >= 4 ? 3 : 0;
    rules.scopes = version >= 6 ? 3 : 0;
    return rules;
}

/* The ABI; 0 if the kernel has none, or has it switched off. */
static inline long landlock_version(void)
{
    long version = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION);
    return version < 0 ? 0 : version;
}

#endif
