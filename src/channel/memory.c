/* SPDX-License-Identifier: MIT
 * The map of a channel's memory, and its check. Relies on its size being sealed.
 *
 *   what                     bytes                        touched at rest
 *   ledger                   8 pages                      two
 *   struct staging_shared    three pages                  all
 *   queues of closed blocks  3,584 for each slot and lane a page or two each
 *   accumulators, twice      32 for each of 65,536 leaves what the schema has
 *   receive batch            32 messages of 64 KiB        a page a message
 *   slots of blocks          `buffer`, 256 KiB each       what the open block holds
 */
#include "channel/memory.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "channel/lanes.h"
#include "channel/staging_shared.h"
#include "os/memory.h"

#define STAGING_MAGIC 0x474e4753u /* "SGNG" */
#ifndef STAGING_VERSION           /* tests build another */
#define STAGING_VERSION 7u
#endif
#define PAGE_BYTES BLOCK_PAGE_BYTES
/* The largest page of a system: a slot that shares none with another gives all its memory back. */
#define SLOT_ALIGNMENT (64u << 10)

struct staging_map_plan {
    size_t queues[LANES], accumulators, batch, slots, bytes;
};

static size_t round_up(size_t bytes, size_t unit)
{
    return (bytes + unit - 1) / unit * unit;
}

static size_t page_up(size_t bytes)
{
    return round_up(bytes, PAGE_BYTES);
}

static struct staging_map_plan staging_plan(uint32_t slot_count)
{
    struct staging_map_plan plan;
    size_t queue_bytes =
        page_up((size_t)slot_count * STAGING_QUEUE_PER_SLOT * sizeof(struct staging_block));
    plan.queues[0] = LEDGER_BYTES + page_up(sizeof(struct staging_shared));
    for (int lane = 1; lane < LANES; lane++)
        plan.queues[lane] = plan.queues[lane - 1] + queue_bytes;
    plan.accumulators = plan.queues[LANES - 1] + queue_bytes;
    plan.batch = plan.accumulators + 2 * LAYOUT_LEAVES_MAX * sizeof(struct accumulator);
    plan.slots = round_up(plan.batch + net_batch_bytes(STAGING_BATCH_MESSAGES), SLOT_ALIGNMENT);
    plan.bytes = plan.slots + (size_t)slot_count * BLOCK_BYTES_MAX;
    return plan;
}

static uint32_t staging_slot_count(uint64_t buffer_bytes)
{
    uint64_t count = buffer_bytes / BLOCK_BYTES_MAX;
    return count < STAGING_SLOTS_MIN   ? STAGING_SLOTS_MIN
           : count > STAGING_SLOTS_MAX ? STAGING_SLOTS_MAX
                                       : (uint32_t)count;
}

size_t staging_bytes(const struct channel_settings *settings)
{
    return staging_plan(staging_slot_count(settings->buffer_bytes)).bytes;
}

static uint32_t fixed_checksum(const struct staging_shared *shared)
{
    return crc32c(0, &shared->fixed, offsetof(struct staging_shared, fixed.checksum));
}

static void staging_make(struct staging_shared *shared, size_t bytes, uint32_t slot_count)
{
    shared->fixed.magic = STAGING_MAGIC;
    shared->fixed.version = STAGING_VERSION;
    shared->fixed.bytes = bytes;
    shared->fixed.slot_count = slot_count;
    shared->fixed.batch_messages = STAGING_BATCH_MESSAGES;
    shared->fixed.receiver_state_bytes = sizeof(struct receiver_state);
    shared->fixed.writer_state_bytes = sizeof(struct writer_state);
    shared->fixed.checksum = fixed_checksum(shared);
}

static uint32_t block_words_checksum(const struct staging_block *block)
{
    return crc32c(0, block, offsetof(struct staging_block, checksum));
}

void staging_seal_block(struct staging_block *block)
{
    block->checksum = block_words_checksum(block);
}

/* Blocks that wait have the room that they take when they are finished for this alignment. */
static bool is_block_valid(const struct staging *staging, const struct staging_block *block)
{
    uint32_t alignment = staging->shared->alignment;
    return alignment >= BLOCK_PAGE_BYTES && alignment <= BLOCK_BYTES_MAX &&
           (alignment & (alignment - 1)) == 0 && block->slot < staging->slot_count &&
           block->count > 0 && block->count < 1u << 20 && block->offset < BLOCK_BYTES_MAX &&
           block->offset % BLOCK_PAGE_BYTES == 0 && block->data_bytes < BLOCK_BYTES_MAX &&
           block->checked_bytes <= block->data_bytes &&
           block->offset + block_finished_bytes(block->data_bytes, alignment) <= BLOCK_BYTES_MAX;
}

