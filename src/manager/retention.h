/* SPDX-License-Identifier: MIT
 * Making room: recordings are removed, oldest first, by age, by total size and by free space; never
 * one that is still written, never a pinned one (channel/pin.h), never anything whose name is no
 * recording's. One that could not be ended (".part", over a quota) goes in its turn: else newer
 * ones would be removed for its bytes. The looking and removing is done in a thread of its own: a
 * disk that stalls must not keep the manager from its relays.
 * How old a recording is tells no wall clock (retention_ages.h): what is known of that is kept in
 * STORAGE/.flotilla-ages. Nothing is removed while what must be mounted is not.
 * A limit is kept at the looks, not between them. Looks are every RETENTION_PERIOD_MS, within a
 * second of a recording's beginning, and within a second of a relay finding the disk full. So what
 * the fleet writes in a second comes on top of `size`, or, where no recording ends meanwhile, what
 * it writes in a period. */
#ifndef FLOTILLA_MANAGER_RETENTION_H
#define FLOTILLA_MANAGER_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

#define RETENTION_PERIOD_MS 30000u

enum retention_reason { RETENTION_KEPT, RETENTION_AGE, RETENTION_SIZE, RETENTION_FREE };

struct retention_limits {
    uint64_t age_ms, bytes; /* 0: no limit */
    double free_percent;    /* 0: no limit */
};

/* A file as the choice sees it. */
struct retention_file {
    uint32_t channel; /* below channel_count */
    uint64_t number;  /* in its name: the order of age within a channel */
    uint64_t bytes, modified_ns;
    uint64_t begun_ns; /* the time in its name */
    uint64_t age_ns;   /* since it was finished, at least: retention_ages_tell's */
    bool rejects;      /* of the other lane, whose numbers are its own */
    bool part;         /* named as not ended */
    bool open;         /* so, and may be written still: retention_sort's */
    bool fixed;        /* so, or pinned: counted, never removed */
    enum retention_reason removed_for;
    char *name; /* of the file: the caller's */
};

/* Puts files in order of channel and number, as the next asks for, and notes which of those not
 * ended are `open`, and so `fixed`: the last of each lane. A relay writes one file of a lane at a
 * time, and gives each a higher number than the one before. For tests. */
void retention_sort(struct retention_file *files, size_t file_count);
/* Decides which of `files`, in that order, go, and notes it in their `removed_for`.
 * - Age: older than the limit.
 * - Size: while all files together exceed `limits->bytes`, the oldest file of the channel that is
 *   furthest above its share (limit / channels) goes. A channel within its share loses nothing.
 * - Free space: while less than the limit is free, the oldest file of the channel that holds most
 *   goes; a channel that holds less than the average loses nothing.
 * 0, or -ENOMEM. For tests. */
int retention_choose(struct retention_file *files, size_t file_count, uint32_t channel_count,
                     const struct retention_limits *limits, uint64_t free_bytes,
                     uint64_t total_bytes);

struct retention; /* opaque: the thread at work */

/* Starts the thread, with nothing to do yet. 0 or a negative errno. */
int retention_start(struct retention **retention);
/* What holds from now on; the values are copied. 0 or -ENOMEM. */
int retention_set(struct retention *retention, const struct config *config);
/* Why recordings may be kept for longer than their age for now, in words, as of the last look; ""
 * if they are not. */
const char *retention_doubt(const struct retention *retention);
/* Looks now rather than at the end of the period. */
void retention_look(struct retention *retention);
/* Ends the thread after the file it is at, waiting for it, and frees all. */
void retention_stop(struct retention *retention);

#endif
