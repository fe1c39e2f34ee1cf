/* SPDX-License-Identifier: MIT
 * The fleet: the list of its channels, and what a configuration, a stop and an end do to it. What
 * becomes of one channel is its machine's to say (channel_machine.h). */
#include "manager/fleet.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "manager/fleet_parts.h"
#include "os/file.h"
#include "os/path.h"

struct channel *fleet_make_channel(struct fleet *fleet, const struct config_channel *config)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    channel->fleet = fleet;
    channel->config = *config;
    channel->process = (struct process)PROCESS_NONE;
    channel->ended.descriptor = -1;
    channel->timer = (struct loop_timer){.due = channel_timer_due, .context = channel};
    channel->receive = channel->next_receive = channel->draining = channel->memory = -1;
    return channel;
}

struct channel *fleet_find(const struct fleet *fleet, const char *name)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        if (strcmp(channel_name(channel), name) == 0)
            return channel;
    return NULL;
}

void fleet_move_last(struct fleet *fleet, struct channel *channel)
{
    if (channel->link_from) {
        *channel->link_from = channel->next;
        if (channel->next)
            channel->next->link_from = channel->link_from;
    }
    struct channel **end = &fleet->first;
    while (*end)
        end = &(*end)->next;
    *end = channel;
    channel->link_from = end;
    channel->next = NULL;
}

static void free_pending(struct channel *channel)
{
    if (channel->pending)
        free(channel->pending->layout_image);
    free(channel->pending);
    channel->pending = NULL;
}

/* Takes the channel out of the list, closes what it has open, frees it. No relay is there. */
static void fleet_forget(struct channel *channel)
{
    loop_disarm(&channel->timer);
    loop_unwatch(channel->fleet->options.loop, &channel->ended);
    process_close(&channel->process);
    channel_close_one(&channel->receive);
    channel_close_one(&channel->next_receive);
    channel_close_one(&channel->draining);
    channel_unmap(&channel->staging, channel->ledger);
    channel_close_one(&channel->memory);
    /* At the end of all, a service manager that starts us again wants to find them. */
    if (!channel->fleet->closing) {
        for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
            channel_hold(channel, (enum takeover_kind)kind, -1);
        holder_barrier(channel->fleet->holder, HOLDER_BARRIER_MS);
    }
    if (!channel->fleet->leaving) {
        limits_forget(&channel->fleet->limits, channel_name(channel));
        remove(channel->config.settings.layout);
    }
    *channel->link_from = channel->next;
    if (channel->next)
        channel->next->link_from = channel->link_from;
    if (channel->fleet->restarting == channel)
        channel->fleet->restarting = NULL;
    free_pending(channel);
    free(channel->config.layout_image);
    free(channel);
}

bool fleet_settled(const struct fleet *fleet)
{
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        if (channel_is_busy(channel))
            return false;
    return true;
}

/* Two channels that swapped their addresses, or a new one on the address of one that was removed,
 * find them free now. */
void fleet_settle(struct fleet *fleet)
{
    if (!fleet->busy || !fleet_settled(fleet))
        return;
    fleet->busy = false;
    for (struct channel *channel = fleet->first; channel && !fleet->stopping;
         channel = channel->next)
        if (channel->machine.child.state == CHILD_FAILED)
            channel_step(channel, CHANNEL_DUE, 0);
    fleet->options.settled(fleet->options.context);
}

void fleet_sweep(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first, *following; channel; channel = following) {
        following = channel->next;
        if (channel->machine.goal == CHANNEL_REMOVE && channel->machine.step == CHANNEL_ABSENT)
            fleet_forget(channel);
    }
}

/* ---- mark and sweep ---- */

/* What is to become of one configured channel. Made in full before anything is changed, so that
 * running out of memory changes nothing. */
struct plan {
    struct channel *existing; /* NULL: to be added as `made` */
    struct channel *made;
    struct config_channel *pending; /* for a changed one; NULL: unchanged */
    bool calls_off;                 /* what is at work is what is wanted; a change waits, though */
};

int channel_recall_layout(struct channel *channel, const struct config_channel *wanted)
{
    if (channel->config.layout_image || channel->layout_digest == 0 || !wanted->layout_image ||
        channel->layout_digest != channel_layout_digest(wanted))
        return 0;
    channel->config.layout_image = malloc(wanted->layout_bytes);
    if (!channel->config.layout_image)
        return -ENOMEM;
    memcpy(channel->config.layout_image, wanted->layout_image, wanted->layout_bytes);
    channel->config.layout_bytes = wanted->layout_bytes;
    channel->layout_digest = 0;
    return 0;
}

