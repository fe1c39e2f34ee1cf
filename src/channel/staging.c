/* SPDX-License-Identifier: MIT
 * The memory of one channel. Relies on its size being sealed and on one writer for each state.
 *
 *   what                     bytes                        touched at rest
 *   ledger                   8 pages                      two
 *   struct staging_shared    three pages                  all
 *   queues of closed blocks  3,584 for each slot and lane a page or two each
 *   accumulators, twice      32 for each of 65,536 leaves what the schema has
 *   receive batch            32 messages of 64 KiB        a page a message
 *   slots of blocks          `buffer`, 256 KiB each       what the open block holds
 */
#include "channel/staging.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "os/memory.h"

#define STAGING_MAGIC 0x474e4753u /* "SGNG" */
#ifndef STAGING_VERSION           /* tests build another */
#define STAGING_VERSION 6u
#endif
#define COPY_TRIES_MAX 100000u
#define PAGE_BYTES     BLOCK_PAGE_BYTES
/* The largest page of a system: a slot that shares none with another gives all its memory back. */
#define SLOT_ALIGNMENT (64u << 10)

struct lane_shared {
    _Alignas(64) _Atomic uint64_t writer_version; /* the copy in force is this & 1 */
    struct writer_state writer[2];
    _Alignas(64) _Atomic uint64_t claim; /* block number times 4 plus enum staging_claim */
};

struct staging_shared {
    struct {
        uint32_t magic, version;
        uint64_t bytes;
        uint32_t slot_count, batch_messages;
        uint32_t receiver_state_bytes, writer_state_bytes; /* another build's may differ */
        uint32_t checksum;                                 /* of the words above */
    } fixed;

    uint32_t layout_checksum, factor, algorithm, recording, alignment, latency_on;
    uint32_t drops_uncounted, unused;
    uint64_t receive_queue_bytes, buffer_limit_bytes;
    char directory[CHANNEL_PATH_BYTES_MAX];

    struct { /* of the newest relay that tried it (staging_note_direct) */
        uint64_t folder;
        uint32_t alignment, checksum; /* of the words before */
    } direct;

    _Alignas(64) _Atomic uint64_t receiver_version; /* the copy in force is this & 1 */
    _Atomic uint64_t in_flight;                     /* number of the newest batch asked for */
    _Atomic uint32_t mark;                          /* the datagram of it that is looked at */
    struct receiver_state receiver[2];
    struct latency latency[2]; /* changed only where it is measured */

    struct lane_shared lanes[LANES];

    /* Written by the crash handler alone. */
    _Alignas(64) _Atomic uint64_t crash_batch; /* the batch that relays crashed over */
    uint32_t crash_mark, crash_count;          /* at which datagram the last ones did, how many */
    uint8_t poison[STAGING_MARKS_MAX / 8];     /* a bit for each datagram that did it too often */
};

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
static bool is_block_sound(const struct staging *staging, const struct staging_block *block)
{
    uint32_t alignment = staging->shared->alignment;
    return alignment >= BLOCK_PAGE_BYTES && alignment <= BLOCK_BYTES_MAX &&
           (alignment & (alignment - 1)) == 0 && block->slot < staging->slot_count &&
           block->count > 0 && block->count < 1u << 20 && block->offset < BLOCK_BYTES_MAX &&
           block->offset % BLOCK_PAGE_BYTES == 0 && block->data_bytes < BLOCK_BYTES_MAX &&
           block->checked_bytes <= block->data_bytes &&
           block->offset + block_finished_bytes(block->data_bytes, alignment) <= BLOCK_BYTES_MAX;
}

static uint32_t writer_checksum(const struct writer_state *state)
{
    return crc32c(0, state, offsetof(struct writer_state, checksum));
}

static uint32_t receiver_checksum(const struct receiver_state *state)
{
    return crc32c(0, state, offsetof(struct receiver_state, checksum));
}

/* Whether the copy in force is the one that was put in force last; fresh memory has none yet. */
static bool is_copy_true(uint64_t version, uint64_t noted, uint32_t checksum, uint32_t computed)
{
    return version == 0 ? noted == 0 && checksum == 0 : noted == version && checksum == computed;
}

