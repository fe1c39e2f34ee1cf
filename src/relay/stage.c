/* SPDX-License-Identifier: MIT
 * Slots and blocks. Relies on the order of memory that channel/staging.h asks for: bytes below what
 * is committed are never changed. */
#include "relay/stage.h"

#include <errno.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "channel/lanes.h"
#include "channel/memory.h"
#include "os/clock.h"
#include "os/memory.h"

#define SLOTS_KEPT    24u       /* more than one large write, what waits and what fills */
#define SHED_NS       NS_PER_S  /* what this long has not been needed is given back, ... */
#define SHED_MAX      4u        /* ... so many slots at a time: each takes some 20 us, ... */
#define SHED_PAUSE_NS NS_PER_MS /* ... and so far apart */

enum { SLOT_CLEAN, SLOT_DIRTY, SLOT_USED }; /* SLOT_USED: while starting */

/* Marks the slots that a lane has blocks in. */
static void find_used_slots(struct stage *stage, const struct lane *lane)
{
    const struct lane_state *state = lane_receiver(lane);
    stage->reclaimed[lane->index] = lane_writer(lane)->written;
    for (uint64_t number = stage->reclaimed[lane->index]; number < state->closed; number++)
        stage->slot_dirty[lane_entry(lane, number)->slot] = SLOT_USED;
    if (state->slot_taken)
        stage->slot_dirty[state->open.slot] = SLOT_USED;
}

__attribute__((cold)) int stage_prepare(struct stage *stage)
{
    struct staging *staging = stage->staging;
    stage->free_slots = private_memory_map(staging->slot_count * sizeof(uint32_t));
    stage->slot_dirty = private_memory_map(staging->slot_count);
    if (stage->free_slots == NULL || stage->slot_dirty == NULL)
        return -ENOMEM;
    /* A relay before this one may have touched any of them. */
    memset(stage->slot_dirty, staging_receiver(staging)->batches > 0 ? SLOT_DIRTY : SLOT_CLEAN,
           staging->slot_count);
    for (int i = 0; i < LANES; i++)
        find_used_slots(stage, &staging->lanes[i]);
    for (uint32_t slot = staging->slot_count; slot-- > 0;)
        if (stage->slot_dirty[slot] != SLOT_USED)
            stage->free_slots[stage->free_count++] = slot;
    return 0;
}

static uint32_t slots_in_use(const struct stage *stage)
{
    return stage->staging->slot_count - stage->free_count;
}

static void release_slot(struct stage *stage, uint32_t slot)
{
    if (stage->slot_dirty[slot] != SLOT_CLEAN)
        shared_memory_release(stage->staging->slots + (size_t)slot * BLOCK_BYTES_MAX,
                              BLOCK_BYTES_MAX);
    stage->slot_dirty[slot] = SLOT_CLEAN;
}

/* Takes back the slots of a lane's blocks that are written. */
static void reclaim_slots(struct stage *stage, const struct lane *lane, uint64_t written)
{
    for (uint64_t *next = &stage->reclaimed[lane->index]; *next < written; ++*next) {
        const struct staging_block *block = lane_entry(lane, *next);
        if (!block->last)
            continue;
        stage->free_slots[stage->free_count++] = block->slot;
    }
}

/* Slots serve all lanes: those that one has done with must not wait for it to need another. */
static void reclaim_all(struct stage *stage)
{
    for (int i = 0; i < LANES; i++) {
        const struct lane *lane = &stage->staging->lanes[i];
        reclaim_slots(stage, lane, lane_written(lane));
    }
}

/* Gives back the pages of a lane's queue whose blocks are done with: it is a ring, and would come
 * to have memory all round. The places of the blocks up to `closed`, the next one, are in use. */
static void shed_queue(struct stage *stage, const struct lane *lane)
{
    const size_t entry_bytes = sizeof(struct staging_block), page = shared_memory_page_bytes();
    const size_t queue = (size_t)((uint8_t *)lane->queue - (uint8_t *)stage->staging->memory);
    uint64_t done = stage->reclaimed[lane->index], *from = &stage->queue_shed[lane->index];
    uint64_t round_ago = lane_receiver(lane)->closed + 1;
    round_ago = round_ago > lane->queue_count ? round_ago - lane->queue_count : 0;
    *from = *from > round_ago ? *from : round_ago;
    while (*from < done) {
        uint64_t first = *from % lane->queue_count, count = done - *from;
        bool round = count > lane->queue_count - first;
        count = round ? lane->queue_count - first : count;
        size_t begin = queue + (size_t)first * entry_bytes;
        size_t end = begin + (size_t)count * entry_bytes;
        begin = (begin + page - 1) / page * page;
        end = end / page * page;
        if (begin < end)
            shared_memory_release((uint8_t *)stage->staging->memory + begin, end - begin);
        if (!round) { /* the page in which it ends is for the next time */
            uint64_t whole = end > queue ? (end - queue) / entry_bytes : 0;
            *from += whole > first ? whole - first : 0;
            return;
        }
        *from += count;
    }
}

__attribute__((cold)) void stage_shed(struct stage *stage, uint64_t now_ns)
{
    uint32_t in_use = slots_in_use(stage),
             kept = stage->peak > stage->peak_before ? stage->peak : stage->peak_before;
    kept = kept > SLOTS_KEPT ? kept : SLOTS_KEPT;
    uint32_t idle = kept > in_use ? kept - in_use : 0; /* those freed last, on top */
    uint32_t shed = 0;
    for (uint32_t i = 0; i + idle < stage->free_count && shed < SHED_MAX; i++) {
        shed += stage->slot_dirty[stage->free_slots[i]] != SLOT_CLEAN;
        release_slot(stage, stage->free_slots[i]);
    }
    if (shed == SHED_MAX) {
        stage->shed_due_ns = now_ns + SHED_PAUSE_NS;
        return;
    }
    for (int i = 0; i < LANES; i++)
        shed_queue(stage, &stage->staging->lanes[i]);
    stage->peak_before = stage->peak;
    stage->peak = in_use;
    stage->shed_due_ns = now_ns + SHED_NS;
}

