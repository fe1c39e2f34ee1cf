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
#include "os/interrupt.h"
#include "os/memory.h"

#define DRAIN_NS         (2 * NS_PER_S)
#define IDLE_NS          NS_PER_S        /* after this long without data, memory is given back */
#define RECEIVE_PAUSE_NS (5 * NS_PER_MS) /* after an error of the kernel's */
#define FULL_BATCHES_MAX 16              /* without a look at the signals */
#define SLOT_REST_BYTES  (72u << 10) /* less is not worth another block: the largest datum fits */
#define SLOTS_KEPT       3u
#define MESSAGES_KEPT    2u
#define DECIMATED_ROOM   (256u << 10)
#define UDP_PAYLOAD_MAX  65507u

int receiver_prepare(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    const struct layout *layout = receiver->layout;
    receiver->batch = net_batch_place(staging->batch, STAGING_BATCH_MESSAGES);
    framing_set(&receiver->framing, receiver->settings->encoding, layout->fingerprint,
                receiver->settings->schema_id);
    receiver->decimator =
        (struct decimator){.layout = layout,
                           .algorithm = receiver->settings->algorithm,
                           .factor = receiver->settings->factor,
                           .prefix = {receiver->framing.prefix, receiver->framing.prefix_bytes}};
    bool decimates = receiver->decimated.descriptor >= 0;
    receiver->wants_leaves = decimates || layout->sequence_leaf != LAYOUT_NO_LEAF;
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
    receiver->alignment =
        receiver->writer != NULL ? receiver->writer->segment->alignment : BLOCK_PAGE_BYTES;
    /* Through the page cache an append becomes visible page by page, so there every block that can
     * be is one page: a reader finds whole blocks at any instant. */
    receiver->block_room = receiver->writer != NULL && receiver->writer->segment->direct
                               ? BLOCK_BYTES_MAX
                               : receiver->alignment;

    receiver->free_slots = private_memory_map(staging->slot_count * sizeof(uint32_t));
    receiver->slot_dirty = private_memory_map(staging->slot_count);
    if (receiver->free_slots == NULL || receiver->slot_dirty == NULL)
        return -ENOMEM;
    uint8_t *used = receiver->slot_dirty; /* what is in use has been touched */
    const struct receiver_state *state = staging_receiver(staging);
    receiver->reclaimed = staging_writer(staging)->written;
    for (uint64_t number = receiver->reclaimed; number < state->closed; number++)
        used[staging_entry(staging, number)->slot] = 1;
    if (state->slot_taken)
        used[state->open.slot] = 1;
    for (uint32_t slot = staging->slot_count; slot-- > 0;)
        if (!used[slot])
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
    if (receiver->slot_dirty[slot])
        shared_memory_release(receiver->staging->slots + (size_t)slot * BLOCK_BYTES_MAX,
                              BLOCK_BYTES_MAX);
    receiver->slot_dirty[slot] = 0;
}

/* Takes back the slots of blocks that are written. In a stall many are in use; those beyond a few
 * give their memory back as they come in. */
static void reclaim_slots(struct receiver *receiver, uint64_t written)
{
    for (; receiver->reclaimed < written; receiver->reclaimed++) {
        const struct staging_block *block = staging_entry(receiver->staging, receiver->reclaimed);
        if (!block->last)
            continue;
        if (slots_in_use(receiver) > SLOTS_KEPT + 1)
            release_slot(receiver, block->slot);
        receiver->free_slots[receiver->free_count++] = block->slot;
    }
}

static void close_block(struct receiver *receiver)
{
    struct staging_block *open = &receiver->next->open;
    if (open->count == 0)
        return;
    size_t end = open->offset + block_finished_bytes(open->data_bytes, receiver->alignment);
    CHECK(end <= BLOCK_BYTES_MAX);
    open->last = BLOCK_BYTES_MAX - end < SLOT_REST_BYTES;
    *staging_entry(receiver->staging, receiver->next->closed) = *open;
    receiver->next->closed++;
    receiver->next->slot_taken = !open->last;
    open->offset = (uint32_t)end;
    open->count = 0;
    open->data_bytes = 0;
}

/* Begins a block; false if the memory that bridges the disk is used up. */
static bool open_block(struct receiver *receiver, uint64_t arrival_ns, uint64_t now_ns)
{
    struct receiver_state *next = receiver->next;
    uint64_t written = staging_written(receiver->staging);
    if (next->closed - written >= receiver->staging->queue_count)
        return false;
    reclaim_slots(receiver, written);
    if (!next->slot_taken) {
        if (receiver->free_count == 0)
            return false;
        next->open.slot = receiver->free_slots[--receiver->free_count];
        receiver->slot_dirty[next->open.slot] = 1;
        next->open.offset = 0;
        next->slot_taken = 1;
    } else if (written == next->closed) {
        next->open.offset =
            0; /* nothing waits in it: begin again where memory is touched already */
    }
    next->open.data_bytes = 0;
    next->open.count = 0;
    next->open.last = 0;
    next->open.arrival_ns = arrival_ns;
    next->open.since_ns = now_ns;
    return true;
}

