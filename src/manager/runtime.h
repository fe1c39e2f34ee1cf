/* SPDX-License-Identifier: MIT
 * The runtime folder, which one manager holds while it lives: by a lock on RUNTIME/manager.lock,
 * with its process number beside it. Folders for what does not outlive a boot are swept by programs
 * and people; so one that was removed is made again, and if another manager was faster, it has the
 * fleet. */
#ifndef FLOTILLA_MANAGER_RUNTIME_H
#define FLOTILLA_MANAGER_RUNTIME_H

#include "channel/settings.h"
#include "os/descriptor.h"

/* The caller's; only `lock` is others' to read. */
struct runtime {
    char path[CHANNEL_PATH_BYTES_MAX];
    descriptor_t folder, lock; /* -1: not held */
};

#define RUNTIME_NONE                                                                               \
    {                                                                                              \
        .folder = -1, .lock = -1                                                                   \
    }

/* Takes the folder at `path` (copied), made where it is missing. `lock` is one that this process
 * held as the program it was before, or -1. 0, or a negative errno after telling why not. */
int runtime_take(struct runtime *runtime, const char *path, descriptor_t lock);
/* To be called about once a second. 0: all is well. 1: the folder or its lock was removed, and was
 * made and taken again; what else was in it may be missing. -EWOULDBLOCK: so it was, and another
 * manager holds it. Another negative errno: it cannot be made, and is to be tried again. */
int runtime_look(struct runtime *runtime);
/* Gives it up. */
void runtime_release(struct runtime *runtime);

#endif
