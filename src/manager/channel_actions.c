/* SPDX-License-Identifier: MIT
 * Between the machine of a channel and the world: what is true at the moment of an event, and how
 * each action is carried out. Decides nothing. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

__attribute__((format(printf, 2, 3))) void channel_explain(struct channel *channel,
                                                           const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(channel->reason, sizeof channel->reason, format, arguments);
    va_end(arguments);
}

static bool socket_goes(const struct channel *channel, enum channel_goal goal)
{
    switch (goal) {
    case CHANNEL_RUN:
        return false;
    case CHANNEL_CHANGE:
        return receiver_moves(channel);
    case CHANNEL_STOP: /* who starts us again may want what has come; systemd holds it for that */
        return channel->removed || !holder_is_system(channel->fleet->holder);
    case CHANNEL_REMOVE:
    case CHANNEL_GOALS:
        break;
    }
    return true;
}

/* Datagrams that a relay which ended has taken, and done nothing with. */
static uint64_t in_flight(const struct channel *channel)
{
    return channel->staging.memory != NULL && channel->process.id == 0
               ? staging_flight_datagrams(&channel->staging)
               : 0;
}

static struct channel_facts read_facts(struct channel *channel, enum channel_goal goal)
{
    struct channel_facts facts = {.moves = socket_goes(channel, goal)};
    facts.fits = channel_can_go_on(channel) && (!facts.moves || channel->next_receive >= 0);
    facts.drains = facts.moves && channel->draining >= 0;
    /* What was begun with a layout that has gone cannot be finished. */
    if (goal == CHANNEL_CHANGE && channel->pending && !channel->config.layout_image)
        return facts;
    facts.unrecorded = channel_has_unrecorded_data(channel);
    facts.waiting = channel_had_relay(channel) && (receiver_waits(channel, facts.moves) ||
                                                   (facts.moves && in_flight(channel) > 0));
    facts.noted = channel->staging.memory != NULL && staging_has_poison(&channel->staging);
    return facts;
}

/* Tries what the next relay needs, and opens its socket. */
static bool preflight(struct channel *channel)
{
    receiver_close_drained(channel);
    if (channel_preflight(channel) < 0) {
        snprintf(channel->blocked, sizeof channel->blocked, "not replaced yet: %.200s",
                 channel->reason);
        channel->reason[0] = '\0';
        if (!channel->machine.blocked && channel->process.id)
            log_line("%s: relay %ld goes on, %s", channel_name(channel), channel->process.id,
                     channel->blocked);
        return false;
    }
    /* One that was asked for by itself, and is possible at last. */
    channel->machine.child.restarts += channel->machine.blocked && !channel->pending;
    receiver_open_next(channel);
    return true;
}

static void adopt(struct channel *channel)
{
    struct config_channel *pending = channel->pending;
    if (!pending)
        return;
    receiver_adopt(channel, &pending->settings);
    channel->pending = NULL;
    channel->layout_digest = 0;
    free(channel->config.layout_image);
    channel->config = *pending;
    free(pending);
    channel_write_ledger(channel);
}

static void spawn(struct channel *channel)
{
    const struct fleet_options *options = &channel->fleet->options;
    if (!options->in_charge(options->context))
        return; /* this process is about to end; another manager starts it */
    receiver_close_drained(channel);
    /* Each is tried, so that the socket collects while the rest is waited for. Before the relay can
     * change it: what the memory counts is what it has to exceed to have worked. */
    channel->awaits = false;
    int error = receiver_prepare(channel);
    if (error == 0)
        error = channel_prepare_memory(channel);
    if (error == 0)
        channel_follow(channel);
    if (error == 0)
        error = channel_prepare_layout(channel);
    if (error == 0) {
        channel_note_reset(channel);
        channel_read_memory(channel, &channel->found);
        channel_write_ledger(channel);
        error = channel_spawn_relay(channel);
    }
    channel->lacks = process_lacks(error);
    if (error == 0) {
        channel->reason[0] = channel->told[0] = '\0';
        channel_watch_life(channel);
        log_line("%s: relay %ld started", channel_name(channel), channel->process.id);
        channel_step(channel, CHANNEL_SPAWNED, 0);
        return;
    }
    if (channel->machine.goal == CHANNEL_REMOVE) {
        char why[FLEET_REASON_BYTES];
        snprintf(why, sizeof why, "%s", channel->reason);
        channel_explain(channel, "removed, and not all it has received is recorded: %s", why);
    }
    if (channel->lacks)
        fleet_follow_less(channel->fleet);
    channel_step(channel, CHANNEL_UNABLE, channel->lacks || error == -EAGAIN);
    /* Once; and not what is tried again in a moment, which may be all it takes. */
    if (fleet_settled(channel->fleet) && strcmp(channel->told, channel->reason) != 0) {
        log_line("%s: %s; trying again %s", channel_name(channel), channel->reason,
                 channel->awaits ? "as soon as that changes" : "every second");
        snprintf(channel->told, sizeof channel->told, "%s", channel->reason);
    }
}