static int plan_one(struct fleet *fleet, struct config_channel *wanted, struct plan *plan)
{
    plan->existing = fleet_find(fleet, wanted->settings.name);
    if (!plan->existing) {
        plan->made = fleet_make_channel(fleet, wanted);
        if (!plan->made)
            return -ENOMEM;
    } else {
        int error = channel_recall_layout(plan->existing, wanted);
        if (error < 0)
            return error;
        plan->calls_off = plan->existing->pending && plan->existing->machine.blocked &&
                          config_same_channel(&plan->existing->config, wanted);
        if (plan->calls_off)
            return 0;
        const struct config_channel *coming =
            plan->existing->pending ? plan->existing->pending : &plan->existing->config;
        if (config_same_channel(coming, wanted))
            return 0;
        plan->pending = malloc(sizeof *plan->pending);
        if (!plan->pending)
            return -ENOMEM;
        *plan->pending = *wanted;
    }
    return 0;
}

static enum fleet_change apply_one(struct channel *channel, const struct plan *plan)
{
    const struct channel_machine *machine = &channel->machine;
    bool revived = machine->goal == CHANNEL_REMOVE;
    if (plan->pending || plan->calls_off) {
        free_pending(channel);
        channel->pending = plan->pending;
    }
    channel->await_ready = plan->pending || revived || !child_alive(&machine->child);
    /* A restart that was asked for and cannot be yet is not called off by a reload. */
    bool restarts = machine->goal == CHANNEL_CHANGE && !plan->calls_off;
    channel_want(channel, channel->pending || restarts ? CHANNEL_CHANGE : CHANNEL_RUN);
    channel_prepare_layout(channel); /* it may have gone while no manager was there */
    return revived ? FLEET_ADDED : plan->pending ? FLEET_CHANGED : FLEET_UNCHANGED;
}

int fleet_apply(struct fleet *fleet, struct config *config,
                void (*note)(void *context, enum fleet_change change, const char *channel),
                void *context)
{
    struct plan *plans = calloc(config->channel_count ? config->channel_count : 1, sizeof *plans);
    int error = plans ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < config->channel_count && error == 0; i++)
        error = plan_one(fleet, &config->channels[i], &plans[i]);
    if (error < 0) {
        for (uint32_t i = 0; plans && i < config->channel_count; i++) {
            free(plans[i].pending);
            free(plans[i].made);
        }
        free(plans);
        return error;
    }

    /* Removed ones first: what is added may want their addresses. */
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        channel->marked = false;
    for (uint32_t i = 0; i < config->channel_count; i++)
        if (plans[i].existing)
            plans[i].existing->marked = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        if (channel->marked || channel->machine.goal == CHANNEL_REMOVE)
            continue;
        note(context, FLEET_REMOVED, channel_name(channel));
        channel_want(channel, CHANNEL_REMOVE);
    }
    fleet_sweep(fleet);
    for (uint32_t i = 0; i < config->channel_count; i++) {
        struct channel *channel = plans[i].existing;
        enum fleet_change change = FLEET_ADDED;
        /* The image now is the channel's, or pending for it, or that of one that stays as it is. */
        if (!channel || plans[i].pending)
            config->channels[i].layout_image = NULL;
        fleet_move_last(fleet, channel ? channel : plans[i].made);
        if (channel) {
            change = apply_one(channel, &plans[i]);
        } else {
            if (fleet->left_lost && path_exists(plans[i].made->config.settings.layout))
                log_line("%s: its relay had died, too: what waited in its socket and its buffer is "
                         "lost",
                         channel_name(plans[i].made));
            plans[i].made->await_ready = true;
            channel_take_begun(plans[i].made);
            channel_want(plans[i].made, CHANNEL_RUN);
        }
        note(context, change, config->channels[i].settings.name);
    }
    free(plans);
    fleet->left_lost = false;
    fleet_release_left(fleet);
    return 0;
}

void fleet_recall(struct fleet *fleet, const struct config *config)
{
    for (uint32_t i = 0; i < config->channel_count; i++) {
        struct channel *channel = fleet_find(fleet, config->channels[i].settings.name);
        if (channel)
            channel_recall_layout(channel, &config->channels[i]);
    }
}

int fleet_restart(struct fleet *fleet, const char *name)
{
    struct channel *channel = fleet_find(fleet, name);
    if (!channel || channel->machine.goal == CHANNEL_REMOVE)
        return -ENOENT;
    channel->doubted = true; /* its interface may have been made anew with the same number */
    channel_follow(channel);
    channel->await_ready = true;
    channel_want(channel, CHANNEL_CHANGE);
    channel->machine.child.restarts += !channel->machine.blocked;
    return 0;
}

bool fleet_ready(struct fleet *fleet)
{
    bool ready = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        const struct channel_machine *machine = &channel->machine;
        if (!channel->await_ready || machine->blocked || channel_has_failed(channel) ||
            machine->step == CHANNEL_ABSENT)
            continue;
        if (!channel_machine_ends(machine) && channel_is_ready(channel))
            channel->await_ready = false;
        else
            ready = false;
    }
    return ready;
}

const char *fleet_trouble(const struct fleet *fleet, const char *name)
{
    const struct channel *channel = fleet_find(fleet, name);
    bool started = channel && (channel->machine.goal == CHANNEL_REMOVE || channel->await_ready);
    if (started && channel_has_failed(channel))
        return channel->reason;
    return channel && channel->machine.blocked ? channel->blocked : NULL;
}