static bool is_writer_sound(const struct writer_state *writer)
{
    if (writer->file_name[sizeof(writer->file_name) - 1] != '\0' || writer->file_open > 1 ||
        writer->file_ending > writer->file_open)
        return false;
    return !writer->file_open || (writer->file_alignment >= BLOCK_PAGE_BYTES &&
                                  (writer->file_alignment & (writer->file_alignment - 1)) == 0 &&
                                  writer->file_bytes % BLOCK_PAGE_BYTES == 0);
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
    if (!is_block_sound(staging, block))
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
static bool are_parts_sound(const struct writer_state *writer, const struct staging_block *block)
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

static bool is_lane_sound(const struct lane *lane, struct slot_use *use)
{
    const struct lane_state *receiver = lane_receiver(lane);
    const struct writer_state *writer = lane_writer(lane);
    const struct staging_block *open = &receiver->open;
    if (!is_copy_true(lane->shared->writer_version, writer->version, writer->checksum,
                      writer_checksum(writer)))
        return false;
    if (writer->written > receiver->closed ||
        receiver->closed - writer->written > lane->queue_count || !is_writer_sound(writer) ||
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
    return are_parts_sound(
        writer, writer->written < receiver->closed ? lane_entry(lane, writer->written) : open);
}

/* Whether what a relay left behind can be true: every index in bounds, no bytes twice, nothing
 * recorded that was not accepted. */
static bool is_staging_sound(const struct staging *staging)
{
    const struct receiver_state *receiver = staging_receiver(staging);
    const struct writer_state *writer = lane_writer(&staging->lanes[LANE_DATUMS]);
    struct slot_use use = {.slot = UINT32_MAX};
    if (!is_copy_true(staging->shared->receiver_version, receiver->version, receiver->checksum,
                      receiver_checksum(receiver)))
        return false;
    if (receiver->window_copy > 1 || receiver->latency_copy > 1 || receiver->taking >= SOCKETS ||
        receiver->datums_unrecorded + writer->datums_recorded + writer->datums_unrecorded >
            receiver->datums_accepted)
        return false;
    for (int lane = 0; lane < LANES; lane++)
        if (!is_lane_sound(&staging->lanes[lane], &use))
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
    return is_staging_sound(staging) ? 0 : -EBADMSG;
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
                 : bytes < (int64_t)LEDGER_BYTES
                     ? -EBADMSG
                     : shared_memory_map(descriptor, (size_t)bytes, &memory);
    if (status < 0)
        return status;
    struct ledger_shared *ledger = memory;
    /* A ledger that is none is given up as well, or no relay could ever map this memory again. */
    size_t kept = ledger_make(ledger) == 0 ? LEDGER_BYTES : 0;
    status = shared_memory_release((uint8_t *)memory + kept, (size_t)bytes - kept);
    if (ledger_make(ledger) == 0)
        ledger_note_reset(ledger);
    shared_memory_unmap(memory, (size_t)bytes);
    return status;
}

void staging_note_sockets(struct staging *staging, const struct socket_drops sockets[SOCKETS],
                          uint32_t coalesced)
{
    struct receiver_state *next = staging_receiver_begin(staging);
    memcpy(next->sockets, sockets, sizeof(next->sockets));
    next->coalesced = coalesced;
    staging_receiver_commit(staging);
}

uint32_t staging_dropped(const struct receiver_state *state, uint64_t cookie)
{
    for (int i = 0; i < SOCKETS; i++)
        if (state->sockets[i].cookie == cookie)
            return state->sockets[i].dropped;
    return 0;
}

void staging_use_sockets(struct staging *staging, uint64_t receive, uint64_t draining, bool drains)
{
    const struct receiver_state *state = staging_receiver(staging);
    struct receiver_state *next = staging_receiver_begin(staging);
    uint64_t last = state->sockets[SOCKET_RECEIVE].cookie;
    if (!drains)
        draining = last != receive ? last : state->sockets[SOCKET_DRAINING].cookie;
    next->sockets[SOCKET_RECEIVE] =
        (struct socket_drops){.cookie = receive, .dropped = staging_dropped(state, receive)};
    next->sockets[SOCKET_DRAINING] =
        (struct socket_drops){.cookie = draining, .dropped = staging_dropped(state, draining)};
    next->taking = drains ? SOCKET_DRAINING : SOCKET_RECEIVE;
    staging_receiver_commit(staging);
}

/* ---- states kept twice ---- */

/* The copy to change, made equal to the one in force. */
static void *twin_begin(_Atomic uint64_t *version, void *states, size_t bytes)
{
    uint64_t now = atomic_load_explicit(version, memory_order_relaxed);
    uint8_t *copies = states;
    atomic_thread_fence(memory_order_release); /* a reader of this copy must see the last commit */
    memcpy(copies + ((now + 1) & 1) * bytes, copies + (now & 1) * bytes, bytes);
    return copies + ((now + 1) & 1) * bytes;
}

static void twin_commit(_Atomic uint64_t *version)
{
    uint64_t now = atomic_load_explicit(version, memory_order_relaxed);
    atomic_store_explicit(version, now + 1, memory_order_release);
}

const struct receiver_state *staging_receiver(const struct staging *staging)
{
    struct staging_shared *shared = staging->shared;
    return &shared->receiver[atomic_load_explicit(&shared->receiver_version, memory_order_acquire) &
                             1];
}

struct receiver_state *staging_receiver_begin(struct staging *staging)
{
    struct staging_shared *shared = staging->shared;
    return twin_begin(&shared->receiver_version, shared->receiver, sizeof(shared->receiver[0]));
}

void staging_receiver_commit(struct staging *staging)
{
    struct staging_shared *shared = staging->shared;
    uint64_t version = atomic_load_explicit(&shared->receiver_version, memory_order_relaxed);
    struct receiver_state *next = &shared->receiver[(version + 1) & 1];
    next->version = version + 1;
    next->checksum = receiver_checksum(next);
    twin_commit(&shared->receiver_version);
}

const struct writer_state *lane_writer(const struct lane *lane)
{
    struct lane_shared *shared = lane->shared;
    return &shared->writer[atomic_load_explicit(&shared->writer_version, memory_order_acquire) & 1];
}

struct writer_state *lane_writer_begin(struct lane *lane)
{
    struct lane_shared *shared = lane->shared;
    return twin_begin(&shared->writer_version, shared->writer, sizeof(shared->writer[0]));
}

void lane_writer_commit(struct lane *lane)
{
    struct lane_shared *shared = lane->shared;
    uint64_t version = atomic_load_explicit(&shared->writer_version, memory_order_relaxed);
    struct writer_state *next = &shared->writer[(version + 1) & 1];
    next->version = version + 1;
    next->checksum = writer_checksum(next);
    twin_commit(&shared->writer_version);
}

const struct lane_state *lane_receiver(const struct lane *lane)
{
    return &staging_receiver(lane->staging)->lane[lane->index];
}

/* The copy in force is changed only after the next commit, so a copy taken while the version stood
 * still is of one instant. A relay that was taken over could go on changing it: no reader is held
 * up for that. */
static void copy_in_force(_Atomic uint64_t *version, const void *states, size_t bytes, void *copy)
{
    uint64_t before;
    uint32_t tries = 0;
    do {
        before = atomic_load_explicit(version, memory_order_acquire);
        memcpy(copy, (const uint8_t *)states + (before & 1) * bytes, bytes);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(version, memory_order_relaxed) != before &&
             ++tries < COPY_TRIES_MAX);
}

void staging_copy_receiver(const struct staging *staging, struct receiver_state *copy)
{
    struct staging_shared *shared = staging->shared;
    copy_in_force(&shared->receiver_version, shared->receiver, sizeof(*copy), copy);
}

/* As staging_copy_receiver, with the histogram in force: it too is changed only after the next
 * commit. */
static void copy_with_latency(const struct staging *staging, struct receiver_state *copy,
                              struct latency *latency)
{
    struct staging_shared *shared = staging->shared;
    uint64_t before;
    uint32_t tries = 0;
    do {
        before = atomic_load_explicit(&shared->receiver_version, memory_order_acquire);
        *copy = shared->receiver[before & 1];
        *latency = shared->latency[copy->latency_copy & 1];
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(&shared->receiver_version, memory_order_relaxed) != before &&
             ++tries < COPY_TRIES_MAX);
}

void lane_copy_receiver(const struct lane *lane, struct lane_state *copy)
{
    struct receiver_state whole;
    staging_copy_receiver(lane->staging, &whole);
    *copy = whole.lane[lane->index];
}

void lane_copy_writer(const struct lane *lane, struct writer_state *copy)
{
    struct lane_shared *shared = lane->shared;
    copy_in_force(&shared->writer_version, shared->writer, sizeof(*copy), copy);
}

uint64_t lane_written(const struct lane *lane)
{
    struct writer_state copy;
    lane_copy_writer(lane, &copy);
    return copy.written;
}

bool lane_claim(struct lane *lane, uint64_t number, enum staging_claim claim)
{
    struct lane_shared *shared = lane->shared;
    uint64_t wanted = number * 4 + claim;
    uint64_t now = atomic_load_explicit(&shared->claim, memory_order_acquire);
    for (;;) {
        if (now / 4 == number && now % 4 != OPEN_BLOCK_UNCLAIMED)
            return now == wanted;
        if (now / 4 > number)
            return false; /* an old block; its claim is settled */
        if (atomic_compare_exchange_weak_explicit(&shared->claim, &now, wanted,
                                                  memory_order_acq_rel, memory_order_acquire))
            return true;
    }
}

void lane_forget_claims(struct lane *lane)
{
    atomic_store_explicit(&lane->shared->claim, 0, memory_order_release);
}

void staging_flight_begin(struct staging *staging)
{
    uint64_t number = staging_receiver(staging)->batches + 1;
    staging_mark(staging, STAGING_NOWHERE);
    atomic_store_explicit(&staging->shared->in_flight, number, memory_order_seq_cst);
}

bool staging_flight_pending(const struct staging *staging)
{
    return atomic_load_explicit(&staging->shared->in_flight, memory_order_seq_cst) ==
           staging_receiver(staging)->batches + 1;
}

/* ---- datagrams that crash relays ---- */

void staging_mark(struct staging *staging, uint32_t index)
{
    atomic_store_explicit(&staging->shared->mark, index, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the crash handler must find it */
}

void staging_note_crash(struct staging *staging)
{
    struct staging_shared *shared = staging->shared;
    if (shared == NULL || !staging_flight_pending(staging))
        return;
    uint32_t mark = atomic_load_explicit(&shared->mark, memory_order_relaxed);
    if (mark >= STAGING_MARKS_MAX)
        return;
    uint64_t batch = atomic_load_explicit(&shared->in_flight, memory_order_relaxed);
    if (atomic_load_explicit(&shared->crash_batch, memory_order_relaxed) != batch) {
        memset(shared->poison, 0, sizeof(shared->poison));
        shared->crash_count = 0;
        atomic_store_explicit(&shared->crash_batch, batch, memory_order_release);
    }
    shared->crash_count = shared->crash_mark == mark ? shared->crash_count + 1 : 1;
    shared->crash_mark = mark;
    if (shared->crash_count >= STAGING_CRASHES_MAX)
        shared->poison[mark / 8] |= (uint8_t)(1u << mark % 8);
}

bool staging_has_poison(const struct staging *staging)
{
    const struct staging_shared *shared = staging->shared;
    return atomic_load_explicit(&shared->crash_batch, memory_order_acquire) ==
           staging_receiver(staging)->batches + 1;
}

bool staging_is_poison(const struct staging *staging, uint32_t index)
{
    return index < STAGING_MARKS_MAX && staging_has_poison(staging) &&
           (staging->shared->poison[index / 8] >> index % 8) & 1;
}

/* ---- latency ---- */

struct latency *staging_latency_begin(struct staging *staging, struct receiver_state *next)
{
    struct latency *latency = staging->shared->latency;
    latency[1 - next->latency_copy] = latency[next->latency_copy];
    next->latency_copy = 1 - next->latency_copy;
    return &latency[next->latency_copy];
}

/* ---- what others read ---- */

bool staging_layout_changed(const struct staging *staging, uint32_t layout_checksum)
{
    return staging->shared->layout_checksum != layout_checksum;
}

uint32_t staging_alignment(const struct staging *staging)
{
    bool waiting = false;
    for (int i = 0; i < LANES; i++) {
        const struct lane_state *state = lane_receiver(&staging->lanes[i]);
        waiting = waiting || state->open.count > 0 ||
                  state->closed > lane_writer(&staging->lanes[i])->written;
    }
    return waiting ? staging->shared->alignment : 0;
}

static uint32_t direct_checksum(const struct staging_shared *shared)
{
    return crc32c(0, &shared->direct,
                  offsetof(struct staging_shared, direct.checksum) -
                      offsetof(struct staging_shared, direct));
}

void staging_note_direct(struct staging *staging, uint64_t folder, uint32_t alignment)
{
    struct staging_shared *shared = staging->shared;
    shared->direct.folder = folder;
    shared->direct.alignment = alignment;
    shared->direct.checksum = direct_checksum(shared); /* killed before that, it is not believed */
}

uint32_t staging_known_direct(const struct staging *staging, uint64_t folder)
{
    const struct staging_shared *shared = staging->shared;
    uint32_t alignment = shared->direct.alignment;
    bool sound = shared->direct.checksum == direct_checksum(shared) && alignment % PAGE_BYTES == 0;
    return sound && folder != 0 && shared->direct.folder == folder ? alignment : 0;
}

void staging_note_start(struct staging *staging, const struct channel_settings *settings,
                        uint64_t receive_queue_bytes, uint32_t layout_checksum, uint32_t alignment)
{
    struct staging_shared *shared = staging->shared;
    bool changed = staging_layout_changed(staging, layout_checksum);
    if (changed || staging_receiver(staging)->window_fill >= settings->factor ||
        shared->factor != settings->factor || shared->algorithm != (uint32_t)settings->algorithm) {
        struct receiver_state *next = staging_receiver_begin(staging);
        next->window_fill = 0;
        next->window_time_known = 0;
        next->sequence_known = changed ? 0 : next->sequence_known;
        staging_receiver_commit(staging);
    }
    shared->layout_checksum = layout_checksum;
    shared->factor = settings->factor;
    shared->algorithm = (uint32_t)settings->algorithm;
    shared->alignment = alignment;
    shared->recording = settings->directory[0] != '\0';
    shared->latency_on = settings->latency == LATENCY_ON;
    shared->receive_queue_bytes = receive_queue_bytes;
    shared->buffer_limit_bytes = (uint64_t)staging->slot_count * BLOCK_BYTES_MAX;
    snprintf(shared->directory, sizeof(shared->directory), "%s", settings->directory);
}

void staging_note_uncounted(struct staging *staging, bool uncounted)
{
    staging->shared->drops_uncounted = uncounted;
}

void staging_read(const struct staging *staging, struct counters *counters)
{
    const struct staging_shared *shared = staging->shared;
    struct receiver_state receiver;
    struct writer_state writer;
    struct latency latency;
    /* The writer first: what it has recorded by then, the receiver has accepted by now. */
    const struct lane *lane = &staging->lanes[LANE_DATUMS];
    lane_copy_writer(lane, &writer);
    copy_with_latency(staging, &receiver, &latency);
    const struct lane_state *state = &receiver.lane[LANE_DATUMS];
    memset(counters, 0, sizeof(*counters));
    counters->datagrams_received = receiver.datagrams_received;
    counters->datagrams_accepted = receiver.datagrams_accepted;
    counters->datagrams_dropped =
        shared->drops_uncounted ? COUNT_UNKNOWN : receiver.datagrams_dropped;
    counters->datagrams_sent_full = receiver.datagrams_sent_full;
    counters->datums_sent_decimated = receiver.datums_sent_decimated;
    counters->send_errors = receiver.send_errors;
    counters->datums_accepted = receiver.datums_accepted;
    counters->datums_recorded = writer.datums_recorded;
    counters->datums_unrecorded = receiver.datums_unrecorded + writer.datums_unrecorded;
    counters->sequence_gaps = receiver.sequence_gaps;
    counters->bytes_received = receiver.bytes_received;
    counters->bytes_recorded = writer.bytes_recorded;
    for (int reason = 0; reason < REJECT_REASONS; reason++) {
        counters->rejected[reason] = receiver.rejected[reason];
        counters->datagrams_rejected += receiver.rejected[reason];
    }
    for (uint64_t number = writer.written;
         number < state->closed && number - writer.written < lane->queue_count; number++) {
        const struct staging_block *block = lane_entry(lane, number);
        if (block->last || number + 1 == state->closed)
            counters->buffer_bytes += BLOCK_BYTES_MAX;
    }
    if (counters->buffer_bytes == 0 && state->open.count > 0)
        counters->buffer_bytes = BLOCK_BYTES_MAX;
    counters->buffer_limit_bytes = shared->buffer_limit_bytes;
    counters->receive_queue_bytes = shared->receive_queue_bytes;
    counters->rejects_kept = receiver.rejects_kept;
    counters->batches = receiver.batches;
    counters->last_arrival_ns = receiver.last_arrival_ns;
    counters->rejected_in_a_row = receiver.rejected_in_a_row;
    counters->unsynced_datums =
        counters->datums_accepted - counters->datums_recorded - counters->datums_unrecorded;
    counters->recording = shared->recording != 0;
    counters->latency_on = shared->latency_on != 0;
    latency_figures(&latency, &counters->latency);
    counters->direct_io = writer.file_direct != 0;
    counters->write_errno = (int)writer.write_errno;
    if (writer.file_open && writer.file_bytes > 0)
        snprintf(counters->file, sizeof(counters->file), "%.1023s/%.120s.part", shared->directory,
                 writer.file_name);
}
