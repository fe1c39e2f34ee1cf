/* SPDX-License-Identifier: MIT
 * The fleet: the list of its channels, and what a configuration, a stop and an end do to it. A
 * channel's relay is replaced in two steps: the old one is asked to end; when it has, the new
 * settings are put in force (`channel_adopt`) and the next relay is spawned on the same socket and
 * memory wherever they still fit. */
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
    channel->receive = channel->pending_receive = channel->memory = -1;
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

void fleet_forget(struct channel *channel)
{
    loop_disarm(&channel->timer);
    loop_unwatch(channel->fleet->options.loop, &channel->ended);
    process_close(&channel->process);
    channel_close_one(&channel->receive);
    channel_close_one(&channel->pending_receive);
    channel_unmap(&channel->staging, channel->ledger);
    channel_close_one(&channel->memory);
    /* At the end of all, a service manager that starts us again wants to find them. */
    if (!channel->fleet->closing) {
        for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
            channel_drop(channel, (enum takeover_kind)kind);
        holder_barrier(channel->fleet->holder, HOLDER_BARRIER_MS);
    }
    if (!channel->fleet->leaving) {
        limits_forget(&channel->fleet->limits, channel_name(channel));
        remove(channel->config.settings.layout);
    }
    *channel->link_from = channel->next;
    if (channel->next)
        channel->next->link_from = channel->link_from;
    if (channel->fleet->renewing == channel)
        channel->fleet->renewing = NULL;
    if (channel->pending)
        free(channel->pending->layout_image);
    free(channel->pending);
    free(channel->config.layout_image);
    free(channel);
}

static bool is_busy(const struct channel *channel)
{
    return channel->child.state == CHILD_STOPPING;
}

bool fleet_settled(const struct fleet *fleet)
{
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        if (is_busy(channel))
            return false;
    return true;
}

/* Nothing is being stopped any more. Two channels that swapped their addresses, or a new one on the
 * address of one that was removed, find them free now. */
void fleet_settle(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        bool retry = channel->retry && channel->child.state == CHILD_FAILED;
        channel->retry = false;
        if (retry && !fleet->stopping) {
            loop_disarm(&channel->timer);
            channel_step(channel, CHILD_TIMER, 0);
        }
    }
    fleet->options.settled(fleet->options.context);
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

