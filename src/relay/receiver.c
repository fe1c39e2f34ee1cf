/* SPDX-License-Identifier: MIT
 * From the socket to the live groups and the staging memory. Nothing here is printed, allocated or
 * formatted per datum. Relies on one thread calling it, and on the order: clear, note in flight,
 * receive, send, stage, put in force (see channel/staging.h).
 *
 * Memory of a relay, besides the shared memory (staging.c):
 *   leaves and decimated datums   mapped only if the channel decimates or has a sequence field
 *   free and touched slots        5 bytes a slot
 *   stacks                        128 KiB at most, a few pages touched */
#include "relay/receiver.h"

#include <errno.h>
#include <string.h>

#include "avro/block.h"
#include "avro/datum.h"
#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/interrupt.h"
#include "os/memory.h"

#define DRAIN_NS         (2 * NS_PER_S) /* of nothing but errors, when it is to end */
#define QUEUE_BYTES_MAX  (2ull << 30)   /* granted to any */
#define QUEUED_BYTES_MIN 256u           /* charged for a message in it, at the least */
#define IDLE_NS          NS_PER_S       /* after this long without data, memory is given back */
#define LEAVE_LOOK_NS    ((int64_t)(2 * NS_PER_MS))
#define RECEIVE_PAUSE_NS (5 * NS_PER_MS) /* after an error of the kernel's */
#define FULL_BATCHES_MAX 16              /* without a look at the signals */
#define SLOTS_KEPT       24u             /* more than one large write, what waits and what fills */
#define SHED_NS          NS_PER_S        /* what this long has not been needed is given back, ... */
#define SHED_MAX         4u        /* ... so many slots at a time: each takes some 20 us, ... */
#define SHED_PAUSE_NS    NS_PER_MS /* ... and so far apart */
#define PAGES_KEPT       4u
/* So much of a batch stays in the cache between being received, sent and staged. Measured with
 * 64 KiB messages: 223 ns a datagram of 1,200 bytes, 232 with twice as much, 266 with all 32. */
#define BATCH_BYTES (256u << 10)
/* Datagrams of a batch whose check is remembered until they are staged. With 32 messages of at most
 * 64 datagrams (128 in newer kernels) there are hardly ever more; those are checked again. */
#define OUTCOMES_MAX    2048u
#define DECIMATED_ROOM  (256u << 10)
#define UDP_PAYLOAD_MAX 65507u
/* Rejects that are kept; beyond, they are only counted. */
#define REJECTS_PER_SECOND 100u
#define REJECT_BYTES_MAX   (64ull << 20) /* in the life of the channel's memory */

enum ending { ENDING_NOT, ENDING_HANDS_OVER, ENDING_FINISHES };
enum { SLOT_CLEAN, SLOT_DIRTY, SLOT_USED }; /* SLOT_USED: while starting */

/* Marks the slots that a lane has blocks in. */
static void find_used_slots(struct receiver *receiver, const struct lane *lane)
{
    const struct lane_state *state = lane_receiver(lane);
    receiver->reclaimed[lane->index] = lane_writer(lane)->written;
    for (uint64_t number = receiver->reclaimed[lane->index]; number < state->closed; number++)
        receiver->slot_dirty[lane_entry(lane, number)->slot] = SLOT_USED;
    if (state->slot_taken)
        receiver->slot_dirty[state->open.slot] = SLOT_USED;
}

int receiver_prepare(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    const struct layout *layout = receiver->layout;
    receiver->batch = net_batch_place(staging->batch, STAGING_BATCH_MESSAGES);
    receiver->messages_wanted = STAGING_BATCH_MESSAGES;
    framing_set(&receiver->framing, receiver->settings->encoding, layout->fingerprint,
                receiver->settings->schema_id);
    receiver->decimator =
        (struct decimator){.layout = layout,
                           .algorithm = receiver->settings->algorithm,
                           .factor = receiver->settings->factor,
                           .prefix = {receiver->framing.prefix, receiver->framing.prefix_bytes}};
    bool decimates = receiver->decimated.descriptor >= 0;
    receiver->wants_leaves =
        (decimates && receiver->settings->algorithm != ALGORITHM_DOWNSAMPLE) ||
        (layout->sequence_leaf != LAYOUT_NO_LEAF && layout->sequence_step == LAYOUT_NO_STEP);
    if (receiver->wants_leaves) {
        receiver->leaves = private_memory_map((layout->leaf_count + 1) * sizeof(struct leaf));
        if (receiver->leaves == NULL)
            return -ENOMEM;
    }
    if (decimates) {
        receiver->decimated_room =
            DECIMATED_ROOM + 2 * decimator_growth(layout->leaf_count) + 2 * NET_DATAGRAM_BYTES_MAX;
        receiver->decimated_out = private_memory_map(receiver->decimated_room);
        if (receiver->decimated_out == NULL)
            return -ENOMEM;
    }
    receiver->free_slots = private_memory_map(staging->slot_count * sizeof(uint32_t));
    receiver->slot_dirty = private_memory_map(staging->slot_count);
    if (receiver->free_slots == NULL || receiver->slot_dirty == NULL)
        return -ENOMEM;
    /* A relay before this one may have touched any of them. */
    memset(receiver->slot_dirty, staging_receiver(staging)->batches > 0 ? SLOT_DIRTY : SLOT_CLEAN,
           staging->slot_count);
    for (int i = 0; i < LANES; i++)
        find_used_slots(receiver, &staging->lanes[i]);
    for (uint32_t slot = staging->slot_count; slot-- > 0;)
        if (receiver->slot_dirty[slot] != SLOT_USED)
            receiver->free_slots[receiver->free_count++] = slot;
    return 0;
}

