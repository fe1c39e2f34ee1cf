/* SPDX-License-Identifier: MIT
 * A batch from the receive buffers to the streams and the staging memory. Nothing here is printed,
 * allocated or formatted per datum. Relies on the order: send, stage, commit (channel/staging.h).
 */
#include "relay/batch.h"

#include <string.h>

#include "avro/block.h"
#include "avro/datum.h"
#include "avro/envelope.h"
#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "relay/sequence.h"

/* So much of a batch stays in the cache between being received, sent and staged. Measured with
 * 64 KiB messages: 223 ns a datagram of 1,200 bytes, 232 with twice as much, 266 with all 32. */
#define BATCH_BYTES (256u << 10)
/* Datagrams of a batch whose check is remembered until they are staged. With 32 messages of at most
 * 64 datagrams (128 in newer kernels) there are hardly ever more; those are checked again. */
#define OUTCOMES_MAX    2048u
#define UDP_PAYLOAD_MAX 65507u
/* Rejects that are kept; beyond, they are only counted. */
#define REJECTS_PER_SECOND 100u
#define REJECT_BYTES_MAX   (64ull << 20) /* in the life of the channel's memory */

static void record(struct receiver *receiver, struct span front, struct span rest,
                   uint64_t arrival_ns, uint64_t now_ns)
{
    if (!stage_datum(&receiver->stage, LANE_DATUMS, front, rest, arrival_ns, now_ns))
        receiver->next->datums_unrecorded++;
}

/* One that a datagram cannot hold: integers may have more digits than those they were made from. */
__attribute__((cold, noinline)) static void count_oversize(struct receiver *receiver, size_t bytes)
{
    net_outbox_fail(&receiver->decimated, NET_SEND_TOO_LARGE, 1);
    if (receiver->oversize_told)
        return;
    receiver->oversize_told = true;
    receiver->decimated_told |= 1u << NET_SEND_TOO_LARGE;
    log_line(
        "a decimated datum of %zu bytes is not sent: a datagram holds %u; the next ones are only "
        "counted, as send_errors",
        bytes, UDP_PAYLOAD_MAX);
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
            count_oversize(receiver, lengths[i]);
        out += lengths[i];
        receiver->decimated_used += lengths[i];
    }
}