/* Tells what nobody could finish, and counts what waits in sockets that go. */
static void give_up(struct channel *channel)
{
    struct counters left;
    channel_read_memory(channel, &left);
    bool goes = socket_goes(channel, channel->machine.goal);
    uint64_t lost = goes ? in_flight(channel) : 0;
    if (lost > 0) {
        log_line("%s: %llu datagrams were in its last relay's hands: counted as dropped",
                 channel_name(channel), (unsigned long long)lost);
        channel->carried.datagrams_dropped = count_add(channel->carried.datagrams_dropped, lost);
        channel_write_ledger(channel);
    }
    receiver_give_up(channel, goes);
    channel->given_up = left.unsynced_datums;
    if (left.unsynced_datums > 0)
        log_line("%s: %llu datums are left in its buffer, and in no recording",
                 channel_name(channel), (unsigned long long)left.unsynced_datums);
}

static void kill_late(struct channel *channel)
{
    log_line("%s: relay %ld did not end in time; killing it", channel_name(channel),
             channel->process.id);
    process_kill(&channel->process);
}

void channel_step(struct channel *channel, enum channel_event event, long detail)
{
    struct channel_machine *machine = &channel->machine;
    struct channel_facts facts =
        read_facts(channel, event == CHANNEL_WANTED ? (enum channel_goal)detail : machine->goal);
    unsigned todo = channel_machine_step(machine, event, detail, &facts, fleet_now_ms());
    if (todo & CHANNEL_DISARM)
        loop_disarm(&channel->timer);
    if (todo & CHANNEL_ARM)
        loop_arm(channel->fleet->options.loop, &channel->timer,
                 clock_monotonic_ns() + machine->child.wait_ms * NS_PER_MS);
    if (todo & CHANNEL_CLOSE_NEXT)
        receiver_close_next(channel);
    if (todo & CHANNEL_RESUME)
        receiver_resume(channel);
    if (todo & CHANNEL_QUIESCE)
        receiver_quiesce(channel);
    if (todo & CHANNEL_HAND_OVER)
        process_hand_over(&channel->process);
    if (todo & CHANNEL_DRAIN)
        process_terminate(&channel->process);
    if (todo & CHANNEL_KILL)
        kill_late(channel);
    if (todo & CHANNEL_ADOPT)
        adopt(channel);
    if (todo & CHANNEL_GIVE_UP)
        give_up(channel);
    channel->fleet->busy = channel->fleet->busy || channel_is_busy(channel);
    /* These two are answered, by the way of this function, and so come last. */
    if (todo & CHANNEL_PREFLIGHT)
        channel_step(channel, CHANNEL_CHECKED, preflight(channel));
    if (todo & CHANNEL_SPAWN)
        spawn(channel);
}

void channel_want(struct channel *channel, enum channel_goal goal)
{
    channel_step(channel, CHANNEL_WANTED, goal);
}

void channel_timer_due(void *context)
{
    struct channel *channel = context;
    struct fleet *fleet = channel->fleet;
    channel_step(channel, CHANNEL_DUE, 0);
    fleet_sweep(fleet);
    fleet_settle(fleet);
}