void stage_close_block(struct stage *stage, enum lane_index index)
{
    struct lane_state *state = &stage->next->lane[index];
    struct staging_block *open = &state->open;
    if (open->count == 0)
        return;
    size_t end = open->offset + block_finished_bytes(open->data_bytes, stage->format.alignment);
    CHECK(end <= BLOCK_BYTES_MAX);
    staging_carry_checksum(stage->staging, open);
    if (index == LANE_REJECTS)
        stage->next->rejects_kept_bytes += end - open->offset;
    open->last = BLOCK_BYTES_MAX - end < STAGING_SLOT_REST_BYTES;
    staging_seal_block(open);
    *lane_entry(&stage->staging->lanes[index], state->closed) = *open;
    state->closed++;
    state->slot_taken = !open->last;
    open->offset = (uint32_t)end;
    open->count = 0;
    open->data_bytes = 0;
    open->checked_bytes = 0;
}

/* Begins a block; false if the memory that bridges the disk is used up. */
static bool open_block(struct stage *stage, enum lane_index index, uint64_t arrival_ns,
                       uint64_t now_ns)
{
    const struct lane *lane = &stage->staging->lanes[index];
    struct lane_state *state = &stage->next->lane[index];
    struct staging_block *open = &state->open;
    uint64_t written = lane_written(lane);
    if (state->closed - written >= lane->queue_count)
        return false;
    reclaim_slots(stage, lane, written);
    if (!state->slot_taken) {
        reclaim_all(stage);
        if (stage->free_count == 0)
            return false;
        open->slot = stage->free_slots[--stage->free_count];
        stage->slot_dirty[open->slot] = SLOT_DIRTY;
        if (slots_in_use(stage) > stage->peak)
            stage->peak = slots_in_use(stage);
        open->offset = 0;
        state->slot_taken = 1;
    } else if (written == state->closed) {
        open->offset = 0; /* nothing waits in it: begin again where memory is touched already */
    }
    open->data_bytes = 0;
    open->data_checksum = open->checked_bytes = 0;
    open->count = 0;
    open->last = 0;
    open->arrival_ns = arrival_ns;
    open->since_ns = now_ns;
    return true;
}

/* The most datum bytes for a block that begins at `offset` of its slot. */
static size_t room_at(const struct stage *stage, size_t offset, size_t datum_bytes)
{
    size_t left = BLOCK_BYTES_MAX - offset;
    size_t room = stage->format.room < left ? stage->format.room : left;
    if (block_data_max(room) < datum_bytes) /* a datum longer than a page, where blocks are pages */
        room = left;
    return block_data_max(room);
}

bool stage_datum(struct stage *stage, enum lane_index index, struct span front, struct span rest,
                 uint64_t arrival_ns, uint64_t now_ns)
{
    struct lane *lane = &stage->staging->lanes[index];
    struct lane_state *state = &stage->next->lane[index];
    struct staging_block *open = &state->open;
    if (!stage->records)
        return false;
    bool rewrites = stage->format.page_rewrite;
    size_t page_room = block_data_max(BLOCK_PAGE_BYTES);
    size_t datum_bytes = front.bytes + rest.bytes, bytes = open->data_bytes + datum_bytes;
    if (open->count > 0 &&
        (open->count == BLOCK_DATUMS_MAX || bytes > room_at(stage, open->offset, 0)))
        stage_close_block(stage, index);
    if (open->count > 0 && rewrites && open->data_bytes <= page_room && bytes > page_room &&
        !lane_claim(lane, state->closed, OPEN_BLOCK_GROWS))
        stage_close_block(stage, index); /* it stands in the file as a page and must stay one */
    if (open->count == 0) {
        if (!open_block(stage, index, arrival_ns, now_ns))
            return false;
        if (rewrites && datum_bytes > page_room)
            lane_claim(lane, state->closed, OPEN_BLOCK_GROWS);
        CHECK(datum_bytes <= room_at(stage, open->offset, datum_bytes));
    }
    uint8_t *image = staging_image(stage->staging, open);
    block_append(image, open->data_bytes, front);
    block_append(image, open->data_bytes + front.bytes, rest);
    open->data_bytes += (uint32_t)datum_bytes;
    open->count++;
    return true;
}

bool stage_is_half_free(struct stage *stage)
{
    uint32_t half = stage->staging->slot_count / 2;
    if (stage->free_count < half)
        reclaim_all(stage);
    return stage->free_count >= half;
}

__attribute__((cold)) bool stage_reclaim(struct stage *stage)
{
    bool all_written = true;
    for (int i = 0; i < LANES; i++) {
        const struct lane *lane = &stage->staging->lanes[i];
        uint64_t written = lane_written(lane);
        reclaim_slots(stage, lane, written);
        all_written = all_written && written == lane_receiver(lane)->closed;
        shed_queue(stage, lane);
    }
    return all_written;
}

__attribute__((cold)) void stage_release(struct stage *stage)
{
    for (uint32_t i = 0; i < stage->free_count; i++)
        release_slot(stage, stage->free_slots[i]);
}
