/* SPDX-License-Identifier: MIT
 * The loop that takes batches. Relies on one thread calling it, and on the order: clear, note in
 * flight, receive, do, commit (see channel/staging.h).
 *
 * Memory of a relay, besides the shared memory (staging.c):
 *   leaves and decimated datums   mapped only if the channel decimates or has a sequence field
 *   free and touched slots        5 bytes a slot
 *   stacks                        128 KiB at most, a few pages touched */
#include "relay/receiver.h"

#include <errno.h>
#include <string.h>

#include "avro/block.h"
#include "base/log.h"
#include "channel/lanes.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/interrupt.h"
#include "os/memory.h"
#include "relay/batch.h"

#define DRAIN_NS         (2 * NS_PER_S) /* of nothing but errors, when it is to end */
#define QUEUE_BYTES_MAX  (2ull << 30)   /* granted to any */
#define QUEUED_BYTES_MIN 256u           /* charged for a message in it, at the least */
#define IDLE_NS          NS_PER_S       /* after this long without data, memory is given back */
#define SETTLE_LOOKS     5u             /* so many IDLE_NS: a neighbour is looked for for 3 s */
#define QUIESCE_LOOK_NS  ((int64_t)(2 * NS_PER_MS))
#define RECEIVE_PAUSE_NS (5 * NS_PER_MS) /* after an error of the kernel's */
#define FULL_BATCHES_MAX 16              /* without a look at the signals */
#define DECIMATED_ROOM   (256u << 10)
#define PAGES_KEPT       4u

#define COLD __attribute__((cold)) /* small rather than fast */

enum ending { ENDING_NOT, ENDING_HANDS_OVER, ENDING_FINISHES };

COLD int receiver_prepare(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    const struct layout *layout = receiver->layout;
    receiver->batch = net_batch_place(staging->batch, STAGING_BATCH_MESSAGES);
    receiver->messages_wanted = STAGING_BATCH_MESSAGES;
    struct framing *framing = &receiver->checker.framing;
    receiver->checker.settings = receiver->settings;
    receiver->checker.layout = layout;
    framing_set(framing, receiver->settings->encoding, layout->fingerprint,
                receiver->settings->schema_id);
    receiver->decimator = (struct decimator){.layout = layout,
                                             .algorithm = receiver->settings->algorithm,
                                             .factor = receiver->settings->factor,
                                             .prefix = {framing->prefix, framing->prefix_bytes}};
    bool decimates = receiver->decimated.descriptor >= 0;
    receiver->wants_leaves =
        (decimates && decimator_wants_leaves(&receiver->decimator)) ||
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
    receiver->stage.staging = staging;
    receiver->stage.records = receiver->writer_thread != NULL;
    return stage_prepare(&receiver->stage);
}

static void close_lane(struct receiver *receiver, enum lane_index index)
{
    if (lane_receiver(&receiver->staging->lanes[index])->open.count == 0)
        return;
    receiver->stage.next = staging_receiver_begin(receiver->staging);
    stage_close_block(&receiver->stage, index);
    staging_receiver_commit(receiver->staging);
    if (receiver->writer_thread != NULL)
        writer_thread_notice(receiver->writer_thread, index, true);
}

void receiver_close_block(struct receiver *receiver)
{
    for (int i = 0; i < LANES; i++)
        close_lane(receiver, (enum lane_index)i);
}

COLD void receiver_resume(struct receiver *receiver)
{
    if (staging_flight_pending(receiver->staging)) {
        uint32_t taken = net_batch_taken(receiver->batch);
        if (taken > 0)
            log_line("doing %u messages that were in flight when the last relay ended", taken);
        batch_do(receiver, taken);
    }
    /* Only now: what was in flight tells of drops on the socket that it came from. */
    bool drains = receiver->draining >= 0;
    staging_use_sockets(receiver->staging, net_cookie(receiver->descriptor),
                        drains ? net_cookie(receiver->draining) : 0, drains);
    receiver_close_block(receiver);
    for (int i = 0; i < LANES; i++)
        lane_forget_claims(&receiver->staging->lanes[i]);
}

/* When a lane's open block must be closed to be on the disk in time; UINT64_MAX: the writer sees to
 * it, or there is none. */
static uint64_t lane_deadline(const struct receiver *receiver, enum lane_index index)
{
    const struct staging_block *open = &lane_receiver(&receiver->staging->lanes[index])->open;
    if (receiver->writer_thread == NULL || open->count == 0 ||
        (receiver->stage.format.page_rewrite &&
         open->data_bytes <= block_data_max(BLOCK_PAGE_BYTES)))
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
    if (now_ns >= receiver->stage.shed_due_ns)
        stage_shed(&receiver->stage, now_ns);
    for (int i = 0; i < LANES; i++)
        if (lane_deadline(receiver, (enum lane_index)i) <= now_ns)
            close_lane(receiver, (enum lane_index)i);
}