static size_t open_room(const struct receiver *receiver, size_t datum_bytes)
{
    size_t left = BLOCK_BYTES_MAX - receiver->next->open.offset;
    size_t room = receiver->block_room < left ? receiver->block_room : left;
    if (block_data_max(room) < datum_bytes) /* a datum longer than a page, where blocks are pages */
        room = left;
    return block_data_max(room);
}

/* Stages a datum that is `front` and then `rest` (either may be empty). */
static void stage(struct receiver *receiver, struct span front, struct span rest,
                  uint64_t arrival_ns, uint64_t now_ns)
{
    size_t datum_bytes = front.bytes + rest.bytes;
    struct receiver_state *next = receiver->next;
    struct staging_block *open = &next->open;
    if (receiver->writer == NULL) {
        next->datums_unrecorded++;
        return;
    }
    size_t page_room = block_data_max(BLOCK_PAGE_BYTES);
    size_t bytes = open->data_bytes + datum_bytes;
    if (open->count > 0 && (open->count == BLOCK_DATUMS_MAX || bytes > open_room(receiver, 0)))
        close_block(receiver);
    if (open->count > 0 && receiver->writer->pages && open->data_bytes <= page_room &&
        bytes > page_room && !staging_claim(receiver->staging, next->closed, CLAIM_LARGE))
        close_block(receiver); /* it stands in the file as a page and must stay one */
    if (open->count == 0) {
        if (!open_block(receiver, arrival_ns, now_ns)) {
            next->datums_unrecorded++;
            return;
        }
        if (receiver->writer->pages && datum_bytes > page_room)
            staging_claim(receiver->staging, next->closed, CLAIM_LARGE);
        CHECK(datum_bytes <= open_room(receiver, datum_bytes));
    }
    uint8_t *image = staging_image(receiver->staging, open);
    block_append(image, open->data_bytes, front);
    block_append(image, open->data_bytes + front.bytes, rest);
    open->data_bytes += (uint32_t)datum_bytes;
    open->count++;
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
    receiver->next->datums_accepted++;
    if (receiver->wants_leaves) {
        size_t bytes;
        uint32_t leaf_count;
        enum reject reason =
            datum_leaves(receiver->layout, datum, &bytes, receiver->leaves, &leaf_count);
        CHECK(reason == REJECT_NONE && bytes == datum.bytes);
        for (uint32_t i = 0; i < leaf_count; i++)
            if (receiver->leaves[i].index == receiver->layout->sequence_leaf)
                count_gap(receiver, receiver->leaves[i].value.integer);
        if (receiver->decimated.descriptor >= 0)
            decimate(receiver, datum, leaf_count);
    }
    stage(receiver, (struct span){NULL, 0}, datum, arrival_ns, now_ns);
}

/* The sender's address as text, made anew only when it is another one. */
static struct span source_text(struct receiver *receiver, const struct address *source)
{
    if (!net_same_address(source, &receiver->source)) {
        receiver->source = *source;
        net_write_address(receiver->source_text, source);
        receiver->source_bytes = strlen(receiver->source_text);
    }
    return (struct span){(const uint8_t *)receiver->source_text, receiver->source_bytes};
}

static void take_opaque(struct receiver *receiver, const struct net_message *message,
                        uint64_t now_ns)
{
    uint8_t front[OPAQUE_FRONT_BYTES_MAX];
    receiver->next->datums_accepted++;
    if (receiver->decimated.descriptor >= 0)
        decimate(receiver, message->bytes, 0);
    size_t bytes = opaque_write_front(
        front, message->arrival_ns, source_text(receiver, &message->source), message->bytes.bytes);
    stage(receiver, (struct span){front, bytes}, message->bytes, message->arrival_ns, now_ns);
}

/* ---- one datagram ---- */

static bool is_source_allowed(const struct channel_settings *settings, const struct address *source)
{
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (net_prefix_covers(&settings->sources[i], source))
            return true;
    return settings->source_count == 0;
}

