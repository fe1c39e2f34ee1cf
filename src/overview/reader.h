/* SPDX-License-Identifier: MIT
 * The finished blocks of a channel's recordings, file after file, also of one that is being
 * written, from a place on. A block of an open file is finished once another stands behind it, and
 * may be read once it is old enough to have been synced: so nothing is seen that a power cut takes
 * back. Damage is passed over, and told once. Relies on archive/scan and archive/catalog. */
#ifndef FLOTILLA_OVERVIEW_READER_H
#define FLOTILLA_OVERVIEW_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/source.h"
#include "overview/past_cache.h"
#include "overview/state.h"

enum reader_kind {
    READER_NOTHING, /* for now */
    READER_FILE,    /* one begins: its schema holds from here on */
    READER_BLOCK,
    READER_FAULT /* `what` */
};

struct reader_event {
    enum reader_kind kind;
    struct scan_event block; /* until the next call */
    uint64_t next_ns;        /* arrival of the block behind it; UINT64_MAX: not known */
    const char *what;        /* for people, with the file's name */
};

struct reader {
    const char *folder, *channel; /* the caller's */
    bool whole;                   /* the last block of an open file is never rewritten */
    uint64_t age_ns;              /* blocks of an open file are read once they are that old */
    struct place place;           /* the caller sets index; block and file are set here */
    struct source source;         /* through the page cache ... */
    struct past_cache past_cache; /* ... or past it */
    struct scan *scan;            /* NULL: no file is open */
    uint64_t next;                /* where the next block begins */
    bool done;                    /* the open file will not grow */
    bool stale;                   /* it may have, since it was looked at */
    unsigned looks;               /* in vain, since the folder was listed */
    char path[OVERVIEW_PATH_BYTES], what[OVERVIEW_PATH_BYTES + 300];
};

/* Begins at `place`. Ended by reader_close. */
void reader_open(struct reader *reader, const char *folder, const char *channel,
                 const struct place *place);
/* 0, -EINTR once a signal has come, -ENOMEM. */
int reader_next(struct reader *reader, struct reader_event *event);
/* The block at hand is done with. */
void reader_pass(struct reader *reader, const struct scan_event *block);
void reader_close(struct reader *reader);

#endif
