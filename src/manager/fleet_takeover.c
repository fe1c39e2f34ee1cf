/* SPDX-License-Identifier: MIT
 * A manager that starts finds what an earlier one left: channels are made again from the ledgers of
 * their memories, and their relays, if they still run, become ours. Relays that cannot be taken
 * over are ended: two on one channel would split its datagrams. */
#include "channel/memory.h"
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/file.h"
#include "os/memory.h"

struct orphan {
    struct process process;
    struct orphan *next;
};

struct orphan_search {
    struct fleet *fleet;
    struct orphan *first; /* to be ended, once all is found */
};

/* The channel of a relay of this runtime folder, from its words; false if it is another's. */
static bool read_channel(const struct fleet *fleet, const char *words, size_t bytes,
                         char channel[CHANNEL_NAME_BYTES_MAX + 1])
{
    static const char flag[] = "--layout=", ending[] = ".layout";
    size_t runtime = strlen(fleet->runtime), length;
    for (const char *word = words; word < words + bytes; word += strlen(word) + 1) {
        const char *path = word + sizeof flag - 1;
        if (strncmp(word, flag, sizeof flag - 1) != 0 ||
            strncmp(path, fleet->runtime, runtime) != 0 || path[runtime] != '/')
            continue;
        const char *name = path + runtime + 1;
        length = strlen(name);
        if (length <= sizeof ending - 1 || length - (sizeof ending - 1) > CHANNEL_NAME_BYTES_MAX ||
            strcmp(name + length - (sizeof ending - 1), ending) != 0)
            return false;
        snprintf(channel, CHANNEL_NAME_BYTES_MAX + 1, "%.*s", (int)(length - (sizeof ending - 1)),
                 name);
        return true;
    }
    return false;
}

/* A relay of this runtime folder runs. Where what it works on was not kept of its channel, or not
 * yet (a keeper that hung has what was before), it is copied; where that is not allowed, it has to
 * end.
 */
static int look_for_orphan(void *context, long id, const char *words, size_t bytes)
{
    struct orphan_search *search = context;
    struct fleet *fleet = search->fleet;
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    uint64_t start;
    if (!read_channel(fleet, words, bytes, channel))
        return 0;
    int error = process_start_time(id, &start);
    if (error == 0 && takeover_is_of(&fleet->left, channel, id, start))
        return 0;
    if (error == 0)
        error = takeover_copy(&fleet->left, channel, id, start);
    if (error == 0 || error == -ESRCH || process_lacks(error))
        return process_lacks(error) ? error : 0;
    struct orphan *orphan = calloc(1, sizeof *orphan);
    error = orphan ? process_open(&orphan->process, id, start) : -ENOMEM;
    if (error < 0) {
        free(orphan);
        return process_lacks(error) ? error : 0;
    }
    orphan->next = search->first;
    search->first = orphan;
    log_line("%s: relay %ld of an earlier manager still runs, and nothing was kept of it; ending "
             "it",
             channel, id);
    return 0;
}

static int end_stray(void *context, long id, const char *words, size_t bytes)
{
    const struct channel *channel = context;
    char name[CHANNEL_NAME_BYTES_MAX + 1];
    struct process process;
    uint64_t start;
    if (!read_channel(channel->fleet, words, bytes, name) ||
        strcmp(name, channel_name(channel)) != 0 || process_start_time(id, &start) < 0 ||
        process_open(&process, id, start) < 0)
        return 0;
    log_line("%s: relay %ld of a manager that has left records in its folder; ending it",
             channel_name(channel), id);
    process_terminate(&process);
    process_close(&process);
    return 0;
}

void channel_end_stray(struct channel *channel)
{
    process_each("flotilla-relay", end_stray, channel);
}

/* Waits for the end of those that could not be taken over: two relays on one channel would split
 * its datagrams. */
static void end_orphans(struct orphan *first)
{
    for (const struct orphan *orphan = first; orphan; orphan = orphan->next)
        process_terminate(&orphan->process);
    uint64_t give_up_ms = fleet_now_ms() + CHANNEL_GRACE_MS;
    while (first) {
        struct orphan *orphan = first;
        uint64_t now = fleet_now_ms();
        if (process_wait(&orphan->process, now < give_up_ms ? give_up_ms - now : 0) < 0) {
            log_line("relay %ld of an earlier manager did not end in time; killing it",
                     orphan->process.id);
            process_kill(&orphan->process);
            process_wait(&orphan->process, CHANNEL_GRACE_MS);
        }
        process_close(&orphan->process);
        first = orphan->next;
        free(orphan);
    }
}

