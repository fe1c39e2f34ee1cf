/* SPDX-License-Identifier: MIT
 * A lane: blocks from the receiving thread to the writing thread, and what each has noted of it. */
#ifndef FLOTILLA_CHANNEL_LANES_H
#define FLOTILLA_CHANNEL_LANES_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/staging.h"

/* The writer's state as it is; the copy to change, made equal to it; and that copy made the current
 * one. The last two are for the writing thread alone. */
const struct writer_state *lane_writer(const struct lane *lane);
struct writer_state *lane_writer_begin(struct lane *lane);
void lane_writer_commit(struct lane *lane);
/* The receiver's end of a lane; for its own thread. */
const struct lane_state *lane_receiver(const struct lane *lane);

/* A copy of the other thread's state as of one instant. */
void lane_copy_receiver(const struct lane *lane, struct lane_state *copy);
void lane_copy_writer(const struct lane *lane, struct writer_state *copy);
/* The writer's `written`, without the rest. */
uint64_t lane_written(const struct lane *lane);

/* Who may still change the open block: its number times 4 plus one of these. The receiver must take
 * OPEN_BLOCK_GROWS before it grows the block beyond a page, the writer must take OPEN_BLOCK_ON_DISK
 * before it writes the block as a page; whoever comes first has decided. */
enum staging_claim { OPEN_BLOCK_UNCLAIMED = 0, OPEN_BLOCK_GROWS = 1, OPEN_BLOCK_ON_DISK = 2 };
/* Takes the claim on block `number`; false if the other side has it. Repeating is harmless. */
bool lane_claim(struct lane *lane, uint64_t number, enum staging_claim claim);
/* Forgets all claims: for a relay that takes over, before its writer runs and when no block is
 * open. The last relay may have claimed blocks that were never committed. */
void lane_forget_claims(struct lane *lane);

/* Counts a write or a sync of the lane's files that began at `since_ns`, monotonic, and has ended
 * now, however it did. For the writing thread alone; needs no commit. */
void lane_note_disk(struct lane *lane, enum disk_act act, uint64_t since_ns);

static inline struct staging_block *lane_entry(const struct lane *lane, uint64_t number)
{
    return &lane->queue[number % lane->queue_count];
}

#endif
