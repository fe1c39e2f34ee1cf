/* SPDX-License-Identifier: MIT
 * What is looked at once a second: the counters, for rates, rotations and full disks. */
#include "manager/fleet_parts.h"

#include <string.h>

#include "os/storage.h"

static uint32_t digest(const char *text)
{
    uint32_t value = 2166136261u; /* FNV-1a: a changed name must show, no more */
    for (; *text; text++)
        value = (value ^ (uint8_t)*text) * 16777619u;
    return value;
}

/* Notes whether anything has come in, by the monotonic clock: arrival times are of the other one,
 * which can be set back. */
static void note_activity(struct channel *channel, const struct counters *now)
{
    uint64_t received = channel->carried.datagrams_received + now->datagrams_received;
    if (received != channel->active_received)
        channel->active_ns = clock_monotonic_ns();
    channel->active_received = received;
    if (!now->rejected_in_a_row)
        memcpy(channel->rejected_at_last_accept, now->rejected,
               sizeof channel->rejected_at_last_accept);
}

static void note_rate(struct channel *channel)
{
    uint64_t at_ns = clock_monotonic_ns();
    if (channel->sample_ns)
        channel->rate = (double)(channel->active_received - channel->sample_received) *
                        (double)NS_PER_S / (double)(at_ns - channel->sample_ns);
    channel->sample_ns = at_ns;
    channel->sample_received = channel->active_received;
}

/* Whether there may be something to remove: another file was begun, or there is no room for one. */
static bool wants_room(struct channel *channel, const struct counters *now)
{
    bool wants = false;
    uint64_t at_ns = clock_monotonic_ns();
    if (!storage_is_full(-(int)now->write_errno)) {
        channel->full_ns = 0;
    } else if (!channel->full_ns || at_ns - channel->full_ns >= FLEET_SAMPLE_MS * NS_PER_MS) {
        channel->full_ns = at_ns;
        wants = true;
    }
    uint32_t file = now->file[0] ? digest(now->file) : channel->sample_file;
    wants = wants || file != channel->sample_file;
    channel->sample_file = file;
    return wants;
}

void fleet_tick_due(void *context)
{
    struct fleet *fleet = context;
    bool wanting = false, rates = clock_monotonic_ns() >= fleet->rates_ns;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        struct counters now;
        if (!channel->ledger)
            continue;
        channel_note_reset(channel);
        channel_note_work(channel);
        channel_read_memory(channel, &now);
        note_activity(channel, &now);
        if (!(channel->away & AWAY_OUTPUT))
            channel->unsent_before = channel->carried.send_errors + now.send_errors;
        channel_note_queue(channel);
        if (rates)
            note_rate(channel);
        wanting = wants_room(channel, &now) || wanting;
    }
    if (rates)
        fleet->rates_ns = clock_monotonic_ns() + (FLEET_SAMPLE_MS - FLEET_TICK_MS / 2) * NS_PER_MS;
    loop_arm(fleet->options.loop, &fleet->tick, clock_monotonic_ns() + FLEET_TICK_MS * NS_PER_MS);
    holder_tick(fleet->holder);
    fleet_follow_tick(fleet);
    if (wanting)
        fleet->options.rotated(fleet->options.context);
}