/* What the channel's relay was told, as the ledger has it. 0, or -EBADMSG. */
static int read_settings(const struct ledger_notes *notes, struct channel_settings *settings)
{
    char *words[FLEET_RELAY_WORDS_MAX], text[LEDGER_FLAGS_BYTES + 1], error[512];
    int count = 0;
    memcpy(text, notes->flags, notes->flags_bytes);
    text[notes->flags_bytes] = '\0';
    for (size_t at = 0; at < notes->flags_bytes && count < FLEET_RELAY_WORDS_MAX;
         at += strlen(text + at) + 1)
        words[count++] = text + at;
    settings_defaults(settings);
    return settings_read_flags(settings, count, words, error, sizeof error) < 0 ||
                   settings_validate(settings, error, sizeof error) < 0
               ? -EBADMSG
               : 0;
}

/* A channel as an earlier manager had it. NULL if what it left says too little. */
static struct channel *remake_channel(struct fleet *fleet, struct takeover_channel *left)
{
    struct ledger_shared *ledger;
    struct ledger_notes notes;
    struct config_channel config;
    memset(&config, 0, sizeof config);
    if (left->descriptors[TAKEOVER_MEMORY] < 0 ||
        ledger_map(&ledger, left->descriptors[TAKEOVER_MEMORY]) < 0)
        return NULL;
    int error = ledger_read(ledger, &notes);
    if (error == 0)
        error = read_settings(&notes, &config.settings);
    /* The relay could write these, too: it must not have us read or remove what is not its own. */
    char layout[CHANNEL_PATH_BYTES_MAX];
    if (error == 0)
        error = fleet_runtime_path(fleet, left->name, ".layout", layout);
    if (error < 0 || strcmp(config.settings.name, left->name) != 0 ||
        strcmp(config.settings.layout, layout) != 0) {
        ledger_unmap(ledger);
        return NULL;
    }
    config.limit_memory_bytes = notes.limit_memory_bytes;
    config.limit_cpu_percent = notes.limit_cpu_percent;
    config.record = config.settings.directory[0] != '\0';
    /* Without its layout's file, the digest tells whether the wanted one is the same. */
    file_read_whole(config.settings.layout, LAYOUT_IMAGE_BYTES_MAX, &config.layout_image,
                    &config.layout_bytes);
    if (config.layout_bytes == 0) { /* it was cut off, or never written in full */
        free(config.layout_image);
        config.layout_image = NULL;
    }
    struct channel *channel = fleet_make_channel(fleet, &config);
    if (!channel) {
        free(config.layout_image);
        ledger_unmap(ledger);
        return NULL;
    }
    channel->memory = left->descriptors[TAKEOVER_MEMORY];
    receiver_take_over(channel, left->descriptors[TAKEOVER_RECEIVE],
                       left->descriptors[TAKEOVER_DRAINING]);
    for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
        left->descriptors[kind] = -1;
    channel_hold(channel, TAKEOVER_MEMORY, channel->memory);
    receiver_hold(channel);
    channel->layout_digest = config.layout_image ? 0 : notes.layout;
    channel->carried = notes.carried;
    channel->machine.child.restarts = notes.restarts;
    channel->ledger = ledger;
    if (staging_map(&channel->staging, channel->memory) == 0) {
        channel->ledger = channel->staging.ledger;
        ledger_unmap(ledger);
    } else {
        log_line("%s: its buffer is another version's", channel_name(channel));
    }
    return channel;
}

