/* SPDX-License-Identifier: MIT
 * What is in a folder and how much room is left there, for whoever has to make room.
 * Sources: fstatat(2), statvfs(3). */
#ifndef FLOTILLA_OS_STORAGE_H
#define FLOTILLA_OS_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

struct storage_entry {
    bool folder,
        regular; /* of a symbolic link: of what it points to for `folder`, never `regular` */
    bool socket;
    uint64_t bytes;
    uint64_t modified_ns; /* realtime; 0 for a time before 1970 */
};

/* In place of a folder: names are paths, relative to the working folder. */
#define STORAGE_HERE (-100)

/* Describes `name` in the folder (a descriptor of folder_open, or STORAGE_HERE). 0, or a negative
 * errno. */
int storage_look(int folder, const char *name, struct storage_entry *entry);

/* Room on the folder's file system: what an ordinary user may still take, and all of it. 0, or a
 * negative errno. */
int storage_room(int folder, uint64_t *free_bytes, uint64_t *total_bytes);

#endif