/* Whether the datagram may pass: from an allowed sender, whole, and one or more valid datums. */
static enum reject check_datagram(const struct receiver *receiver,
                                  const struct net_message *message)
{
    if (!is_source_allowed(receiver->settings, &message->source))
        return REJECT_SOURCE;
    if (message->truncated)
        return REJECT_OVERSIZE;
    if (receiver->framing.encoding == ENCODING_OPAQUE)
        return REJECT_NONE;
    struct span left = message->bytes;
    do {
        size_t bytes;
        enum reject reason = framing_check(&receiver->framing, left);
        if (reason == REJECT_NONE) {
            left.at += receiver->framing.prefix_bytes;
            left.bytes -= receiver->framing.prefix_bytes;
            reason = datum_check(receiver->layout, left, &bytes);
        }
        if (reason != REJECT_NONE)
            return message->bytes.bytes == 0 ? REJECT_EMPTY : reason;
        if (bytes == 0 && left.bytes > 0 && receiver->framing.prefix_bytes == 0)
            return REJECT_TRAILING;
        left.at += bytes;
        left.bytes -= bytes;
    } while (left.bytes > 0);
    return REJECT_NONE;
}

static void take_datagram(struct receiver *receiver, const struct net_message *message,
                          uint64_t now_ns)
{
    struct span left = message->bytes;
    if (receiver->framing.encoding == ENCODING_OPAQUE) {
        take_opaque(receiver, message, now_ns);
        return;
    }
    do {
        size_t bytes;
        left.at += receiver->framing.prefix_bytes;
        left.bytes -= receiver->framing.prefix_bytes;
        enum reject reason = datum_check(receiver->layout, left, &bytes);
        CHECK(reason == REJECT_NONE);
        take_datum(receiver, (struct span){left.at, bytes}, message->arrival_ns, now_ns);
        left.at += bytes;
        left.bytes -= bytes;
    } while (left.bytes > 0);
}

/* ---- one batch ---- */

static void note_dropped(struct receiver_state *next, uint32_t dropped)
{
    /* The kernel's count goes round at 2^32; one that seems to go back is of an older message. */
    uint32_t more = dropped - next->dropped;
    if (more < 1u << 31) {
        next->datagrams_dropped += more;
        next->dropped = dropped;
    }
}

static void do_batch(struct receiver *receiver, uint32_t taken)
{
    struct staging *staging = receiver->staging;
    struct receiver_state *next = staging_receiver_begin(staging);
    uint64_t closed = next->closed, full_sent = receiver->full.sent;
    uint64_t decimated_sent = receiver->decimated.sent;
    uint64_t errors = receiver->full.errors + receiver->decimated.errors;
    receiver->next = next;
    if (receiver->decimated.descriptor >= 0 && next->window_fill > 0 &&
        receiver->decimator.algorithm != ALGORITHM_DOWNSAMPLE)
        memcpy(staging->accumulators[1 - next->window_copy],
               staging->accumulators[next->window_copy],
               receiver->layout->leaf_count * sizeof(struct accumulator));
    next->window_copy = 1 - next->window_copy;

    uint8_t reasons[STAGING_BATCH_MESSAGES];
    struct net_message message;
    CHECK(taken <= STAGING_BATCH_MESSAGES);
    for (uint32_t i = 0; i < taken; i++) { /* live first */
        net_batch_message(receiver->batch, i, &message);
        reasons[i] = (uint8_t)check_datagram(receiver, &message);
        if (reasons[i] == REJECT_NONE && receiver->full.descriptor >= 0)
            net_outbox_add(&receiver->full, message.bytes);
    }
    net_outbox_flush(&receiver->full);

    uint64_t now_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < taken; i++) {
        net_batch_message(receiver->batch, i, &message);
        if (message.arrival_ns == 0)
            message.arrival_ns = clock_realtime_ns();
        next->datagrams_received++;
        next->bytes_received += message.bytes.bytes;
        next->last_arrival_ns = message.arrival_ns;
        if (message.dropped_known)
            note_dropped(next, message.dropped);
        if (reasons[i] == REJECT_NONE) {
            next->datagrams_accepted++;
            next->rejected_in_a_row = 0;
            take_datagram(receiver, &message, now_ns);
        } else {
            next->rejected[reasons[i]]++;
            /* A stranger's datagrams say nothing about the schema. */
            next->rejected_in_a_row += reasons[i] != REJECT_SOURCE;
        }
    }
    net_outbox_flush(&receiver->decimated);
    receiver->decimated_used = 0;

    next->datagrams_sent_full += receiver->full.sent - full_sent;
    next->datums_sent_decimated += receiver->decimated.sent - decimated_sent;
    next->send_errors += receiver->full.errors + receiver->decimated.errors - errors;
    next->batches++;
    bool closed_one = next->closed != closed;
    staging_receiver_commit(staging);
    receiver->touched = true;
    if (taken > receiver->largest_batch)
        receiver->largest_batch = taken;
    if (receiver->writer != NULL)
        writer_notice(receiver->writer, closed_one);
}

void receiver_close_block(struct receiver *receiver)
{
    if (staging_receiver(receiver->staging)->open.count == 0)
        return;
    receiver->next = staging_receiver_begin(receiver->staging);
    close_block(receiver);
    staging_receiver_commit(receiver->staging);
    if (receiver->writer != NULL)
        writer_notice(receiver->writer, true);
}

