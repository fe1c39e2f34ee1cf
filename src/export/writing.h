/* SPDX-License-Identifier: MIT
 * The thread that a format works in, and batches on their way to it: one is written while the next
 * is read. What a few batches need is all the memory there is. Relies on os/thread. */
#ifndef FLOTILLA_EXPORT_WRITING_H
#define FLOTILLA_EXPORT_WRITING_H

#include <stdatomic.h>

#include "export/batch.h"
#include "export/format.h"
#include "os/made.h"
#include "os/thread.h"

#define WRITING_BATCHES     3u
#define WRITING_ERROR_BYTES 512u

struct writing {
    const struct export_format *format;
    struct made *made;
    const struct export_options *options;
    struct thread thread;
    struct writing_slot {
        struct batch batch;
        struct table *end; /* the table is at its end; else the batch is to be written */
    } slots[WRITING_BATCHES];
    _Atomic uint32_t filled, emptied; /* how many slots were, since the start */
    struct wake fill, empty;
    _Atomic int status; /* of the thread: negative once it has failed */
    _Atomic int over;   /* 1: nothing more comes, all is to be kept; -1: it is to be thrown away */
    char error[WRITING_ERROR_BYTES]; /* why, once it has */
};

/* Starts the thread and begins the file. 0 or a negative errno of starting the thread. Ended by
 * writing_stop. */
int writing_start(struct writing *writing, const struct export_format *format, struct made *made,
                  const struct export_options *options);
/* A batch to be filled, after waiting for one; the same until it is handed on. NULL once writing
 * has failed. */
struct batch *writing_batch(struct writing *writing);
/* Hands on the sealed batch that writing_batch gave. */
void writing_hand_on(struct writing *writing);
/* No more rows of `table`, whose origin is complete. False once writing has failed. */
bool writing_end_table(struct writing *writing, struct table *table);
/* Waits until all is written (`keep`), or has it thrown away. 0 or a negative errno, with a message
 * in `writing->error` if there is one. */
int writing_stop(struct writing *writing, bool keep);

#endif