/* After a while without data: what the kernel dropped behind the last datagram, and the memory that
 * the load had needed. */
COLD static void rest(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    const struct receiver_state *state = staging_receiver(staging);
    uint32_t dropped = net_dropped(receiver->descriptor);
    if (state->taking == SOCKET_RECEIVE && dropped != state->sockets[SOCKET_RECEIVE].dropped) {
        struct receiver_state *next = staging_receiver_begin(staging);
        batch_note_dropped(receiver, next, dropped);
        staging_receiver_commit(staging);
    }
    if (stage_reclaim(&receiver->stage) && receiver->touched) {
        stage_release(&receiver->stage);
        if (receiver->largest_batch > PAGES_KEPT)
            net_batch_release(receiver->batch);
        receiver->largest_batch = 0;
        receiver->touched = false;
    }
}

/* A sender leaves by the interface of its name, whichever number that has now. */
COLD static void follow_way(struct net_outbox *outbox, uint32_t *way, uint32_t told)
{
    if (told == *way || told == 0 || outbox->descriptor < 0)
        return;
    int status =
        told == LEDGER_AWAY ? -ENODEV : net_turn_sender(outbox->descriptor, &outbox->to, told);
    outbox->away = -status;
    *way = told;
}

/* What was sent last may turn out not to have left. */
COLD static void settle(struct receiver *receiver)
{
    net_outbox_settle(&receiver->full);
    net_outbox_settle(&receiver->decimated);
    if (receiver->full.errors == 0 && receiver->decimated.errors == 0)
        return;
    struct receiver_state *next = staging_receiver_begin(receiver->staging);
    batch_note_sent(receiver, next);
    staging_receiver_commit(receiver->staging);
}

/* Takes one batch. How many messages, 0 if none waits, -EAGAIN if the kernel would not tell for
 * now, or another negative errno if the descriptor is none. `*full` says that there may be more. */
static int take_batch(struct receiver *receiver, int descriptor, bool *full)
{
    ledger_beat(receiver->staging->ledger);
    const struct ledger_ways told = ledger_ways(receiver->staging->ledger);
    uint32_t wanted = receiver->messages_wanted;
    follow_way(&receiver->full, &receiver->ways.index[LEDGER_FULL], told.index[LEDGER_FULL]);
    follow_way(&receiver->decimated, &receiver->ways.index[LEDGER_DECIMATED],
               told.index[LEDGER_DECIMATED]);
    net_batch_clear(receiver->batch);
    staging_flight_begin(receiver->staging);
    int taken = net_batch_receive(receiver->batch, descriptor, wanted);
    *full = taken == (int)wanted;
    if (taken > 0)
        batch_do(receiver, (uint32_t)taken);
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
    if (receiver->touched)
        receiver->settling = SETTLE_LOOKS;
    int64_t timeout_ns = receiver->settling > 0 ? (int64_t)IDLE_NS : -1;
    if (due <= now_ns)
        timeout_ns = 0;
    else if (due != UINT64_MAX && (timeout_ns < 0 || (int64_t)(due - now_ns) < timeout_ns))
        timeout_ns = (int64_t)(due - now_ns);
    bool asked = interrupt_seen();
    if (asked) /* it receives until the writing thread has quiesced: see must_end */
        timeout_ns = timeout_ns < 0 || timeout_ns > QUIESCE_LOOK_NS ? QUIESCE_LOOK_NS : timeout_ns;
    int ready = net_wait(receiver->descriptor, !asked, beat(receiver, now_ns, timeout_ns));
    do_what_is_due(receiver, clock_monotonic_ns());
    if (ready == 0 && timeout_ns == (int64_t)IDLE_NS) {
        if (receiver->touched)
            rest(receiver);
        settle(receiver);
        receiver->settling -= receiver->settling > 0;
    }
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
COLD static int drain(struct receiver *receiver, int descriptor, enum ending *ending)
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
COLD static int drain_old_socket(struct receiver *receiver, enum ending *ending)
{
    struct staging *staging = receiver->staging;
    if (receiver->draining < 0)
        return 0;
    int status = drain(receiver, receiver->draining, ending);
    if (status < 0)
        return status == -EAGAIN ? 0 : status;
    struct receiver_state *next = staging_receiver_begin(staging);
    batch_note_dropped(receiver, next, net_dropped(receiver->draining));
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
    settle(receiver);
    receiver_close_block(receiver);
    return status < 0 ? status : 0;
}
