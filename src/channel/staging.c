/* SPDX-License-Identifier: MIT
 * The receiver's state, what is in flight, and what others read. Relies on one writer for each
 * state. */
#include "channel/staging.h"

#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "channel/lanes.h"
#include "channel/staging_shared.h"
#include "channel/twin.h"

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

void staging_copy_receiver(const struct staging *staging, struct receiver_state *copy)
{
    struct staging_shared *shared = staging->shared;
    twin_copy(&shared->receiver_version, shared->receiver, sizeof(*copy), copy);
}

/* As staging_copy_receiver, with the current histogram: it too is changed only after the next
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
             ++tries < TWIN_COPY_TRIES_MAX);
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

bool staging_is_at_datagram(const struct staging *staging)
{
    return staging_flight_pending(staging) &&
           atomic_load_explicit(&staging->shared->mark, memory_order_relaxed) != STAGING_NOWHERE;
}

uint64_t staging_flight_datagrams(const struct staging *staging)
{
    if (!staging_flight_pending(staging))
        return 0;
    const struct net_batch *batch = net_batch_place(staging->batch, STAGING_BATCH_MESSAGES);
    uint64_t datagrams = 0;
    for (uint32_t i = net_batch_taken(batch); i > 0; i--) {
        struct net_message message;
        net_batch_message(batch, i - 1, &message);
        datagrams += net_message_count(&message);
    }
    return datagrams;
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
    bool valid =
        shared->direct.checksum == direct_checksum(shared) && alignment % BLOCK_PAGE_BYTES == 0;
    return valid && folder != 0 && shared->direct.folder == folder ? alignment : 0;
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
        if (changed)
            memset(next->sequence, 0, sizeof(next->sequence));
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
    memcpy(counters->send_errors_by, receiver.send_errors_by, sizeof(counters->send_errors_by));
    counters->datums_accepted = receiver.datums_accepted;
    counters->datums_recorded = writer.datums_recorded;
    counters->datums_unrecorded = receiver.datums_unrecorded + writer.datums_unrecorded;
    counters->sequence_gaps = receiver.sequence_gaps;
    counters->sequence_reordered = receiver.sequence_reordered;
    counters->sequence_duplicates = receiver.sequence_duplicates;
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

void staging_read_disk(const struct staging *staging, struct counters *counters)
{
    for (int act = 0; act < DISK_ACTS; act++)
        disk_times_read(&staging->shared->disk[act], &counters->disk[act]);
}