/* ---- staging ---- */

static uint32_t slots_in_use(const struct receiver *receiver)
{
    return receiver->staging->slot_count - receiver->free_count;
}

static void release_slot(struct receiver *receiver, uint32_t slot)
{
    if (receiver->slot_dirty[slot] != SLOT_CLEAN)
        shared_memory_release(receiver->staging->slots + (size_t)slot * BLOCK_BYTES_MAX,
                              BLOCK_BYTES_MAX);
    receiver->slot_dirty[slot] = SLOT_CLEAN;
}

/* Takes back the slots of a lane's blocks that are written. */
static void reclaim_slots(struct receiver *receiver, const struct lane *lane, uint64_t written)
{
    for (uint64_t *next = &receiver->reclaimed[lane->index]; *next < written; ++*next) {
        const struct staging_block *block = lane_entry(lane, *next);
        if (!block->last)
            continue;
        receiver->free_slots[receiver->free_count++] = block->slot;
    }
}

/* Slots serve all lanes: those that one has done with must not wait for it to need another. */
static void reclaim_all(struct receiver *receiver)
{
    for (int i = 0; i < LANES; i++) {
        const struct lane *lane = &receiver->staging->lanes[i];
        reclaim_slots(receiver, lane, lane_written(lane));
    }
}

/* Gives back the pages of a lane's queue whose blocks are done with: it is a ring, and would come
 * to have memory all round. The places of the blocks up to `closed`, the next one, are in use. */
static void shed_queue(struct receiver *receiver, const struct lane *lane)
{
    const size_t entry_bytes = sizeof(struct staging_block), page = shared_memory_page_bytes();
    const size_t queue = (size_t)((uint8_t *)lane->queue - (uint8_t *)receiver->staging->memory);
    uint64_t done = receiver->reclaimed[lane->index], *from = &receiver->queue_shed[lane->index];
    uint64_t round_ago = lane_receiver(lane)->closed + 1;
    round_ago = round_ago > lane->queue_count ? round_ago - lane->queue_count : 0;
    *from = *from > round_ago ? *from : round_ago;
    while (*from < done) {
        uint64_t first = *from % lane->queue_count, count = done - *from;
        bool round = count > lane->queue_count - first;
        count = round ? lane->queue_count - first : count;
        size_t begin = queue + first * entry_bytes, end = begin + count * entry_bytes;
        begin = (begin + page - 1) / page * page;
        end = end / page * page;
        if (begin < end)
            shared_memory_release((uint8_t *)receiver->staging->memory + begin, end - begin);
        if (!round) { /* the page in which it ends is for the next time */
            uint64_t whole = end > queue ? (end - queue) / entry_bytes : 0;
            *from += whole > first ? whole - first : 0;
            return;
        }
        *from += count;
    }
}

/* Gives back the memory of slots that a stall had needed, once none has for a while. Not as they
 * come in: under a high load a disk is in arrears all the time, and every block would be written
 * into memory that has to be made first (measured: a fifth of the relay's time). */
static void shed_slots(struct receiver *receiver, uint64_t now_ns)
{
    uint32_t in_use = slots_in_use(receiver),
             kept = receiver->peak > receiver->peak_before ? receiver->peak : receiver->peak_before;
    kept = kept > SLOTS_KEPT ? kept : SLOTS_KEPT;
    uint32_t idle = kept > in_use ? kept - in_use : 0; /* those freed last, on top */
    uint32_t shed = 0;
    for (uint32_t i = 0; i + idle < receiver->free_count && shed < SHED_MAX; i++) {
        shed += receiver->slot_dirty[receiver->free_slots[i]] != SLOT_CLEAN;
        release_slot(receiver, receiver->free_slots[i]);
    }
    if (shed == SHED_MAX) {
        receiver->shed_due_ns = now_ns + SHED_PAUSE_NS;
        return;
    }
    for (int i = 0; i < LANES; i++)
        shed_queue(receiver, &receiver->staging->lanes[i]);
    receiver->peak_before = receiver->peak;
    receiver->peak = in_use;
    receiver->shed_due_ns = now_ns + SHED_NS;
}

static void close_block(struct receiver *receiver, enum lane_index index)
{
    struct lane_state *state = &receiver->next->lane[index];
    struct staging_block *open = &state->open;
    if (open->count == 0)
        return;
    size_t end = open->offset + block_finished_bytes(open->data_bytes, receiver->format.alignment);
    CHECK(end <= BLOCK_BYTES_MAX);
    staging_carry_checksum(receiver->staging, open);
    if (index == LANE_REJECTS)
        receiver->next->rejects_kept_bytes += end - open->offset;
    open->last = BLOCK_BYTES_MAX - end < STAGING_SLOT_REST_BYTES;
    staging_seal_block(open);
    *lane_entry(&receiver->staging->lanes[index], state->closed) = *open;
    state->closed++;
    state->slot_taken = !open->last;
    open->offset = (uint32_t)end;
    open->count = 0;
    open->data_bytes = 0;
    open->checked_bytes = 0;
}