/* Whether the current copy is the one that was committed last; fresh memory has none yet. */
static bool is_copy_valid(uint64_t version, uint64_t noted, uint32_t checksum, uint32_t computed)
{
    return version == 0 ? noted == 0 && checksum == 0 : noted == version && checksum == computed;
}

static bool is_writer_valid(const struct writer_state *writer)
{
    if (writer->file_name[sizeof(writer->file_name) - 1] != '\0' || writer->file_open > 1 ||
        writer->file_ending > writer->file_open)
        return false;
    return !writer->file_open || (writer->file_alignment >= BLOCK_PAGE_BYTES &&
                                  (writer->file_alignment & (writer->file_alignment - 1)) == 0 &&
                                  writer->file_bytes % BLOCK_PAGE_BYTES == 0 &&
                                  writer->file_doubt_bytes <= writer->file_bytes &&
                                  writer->file_again_bytes <= writer->file_doubt_bytes &&
                                  writer->file_again_bytes % BLOCK_PAGE_BYTES == 0);
}

/* One bit a slot, and where the newest block found in it ends. */
struct slot_use {
    uint8_t used[STAGING_SLOTS_MAX / 8];
    uint32_t slot;
    size_t end;
};

static bool is_block_in_place(const struct staging *staging, const struct staging_block *block,
                              struct slot_use *use)
{
    if (!is_block_valid(staging, block))
        return false;
    if (block->slot != use->slot) {
        if ((use->used[block->slot / 8] >> block->slot % 8) & 1)
            return false;
        use->used[block->slot / 8] |= (uint8_t)(1u << block->slot % 8);
        use->slot = block->slot;
    } else if (block->offset < use->end) {
        return false;
    }
    use->end = block->offset + block_finished_bytes(block->data_bytes, staging->shared->alignment);
    return true;
}

/* The parts of block number `written` that are in a file already, against the block itself. */
static bool are_parts_valid(const struct writer_state *writer, const struct staging_block *block)
{
    uint64_t datums =
        writer->open_datums > writer->early_datums ? writer->open_datums : writer->early_datums;
    uint32_t bytes =
        writer->open_bytes > writer->early_bytes ? writer->open_bytes : writer->early_bytes;
    return datums <= block->count && writer->counted_datums <= block->count &&
           bytes <= block->data_bytes &&
           (writer->open_datums <= writer->early_datums ||
            writer->open_bytes >= writer->early_bytes) &&
           (datums == 0 || block->data_bytes <= block_data_max(BLOCK_PAGE_BYTES));
}

static bool is_lane_valid(const struct lane *lane, struct slot_use *use)
{
    const struct lane_state *receiver = lane_receiver(lane);
    const struct writer_state *writer = lane_writer(lane);
    const struct staging_block *open = &receiver->open;
    if (!is_copy_valid(lane->shared->writer_version, writer->version, writer->checksum,
                       writer_checksum(writer)))
        return false;
    if (writer->written > receiver->closed ||
        receiver->closed - writer->written > lane->queue_count || !is_writer_valid(writer) ||
        receiver->slot_taken > 1 || (open->count > 0 && !receiver->slot_taken) ||
        (receiver->slot_taken &&
         (open->slot >= lane->staging->slot_count || open->offset % BLOCK_PAGE_BYTES != 0 ||
          open->offset > BLOCK_BYTES_MAX - STAGING_SLOT_REST_BYTES)))
        return false;
    use->slot = UINT32_MAX;
    for (uint64_t number = writer->written; number < receiver->closed; number++) {
        const struct staging_block *block = lane_entry(lane, number);
        if (block->checksum != block_words_checksum(block) ||
            !is_block_in_place(lane->staging, block, use))
            return false;
        /* `last` frees the slot: it must stand exactly where the slot changes. */
        bool more = number + 1 < receiver->closed
                        ? lane_entry(lane, number + 1)->slot == block->slot
                        : receiver->slot_taken && open->slot == block->slot;
        if (more == (block->last != 0))
            return false;
    }
    if (open->count > 0 && !is_block_in_place(lane->staging, open, use))
        return false;
    return are_parts_valid(
        writer, writer->written < receiver->closed ? lane_entry(lane, writer->written) : open);
}

/* Whether what a relay left behind can be true: every index in bounds, no bytes twice, nothing
 * recorded that was not accepted. */
static bool is_staging_valid(const struct staging *staging)
{
    const struct receiver_state *receiver = staging_receiver(staging);
    const struct writer_state *writer = lane_writer(&staging->lanes[LANE_DATUMS]);
    struct slot_use use = {.slot = UINT32_MAX};
    if (!is_copy_valid(staging->shared->receiver_version, receiver->version, receiver->checksum,
                       receiver_checksum(receiver)))
        return false;
    if (receiver->window_copy > 1 || receiver->latency_copy > 1 || receiver->taking >= SOCKETS ||
        receiver->datums_unrecorded + writer->datums_recorded + writer->datums_unrecorded >
            receiver->datums_accepted)
        return false;
    for (int lane = 0; lane < LANES; lane++)
        if (!is_lane_valid(&staging->lanes[lane], &use))
            return false;
    return true;
}

