/* SPDX-License-Identifier: MIT
 * Which files a command reads, in order: files as they are named, and of folders the recordings in
 * them. A folder is a channel's, or holds channels' folders (storage.directory); the
 * overview in a channel's folder is left out, but where it is named itself. A channel's
 * recordings are in the order of their numbers; of one number what was recorded comes first, then
 * what is kept from behind its damage. Nothing is opened but by catalog_look.
 * Relies on channel/recording_name and os/storage. */
#ifndef FLOTILLA_ARCHIVE_CATALOG_H
#define FLOTILLA_ARCHIVE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/recording_name.h"

/* What a folder gives. Files being made (RECORDING_OPENING) and what is no recording never. */
enum catalog_lanes { CATALOG_DATUMS, CATALOG_ALL /* rejects, too */ };

struct catalog_file {
    char *path;
    bool named;                 /* it has a recording's name ... */
    struct recording_name name; /* ... which is this */
    uint64_t bytes;             /* when it was listed; 0 for what is no regular file */
    uint64_t modified_ns;       /* realtime, as above */
};

/* All zero to begin with; freed by catalog_free. The paths are the catalog's. */
struct catalog {
    struct catalog_file *files;
    size_t count, room;
};

/* Adds `path`: a file of any name, which need not be there, or the recordings of a folder. Returns
 * how many files were added (0: a folder without any), or a negative errno: of a folder that cannot
 * be listed, -ENAMETOOLONG, -ENOMEM. Files that vanish meanwhile are left out. */
long catalog_add(struct catalog *catalog, const char *path, enum catalog_lanes lanes);

/* The place of a channel's recording by its number, in lane RECORDING_DATUMS, or that of the next
 * higher number of the channel; `catalog->count` if there is none. */
size_t catalog_find(const struct catalog *catalog, const char *channel, uint64_t number);

void catalog_free(struct catalog *catalog);

/* What a recording says without being read: its header, its first page behind that and the last
 * block's front are read. */
struct catalog_look {
    bool ours;                  /* Flotilla's own format; else the rest is 0 */
    bool empty;                 /* there is no whole block yet */
    uint64_t first_ns, last_ns; /* arrival of the first block's first datum, of the last block's */
    uint64_t last_block;        /* its offset */
};

/* Looks into the file. 0, -EBADMSG if it is none that can be read or its last block is not whole
 * (`look` then has what was found before), or another negative errno. A file that is being written
 * is looked at as it is at that moment. */
int catalog_look(const struct catalog_file *file, struct catalog_look *look);

#endif