void receiver_resume(struct receiver *receiver)
{
    uint64_t cookie = net_cookie(receiver->descriptor);
    if (staging_receiver(receiver->staging)->socket != cookie) {
        struct receiver_state *next = staging_receiver_begin(receiver->staging);
        next->socket = cookie;
        next->dropped = 0; /* a socket counts from its beginning */
        staging_receiver_commit(receiver->staging);
    }
    if (staging_flight_pending(receiver->staging)) {
        uint32_t taken = net_batch_taken(receiver->batch);
        if (taken > 0)
            log_line("doing %u datagrams that were in flight when the last relay ended", taken);
        do_batch(receiver, taken);
    }
    receiver_close_block(receiver);
}

/* ---- the loop ---- */

/* When the open block must be closed to be on the disk in time; UINT64_MAX: the writer sees to it,
 * or there is none. */
static uint64_t close_deadline(const struct receiver *receiver)
{
    const struct receiver_state *state = staging_receiver(receiver->staging);
    if (state->open.count == 0 || receiver->writer == NULL ||
        (receiver->writer->pages && state->open.data_bytes <= block_data_max(BLOCK_PAGE_BYTES)))
        return UINT64_MAX;
    return state->open.since_ns + receiver->settings->sync_ms * NS_PER_MS / 2;
}

/* After a while without data: what the kernel dropped behind the last datagram, and the memory that
 * the load had needed. */
static void rest(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    uint32_t dropped = net_dropped(receiver->descriptor);
    if (dropped != staging_receiver(staging)->dropped) {
        struct receiver_state *next = staging_receiver_begin(staging);
        note_dropped(next, dropped);
        staging_receiver_commit(staging);
    }
    uint64_t written = staging_written(staging);
    if (receiver->touched && written == staging_receiver(staging)->closed) {
        reclaim_slots(receiver, written);
        for (uint32_t i = 0; i < receiver->free_count; i++)
            release_slot(receiver, receiver->free_slots[i]);
        if (receiver->largest_batch > MESSAGES_KEPT)
            net_batch_release(receiver->batch);
        receiver->largest_batch = 0;
        receiver->touched = false;
    }
}

/* Takes one batch. How many datagrams, or a negative errno if the descriptor is none. */
static int take_batch(struct receiver *receiver)
{
    net_batch_clear(receiver->batch);
    staging_flight_begin(receiver->staging);
    int taken = net_batch_receive(receiver->batch, receiver->descriptor);
    if (taken > 0)
        do_batch(receiver, (uint32_t)taken);
    if (taken < 0 && taken != -EBADF && taken != -ENOTSOCK) {
        /* The kernel is short of something, or an error was pending on the socket: what is queued
         * stays queued. Never fail for it, never spin on it. */
        clock_sleep_until(clock_monotonic_ns() + RECEIVE_PAUSE_NS);
        return 0;
    }
    return taken;
}

static int wait_for_data(struct receiver *receiver)
{
    uint64_t now_ns = clock_monotonic_ns(), due = close_deadline(receiver);
    int64_t timeout_ns = receiver->touched ? (int64_t)IDLE_NS : -1;
    if (due <= now_ns)
        timeout_ns = 0;
    else if (due != UINT64_MAX && (timeout_ns < 0 || (int64_t)(due - now_ns) < timeout_ns))
        timeout_ns = (int64_t)(due - now_ns);
    int ready = net_wait(receiver->descriptor, interrupt_descriptor(), timeout_ns);
    if (clock_monotonic_ns() >= due)
        receiver_close_block(receiver);
    if (ready == 0 && timeout_ns == (int64_t)IDLE_NS)
        rest(receiver);
    return ready == -EINTR ? 0 : ready;
}

int receiver_run(struct receiver *receiver)
{
    int status = 0;
    uint32_t full_batches = 0;
    receiver->touched = true;
    while (!interrupt_seen()) {
        if (full_batches == 0 || full_batches >= FULL_BATCHES_MAX) {
            full_batches = 0;
            status = wait_for_data(receiver);
            if (status < 0)
                break;
            if (status == 0)
                continue;
        }
        int taken = take_batch(receiver);
        if (taken < 0) {
            status = taken;
            break;
        }
        full_batches = taken == (int)STAGING_BATCH_MESSAGES ? full_batches + 1 : 0;
        if (full_batches > 0 && close_deadline(receiver) <= clock_monotonic_ns())
            receiver_close_block(receiver);
    }
    uint64_t drain_until_ns = clock_monotonic_ns() + DRAIN_NS;
    while (status >= 0 && clock_monotonic_ns() < drain_until_ns && take_batch(receiver) > 0)
        continue;
    rest(receiver);
    receiver_close_block(receiver);
    return status < 0 ? status : 0;
}