static void staging_place(struct staging *staging, void *memory, uint32_t slot_count)
{
    struct staging_map_plan plan = staging_plan(slot_count);
    uint8_t *base = memory;
    staging->memory = memory;
    staging->bytes = plan.bytes;
    staging->slot_count = slot_count;
    staging->ledger = memory;
    staging->shared = (struct staging_shared *)(void *)(base + LEDGER_BYTES);
    for (int lane = 0; lane < LANES; lane++)
        staging->lanes[lane] =
            (struct lane){.staging = staging,
                          .index = (enum lane_index)lane,
                          .shared = &staging->shared->lanes[lane],
                          .queue_count = slot_count * STAGING_QUEUE_PER_SLOT,
                          .queue = (struct staging_block *)(void *)(base + plan.queues[lane])};
    staging->accumulators[0] = (struct accumulator *)(void *)(base + plan.accumulators);
    staging->accumulators[1] = staging->accumulators[0] + LAYOUT_LEAVES_MAX;
    staging->batch = base + plan.batch;
    staging->slots = base + plan.slots;
}

int staging_map(struct staging *staging, descriptor_t descriptor)
{
    memset(staging, 0, sizeof(*staging));
    int64_t bytes = shared_memory_bytes(descriptor);
    if (bytes < 0)
        return (int)bytes;
    if ((int64_t)(size_t)bytes != bytes)
        return -EBADMSG;
    size_t least = staging_plan(STAGING_SLOTS_MIN).bytes;
    if ((size_t)bytes < least)
        return -EBADMSG;
    /* The queue takes a little room of its own: the largest count that fits is the one. */
    uint32_t slot_count = (uint32_t)((size_t)bytes / BLOCK_BYTES_MAX);
    if (slot_count > STAGING_SLOTS_MAX)
        slot_count = STAGING_SLOTS_MAX;
    while (staging_plan(slot_count).bytes > (size_t)bytes)
        slot_count--;
    if (staging_plan(slot_count).bytes != (size_t)bytes)
        return -EBADMSG;
    void *memory;
    int status = shared_memory_map(descriptor, (size_t)bytes, &memory);
    if (status < 0)
        return status;
    staging_place(staging, memory, slot_count);
    struct staging_shared *shared = staging->shared;
    if (ledger_make(staging->ledger) < 0) {
        staging_unmap(staging);
        return -EBADMSG;
    }
    if (shared->fixed.magic == 0) {
        staging_make(shared, (size_t)bytes, slot_count);
        return 0;
    }
    if (shared->fixed.magic != STAGING_MAGIC || shared->fixed.version != STAGING_VERSION ||
        shared->fixed.checksum != fixed_checksum(shared) || shared->fixed.bytes != (size_t)bytes ||
        shared->fixed.slot_count != slot_count ||
        shared->fixed.batch_messages != STAGING_BATCH_MESSAGES ||
        shared->fixed.receiver_state_bytes != sizeof(struct receiver_state) ||
        shared->fixed.writer_state_bytes != sizeof(struct writer_state)) {
        staging_unmap(staging);
        return -EBADMSG;
    }
    return 0;
}

void staging_move(struct staging *staging, struct staging *from)
{
    staging_place(staging, from->memory, from->slot_count);
    memset(from, 0, sizeof(*from));
}

int staging_validate(const struct staging *staging)
{
    return is_staging_valid(staging) ? 0 : -EBADMSG;
}

void staging_unmap(struct staging *staging)
{
    shared_memory_unmap(staging->memory, staging->bytes);
    memset(staging, 0, sizeof(*staging));
}

int staging_reset(descriptor_t descriptor)
{
    int64_t bytes = shared_memory_bytes(descriptor);
    void *memory;
    int status = bytes < 0 ? (int)bytes
                 : bytes < (int64_t)LEDGER_BYTES || (int64_t)(size_t)bytes != bytes
                     ? -EBADMSG
                     : shared_memory_map(descriptor, (size_t)bytes, &memory);
    if (status < 0)
        return status;
    struct ledger_shared *ledger = memory;
    /* A ledger that is none is emptied as well, or no relay could ever map this memory again. */
    size_t kept = ledger_make(ledger) == 0 ? LEDGER_BYTES : 0;
    status = shared_memory_release((uint8_t *)memory + kept, (size_t)bytes - kept);
    if (ledger_make(ledger) == 0)
        ledger_note_reset(ledger);
    shared_memory_unmap(memory, (size_t)bytes);
    return status;
}
