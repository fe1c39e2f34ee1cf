/* SPDX-License-Identifier: MIT
 * The receiver's end of the staging memory: datums go into a lane's open block, blocks into slots,
 * slots are taken back once they are written. All of it is in the state that is being made
 * (`next`), and becomes current with that. For the receiving thread alone. */
#ifndef FLOTILLA_RELAY_STAGE_H
#define FLOTILLA_RELAY_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "channel/staging.h"
#include "relay/block_format.h"

struct stage {
    struct staging *staging;
    struct block_format format;
    bool records; /* else no datum finds room */

    struct receiver_state *next; /* the state being made; to be set before anything is staged */
    /* Its own, set by stage_prepare. */
    uint32_t *free_slots; /* a stack */
    uint32_t free_count;
    uint8_t *slot_dirty;        /* by slot: it has memory */
    uint32_t peak, peak_before; /* slots in use, of this while and the one before */
    uint64_t shed_due_ns;       /* monotonic: the end of this while */
    uint64_t reclaimed[LANES];  /* blocks whose slots have been taken back, of those written */
    uint64_t queue_shed[LANES]; /* blocks whose places in the queue were given back */
};

/* Finds the slots that blocks of the last relay are in. 0 or -ENOMEM. The first three fields must
 * be set, all else zero. */
int stage_prepare(struct stage *stage);

/* Stages a datum that is `front` and then `rest` (either may be empty). False if the memory that
 * bridges the disk is used up. `arrival_ns` is realtime, `now_ns` monotonic. */
bool stage_datum(struct stage *stage, enum lane_index index, struct span front, struct span rest,
                 uint64_t arrival_ns, uint64_t now_ns);
/* Closes the lane's open block, if there is one. */
void stage_close_block(struct stage *stage, enum lane_index index);

/* Whether half of the slots are free, after taking back what has been written. */
bool stage_is_half_free(struct stage *stage);
/* Takes back the slots of all that is written, and gives back the memory of its places in the
 * queues. Whether all is. */
bool stage_reclaim(struct stage *stage);
/* Gives the memory of all free slots back. */
void stage_release(struct stage *stage);
/* Gives back the memory of slots that a stall had needed, once none has for a while, a few at a
 * time; due at `shed_due_ns`. Not as they come in: under a high load a disk is in arrears all the
 * time, and every block would be written into memory that has to be made first (measured: a fifth
 * of the relay's time). */
void stage_shed(struct stage *stage, uint64_t now_ns);

#endif
