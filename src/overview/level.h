/* SPDX-License-Identifier: MIT
 * One level of a channel's overview: datums of the level below in, min-max of each window of them
 * out, into recordings of the channel's own schema. What is in blocks that have ended is told as
 * `ended`, with the place it goes on from; the builder notes that when it is on the medium.
 * A window ends early where the schema changes, the clock went back, or nothing came for long: so
 * no window has datums of both sides. Relies on archive/peaks, archive/writer. */
#ifndef FLOTILLA_OVERVIEW_LEVEL_H
#define FLOTILLA_OVERVIEW_LEVEL_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/history.h"
#include "archive/peaks.h"
#include "archive/writer.h"
#include "overview/reader.h"
#include "overview/state.h"

struct level {
    uint32_t index;  /* from 1 */
    uint64_t window; /* datums of the level below that are one window */
    uint64_t factor; /* of datums of the recordings, for the header */
    const char *channel;
    char name[RECORDING_NAME_BYTES]; /* of its files, in place of a channel */
    descriptor_t folder;             /* theirs ... */
    const char *path;                /* ... and where that is */
    int (*note)(void *context); /* brings to the medium and notes what has ended; 0 or an errno */
    void *context;
    bool direct;
    struct reader reader;
    struct level_state ended; /* as of the newest block that has ended */
    struct level_state put;   /* source and latest_ns as of the newest window in the file */
    struct writer *writer;    /* NULL: no file is open */
    bool file_ends;           /* it is old or large enough */

    uint8_t *layout_image; /* of the schema at hand, with time and sequence; NULL: none yet */
    struct layout layout;
    struct span schema, time, sequence; /* copies */
    struct row_clock clock;
    struct peaks *peaks;
    size_t block_bytes_max;        /* that its blocks are ended at */
    uint64_t window_ns, newest_ns; /* arrival of the window's first datum; of the newest one */
    uint64_t usual_ns;             /* between arrivals, lately */
    uint64_t window_datums;        /* of the recordings */
    uint64_t source_bytes;         /* taken since the block at hand was begun */
    uint64_t all_datums;           /* of the recordings, also those that are not in a block yet */
    char source[RECORDING_NAME_BYTES]; /* name of the file it takes from */
};

/* Sets out from `state`, which was noted last; the file it names is taken up again. What it is made
 * from is in the folder `below` under the name `channel_below`. 0; -EBADMSG where what was noted is
 * not there; or another negative errno. level_close in any case. */
int level_open(struct level *level, const struct level_state *state, const char *below,
               const char *channel_below);
void level_close(struct level *level);

/* Takes one block, or one event of the file, from below. 1; 0 where there is nothing for now;
 * -ENODATA after damage below, which `what` tells; or a negative errno, after which the level is to
 * be opened again. */
int level_step(struct level *level, const char **what);

/* Ends the window and the block at hand, full or not. 0 or a negative errno. */
int level_flush(struct level *level);
/* Brings all that has ended to the medium. 0 or a negative errno. */
int level_sync(struct level *level);

#endif