/* Begins a block; false if the memory that bridges the disk is used up. */
static bool open_block(struct receiver *receiver, enum lane_index index, uint64_t arrival_ns,
                       uint64_t now_ns)
{
    const struct lane *lane = &receiver->staging->lanes[index];
    struct lane_state *state = &receiver->next->lane[index];
    struct staging_block *open = &state->open;
    uint64_t written = lane_written(lane);
    if (state->closed - written >= lane->queue_count)
        return false;
    reclaim_slots(receiver, lane, written);
    if (!state->slot_taken) {
        reclaim_all(receiver);
        if (receiver->free_count == 0)
            return false;
        open->slot = receiver->free_slots[--receiver->free_count];
        receiver->slot_dirty[open->slot] = SLOT_DIRTY;
        if (slots_in_use(receiver) > receiver->peak)
            receiver->peak = slots_in_use(receiver);
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
static size_t room_at(const struct receiver *receiver, size_t offset, size_t datum_bytes)
{
    size_t left = BLOCK_BYTES_MAX - offset;
    size_t room = receiver->format.room < left ? receiver->format.room : left;
    if (block_data_max(room) < datum_bytes) /* a datum longer than a page, where blocks are pages */
        room = left;
    return block_data_max(room);
}

/* Stages a datum that is `front` and then `rest` (either may be empty). False if there is no room.
 */
static bool stage(struct receiver *receiver, enum lane_index index, struct span front,
                  struct span rest, uint64_t arrival_ns, uint64_t now_ns)
{
    struct lane *lane = &receiver->staging->lanes[index];
    struct lane_state *state = &receiver->next->lane[index];
    struct staging_block *open = &state->open;
    if (receiver->writer_thread == NULL)
        return false;
    bool pages = receiver->format.page_rewrite;
    size_t page_room = block_data_max(BLOCK_PAGE_BYTES);
    size_t datum_bytes = front.bytes + rest.bytes, bytes = open->data_bytes + datum_bytes;
    if (open->count > 0 &&
        (open->count == BLOCK_DATUMS_MAX || bytes > room_at(receiver, open->offset, 0)))
        close_block(receiver, index);
    if (open->count > 0 && pages && open->data_bytes <= page_room && bytes > page_room &&
        !lane_claim(lane, state->closed, CLAIM_LARGE))
        close_block(receiver, index); /* it stands in the file as a page and must stay one */
    if (open->count == 0) {
        if (!open_block(receiver, index, arrival_ns, now_ns))
            return false;
        if (pages && datum_bytes > page_room)
            lane_claim(lane, state->closed, CLAIM_LARGE);
        CHECK(datum_bytes <= room_at(receiver, open->offset, datum_bytes));
    }
    uint8_t *image = staging_image(receiver->staging, open);
    block_append(image, open->data_bytes, front);
    block_append(image, open->data_bytes + front.bytes, rest);
    open->data_bytes += (uint32_t)datum_bytes;
    open->count++;
    return true;
}

static void record(struct receiver *receiver, struct span front, struct span rest,
                   uint64_t arrival_ns, uint64_t now_ns)
{
    if (!stage(receiver, LANE_DATUMS, front, rest, arrival_ns, now_ns))
        receiver->next->datums_unrecorded++;
}

/* ---- one datum ---- */

static void count_gap(struct receiver *receiver, int64_t sequence)
{
    struct receiver_state *next = receiver->next;
    if (next->sequence_known && sequence > next->sequence) {
        uint64_t step = (uint64_t)sequence - (uint64_t)next->sequence;
        next->sequence_gaps += step - 1;
    }
    /* A number that goes back is a sender that began again, or a late datagram: no gap. */
    next->sequence = sequence;
    next->sequence_known = 1;
}

static void decimate(struct receiver *receiver, struct span datum, uint32_t leaf_count)
{
    struct receiver_state *next = receiver->next;
    struct decimator_window window = {
        .fill = &next->window_fill,
        .time = &next->window_time,
        .time_known = &next->window_time_known,
        .accumulators = receiver->staging->accumulators[next->window_copy],
    };
    size_t most = 2 * (FRAMING_PREFIX_BYTES_MAX + datum.bytes +
                       decimator_growth(receiver->layout->leaf_count));
    if (receiver->decimated_room - receiver->decimated_used < most) {
        net_outbox_flush(&receiver->decimated);
        receiver->decimated_used = 0;
    }
    uint8_t *out = receiver->decimated_out + receiver->decimated_used;
    size_t lengths[2];
    uint32_t count = decimator_add(&receiver->decimator, &window, datum, receiver->leaves,
                                   leaf_count, out, lengths);
    for (uint32_t i = 0; i < count; i++) {
        if (lengths[i] <= UDP_PAYLOAD_MAX)
            net_outbox_add(&receiver->decimated, (struct span){out, lengths[i]});
        else
            receiver->decimated.errors++;
        out += lengths[i];
        receiver->decimated_used += lengths[i];
    }
}

static void take_datum(struct receiver *receiver, struct span datum, uint64_t arrival_ns,
                       uint64_t now_ns)
{
    const struct layout *layout = receiver->layout;
    uint32_t leaf_count = 0;
    receiver->next->datums_accepted++;
    if (receiver->wants_leaves) {
        size_t bytes;
        enum reject reason = datum_leaves(layout, datum, &bytes, receiver->leaves, &leaf_count);
        CHECK(reason == REJECT_NONE && bytes == datum.bytes);
        for (uint32_t i = 0; i < leaf_count; i++)
            if (receiver->leaves[i].index == layout->sequence_leaf)
                count_gap(receiver, receiver->leaves[i].value.integer);
    } else if (layout->sequence_step != LAYOUT_NO_STEP) {
        count_gap(receiver, datum_sequence(layout, datum));
    }
    if (receiver->decimated.descriptor >= 0)
        decimate(receiver, datum, leaf_count);
    record(receiver, (struct span){NULL, 0}, datum, arrival_ns, now_ns);
}

/* The sender's address as text, made anew only when it is another one. */
static struct span source_text(struct receiver *receiver, const struct net_message *message)
{
    struct address source;
    net_message_source(message, &source);
    if (!address_equal(&source, &receiver->source)) {
        receiver->source = source;
        net_write_address(receiver->source_text, &source);
        receiver->source_bytes = strlen(receiver->source_text);
    }
    return (struct span){(const uint8_t *)receiver->source_text, receiver->source_bytes};
}

/* ---- the datagrams of a batch ---- */

/* Goes over them in their order: zeroed but for the messages, then cursor_next for each. */
struct cursor {
    const struct net_message *messages;
    uint32_t message_count, next_message;
    size_t next_offset;

    const struct net_message *message;
    struct span datagram;
    uint32_t index;   /* in the batch, over all its messages */
    bool first, last; /* of its message */
};

static bool cursor_next(struct cursor *cursor)
{
    if (cursor->next_message == cursor->message_count)
        return false;
    cursor->index += cursor->message != NULL;
    cursor->message = &cursor->messages[cursor->next_message];
    cursor->datagram = net_message_datagram(cursor->message, cursor->next_offset);
    cursor->first = cursor->next_offset == 0;
    cursor->next_offset += cursor->datagram.bytes;
    cursor->last = cursor->next_offset == cursor->message->bytes.bytes;
    if (cursor->last) {
        cursor->next_message++;
        cursor->next_offset = 0;
    }
    return true;
}

/* What the check of a datagram said. */
struct outcome {
    uint8_t reason;  /* enum reject */
    bool single;     /* it is one datum, with what stands before it */
    uint16_t offset; /* of the fault in it */
};

static void take_opaque(struct receiver *receiver, const struct cursor *at, uint64_t now_ns)
{
    uint8_t front[ENVELOPE_FRONT_BYTES_MAX];
    uint64_t arrival_ns = at->message->arrival_ns;
    receiver->next->datums_accepted++;
    if (receiver->decimated.descriptor >= 0)
        decimate(receiver, at->datagram, 0);
    size_t bytes = opaque_write_front(front, arrival_ns, source_text(receiver, at->message),
                                      at->datagram.bytes);
    record(receiver, (struct span){front, bytes}, at->datagram, arrival_ns, now_ns);
}

/* ---- one datagram ---- */

static bool is_source_allowed(const struct channel_settings *settings,
                              const struct net_message *message)
{
    struct address source;
    net_message_source(message, &source);
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (prefix_covers(&settings->sources[i], &source))
            return true;
    return false;
}

/* Whether a datagram is one or more valid datums. */
static struct outcome check_datums(const struct receiver *receiver, struct span datagram)
{
    struct span left = datagram;
    uint32_t datums = 0;
    do {
        size_t bytes = 0;
        uint32_t prefix_bytes = receiver->framing.prefix_bytes;
        enum reject reason =
            prefix_bytes == 0 ? REJECT_NONE : framing_check(&receiver->framing, left);
        if (reason == REJECT_NONE) {
            left.at += prefix_bytes;
            left.bytes -= prefix_bytes;
            reason = datum_check(receiver->layout, left, &bytes);
        }
        if (reason == REJECT_NONE && bytes == 0 && left.bytes > 0 && prefix_bytes == 0)
            reason = REJECT_TRAILING;
        if (reason != REJECT_NONE)
            return (struct outcome){.reason =
                                        (uint8_t)(datagram.bytes == 0 ? REJECT_EMPTY : reason),
                                    .offset = (uint16_t)(datagram.bytes - left.bytes + bytes)};
        left.at += bytes;
        left.bytes -= bytes;
        datums++;
    } while (left.bytes > 0);
    return (struct outcome){.single = datums == 1};
}

/* Whether a datagram may pass: from an allowed sender, whole, and valid. */
static struct outcome check_datagram(const struct receiver *receiver, const struct cursor *at)
{
    if (receiver->settings->source_count > 0 && !is_source_allowed(receiver->settings, at->message))
        return (struct outcome){.reason = REJECT_SOURCE};
    if (at->message->truncated && at->last)
        return (struct outcome){.reason = REJECT_OVERSIZE};
    if (receiver->framing.encoding == ENCODING_OPAQUE)
        return (struct outcome){.single = true};
    if (receiver->layout->is_fixed && receiver->framing.prefix_bytes == 0 &&
        at->datagram.bytes == receiver->layout->fixed_bytes && at->datagram.bytes > 0)
        return (struct outcome){.single = true};
    return check_datums(receiver, at->datagram);
}

/* Whether a reject of so many bytes is within bounds: a flood of bad ones is counted, but fills
 * neither the disk nor the memory that good datums wait in. */
static bool is_reject_kept(const struct receiver *receiver, enum reject reason, size_t bytes)
{
    const struct receiver_state *next = receiver->next;
    size_t open_bytes = next->lane[LANE_REJECTS].open.data_bytes;
    /* A stranger's datagrams say nothing about the schema, and must not use up the room. */
    return reason != REJECT_SOURCE && receiver->writer_thread != NULL &&
           receiver->settings->on_invalid == ON_INVALID_QUARANTINE &&
           next->rejects_in_second < REJECTS_PER_SECOND &&
           next->rejects_kept_bytes +
                   block_finished_bytes(open_bytes + bytes, receiver->format.alignment) <=
               REJECT_BYTES_MAX &&
           receiver->free_count >= receiver->staging->slot_count / 2;
}

/* Sets a datagram aside in the file of rejects. */
static void keep_reject(struct receiver *receiver, const struct cursor *at, struct outcome outcome,
                        uint64_t now_ns)
{
    struct receiver_state *next = receiver->next;
    uint64_t arrival_ns = at->message->arrival_ns, second = arrival_ns / NS_PER_S;
    enum reject reason = (enum reject)outcome.reason;
    if (second != next->reject_second) {
        next->reject_second = second;
        next->rejects_in_second = 0;
    }
    if (receiver->free_count < receiver->staging->slot_count / 2)
        reclaim_all(receiver);
    if (!is_reject_kept(receiver, reason, at->datagram.bytes + ENVELOPE_FRONT_BYTES_MAX))
        return;
    uint8_t front[ENVELOPE_FRONT_BYTES_MAX];
    size_t bytes = reject_write_front(front, arrival_ns, source_text(receiver, at->message), reason,
                                      outcome.offset, at->datagram.bytes);
    if (!stage(receiver, LANE_REJECTS, (struct span){front, bytes}, at->datagram, arrival_ns,
               now_ns))
        return;
    next->rejects_in_second++;
    next->rejects_kept++;
}

static void take_datagram(struct receiver *receiver, const struct cursor *at,
                          struct outcome outcome, uint64_t now_ns)
{
    struct span left = at->datagram;
    if (receiver->framing.encoding == ENCODING_OPAQUE) {
        take_opaque(receiver, at, now_ns);
        return;
    }
    do {
        size_t bytes = left.bytes - receiver->framing.prefix_bytes;
        left.at += receiver->framing.prefix_bytes;
        left.bytes = bytes;
        if (!outcome.single) {
            enum reject reason = datum_check(receiver->layout, left, &bytes);
            CHECK(reason == REJECT_NONE);
        }
        take_datum(receiver, (struct span){left.at, bytes}, at->message->arrival_ns, now_ns);
        left.at += bytes;
        left.bytes -= bytes;
    } while (left.bytes > 0);
}

/* ---- one batch ---- */

/* `datagrams`: in a message like those that were dropped. Of a coalesced message the kernel counts
 * only that it was dropped, not how many datagrams were in it. */
static void note_dropped(const struct receiver *receiver, struct receiver_state *next,
                         uint32_t dropped, uint32_t datagrams)
{
    /* The kernel's count goes round at 2^32; one that seems to go back is of an older message. */
    struct socket_drops *socket = &next->sockets[next->taking];
    uint32_t more = dropped - socket->dropped;
    if (more < 1u << 31) {
        next->datagrams_dropped += (uint64_t)more * (receiver->coalesced_drops ? datagrams : 1);
        socket->dropped = dropped;
    }
}

/* What was dropped behind the newest message is taken to be as that one. */
static void note_dropped_behind(const struct receiver *receiver, struct receiver_state *next,
                                uint32_t dropped)
{
    note_dropped(receiver, next, dropped, next->coalesced > 0 ? next->coalesced : 1);
}

/* What was dropped in front of a message is taken to be as this one, or the one before if that had
 * more datagrams in it: exact if they are all alike. */
static void note_message(const struct receiver *receiver, const struct net_message *message)
{
    struct receiver_state *next = receiver->next;
    uint32_t datagrams = net_message_count(message);
    uint32_t more = datagrams > next->coalesced ? datagrams : next->coalesced;
    if (message->dropped_known && message->dropped != next->sockets[next->taking].dropped)
        note_dropped(receiver, next, message->dropped, more);
    next->coalesced = datagrams;
}

/* How many messages the next batch is to have, after one that touched so many pages: all, unless
 * they are large. */
static uint32_t messages_to_want(uint32_t taken, uint32_t pages)
{
    uint32_t want = (uint32_t)((uint64_t)taken * (BATCH_BYTES / BLOCK_PAGE_BYTES) / pages);
    return want < 1 ? 1 : want < STAGING_BATCH_MESSAGES ? want : STAGING_BATCH_MESSAGES;
}

/* From the kernel's arrival time until now, when the batch has been sent or else staged. Realtime
 * may be set back in between: that took no time. */
static void note_latency(struct receiver *receiver, const struct net_message *messages,
                         uint32_t count)
{
    struct latency *latency = staging_latency_begin(receiver->staging, receiver->next);
    uint64_t now_ns = clock_realtime_ns();
    for (uint32_t i = 0; i < count; i++) {
        uint64_t arrival_ns = messages[i].arrival_ns;
        latency_add(latency, now_ns > arrival_ns ? (now_ns - arrival_ns) / 1000 : 0,
                    net_message_count(&messages[i]));
    }
}

/* As check_datagram, but what has crashed relays is looked at no more. */
static struct outcome judge_datagram(const struct receiver *receiver, const struct cursor *at,
                                     bool poisoned)
{
    if (poisoned && staging_is_poison(receiver->staging, at->index))
        return (struct outcome){.reason = REJECT_POISON};
    return check_datagram(receiver, at);
}

static void do_batch(struct receiver *receiver, uint32_t taken)
{
    struct staging *staging = receiver->staging;
    struct receiver_state *next = staging_receiver_begin(staging);
    uint64_t closed[LANES] = {next->lane[0].closed, next->lane[1].closed};
    uint64_t full_sent = receiver->full.sent;
    uint64_t decimated_sent = receiver->decimated.sent;
    uint64_t errors = receiver->full.errors + receiver->decimated.errors;
    uint64_t kept = next->rejects_kept, accepted = next->datums_accepted;
    receiver->next = next;
    if (receiver->decimated.descriptor >= 0 && next->window_fill > 0 &&
        receiver->decimator.algorithm != ALGORITHM_DOWNSAMPLE)
        memcpy(staging->accumulators[1 - next->window_copy],
               staging->accumulators[next->window_copy],
               receiver->layout->leaf_count * sizeof(struct accumulator));
    next->window_copy = 1 - next->window_copy;

    struct outcome outcomes[OUTCOMES_MAX];
    struct net_message messages[STAGING_BATCH_MESSAGES];
    const struct cursor start = {.messages = messages, .message_count = taken};
    uint32_t pages = 0;
    bool poisoned = staging_has_poison(staging);
    CHECK(taken <= STAGING_BATCH_MESSAGES);
    for (uint32_t i = 0; i < taken; i++) {
        net_batch_message(receiver->batch, i, &messages[i]);
        if (messages[i].arrival_ns == 0)
            messages[i].arrival_ns = clock_realtime_ns();
        pages += (uint32_t)(messages[i].bytes.bytes / BLOCK_PAGE_BYTES) + 1;
    }

    for (struct cursor at = start; cursor_next(&at);) { /* live first */
        staging_mark(staging, at.index);
        struct outcome outcome = judge_datagram(receiver, &at, poisoned);
        if (at.index < OUTCOMES_MAX)
            outcomes[at.index] = outcome;
        if (outcome.reason == REJECT_NONE && receiver->full.descriptor >= 0)
            net_outbox_add(&receiver->full, at.datagram);
    }
    net_outbox_flush(&receiver->full);
    bool measured = receiver->settings->latency == LATENCY_ON;
    if (measured && receiver->full.descriptor >= 0)
        note_latency(receiver, messages, taken);

    uint64_t now_ns = clock_monotonic_ns();
    for (struct cursor at = start; cursor_next(&at);) {
        staging_mark(staging, at.index);
        struct outcome outcome =
            at.index < OUTCOMES_MAX ? outcomes[at.index] : judge_datagram(receiver, &at, poisoned);
        if (at.first)
            note_message(receiver, at.message);
        next->datagrams_received++;
        next->bytes_received += at.datagram.bytes;
        if (outcome.reason == REJECT_NONE) {
            next->datagrams_accepted++;
            next->rejected_in_a_row = 0;
            take_datagram(receiver, &at, outcome, now_ns);
        } else {
            next->rejected[outcome.reason]++;
            /* A stranger's datagrams say nothing about the schema. */
            next->rejected_in_a_row += outcome.reason != REJECT_SOURCE;
            keep_reject(receiver, &at, outcome, now_ns);
        }
    }
    staging_mark(staging, STAGING_NOWHERE);
    net_outbox_flush(&receiver->decimated);
    receiver->decimated_used = 0;

    if (measured && receiver->full.descriptor < 0)
        note_latency(receiver, messages, taken);
    if (taken > 0)
        next->last_arrival_ns = messages[taken - 1].arrival_ns;
    next->datagrams_sent_full += receiver->full.sent - full_sent;
    next->datums_sent_decimated += receiver->decimated.sent - decimated_sent;
    next->send_errors += receiver->full.errors + receiver->decimated.errors - errors;
    next->batches++;
    /* Now, while the batch is in the cache: the writer would have to fetch it from memory. */
    for (int i = 0; i < LANES; i++)
        staging_carry_checksum(staging, &next->lane[i].open);
    bool closed_some[LANES] = {next->lane[0].closed != closed[0],
                               next->lane[1].closed != closed[1]};
    staging_receiver_commit(staging);
    receiver->touched = true;
    if (pages > receiver->largest_batch)
        receiver->largest_batch = pages;
    if (taken > 0)
        receiver->messages_wanted = messages_to_want(taken, pages);
    /* A lane that got nothing is nothing to wake the writer for. */
    bool touched[LANES] = {[LANE_DATUMS] = next->datums_accepted != accepted,
                           [LANE_REJECTS] = next->rejects_kept != kept};
    for (int i = 0; i < LANES && receiver->writer_thread != NULL; i++)
        if (touched[i] || closed_some[i])
            writer_thread_notice(receiver->writer_thread, (enum lane_index)i, closed_some[i]);
}

static void close_lane(struct receiver *receiver, enum lane_index index)
{
    if (lane_receiver(&receiver->staging->lanes[index])->open.count == 0)
        return;
    receiver->next = staging_receiver_begin(receiver->staging);
    close_block(receiver, index);
    staging_receiver_commit(receiver->staging);
    if (receiver->writer_thread != NULL)
        writer_thread_notice(receiver->writer_thread, index, true);
}

void receiver_close_block(struct receiver *receiver)
{
    for (int i = 0; i < LANES; i++)
        close_lane(receiver, (enum lane_index)i);
}

void receiver_resume(struct receiver *receiver)
{
    if (staging_flight_pending(receiver->staging)) {
        uint32_t taken = net_batch_taken(receiver->batch);
        if (taken > 0)
            log_line("doing %u messages that were in flight when the last relay ended", taken);
        do_batch(receiver, taken);
    }
    /* Only now: what was in flight tells of drops on the socket that it came from. */
    bool drains = receiver->draining >= 0;
    staging_use_sockets(receiver->staging, net_cookie(receiver->descriptor),
                        drains ? net_cookie(receiver->draining) : 0, drains);
    receiver_close_block(receiver);
    for (int i = 0; i < LANES; i++)
        lane_forget_claims(&receiver->staging->lanes[i]);
}

/* ---- the loop ---- */

/* When a lane's open block must be closed to be on the disk in time; UINT64_MAX: the writer sees to
 * it, or there is none. */
static uint64_t lane_deadline(const struct receiver *receiver, enum lane_index index)
{
    const struct staging_block *open = &lane_receiver(&receiver->staging->lanes[index])->open;
    if (receiver->writer_thread == NULL || open->count == 0 ||
        (receiver->format.page_rewrite && open->data_bytes <= block_data_max(BLOCK_PAGE_BYTES)))
        return UINT64_MAX;
    return open->since_ns + receiver->settings->sync_ms * NS_PER_MS / 2;
}

static uint64_t close_deadline(const struct receiver *receiver)
{
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < LANES; i++) {
        uint64_t lane_due = lane_deadline(receiver, (enum lane_index)i);
        due = lane_due < due ? lane_due : due;
    }
    return due;
}

/* A page of the other lane stays open, to be filled. */
static void do_what_is_due(struct receiver *receiver, uint64_t now_ns)
{
    if (now_ns >= receiver->shed_due_ns)
        shed_slots(receiver, now_ns);
    for (int i = 0; i < LANES; i++)
        if (lane_deadline(receiver, (enum lane_index)i) <= now_ns)
            close_lane(receiver, (enum lane_index)i);
}

/* After a while without data: what the kernel dropped behind the last datagram, and the memory that
 * the load had needed. */
static void rest(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    const struct receiver_state *state = staging_receiver(staging);
    uint32_t dropped = net_dropped(receiver->descriptor);
    if (state->taking == SOCKET_RECEIVE && dropped != state->sockets[SOCKET_RECEIVE].dropped) {
        struct receiver_state *next = staging_receiver_begin(staging);
        note_dropped_behind(receiver, next, dropped);
        staging_receiver_commit(staging);
    }
    bool all_written = true;
    for (int i = 0; i < LANES; i++) {
        const struct lane *lane = &staging->lanes[i];
        uint64_t written = lane_written(lane);
        reclaim_slots(receiver, lane, written);
        all_written = all_written && written == lane_receiver(lane)->closed;
        shed_queue(receiver, lane);
    }
    if (receiver->touched && all_written) {
        for (uint32_t i = 0; i < receiver->free_count; i++)
            release_slot(receiver, receiver->free_slots[i]);
        if (receiver->largest_batch > PAGES_KEPT)
            net_batch_release(receiver->batch);
        receiver->largest_batch = 0;
        receiver->touched = false;
    }
}

/* Takes one batch. How many messages, 0 if none waits, -EAGAIN if the kernel would not tell for
 * now, or another negative errno if the descriptor is none. `*full` says that there may be more. */
static int take_batch(struct receiver *receiver, int descriptor, bool *full)
{
    ledger_beat(receiver->staging->ledger);
    uint32_t wanted = receiver->messages_wanted;
    net_batch_clear(receiver->batch);
    staging_flight_begin(receiver->staging);
    int taken = net_batch_receive(receiver->batch, descriptor, wanted);
    *full = taken == (int)wanted;
    if (taken > 0)
        do_batch(receiver, (uint32_t)taken);
    if (receiver->coalesces_still && descriptor == receiver->descriptor && taken >= 0 && !*full)
        receiver->coalesces_still = net_coalesce_not(descriptor) == -EAGAIN;
    if (taken < 0 && taken != -EBADF && taken != -ENOTSOCK) {
        /* The kernel is short of something, or an error was pending on the socket: what is queued
         * stays queued. Never fail for it, never spin on it. */
        clock_sleep_until(clock_monotonic_ns() + RECEIVE_PAUSE_NS);
        return -EAGAIN;
    }
    return taken;
}

/* A sign of life if one is due. How long may be waited before the next, at most `timeout_ns` (-1:
 * for ever). Only from the loop that receives: a stalled disk is no reason to end a relay. */
static int64_t beat(struct receiver *receiver, uint64_t now_ns, int64_t timeout_ns)
{
    if (receiver->beat_ns == 0)
        return timeout_ns;
    if (now_ns >= receiver->beat_due_ns) {
        notify_send(receiver->notify, "WATCHDOG=1");
        receiver->beat_due_ns = now_ns + receiver->beat_ns;
    }
    int64_t left_ns = (int64_t)(receiver->beat_due_ns - now_ns);
    return timeout_ns < 0 || left_ns < timeout_ns ? left_ns : timeout_ns;
}

static int wait_for_data(struct receiver *receiver)
{
    uint64_t now_ns = clock_monotonic_ns(), due = close_deadline(receiver);
    int64_t timeout_ns = receiver->touched ? (int64_t)IDLE_NS : -1;
    if (due <= now_ns)
        timeout_ns = 0;
    else if (due != UINT64_MAX && (timeout_ns < 0 || (int64_t)(due - now_ns) < timeout_ns))
        timeout_ns = (int64_t)(due - now_ns);
    bool asked = interrupt_seen();
    if (asked) /* it goes on until the writing thread rests: see must_end */
        timeout_ns = timeout_ns < 0 || timeout_ns > LEAVE_LOOK_NS ? LEAVE_LOOK_NS : timeout_ns;
    int ready = net_wait(receiver->descriptor, !asked, beat(receiver, now_ns, timeout_ns));
    do_what_is_due(receiver, clock_monotonic_ns());
    if (ready == 0 && timeout_ns == (int64_t)IDLE_NS)
        rest(receiver);
    return ready == -EINTR ? 0 : ready;
}

/* Whether it is to end, as it was asked to or as the writing thread wants a successor for it. To
 * hand over, it takes what waits in the old socket, which comes to an end; as asked, it goes on
 * until that thread has come to a rest between two steps: however slow the disk is, the next relay
 * then begins at once. Signals may come at any moment, so it is what is returned first that counts.
 */
static enum ending must_end(const struct receiver *receiver)
{
    struct writer_thread *writers = receiver->writer_thread;
    bool asked = interrupt_seen(), hands_over = receiver->may_hand_over && interrupt_hands_over();
    if (asked && !hands_over)
        return ENDING_FINISHES;
    if (receiver->draining >= 0)
        return ENDING_NOT;
    if (writers != NULL && writer_thread_wants_successor(writers))
        return ENDING_HANDS_OVER;
    if (!asked)
        return ENDING_NOT;
    if (writers == NULL)
        return ENDING_HANDS_OVER;
    writer_thread_quiesce(writers);
    return writer_thread_quiesced(writers) ? ENDING_HANDS_OVER : ENDING_NOT;
}

/* Takes what waits in a socket (see receiver_run); unless it is to end, only until it must. 0,
 * -EAGAIN if something may be left, or another negative errno if the descriptor is none. */
static int drain(struct receiver *receiver, int descriptor, enum ending *ending)
{
    uint64_t queue_bytes = net_queue_bytes(descriptor);
    uint64_t left = (queue_bytes > 0 ? queue_bytes : QUEUE_BYTES_MAX) / QUEUED_BYTES_MIN;
    uint64_t until_ns = clock_monotonic_ns() + DRAIN_NS;
    bool ends = *ending != ENDING_NOT;
    while (ends || (*ending = must_end(receiver)) == ENDING_NOT) {
        bool full;
        int taken = take_batch(receiver, descriptor, &full);
        uint64_t now_ns = clock_monotonic_ns();
        if (taken < 0 && (taken != -EAGAIN || (ends && now_ns >= until_ns)))
            return taken;
        if (taken == 0 || (taken > 0 && (uint64_t)taken >= left))
            return 0;
        left -= taken > 0 ? (uint64_t)taken : 0;
        do_what_is_due(receiver, now_ns);
        beat(receiver, now_ns, -1);
    }
    return -EAGAIN;
}

/* The channel's socket before this one: what waits in it is taken first. 0, also if something may
 * be left: then it stays open; or a negative errno. */
static int drain_old_socket(struct receiver *receiver, enum ending *ending)
{
    struct staging *staging = receiver->staging;
    if (receiver->draining < 0)
        return 0;
    int status = drain(receiver, receiver->draining, ending);
    if (status < 0)
        return status == -EAGAIN ? 0 : status;
    struct receiver_state *next = staging_receiver_begin(staging);
    note_dropped_behind(receiver, next, net_dropped(receiver->draining));
    next->taking = SOCKET_RECEIVE;
    staging_receiver_commit(staging);
    ledger_note_drained(staging->ledger, net_cookie(receiver->draining));
    descriptor_close(receiver->draining);
    receiver->draining = -1;
    return 0;
}

int receiver_run(struct receiver *receiver)
{
    uint32_t full_batches = 0;
    bool full;
    receiver->touched = true;
    enum ending ending = ENDING_NOT;
    int status = drain_old_socket(receiver, &ending);
    while (status >= 0 && ending == ENDING_NOT && (ending = must_end(receiver)) == ENDING_NOT) {
        if (full_batches == 0 || full_batches >= FULL_BATCHES_MAX) {
            full_batches = 0;
            status = wait_for_data(receiver);
            if (status < 0)
                break;
            if (status == 0)
                continue;
        }
        int taken = take_batch(receiver, receiver->descriptor, &full);
        if (taken < 0 && taken != -EAGAIN) {
            status = taken;
            break;
        }
        full_batches = full ? full_batches + 1 : 0;
        if (full_batches > 0)
            do_what_is_due(receiver, clock_monotonic_ns());
    }
    receiver->handed_over = ending == ENDING_HANDS_OVER;
    if (receiver->handed_over)
        return 0; /* what is queued and what is open is the successor's */
    ending = ENDING_FINISHES;
    if (status >= 0)
        status = drain_old_socket(receiver, &ending);
    if (status >= 0 && receiver->draining < 0)
        drain(receiver, receiver->descriptor, &ending);
    rest(receiver);
    receiver_close_block(receiver);
    return status < 0 ? status : 0;
}