/* Nobody knows what the relay of such a channel was told; it must not go on beside another. */
static void end_unusable(struct fleet *fleet, struct takeover_channel *left)
{
    struct process relay;
    uint64_t start;
    int memory = left->descriptors[TAKEOVER_MEMORY];
    long id = memory >= 0 ? shared_memory_holder(memory) : 0;
    if (id > 0 && process_start_time(id, &start) == 0 && process_open(&relay, id, start) == 0) {
        process_terminate(&relay);
        if (process_wait(&relay, CHANNEL_GRACE_MS) < 0)
            process_kill(&relay);
        process_wait(&relay, CHANNEL_GRACE_MS);
        process_close(&relay);
    }
    for (int kind = 0; kind < TAKEOVER_KINDS; kind++) {
        char name[TAKEOVER_NAME_BYTES];
        takeover_name(name, left->name, (enum takeover_kind)kind);
        channel_close_one(&left->descriptors[kind]);
        holder_drop(fleet->holder, name);
    }
    holder_barrier(fleet->holder, HOLDER_BARRIER_MS);
}

static void take_over(struct fleet *fleet, struct takeover_channel *left)
{
    struct channel *channel = remake_channel(fleet, left);
    if (!channel) {
        log_line("%s: what an earlier manager left of it cannot be used", left->name);
        end_unusable(fleet, left);
        return;
    }
    fleet_move_last(fleet, channel);
    /* What is counted by now says nothing of work that is still to be done. */
    channel->resets = ledger_resets(channel->ledger);
    channel_read_memory(channel, &channel->found);
    channel_follow_anew(channel);
    if (channel_join_relay(channel) < 0) {
        bool ended = ledger_end(channel->ledger, ledger_ready(channel->ledger)) == 0;
        channel->machine.child.restarts += !ended;
        log_line("%s: taken over from an earlier manager; its relay has %s", channel_name(channel),
                 ended ? "ended" : "died");
        return;
    }
    channel_machine_join(&channel->machine, channel->found.batches > 0 || !channel->staging.memory,
                         fleet_now_ms());
    channel_watch_life(channel);
    log_line("%s: taken over from an earlier manager, with its relay %ld at work",
             channel_name(channel), channel->process.id);
}

/* A channel whose manager was killed before it had made its buffer: it waits for the configuration.
 */
static bool has_only_receiver(const struct takeover_channel *left)
{
    return left->descriptors[TAKEOVER_MEMORY] < 0 && left->descriptors[TAKEOVER_RECEIVE] >= 0;
}

static void forget_orphans(struct orphan *first)
{
    while (first) {
        struct orphan *orphan = first;
        first = orphan->next;
        process_close(&orphan->process);
        free(orphan);
    }
}

int fleet_take_over(struct fleet *fleet)
{
    struct orphan_search search = {.fleet = fleet};
    int count = 0, error = process_each("flotilla-relay", look_for_orphan, &search);
    if (error < 0) {
        forget_orphans(search.first);
        return error;
    }
    for (struct takeover_channel *left = fleet->left.first; left; left = left->next)
        if (!has_only_receiver(left))
            take_over(fleet, left);
    end_orphans(search.first);
    holder_barrier(fleet->holder, HOLDER_BARRIER_MS); /* the earlier ones may go */
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        count++;
    return count;
}

void channel_take_begun(struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    struct takeover_channel *left = takeover_find(&channel->fleet->left, channel_name(channel));
    if (left && has_only_receiver(left) &&
        receiver_fits(left->descriptors[TAKEOVER_RECEIVE], settings)) {
        channel->receive = left->descriptors[TAKEOVER_RECEIVE];
        left->descriptors[TAKEOVER_RECEIVE] = -1;
        channel->doubted = true;
    }
}

/* Nobody wants its socket: what has come to it counts as dropped. */
static void release_begun(struct fleet *fleet, struct takeover_channel *left)
{
    struct channel *channel = fleet_find(fleet, left->name);
    uint64_t lost = net_drain(left->descriptors[TAKEOVER_RECEIVE]);
    if (lost)
        log_line("%s: %llu datagrams had come to an address it does not listen at any more: "
                 "counted as dropped",
                 left->name, (unsigned long long)lost);
    if (!channel) {
        end_unusable(fleet, left);
        return;
    }
    channel->carried.datagrams_dropped = count_add(channel->carried.datagrams_dropped, lost);
    channel_write_ledger(channel);
    receiver_hold(channel);
}

void fleet_release_left(struct fleet *fleet)
{
    struct takeover_channel *left, *next;
    for (left = fleet->left.first; left; left = next) {
        next = left->next;
        if (has_only_receiver(left))
            release_begun(fleet, left);
        takeover_forget(&fleet->left, left);
    }
}
