/* SPDX-License-Identifier: MIT
 * Lanes. Relies on one writer for each state (twin.h), and on the claim for the block that both
 * threads change. */
#include "channel/lanes.h"

#include "channel/staging_shared.h"
#include "channel/twin.h"
#include "os/clock.h"

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

void lane_copy_receiver(const struct lane *lane, struct lane_state *copy)
{
    struct receiver_state whole;
    staging_copy_receiver(lane->staging, &whole);
    *copy = whole.lane[lane->index];
}

void lane_copy_writer(const struct lane *lane, struct writer_state *copy)
{
    struct lane_shared *shared = lane->shared;
    twin_copy(&shared->writer_version, shared->writer, sizeof(*copy), copy);
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

void lane_note_disk(struct lane *lane, enum disk_act act, uint64_t since_ns)
{
    disk_times_add(&lane->staging->shared->disk[act], clock_monotonic_ns() - since_ns);
}