/* Of leaves, among which it mostly is where it was in the last datum. */
static void note_sequence(struct receiver *receiver, uint32_t leaf_count)
{
    const struct leaf *leaves = receiver->leaves;
    uint32_t wanted = receiver->layout->sequence_leaf, at = receiver->sequence_at;
    if (at >= leaf_count || leaves[at].index != wanted)
        for (at = 0; at < leaf_count && leaves[at].index != wanted;)
            at++;
    if (at == leaf_count)
        return;
    receiver->sequence_at = at;
    sequence_note(receiver->next, leaves[at].value.integer);
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
        if (layout->sequence_leaf != LAYOUT_NO_LEAF)
            note_sequence(receiver, leaf_count);
    } else if (layout->sequence_step != LAYOUT_NO_STEP) {
        sequence_note(receiver->next, datum_sequence(layout, datum));
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

static void take_datagram(struct receiver *receiver, const struct cursor *at,
                          struct outcome outcome, uint64_t now_ns)
{
    struct span left = at->datagram;
    if (receiver->checker.framing.encoding == ENCODING_OPAQUE) {
        take_opaque(receiver, at, now_ns);
        return;
    }
    do {
        size_t bytes = left.bytes - receiver->checker.framing.prefix_bytes;
        left.at += receiver->checker.framing.prefix_bytes;
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

/* Whether a reject of so many bytes is within bounds: a flood of bad ones is counted, but fills
 * neither the disk nor the memory that good datums wait in. */
static bool is_reject_kept(struct receiver *receiver, enum reject reason, size_t bytes)
{
    const struct receiver_state *next = receiver->next;
    size_t open_bytes = next->lane[LANE_REJECTS].open.data_bytes;
    /* A stranger's datagrams say nothing about the schema, and must not use up the room. */
    return reason != REJECT_SOURCE && receiver->stage.records &&
           receiver->settings->on_invalid == ON_INVALID_QUARANTINE &&
           next->rejects_in_second < REJECTS_PER_SECOND &&
           next->rejects_kept_bytes +
                   block_finished_bytes(open_bytes + bytes, receiver->stage.format.alignment) <=
               REJECT_BYTES_MAX &&
           stage_is_half_free(&receiver->stage);
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
    if (!is_reject_kept(receiver, reason, at->datagram.bytes + ENVELOPE_FRONT_BYTES_MAX))
        return;
    uint8_t front[ENVELOPE_FRONT_BYTES_MAX];
    size_t bytes = reject_write_front(front, arrival_ns, source_text(receiver, at->message), reason,
                                      outcome.offset, at->datagram.bytes);
    if (!stage_datum(&receiver->stage, LANE_REJECTS, (struct span){front, bytes}, at->datagram,
                     arrival_ns, now_ns))
        return;
    next->rejects_in_second++;
    next->rejects_kept++;
}

/* Takes over what an outbox has counted, and tells once of each cause. */
__attribute__((cold)) static void note_errors(struct receiver *receiver,
                                              struct receiver_state *next,
                                              struct net_outbox *outbox, uint32_t *told)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    for (int cause = 0; cause < NET_SEND_CAUSES; cause++) {
        if (outbox->errors_by[cause] == 0)
            continue;
        next->send_errors_by[cause] += outbox->errors_by[cause];
        outbox->errors_by[cause] = 0;
        if ((*told & 1u << cause) != 0)
            continue;
        *told |= 1u << cause;
        const char *interface = settings_send_interface(receiver->settings, &outbox->to);
        log_line("not all is sent to %s%s%s: %s (%s); counted, and told once",
                 net_write_address(text, &outbox->to),
                 interface[0] != '\0' && outbox->to.zone[0] == '\0' ? " by " : "",
                 outbox->to.zone[0] == '\0' ? interface : "",
                 send_cause_text((enum net_send_cause)cause), strerror(outbox->last_errno));
    }
    next->send_errors += outbox->errors;
    outbox->errors = 0;
}

void batch_note_sent(struct receiver *receiver, struct receiver_state *next)
{
    next->datagrams_sent_full += receiver->full.sent; /* which may have become less */
    next->datums_sent_decimated += receiver->decimated.sent;
    receiver->full.sent = receiver->decimated.sent = 0;
    if (receiver->full.errors > 0)
        note_errors(receiver, next, &receiver->full, &receiver->full_told);
    if (receiver->decimated.errors > 0)
        note_errors(receiver, next, &receiver->decimated, &receiver->decimated_told);
}

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

void batch_note_dropped(const struct receiver *receiver, struct receiver_state *next,
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
    return check_datagram(&receiver->checker, at);
}

/* A batch on its way. */
struct batch {
    struct net_message messages[STAGING_BATCH_MESSAGES];
    struct cursor start; /* before its first datagram */
    uint32_t taken;      /* messages */
    uint32_t pages;      /* touched in their buffers */
    bool poisoned;       /* a datagram in it has crashed relays */
    struct outcome outcomes[OUTCOMES_MAX];
};

/* The state to make of it, and the window's accumulators as they were. */
static struct receiver_state *begin_state(struct receiver *receiver)
{
    struct staging *staging = receiver->staging;
    struct receiver_state *next = staging_receiver_begin(staging);
    receiver->next = receiver->stage.next = next;
    if (receiver->decimated.descriptor >= 0 && next->window_fill > 0 &&
        decimator_wants_leaves(&receiver->decimator))
        memcpy(staging->accumulators[1 - next->window_copy],
               staging->accumulators[next->window_copy],
               receiver->layout->leaf_count * sizeof(struct accumulator));
    next->window_copy = 1 - next->window_copy;
    return next;
}

static void describe_messages(const struct receiver *receiver, struct batch *batch, uint32_t taken)
{
    CHECK(taken <= STAGING_BATCH_MESSAGES);
    batch->start = (struct cursor){.messages = batch->messages, .message_count = taken};
    batch->taken = taken;
    batch->pages = 0;
    batch->poisoned = staging_has_poison(receiver->staging);
    for (uint32_t i = 0; i < taken; i++) {
        struct net_message *message = &batch->messages[i];
        net_batch_message(receiver->batch, i, message);
        if (message->arrival_ns == 0)
            message->arrival_ns = clock_realtime_ns();
        batch->pages += (uint32_t)(message->bytes.bytes / BLOCK_PAGE_BYTES) + 1;
    }
}

/* Live first: the full stream leaves before anything is staged. */
static void send_valid(struct receiver *receiver, struct batch *batch)
{
    for (struct cursor at = batch->start; cursor_next(&at);) {
        staging_mark(receiver->staging, at.index);
        struct outcome outcome = judge_datagram(receiver, &at, batch->poisoned);
        if (at.index < OUTCOMES_MAX)
            batch->outcomes[at.index] = outcome;
        if (outcome.reason == REJECT_NONE && receiver->full.descriptor >= 0)
            net_outbox_add(&receiver->full, at.datagram);
    }
    net_outbox_flush(&receiver->full);
}

/* Counts, decimates and stages; the decimated stream leaves behind that. */
static void take_datagrams(struct receiver *receiver, const struct batch *batch)
{
    struct receiver_state *next = receiver->next;
    uint64_t now_ns = clock_monotonic_ns();
    for (struct cursor at = batch->start; cursor_next(&at);) {
        staging_mark(receiver->staging, at.index);
        struct outcome outcome = at.index < OUTCOMES_MAX
                                     ? batch->outcomes[at.index]
                                     : judge_datagram(receiver, &at, batch->poisoned);
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
    staging_mark(receiver->staging, STAGING_NOWHERE);
    net_outbox_flush(&receiver->decimated);
    receiver->decimated_used = 0;
}

void batch_do(struct receiver *receiver, uint32_t taken)
{
    struct staging *staging = receiver->staging;
    struct batch batch;
    struct receiver_state *next = begin_state(receiver);
    uint64_t closed[LANES] = {next->lane[0].closed, next->lane[1].closed};
    uint64_t kept = next->rejects_kept, accepted = next->datums_accepted;

    describe_messages(receiver, &batch, taken);
    send_valid(receiver, &batch);
    bool measured = receiver->settings->latency == LATENCY_ON;
    if (measured && receiver->full.descriptor >= 0)
        note_latency(receiver, batch.messages, taken);
    take_datagrams(receiver, &batch);
    if (measured && receiver->full.descriptor < 0)
        note_latency(receiver, batch.messages, taken);

    if (taken > 0)
        next->last_arrival_ns = batch.messages[taken - 1].arrival_ns;
    batch_note_sent(receiver, next);
    next->batches++;
    /* Now, while the batch is in the cache: the writer would have to fetch it from memory. */
    for (int i = 0; i < LANES; i++)
        staging_carry_checksum(staging, &next->lane[i].open);
    /* A lane that got nothing is nothing to wake the writer for. */
    bool closed_some[LANES] = {next->lane[0].closed != closed[0],
                               next->lane[1].closed != closed[1]};
    bool touched[LANES] = {[LANE_DATUMS] = next->datums_accepted != accepted,
                           [LANE_REJECTS] = next->rejects_kept != kept};
    staging_receiver_commit(staging);
    receiver->touched = true;
    if (batch.pages > receiver->largest_batch)
        receiver->largest_batch = batch.pages;
    if (taken > 0)
        receiver->messages_wanted = messages_to_want(taken, batch.pages);
    for (int i = 0; i < LANES && receiver->writer_thread != NULL; i++)
        if (touched[i] || closed_some[i])
            writer_thread_notice(receiver->writer_thread, (enum lane_index)i, closed_some[i]);
}
