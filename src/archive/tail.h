/* SPDX-License-Identifier: MIT
 * Follows one lane of a channel's recordings while they are written: every datum once, in order,
 * from a position on, through rotation, rewritten last pages, relays that are killed and files that
 * a later relay ends. Only whole blocks that match their checksum are taken; never waits.
 *
 * How: a block that is the last of its file may grow (its page is rewritten with more datums behind
 * the same first ones), so it is read again until something stands behind it. A file is done with
 * when it has its final name, or a later one is there, and nothing more is in it.
 *
 * Known: what is handed out need not be synced yet. After a failed write the relay ends the file in
 * front of it and writes the same blocks to the next one: those are known again and not handed out
 * twice, except by a follower that was begun in between (from a kept position). After a failed sync
 * datums that are counted as unrecorded may have been handed out. Blocks that a relay gave up and
 * left behind its file's end (relay/segment.c) are taken for recorded ones.
 * Relies on archive/scan, archive/history and os/storage. */
#ifndef FLOTILLA_ARCHIVE_TAIL_H
#define FLOTILLA_ARCHIVE_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/scan.h"
#include "channel/recording_name.h"

/* The place of the next datum, for one who goes on later: also in another process. */
struct tail_position {
    uint64_t number; /* in the file's name; 0: in front of the first file */
    uint8_t
        sync[SCAN_SYNC_BYTES]; /* the file's: numbers begin again in a folder that was emptied */
    uint64_t block;            /* offset of the block; 0: the file's begin */
    uint64_t index;            /* of the datum in the block */
};

enum tail_kind {
    TAIL_NOTHING, /* there is nothing new yet: ask again later */
    TAIL_FILE,    /* a file begins: its schema holds from here on */
    TAIL_DATUM,
    TAIL_FAULT /* something is missing or damaged: `what` says it */
};

struct tail_event {
    enum tail_kind kind;
    struct span datum;   /* valid by the schema; until the next call */
    uint64_t number;     /* of the file it is in */
    uint64_t index;      /* in its block */
    uint64_t arrival_ns; /* of its block's first datum */
    const char *what;    /* for people, with the file's name; until the next call */
};

struct tail;

/* Follows `channel` in `folder`, which need not be there yet, from the first datum on. 0 or
 * -ENOMEM. Freed by tail_close. */
int tail_open(struct tail **tail, const char *folder, const char *channel,
              enum recording_lane lane);

/* Goes on at `position`. Where its file has gone, with the next one, after a fault. */
void tail_seek(struct tail *tail, const struct tail_position *position);

/* Goes on with what came in at `from_ns` or later, as archive/history.h has it, of the files from
 * `number` on (0: of all) that are there now; of later ones with all. 0 or a negative errno. */
int tail_seek_time(struct tail *tail, uint64_t number, uint64_t from_ns);

/* Goes on behind all that is there now. 0 or a negative errno. */
int tail_seek_end(struct tail *tail);

/* Takes the next event. 0; -EINTR once a signal has come (os/interrupt), -ENOMEM. What is wrong
 * with a file or the folder is an event. */
int tail_next(struct tail *tail, struct tail_event *event);

/* Behind the datum that was handed out last. */
void tail_tell(const struct tail *tail, struct tail_position *position);

/* The file at hand: header, schema, layout. NULL before the first TAIL_FILE. */
const struct scan *tail_scan(const struct tail *tail);

void tail_close(struct tail *tail);

#endif
