/* SPDX-License-Identifier: MIT
 * Relays that hang: their signs of life are looked at some times a second, and the kernel is asked
 * whether datagrams wait only where those stand still. Beside it relays that are to be followed. */
#include "manager/fleet_parts.h"

#include "base/log.h"

#define DRAIN_LOOK_NS (10 * NS_PER_MS) /* how often, while an old socket is being drained */

void channel_watch_life(struct channel *channel)
{
    channel->beats = channel->ledger ? ledger_beats(channel->ledger) : 0;
    channel->stuck_ns = 0;
    channel->hang = HANG_NONE;
    channel_hold_process(channel);
    if (channel->draining >= 0)
        loop_arm(channel->fleet->options.loop, &channel->fleet->pulse,
                 clock_monotonic_ns() + DRAIN_LOOK_NS);
}

/* Datagrams wait, and the relay shows no sign of life: it ends, and another goes on. */
static void replace_hung(struct channel *channel, uint64_t now_ns)
{
    if (channel->hang == HANG_KILLED) /* its disk may not let it go yet */
        return;
    bool suspended = process_suspended(channel->process.id);
    if (channel->hang == HANG_ABORTED || suspended) {
        log_line("%s: relay %ld hangs%s; killing it", channel_name(channel), channel->process.id,
                 suspended ? " (it is suspended)" : "");
        process_kill(&channel->process);
        channel->hang = HANG_KILLED;
    } else {
        /* It notes which datagram it is at: one that hangs relay after relay is set aside. */
        log_line("%s: relay %ld hangs; aborting it", channel_name(channel), channel->process.id);
        process_abort(&channel->process);
        channel->hang = HANG_ABORTED;
    }
    channel->stuck_ns = now_ns - (FLEET_HANG_MS - FLEET_ABORT_MS) * NS_PER_MS;
    channel->stuck_used_ns -= channel->stuck_used_ns < (FLEET_HANG_MS - FLEET_ABORT_MS) * NS_PER_MS
                                  ? channel->stuck_used_ns
                                  : (FLEET_HANG_MS - FLEET_ABORT_MS) * NS_PER_MS;
}

static uint64_t used_ns(const struct channel *channel)
{
    struct process_effort effort;
    return process_effort(channel->process.id, &effort) == 0 ? effort.used_ns : 0;
}

/* Whether it is only short of a processor: it wants to run, and was not let for as long as it takes
 * to tell that it hangs. Where nobody knows, that takes longer. */
static bool is_starved(const struct channel *channel, uint64_t stuck_ms)
{
    struct process_effort effort;
    if (process_effort(channel->process.id, &effort) < 0)
        return stuck_ms < FLEET_HANG_UNKNOWN_MS;
    return effort.runs &&
           effort.used_ns - channel->stuck_used_ns < (FLEET_HANG_MS - FLEET_SUSPECT_MS) * NS_PER_MS;
}

/* Whether it stands still, so that it is worth asking whether datagrams wait for it. */
static bool stands_still(struct channel *channel, uint64_t now_ns)
{
    if (channel->machine.step != CHANNEL_AT_WORK && channel->machine.step != CHANNEL_BLOCKED &&
        !channel_machine_ends(&channel->machine))
        return false;
    if (!channel_is_ready(channel)) {
        /* Its disk may be slow, and it may wait for that; but not be suspended. */
        if (fleet_now_ms() - channel->machine.child.spawned_ms >= FLEET_UNREADY_MS &&
            process_suspended(channel->process.id))
            replace_hung(channel, now_ns);
        return false;
    }
    uint64_t beats = ledger_beats(channel->ledger);
    bool still = beats == channel->beats;
    channel->beats = beats;
    if (!still)
        channel->stuck_ns = 0;
    return still;
}

/* Whether it was in the middle of a batch. One that was asked to end may wait for its disk for
 * long, and stands still then: but not at a datagram. */
static bool is_at_datagram(const struct channel *channel)
{
    return channel->staging.memory != NULL && staging_is_at_datagram(&channel->staging);
}

/* It stands still, and datagrams wait or not. */
static void note_still(struct channel *channel, bool waiting, uint64_t now_ns)
{
    if (!waiting) {
        channel->stuck_ns = 0;
        return;
    }
    if (channel->stuck_ns == 0) {
        channel->stuck_ns = now_ns;
        channel->stuck_used_ns = used_ns(channel);
    }
    uint64_t stuck_ms = (now_ns - channel->stuck_ns) / NS_PER_MS;
    if ((stuck_ms >= FLEET_HANG_MS && !is_starved(channel, stuck_ms)) ||
        (stuck_ms >= FLEET_SUSPENDED_MS && process_suspended(channel->process.id)))
        replace_hung(channel, now_ns);
}

/* The kernel is asked of many at once: a thousand calls for a thousand idle channels would be most
 * of what a manager does. Whether datagrams wait for one that stands still. */
static bool look_for_hangs(struct fleet *fleet, uint64_t now_ns)
{
    bool any = false;
    for (struct channel *channel = fleet->first; channel;) {
        struct channel *still[NET_LOOK_MAX];
        int sockets[NET_LOOK_MAX];
        bool waiting[NET_LOOK_MAX];
        uint32_t count = 0;
        for (; channel && count < NET_LOOK_MAX; channel = channel->next)
            if (stands_still(channel, now_ns)) {
                still[count] = channel;
                sockets[count++] = channel->draining < 0 ? channel->receive : channel->draining;
            }
        net_look(sockets, count, waiting);
        for (uint32_t i = 0; i < count; i++) {
            /* One that was asked to end waits for none; but whoever suspended it since has it
             * stay for ever. */
            if (channel_machine_ends(&still[i]->machine))
                waiting[i] = process_suspended(still[i]->process.id);
            waiting[i] = waiting[i] || is_at_datagram(still[i]);
            note_still(still[i], waiting[i], now_ns);
            any = any || waiting[i];
        }
    }
    return any;
}

/* A relay that a fresh one is to follow goes on until it is replaced. */
static void grant_wish(struct channel *channel)
{
    const struct channel_machine *machine = &channel->machine;
    if (channel->ledger && machine->goal == CHANNEL_RUN && machine->step == CHANNEL_AT_WORK &&
        ledger_wish(channel->ledger) == channel->process.id)
        channel_want(channel, CHANNEL_CHANGE);
}

void fleet_pulse_due(void *context)
{
    struct fleet *fleet = context;
    uint64_t now_ns = clock_monotonic_ns();
    uint64_t pause_ns =
        (look_for_hangs(fleet, now_ns) ? FLEET_SUSPECT_MS : FLEET_PULSE_MS) * NS_PER_MS;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        grant_wish(channel);
        if (receiver_close_drained(channel) && channel->machine.step == CHANNEL_BLOCKED)
            channel_step(channel, CHANNEL_DUE, 0); /* it may be replaced now */
        if (channel->draining >= 0 && channel_is_busy(channel))
            pause_ns = DRAIN_LOOK_NS;
    }
    fleet_settle(fleet);
    loop_arm(fleet->options.loop, &fleet->pulse, now_ns + pause_ns);
}
