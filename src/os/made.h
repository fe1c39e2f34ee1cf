/* SPDX-License-Identifier: MIT
 * A file that is there whole or not at all: it has no name, or one that tells what it is, until it
 * is finished; then it is synced and takes the place of what stood under its name. What a killed
 * process leaves is nothing, or, where the file system knows no files without a name, a file
 * ".NAME.unfinished-PID", which the next one of that name removes.
 * A symbolic link stays: what it leads to is made, as by who opens it to write.
 * Or standard output, which takes bytes in order only.
 * Sources: open(2) on O_TMPFILE, linkat(2), rename(2), fsync(2). */
#ifndef FLOTILLA_OS_MADE_H
#define FLOTILLA_OS_MADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "os/descriptor.h"

struct made {
    descriptor_t descriptor; /* open for reading and writing; -1: closed */
    descriptor_t folder;     /* that it is to stand in */
    bool once;               /* standard output: bytes go out in order, and no more */
    bool there;              /* standard output that is an empty file, open for both ways */
    char name[256];          /* in the folder: what it is to be named */
    char beside[300];        /* the name it has meanwhile; "": none */
    uint64_t bytes;          /* written with made_write */
};

/* Begins the file `target`, or with "-" goes to standard output. 0 or a negative errno (-EISDIR:
 * something that is no file stands there). made_discard in any case where made_finish is not
 * reached. */
int made_begin(struct made *made, const char *target);
/* Whether standard output is a file, empty and open for reading and writing: then what goes there
 * can be written in any order, and is seen as it is written. */
bool made_is_there(void);
/* Writes at the end of what was written so far. 0 or a negative errno. */
int made_write(struct made *made, struct span bytes);
/* Writes over what was written. 0, or a negative errno; -ESPIPE on standard output. */
int made_write_at(struct made *made, struct span bytes, uint64_t offset);
/* Sets its length, which made_write does not take note of. As made_write_at. */
int made_set_bytes(struct made *made, uint64_t bytes);
/* Syncs it, and gives it its name. 0 or a negative errno: then nothing has changed there, and
 * made_discard follows. */
int made_finish(struct made *made);
/* Leaves nothing behind. Harmless after made_finish. */
void made_discard(struct made *made);

#endif
