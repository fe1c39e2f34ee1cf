/* SPDX-License-Identifier: MIT
 * What is in a folder and how much room is left there, for whoever has to make room.
 * Sources: fstatat(2), statvfs(3). */
#ifndef FLOTILLA_OS_STORAGE_H
#define FLOTILLA_OS_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "os/descriptor.h"

struct storage_entry {
    bool folder,
        regular; /* of a symbolic link: of what it points to for `folder`, never `regular` */
    bool socket;
    uint64_t bytes;
    uint64_t modified_ns; /* realtime; 0 for a time before 1970 */
};

/* Describes `name` in the folder (of folder_open). 0, or a negative errno. */
int storage_look(descriptor_t folder, const char *name, struct storage_entry *entry);
/* The same of a path. */
int storage_look_at(const char *path, struct storage_entry *entry);

/* Room on the folder's file system: what an ordinary user may still take, and all of it. 0, or a
 * negative errno. */
int storage_room(descriptor_t folder, uint64_t *free_bytes, uint64_t *total_bytes);

/* Whether an error says that there is no room: on the medium, or of what its owner may take. */
bool storage_is_full(int status);

#endif
