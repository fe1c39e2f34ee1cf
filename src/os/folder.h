/* SPDX-License-Identifier: MIT
 * Folders: opened once, then names in them, so that a path that leads elsewhere meanwhile changes
 * nothing. Sources: openat(2), renameat2(2), fsync(2), flock(2). */
#ifndef FLOTILLA_OS_FOLDER_H
#define FLOTILLA_OS_FOLDER_H

#include <stdint.h>

#include "os/descriptor.h"

/* Opens a folder, made with its parents where missing (mode 0750). A descriptor or a negative
 * errno. */
descriptor_t folder_open(const char *path);
/* Opens one that is there, and makes none. A descriptor, or a negative errno. */
descriptor_t folder_open_there(const char *path);
/* A number that tells this folder from every other one, also from one under the same path on a file
 * system that has taken the place of this one's; 0 where it cannot be told. */
uint64_t folder_identity(descriptor_t folder);
/* Which of the folders that are there at one time one is. */
struct folder_place {
    uint64_t device, inode;
};
/* Of an open folder, and of the one that a path leads to. 0 or a negative errno; 1 where it leads
 * to none: then `place` is that of what is nearest above it. */
int folder_place(descriptor_t folder, struct folder_place *place);
int folder_place_at(const char *path, struct folder_place *place);
/* Whether folder_open may work on a folder that could not be opened, or has gone: 0, or the
 * negative errno that stands against it. Opens and makes nothing: for one that cannot any more. */
int folder_possible(const char *path);
/* Renames within the folder, never over an existing file; -EEXIST if there is one. Where the file
 * system can neither rename without replacing nor link, a file that another process makes under
 * `to` in that very moment is replaced: whoever names files there holds its lock (folder_lock). */
int folder_rename(descriptor_t folder, const char *from, const char *to);
/* The same over a file that may be there, in one step. */
int folder_replace(descriptor_t folder, const char *from, const char *to);
/* Has two files that are there change names, in one step; -ENOENT where one is not there,
 * -EOPNOTSUPP where the system or the file system cannot. */
int folder_exchange(descriptor_t folder, const char *one, const char *other);
int folder_remove(descriptor_t folder, const char *name);
/* Removes an empty folder that stands where something of ours is to be: nothing that anybody would
 * miss. 0, also if no folder is there, or a negative errno. */
int folder_clear(descriptor_t folder, const char *name);
/* The same of a path. */
int folder_clear_at(const char *path);
/* Makes renames and new files durable, as far as the file system can sync a folder. */
int folder_sync(descriptor_t folder);
/* Calls `each` with every name in the folder (not "." and ".."), until it returns non-zero, which
 * is then returned. 0, or a negative errno. */
int folder_list(descriptor_t folder, int (*each)(void *context, const char *name), void *context);
/* Holds an exclusive lock named `name` in the folder, also where an empty folder stands in its
 * place, until the descriptor is closed. A descriptor,
 * -EWOULDBLOCK if somebody holds it, or another negative errno. */
descriptor_t folder_lock(descriptor_t folder, const char *name);
/* Holds the folder itself in the same way, by no file, until it is closed. 0, -EWOULDBLOCK, or
 * another negative errno. */
int folder_hold(descriptor_t folder);

#endif