/* The manager's own: standard streams, folder, lock, loop, signals, listener, log, a few clients,
 * and what is open for a moment. Then, for each channel: socket, the one before it
 * while its address changes, memory, process. */
#define DESCRIPTORS_OWN     24u
#define DESCRIPTORS_CHANNEL 4u

uint64_t fleet_descriptors(const struct config *config)
{
    return DESCRIPTORS_OWN + (uint64_t)config->channel_count * DESCRIPTORS_CHANNEL;
}

int fleet_repopulate(struct fleet *fleet)
{
    int error = 0;
    holder_retake(fleet->holder);
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        int status = channel->config.layout_image ? channel_prepare_layout(channel) : 0;
        error = error == 0 ? status : error;
    }
    return error;
}

void fleet_stop(struct fleet *fleet)
{
    fleet->stopping = fleet->busy = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        channel->removed = channel->machine.goal == CHANNEL_REMOVE;
        channel_want(channel, CHANNEL_STOP);
        fleet->unclean_ends += channel->machine.step == CHANNEL_ABSENT && channel->given_up;
    }
    fleet_settle(fleet);
}

uint32_t fleet_unclean_ends(const struct fleet *fleet)
{
    return fleet->unclean_ends;
}

const struct channel *fleet_next(const struct fleet *fleet, const struct channel *channel)
{
    struct channel *next = channel ? channel->next : fleet->first;
    while (next && next->machine.goal == CHANNEL_REMOVE && !channel_has_failed(next) &&
           !next->given_up)
        next = next->next;
    return next;
}

int fleet_bridge(struct fleet *fleet)
{
    return holder_exec_begin(fleet->holder);
}

void fleet_unbridge(struct fleet *fleet)
{
    holder_exec_failed(fleet->holder);
}

long fleet_keeper(const struct fleet *fleet)
{
    return holder_process(fleet->holder);
}

/* ---- beginning and end ---- */

static void found_kept(void *context, const char *name, int descriptor)
{
    struct fleet *fleet = context;
    takeover_add(&fleet->left, name, descriptor);
}

/* The holder is new, or has not taken everything. */
static void put_all(void *context)
{
    const struct fleet *fleet = context;
    char name[TAKEOVER_NAME_BYTES];
    for (const struct takeover_channel *left = fleet->left.first; left; left = left->next)
        for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
            if (left->descriptors[kind] >= 0) {
                takeover_name(name, left->name, (enum takeover_kind)kind);
                holder_put(fleet->holder, name, left->descriptors[kind]);
            }
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        receiver_hold(channel);
        channel_hold(channel, TAKEOVER_MEMORY, channel->memory);
        if (channel->process.descriptor >= 0)
            channel_hold_process(channel);
    }
}

int fleet_open(struct fleet **fleet, const struct fleet_options *options)
{
    struct fleet *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->options = *options;
    made->runtime = text_copy(options->runtime);
    made->relay = text_copy(options->relay);
    made->tick = (struct loop_timer){.due = fleet_tick_due, .context = made};
    made->pulse = (struct loop_timer){.due = fleet_pulse_due, .context = made};
    made->restart = (struct loop_timer){.due = fleet_restart_due, .context = made};
    made->links.descriptor = -1;
    *fleet = made;
    if (!made->runtime || !made->relay)
        return -ENOMEM;
    struct holder_options holder = {.loop = options->loop,
                                    .runtime = options->runtime,
                                    .program = options->keeper,
                                    .found = found_kept,
                                    .put_all = put_all,
                                    .context = made};
    int error = holder_open(&made->holder, &holder);
    if (error < 0)
        return error;
    made->left_lost = holder_was_lost(made->holder);
    made->opened = true;
    uint64_t now_ns = clock_monotonic_ns();
    loop_arm(options->loop, &made->tick, now_ns + FLEET_TICK_MS * NS_PER_MS);
    loop_arm(options->loop, &made->pulse, now_ns + FLEET_PULSE_MS * NS_PER_MS);
    fleet_follow_begin(made);
    return 0;
}

void fleet_close(struct fleet *fleet)
{
    if (!fleet)
        return;
    fleet->closing = true;
    bool nothing = fleet->opened && !fleet->first && !fleet->left.first;
    fleet->leaving = !nothing && !(fleet->stopping && fleet_settled(fleet));
    if (fleet->leaving)
        log_line("what is at work, and what is kept, is left to the next manager");
    loop_disarm(&fleet->tick);
    loop_disarm(&fleet->pulse);
    loop_disarm(&fleet->restart);
    fleet_follow_end(fleet);
    while (fleet->first)
        fleet_forget(fleet->first);
    takeover_close(&fleet->left);
    holder_close(fleet->holder, !fleet->leaving);
    limits_close(&fleet->limits);
    free(fleet->runtime);
    free(fleet->relay);
    free(fleet);
}