/* A layout that was taken over without its file is the wanted one's, if their digests say so. */
static int recall_layout(struct channel *channel, const struct config_channel *wanted)
{
    if (channel->config.layout_image || channel->layout_digest == 0 ||
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
        int error = recall_layout(plan->existing, wanted);
        if (error < 0)
            return error;
        plan->calls_off = plan->existing->pending && plan->existing->blocked[0] &&
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

static void change_channel(struct channel *channel, struct config_channel *pending)
{
    const struct channel_settings *is = &pending->settings;
    if (channel->pending) {
        if (!channel_same_receiver(&channel->pending->settings, is))
            channel_close_ahead(channel);
        free(channel->pending->layout_image);
        free(channel->pending);
    }
    channel->pending = pending;
    channel->swept = false;
    channel->finishers = 0; /* each change may need as many as the one before */
    if (channel_same_receiver(&channel->config.settings, is))
        channel_hear_again(channel); /* the change before this one was to leave its address */
    channel_replace_relay(channel);
}

/* The relay that could not be replaced yet has what is wanted now. */
static void call_off_change(struct channel *channel)
{
    free(channel->pending->layout_image);
    free(channel->pending);
    channel->pending = NULL;
    channel->blocked[0] = '\0';
    channel_close_ahead(channel);
}

static enum fleet_change apply_one(struct channel *channel, const struct plan *plan)
{
    bool revived = channel->removed;
    channel->removed = false;
    channel->fresh = plan->pending != NULL;
    if (plan->calls_off)
        call_off_change(channel);
    if (!plan->pending && !channel->pending) {
        channel_close_ahead(channel); /* an earlier manager's, for a change that has gone */
        channel_hear_again(channel);
    } else if (!plan->pending &&
               channel_same_receiver(&channel->config.settings, &channel->pending->settings)) {
        channel_hear_again(channel); /* it had been removed meanwhile */
    }
    if (plan->pending) {
        change_channel(channel, plan->pending);
        return revived ? FLEET_ADDED : FLEET_CHANGED;
    }
    if (revived || !child_alive(&channel->child)) {
        channel->fresh = true;
        channel->finishers = 0;
        channel_replace_relay(channel);
    } else if (channel->blocked[0]) {
        channel_replace_relay(channel);
    }
    channel_prepare_layout(channel); /* it may have gone while no manager was there */
    return revived ? FLEET_ADDED : FLEET_UNCHANGED;
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
        channel->seen = false;
    for (uint32_t i = 0; i < config->channel_count; i++)
        if (plans[i].existing)
            plans[i].existing->seen = true;
    for (struct channel *channel = fleet->first, *following; channel; channel = following) {
        following = channel->next;
        if (channel->seen || channel->removed)
            continue;
        note(context, FLEET_REMOVED, channel_name(channel));
        channel->removed = true;
        channel_leave(channel);
        channel_finish_first(channel);
        if (channel_is_owing(channel))
            continue; /* it is tried again, and shown, until all is recorded */
        channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);
        if (channel->child.state == CHILD_STOPPED) {
            channel_tell_unfinished(channel);
            fleet_forget(channel);
        }
    }
    for (uint32_t i = 0; i < config->channel_count; i++) {
        struct channel *channel = plans[i].existing;
        enum fleet_change change = FLEET_ADDED;
        /* The image now is the channel's, or pending for it, or that of one that stays as it is. */
        if (!channel || plans[i].pending)
            config->channels[i].layout_image = NULL;
        if (!channel) {
            channel = plans[i].made;
            if (fleet->left_lost && path_exists(channel->config.settings.layout))
                log_line("%s: its relay had died, too: what waited in its socket and its buffer is "
                         "lost",
                         channel_name(channel));
            fleet_move_last(fleet, channel);
            channel->fresh = true;
            channel->finishers = 0;
            channel_step(channel, CHILD_START_WANTED, 0);
        } else {
            fleet_move_last(fleet, channel);
            change = apply_one(channel, &plans[i]);
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
            recall_layout(channel, &config->channels[i]);
    }
}

int fleet_restart(struct fleet *fleet, const char *name)
{
    struct channel *channel = fleet_find(fleet, name);
    if (!channel || channel->removed)
        return -ENOENT;
    channel->child.restarts++;
    channel->fresh = true;
    channel->finishers = 0;
    channel_replace_relay(channel);
    channel->child.restarts -= channel->blocked[0] != '\0';
    return 0;
}

bool fleet_proven(struct fleet *fleet)
{
    bool proven = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        if (!channel->fresh || channel->blocked[0] || channel_has_failed(channel) ||
            channel->child.state == CHILD_STOPPED)
            continue;
        if (channel->child.state != CHILD_STOPPING && channel_is_ready(channel))
            channel->fresh = false;
        else
            proven = false;
    }
    return proven;
}

const char *fleet_trouble(const struct fleet *fleet, const char *name)
{
    const struct channel *channel = fleet_find(fleet, name);
    bool started = channel && (channel->removed || channel->fresh);
    if (started && channel_has_failed(channel))
        return channel->reason;
    return channel && channel->blocked[0] ? channel->blocked : NULL;
}

/* The manager's own: standard streams, folder, lock, loop, signals, listener, log, a few clients,
 * and what is open for a moment. Then, for each channel: socket, memory, process. */
#define DESCRIPTORS_OWN     24u
#define DESCRIPTORS_CHANNEL 3u

uint64_t fleet_descriptors(const struct config *config)
{
    return DESCRIPTORS_OWN + (uint64_t)config->channel_count * DESCRIPTORS_CHANNEL;
}

int fleet_furnish(struct fleet *fleet)
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
    fleet->stopping = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        channel_leave(channel);
        channel_finish_first(channel);
        channel_step(channel, CHILD_STOP_WANTED, FLEET_STOP_GRACE_MS);
        fleet->unclean_ends += channel_tell_unfinished(channel);
    }
    if (fleet_settled(fleet))
        fleet->options.settled(fleet->options.context);
}

uint32_t fleet_unclean_ends(const struct fleet *fleet)
{
    return fleet->unclean_ends;
}

const struct channel *fleet_next(const struct fleet *fleet, const struct channel *channel)
{
    struct channel *next = channel ? channel->next : fleet->first;
    while (next && next->removed && !channel_has_failed(next) && !next->given_up)
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
        if (channel->receive >= 0)
            channel_keep(channel, TAKEOVER_RECEIVE, channel->receive);
        if (channel->memory >= 0)
            channel_keep(channel, TAKEOVER_MEMORY, channel->memory);
        if (channel->pending_receive >= 0)
            channel_keep(channel, TAKEOVER_NEXT, channel->pending_receive);
        if (channel->process.descriptor >= 0)
            channel_put_process(channel);
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
    made->sample = (struct loop_timer){.due = fleet_sample_due, .context = made};
    made->pulse = (struct loop_timer){.due = fleet_pulse_due, .context = made};
    made->renewal = (struct loop_timer){.due = fleet_renewal_due, .context = made};
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
    loop_arm(options->loop, &made->sample, now_ns + FLEET_LOOK_MS * NS_PER_MS);
    loop_arm(options->loop, &made->pulse, now_ns + FLEET_PULSE_MS * NS_PER_MS);
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
    loop_disarm(&fleet->sample);
    loop_disarm(&fleet->pulse);
    loop_disarm(&fleet->renewal);
    while (fleet->first)
        fleet_forget(fleet->first);
    takeover_close(&fleet->left);
    holder_close(fleet->holder, !fleet->leaving);
    limits_close(&fleet->limits);
    free(fleet->runtime);
    free(fleet->relay);
    free(fleet);
}
