/* SPDX-License-Identifier: MIT
 * The fleet: what each channel owns, and what happens to it. A channel's relay is replaced in two
 * steps: the old one is asked to end; when it has, the new settings are put in force (`adopt`) and
 * the next relay is spawned on the same socket and memory wherever they still fit. */
#include "manager/fleet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "channel/ledger.h"
#include "channel/staging.h"
#include "manager/limits.h"
#include "manager/store.h"
#include "manager/takeover.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/memory.h"

#define RELAY_WORDS_MAX  64
#define RELAY_TEXT_BYTES 8192
#define REASON_BYTES     256
#define FINISHERS_MAX    3u /* relays in a row that are started only to finish */
#define SIGNAL_UNKNOWN   0
#define CHILD_QUIET_MS   1000u /* quiet for so long, a relay is looked at for being suspended */

struct channel {
    struct fleet *fleet;
    struct channel *next, **link_from;
    struct config_channel config;   /* in force; owns its layout image */
    struct config_channel *pending; /* to be put in force once the relay has gone */
    bool removed;                   /* to be forgotten once the relay has gone */
    bool seen;                      /* the mark of mark and sweep */
    bool layout_written;
    bool retry; /* could not start while others were being stopped: perhaps because of them */

    struct child child;
    struct process process;
    struct loop_watch ended;
    struct loop_timer timer;

    int receive, full, decimated, memory;
    int pending_receive; /* opened ahead of a change of address, so that nothing is missed; or -1 */
    struct staging staging;       /* maps `memory`; not while another version's relay works in it */
    struct ledger_shared *ledger; /* of `memory`; NULL: there is none */

    struct counters carried; /* what memories before this one had counted; the ledger has it, too */
    struct counters found;   /* what the memory had counted when the relay was spawned */
    bool fresh;              /* started by the last fleet_apply or fleet_restart, not yet proven */
    uint64_t sample_ns, sample_received;
    double rate;
    uint32_t sample_file; /* a digest of the open file's name; 0: none was seen yet */
    uint64_t full_ns;     /* monotonic: when a full disk was last told of; 0: it is not full */
    uint64_t active_ns;   /* monotonic: when `active_received` last rose; 0: nothing came yet */
    uint64_t active_received;
    uint64_t sound[REJECT_REASONS]; /* rejected before the present row of rejects ... */
    uint64_t resets;    /* how often the memory had been emptied when it was last looked at */
    uint64_t beats;     /* the relay's sign of life when it last changed */
    uint64_t stuck_ns;  /* monotonic: since when datagrams wait and it has not; 0: all is well */
    bool aborted;       /* it hangs, and was told to end */
    bool renew;         /* its relay is to be replaced: it may be an older program */
    bool kill_sent;     /* the relay did not end in time */
    uint32_t finishers; /* relays started to finish, since one was wanted for work */
    bool hand_over;     /* the relay that is about to be asked to end leaves all to the next */
    char reason[REASON_BYTES];
    char shown[REASON_BYTES + 100]; /* the reason as status gives it */
};

struct fleet {
    struct fleet_options options;
    char *runtime, *relay;
    struct channel *first;
    struct store *store;
    struct takeover left; /* what an earlier manager left, until it is taken over */
    struct loop_timer sample, pulse, renewal;
    struct channel *renewing;                     /* the one whose new relay has not come up yet */
    uint64_t renewing_ns;                         /* monotonic: since when */
    char unrenewable[CHANNEL_NAME_BYTES_MAX + 1]; /* whose new relay did not come up; "" */
    uint64_t rates_ns;                            /* monotonic: when rates are due */
    struct limits limits;
    bool closing;
    bool stopping;
    uint32_t unclean_ends;
};

static void channel_step(struct channel *channel, enum child_event event, long detail);

static uint64_t now_ms(void)
{
    return clock_monotonic_ns() / NS_PER_MS;
}

static const char *name_of(const struct channel *channel)
{
    return channel->config.settings.name;
}

__attribute__((format(printf, 2, 3))) static void explain(struct channel *channel,
                                                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(channel->reason, sizeof channel->reason, format, arguments);
    va_end(arguments);
}

static void close_descriptor(int *descriptor)
{
    if (*descriptor >= 0)
        descriptor_close(*descriptor);
    *descriptor = -1;
}

/* ---- files in the runtime folder ---- */

static int runtime_path(const struct fleet *fleet, const char *name, const char *ending,
                        char path[CHANNEL_PATH_BYTES_MAX])
{
    int used = snprintf(path, CHANNEL_PATH_BYTES_MAX, "%s/%s%s", fleet->runtime, name, ending);
    return used < 0 || used >= CHANNEL_PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* Written under another name and renamed, but not synced: after a power cut the runtime folder says
 * nothing that is still true, and a thousand syncs would cost the start of a fleet seconds. */
static int write_runtime_file(const char *path, const void *bytes, size_t byte_count)
{
    char beside[CHANNEL_PATH_BYTES_MAX + 8];
    snprintf(beside, sizeof beside, "%s.new", path);
    FILE *file = fopen(beside, "we");
    if (!file)
        return -errno;
    int error = fwrite(bytes, 1, byte_count, file) == byte_count ? 0 : -EIO;
    if (fclose(file) != 0)
        error = errno ? -errno : -EIO;
    if (error == 0 && rename(beside, path) < 0)
        error = -errno;
    if (error < 0)
        remove(beside);
    return error;
}

/* ---- counters ---- */

static void add_counters(struct counters *total, const struct counters *more)
{
    for (size_t i = 0; i < counter_name_count; i++) {
        if (counter_names[i].gauge)
            continue;
        uint64_t *to = (uint64_t *)(void *)((char *)total + counter_names[i].offset);
        *to += *(const uint64_t *)(const void *)((const char *)more + counter_names[i].offset);
    }
    for (uint32_t i = 0; i < REJECT_REASONS; i++)
        total->rejected[i] += more->rejected[i];
}

/* ---- what the next manager finds ---- */

static void keep(struct channel *channel, enum takeover_kind kind, int descriptor)
{
    store_keep(channel->fleet->store, name_of(channel), takeover_kind_name(kind), descriptor);
}

static void drop(struct channel *channel, enum takeover_kind kind)
{
    store_drop(channel->fleet->store, name_of(channel), takeover_kind_name(kind));
}

/* What the relay is told and what was counted before, into the memory itself. */
static void write_ledger(struct channel *channel)
{
    struct ledger_notes notes = {.restarts = channel->child.restarts,
                                 .limit_memory_bytes = channel->config.limit_memory_bytes,
                                 .limit_cpu_percent = channel->config.limit_cpu_percent,
                                 .carried = channel->carried};
    char *words[RELAY_WORDS_MAX];
    if (!channel->ledger)
        return;
    int count = settings_write_flags(&channel->config.settings, notes.flags, sizeof notes.flags,
                                     words, RELAY_WORDS_MAX);
    if (count > 0)
        notes.flags_bytes =
            (uint32_t)(words[count - 1] + strlen(words[count - 1]) + 1 - notes.flags);
    ledger_write(channel->ledger, &notes);
}

/* What the memory counts. A relay that finds it damaged empties it: what it had counted up to that
 * relay's start is kept, whatever was counted by the one before it. */
static void read_memory(struct channel *channel, struct counters *counters)
{
    memset(counters, 0, sizeof *counters);
    if (!channel->ledger)
        return;
    if (!channel->staging.memory) { /* another version's */
        ledger_totals(channel->ledger, counters);
        return;
    }
    staging_read(&channel->staging, counters);
    if (ledger_resets(channel->ledger) != channel->resets) {
        channel->resets = ledger_resets(channel->ledger);
        channel->found.datums_unrecorded += channel->found.unsynced_datums;
        add_counters(&channel->carried, &channel->found);
        memset(&channel->found, 0, sizeof channel->found);
        write_ledger(channel);
    }
}

static void unmap_memory(struct staging *staging, struct ledger_shared *ledger)
{
    if (staging->memory)
        staging_unmap(staging);
    else if (ledger)
        ledger_unmap(ledger);
}

/* Notes what the memory has counted as carried over: another is to take its place. Datums that it
 * still held (their relay did not end cleanly) are lost with it, and counted so. */
static void carry_counters(struct channel *channel)
{
    struct counters last;
    if (!channel->ledger)
        return;
    read_memory(channel, &last);
    if (!channel->staging.memory && ledger_totals(channel->ledger, &last) < 0)
        log_line("%s: what another version's relay had counted is lost with it", name_of(channel));
    if (last.unsynced_datums)
        log_line("%s: %llu datums were lost with the buffer that was given up", name_of(channel),
                 (unsigned long long)last.unsynced_datums);
    last.datums_unrecorded += last.unsynced_datums;
    add_counters(&channel->carried, &last);
    memset(&channel->found, 0, sizeof channel->found);
    memset(channel->sound, 0, sizeof channel->sound);
}

/* ---- what a relay is handed down ---- */

static struct net_receive_options receive_options(const struct channel_settings *settings)
{
    return (struct net_receive_options){.listen = settings->listen,
                                        .interface = settings->interface,
                                        .sources = settings->sources,
                                        .source_count = settings->source_count,
                                        .queue_bytes = settings->receive_bytes};
}

static int open_receiver(const struct channel_settings *settings)
{
    struct net_receive_options options = receive_options(settings);
    return net_open_receiver(&options);
}

/* Changes what the socket has joined, if that is all the settings to come differ in. False if it
 * takes another socket. */
static bool rejoin(const struct channel *channel, const struct channel_settings *is)
{
    const struct channel_settings *was = &channel->config.settings;
    struct net_receive_options from = receive_options(was), to = receive_options(is);
    return channel->receive >= 0 && net_is_multicast(&is->listen) &&
           net_same_address(&was->listen, &is->listen) &&
           net_rejoin(channel->receive, &from, &to) == 0;
}

static bool is_single(const struct prefix *source)
{
    return source->bits == (source->address.family == 4 ? 32 : 128);
}

/* Whether a group is joined for whoever sends; else for single senders. As net_open_receiver does.
 */
static bool joins_everybody(const struct channel_settings *settings)
{
    bool everybody = settings->source_count == 0 || settings->source_count > NET_JOINED_SOURCES_MAX;
    for (uint32_t i = 0; i < settings->source_count; i++)
        everybody = everybody || !is_single(&settings->sources[i]);
    return everybody;
}

static bool joins_for(const struct channel_settings *settings, const struct prefix *source)
{
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (memcmp(settings->sources[i].address.bytes, source->address.bytes,
                   sizeof source->address.bytes) == 0)
            return true;
    return false;
}

/* Whether both join a group for the same senders. All other filtering is the relay's. */
static bool same_joins(const struct channel_settings *a, const struct channel_settings *b)
{
    if (!net_is_multicast(&a->listen))
        return true;
    if (joins_everybody(a) || joins_everybody(b))
        return joins_everybody(a) && joins_everybody(b);
    bool same = true;
    for (uint32_t i = 0; i < a->source_count; i++)
        same = same && joins_for(b, &a->sources[i]);
    for (uint32_t i = 0; i < b->source_count; i++)
        same = same && joins_for(a, &b->sources[i]);
    return same;
}

/* Whether `interface` says anything of a receiver: for a group, and for an address that is but one
 * link's. */
static bool is_of_interface(const struct address *listen)
{
    return net_is_multicast(listen) ||
           (listen->family == 6 && listen->bytes[0] == 0xfe && (listen->bytes[1] & 0xc0) == 0x80);
}

static bool same_receiver(const struct channel_settings *a, const struct channel_settings *b)
{
    return net_same_address(&a->listen, &b->listen) &&
           (!is_of_interface(&a->listen) || strcmp(a->interface, b->interface) == 0) &&
           same_joins(a, b);
}

static bool same_sender(const struct channel_settings *a, const struct address *to_a,
                        const struct channel_settings *b, const struct address *to_b)
{
    return to_a->family == to_b->family && net_same_address(to_a, to_b) &&
           strcmp(a->interface, b->interface) == 0 && a->ttl == b->ttl;
}

/* The settings to come differ in where they listen: the new socket takes over from the old one. */
static void change_receiver(struct channel *channel, const struct channel_settings *settings)
{
    int receive = channel->pending_receive;
    channel->pending_receive = -1;
    if (receive < 0)
        receive = open_receiver(settings);
    /* On an address that only one socket may hold, the old one has to go first; `prepare` then
     * opens the new one, and says why if it cannot. */
    close_descriptor(&channel->receive);
    drop(channel, TAKEOVER_RECEIVE);
    store_settle(channel->fleet->store);
    if (receive >= 0) {
        channel->receive = receive;
        keep(channel, TAKEOVER_RECEIVE, receive);
    }
}

static void close_sender(struct channel *channel, enum takeover_kind kind, int *descriptor)
{
    close_descriptor(descriptor);
    drop(channel, kind);
}

/* Puts the pending settings in force. No relay is there. */
static void adopt(struct channel *channel)
{
    struct config_channel *pending = channel->pending;
    if (!pending)
        return;
    channel->pending = NULL;
    const struct channel_settings *was = &channel->config.settings, *is = &pending->settings;
    if (!same_receiver(was, is) && !rejoin(channel, is))
        change_receiver(channel, is);
    else if (was->receive_bytes != is->receive_bytes && channel->receive >= 0)
        net_set_queue(channel->receive, is->receive_bytes);
    if (!same_sender(was, &was->full, is, &is->full))
        close_sender(channel, TAKEOVER_FULL, &channel->full);
    if (!same_sender(was, &was->decimated, is, &is->decimated))
        close_sender(channel, TAKEOVER_DECIMATED, &channel->decimated);
    channel->layout_written = false;
    free(channel->config.layout_image);
    channel->config = *pending;
    free(pending);
    write_ledger(channel);
}

static int prepare_sender(struct channel *channel, const char *stream, const struct address *to,
                          enum takeover_kind kind, int *descriptor)
{
    const struct channel_settings *settings = &channel->config.settings;
    if (!to->family || *descriptor >= 0)
        return 0;
    *descriptor = net_open_sender(to, settings->interface, settings->ttl);
    if (*descriptor >= 0) {
        keep(channel, kind, *descriptor);
        return 0;
    }
    int error = *descriptor;
    char text[NET_ADDRESS_TEXT_BYTES];
    *descriptor = -1;
    explain(channel, "cannot open the %s stream to %s%s%s: %s", stream, net_write_address(text, to),
            settings->interface[0] ? " on " : "", settings->interface, strerror(-error));
    return error;
}

/* Makes the memory, if there is none or if it is not the one that these settings need. The new one
 * has its ledger before the old one goes, so that a manager killed here loses no count. */
static int prepare_memory(struct channel *channel)
{
    size_t bytes = staging_bytes(&channel->config.settings);
    if (channel->staging.memory && channel->staging.bytes == bytes)
        return 0;
    struct staging before = channel->staging; /* its parts are found by its place, not this copy */
    int descriptor = shared_memory_create(name_of(channel), bytes);
    struct staging made;
    int error = descriptor < 0 ? descriptor : staging_map(&made, descriptor);
    if (error < 0) {
        if (descriptor >= 0)
            descriptor_close(descriptor);
        explain(channel, "cannot make its buffer of %zu bytes: %s", bytes, strerror(-error));
        return error;
    }
    carry_counters(channel);
    unmap_memory(&before, channel->ledger);
    staging_move(&channel->staging, &made);
    int old = channel->memory;
    channel->memory = descriptor;
    channel->ledger = channel->staging.ledger;
    write_ledger(channel);
    store_replace(channel->fleet->store, name_of(channel), takeover_kind_name(TAKEOVER_MEMORY),
                  descriptor);
    close_descriptor(&old);
    return 0;
}

static int prepare_layout(struct channel *channel)
{
    if (channel->layout_written)
        return 0;
    const struct config_channel *config = &channel->config;
    int error =
        write_runtime_file(config->settings.layout, config->layout_image, config->layout_bytes);
    if (error < 0)
        explain(channel, "cannot write %.160s: %s", config->settings.layout, strerror(-error));
    channel->layout_written = error == 0;
    return error;
}

/* Makes whatever is missing of what the relay needs. 0, or a negative errno with the reason noted.
 * What could be opened stays open: the socket collects datagrams while the rest is waited for. */
static int prepare(struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    if (channel->receive < 0) {
        channel->receive = open_receiver(settings);
        if (channel->receive >= 0)
            keep(channel, TAKEOVER_RECEIVE, channel->receive);
    }
    if (channel->receive < 0) {
        int error = channel->receive;
        char text[NET_ADDRESS_TEXT_BYTES];
        channel->receive = -1;
        explain(channel, "cannot listen at %s%s%s: %s", net_write_address(text, &settings->listen),
                settings->interface[0] ? " on " : "", settings->interface, strerror(-error));
        return error;
    }
    int error =
        prepare_sender(channel, "full-rate", &settings->full, TAKEOVER_FULL, &channel->full);
    if (error == 0)
        error = prepare_sender(channel, "decimated", &settings->decimated, TAKEOVER_DECIMATED,
                               &channel->decimated);
    if (error == 0)
        error = prepare_memory(channel);
    if (error == 0)
        error = prepare_layout(channel);
    return error;
}

/* ---- the relay ---- */

static void relay_ended(void *context, unsigned events);

static int watch_process(struct channel *channel)
{
    channel->ended = (struct loop_watch){
        .descriptor = channel->process.descriptor, .ready = relay_ended, .context = channel};
    return loop_watch(channel->fleet->options.loop, &channel->ended, LOOP_READ);
}

/* Makes the relay that has the channel's memory, if there is one, the channel's. 0 or a negative
 * errno (-ESRCH: there is none). */
static int join_relay(struct channel *channel)
{
    uint64_t start;
    long id = shared_memory_holder(channel->memory);
    if (id <= 0 || process_start_time(id, &start) < 0 ||
        process_open(&channel->process, id, start) < 0)
        return -ESRCH;
    /* Asked again once the process is held: the number could have passed to another. */
    int error = shared_memory_holder(channel->memory) == id ? watch_process(channel) : -ESRCH;
    if (error < 0)
        process_close(&channel->process);
    return error;
}

static int start_process(struct channel *channel)
{
    char program[] = "flotilla-relay", text[RELAY_TEXT_BYTES];
    char *words[RELAY_WORDS_MAX + 2] = {program};
    int count = settings_write_flags(&channel->config.settings, text, sizeof text, words + 1,
                                     RELAY_WORDS_MAX);
    if (count < 0) {
        explain(channel, "its settings do not fit a command line: %s", strerror(-count));
        return count;
    }
    words[count + 1] = NULL;

    struct process_descriptor descriptors[4];
    uint32_t descriptor_count = 0;
    descriptors[descriptor_count++] =
        (struct process_descriptor){INHERIT_RECEIVE, channel->receive};
    descriptors[descriptor_count++] = (struct process_descriptor){INHERIT_MEMORY, channel->memory};
    if (channel->full >= 0)
        descriptors[descriptor_count++] = (struct process_descriptor){INHERIT_FULL, channel->full};
    if (channel->decimated >= 0)
        descriptors[descriptor_count++] =
            (struct process_descriptor){INHERIT_DECIMATED, channel->decimated};

    int group = limits_group(&channel->fleet->limits, &channel->config);
    int error = process_spawn(&channel->process, channel->fleet->relay, words, descriptors,
                              descriptor_count, group);
    close_descriptor(&group);
    if (error < 0) {
        explain(channel, "cannot run %.160s: %s", channel->fleet->relay, strerror(-error));
        return error;
    }
    error = watch_process(channel);
    if (error < 0) {
        /* A relay whose end we would not learn of must not run. */
        struct process_end end;
        process_kill(&channel->process);
        process_wait(&channel->process, FLEET_CHANGE_GRACE_MS);
        if (process_reap(&channel->process, &end) < 0)
            process_close(&channel->process);
        explain(channel, "cannot watch its relay: %s", strerror(-error));
    }
    return error;
}

/* Has the relay looked after, by us and by whoever keeps. */
static void watch_life(struct channel *channel)
{
    channel->beats = channel->ledger ? ledger_beats(channel->ledger) : 0;
    channel->stuck_ns = 0;
    channel->aborted = false;
    store_know(channel->fleet->store, name_of(channel), channel->process.descriptor);
}

static void replace_relay(struct channel *channel);
static bool can_hand_over(const struct channel *channel);

/* Whether something of the channel is left for a relay to finish: datums in memory, a file that is
 * open, datagrams that wait. */
static bool is_unfinished(struct channel *channel)
{
    struct counters left;
    if (!channel->staging.memory || channel->finishers >= FINISHERS_MAX)
        return false;
    read_memory(channel, &left);
    return left.batches > 0 && (left.unsynced_datums > 0 || left.file[0] != '\0' ||
                                (channel->receive >= 0 && net_wait(channel->receive, -1, 0) == 1));
}

/* Before a channel without a relay is given up: starts one for what is left. It is asked to end at
 * once, and brings everything to the disk before it does. */
static void finish_first(struct channel *channel)
{
    if (child_alive(&channel->child) || !is_unfinished(channel))
        return;
    channel->finishers++;
    channel_step(channel, CHILD_START_WANTED, 0);
}

/* Tells what nobody could finish. */
static void tell_unfinished(struct channel *channel)
{
    struct counters left;
    read_memory(channel, &left);
    if (child_alive(&channel->child) || left.unsynced_datums == 0)
        return;
    log_line("%s: %llu datums are left in its buffer, and in no recording", name_of(channel),
             (unsigned long long)left.unsynced_datums);
    channel->fleet->unclean_ends += channel->fleet->stopping;
}

static void spawn_relay(struct channel *channel)
{
    /* What the last one has left can be finished only as it was begun. */
    bool finishes = channel->pending && !can_hand_over(channel) && is_unfinished(channel);
    channel->finishers = finishes ? channel->finishers + 1 : channel->finishers;
    channel->kill_sent = false;
    if (!finishes)
        adopt(channel);
    /* Before the relay can change it: what there was is what it has to exceed to have worked. */
    int error = prepare(channel);
    if (error == 0) {
        struct counters found;
        read_memory(channel, &found);
        channel->found = found;
        channel->resets = ledger_resets(channel->ledger);
        write_ledger(channel);
        error = start_process(channel);
    }
    if (error < 0) {
        channel_step(channel, CHILD_UNABLE, 0);
        channel->retry = !fleet_settled(channel->fleet);
        if (!channel->retry) /* else `settle` tries again in a moment, which may be all it takes */
            log_line("%s: %s; trying again in %u s", name_of(channel), channel->reason,
                     channel->child.wait_ms / 1000);
        return;
    }
    channel->reason[0] = '\0';
    channel->retry = false;
    channel_step(channel, CHILD_SPAWNED, 0);
    watch_life(channel);
    log_line("%s: relay %ld started", name_of(channel), channel->process.id);
    if (finishes)
        replace_relay(channel);
}

static void note_work(struct channel *channel)
{
    struct counters now;
    if (!channel->ledger || channel->child.worked)
        return;
    read_memory(channel, &now);
    /* Recording what had waited is work, too. */
    if (now.batches > channel->found.batches ||
        now.datums_recorded > channel->found.datums_recorded)
        channel_step(channel, CHILD_WORKED, 0);
}

/* Carries out what the state machine asks for. */
static void channel_step(struct channel *channel, enum child_event event, long detail)
{
    unsigned todo = child_step(&channel->child, event, detail, now_ms());
    if (todo & CHILD_DISARM)
        loop_disarm(&channel->timer);
    if (todo & CHILD_ARM)
        loop_arm(channel->fleet->options.loop, &channel->timer,
                 clock_monotonic_ns() + channel->child.wait_ms * NS_PER_MS);
    if (todo & CHILD_TERMINATE && channel->hand_over)
        process_hand_over(&channel->process);
    else if (todo & CHILD_TERMINATE)
        process_terminate(&channel->process);
    if (todo & CHILD_KILL) {
        log_line("%s: relay %ld did not end in time; killing it", name_of(channel),
                 channel->process.id);
        process_kill(&channel->process);
        channel->kill_sent = true;
    }
    if (todo & CHILD_SPAWN)
        spawn_relay(channel);
}

static void timer_due(void *context)
{
    channel_step(context, CHILD_TIMER, 0);
}

/* ---- making and forgetting channels ---- */

static void forget(struct channel *channel)
{
    loop_disarm(&channel->timer);
    loop_unwatch(channel->fleet->options.loop, &channel->ended);
    process_close(&channel->process);
    close_descriptor(&channel->receive);
    close_descriptor(&channel->pending_receive);
    close_descriptor(&channel->full);
    close_descriptor(&channel->decimated);
    unmap_memory(&channel->staging, channel->ledger);
    close_descriptor(&channel->memory);
    /* At the end of all, a service manager that starts us again wants to find them. */
    if (!channel->fleet->closing) {
        for (int kind = 0; kind < TAKEOVER_KINDS; kind++)
            drop(channel, (enum takeover_kind)kind);
        store_settle(channel->fleet->store);
    }
    limits_forget(&channel->fleet->limits, name_of(channel));
    remove(channel->config.settings.layout);
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
static void settle(struct fleet *fleet)
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

static void describe_end(const struct process_end *end, char *text, size_t text_bytes)
{
    if (end->killed && end->code == SIGNAL_UNKNOWN)
        snprintf(text, text_bytes, "was killed");
    else if (end->killed)
        snprintf(text, text_bytes, "was killed by signal %d (%s)", end->code, strsignal(end->code));
    else if (end->code == CHILD_EXIT_CONFIG)
        snprintf(text, text_bytes, "ended with exit code %d (bad configuration: see the log)",
                 end->code);
    else if (end->code == CHILD_EXIT_RENEW)
        snprintf(text, text_bytes, "ended for another to go on");
    else if (end->code == CHILD_EXIT_TAKEN)
        snprintf(text, text_bytes, "ended with exit code 75 (another relay records in its folder)");
    else
        snprintf(text, text_bytes, "ended with exit code %d", end->code);
}

static void relay_ended(void *context, unsigned events)
{
    struct channel *channel = context;
    struct fleet *fleet = channel->fleet;
    struct process_end end;
    long id = channel->process.id;
    (void)events;

    loop_unwatch(fleet->options.loop, &channel->ended);
    int error = process_reap(&channel->process, &end);
    if (error < 0) {
        /* An earlier manager's child, or somebody has taken its exit code: what it left behind
         * tells, and one that left nothing was killed. */
        int code = channel->ledger ? ledger_end(channel->ledger, id) : -1;
        process_close(&channel->process);
        end = (struct process_end){.killed = code < 0, .code = code < 0 ? SIGNAL_UNKNOWN : code};
    }
    if (!end.killed && end.code == CHILD_EXIT_TAKEN && join_relay(channel) == 0) {
        log_line("%s: relay %ld of an earlier manager is at work already", name_of(channel),
                 channel->process.id);
        watch_life(channel);
        if (channel->child.state == CHILD_STOPPING)
            process_terminate(&channel->process);
        return;
    }
    note_work(channel);
    bool asked = channel->child.state == CHILD_STOPPING;
    /* It has left to a successor what is to be finished by now: that one finishes it. */
    bool unfinished = asked && !channel->child.wanted && !channel->kill_sent &&
                      (end.killed || end.code == CHILD_EXIT_RENEW) && is_unfinished(channel);
    channel->finishers += unfinished;
    char how[128];
    describe_end(&end, how, sizeof how);
    explain(channel, "relay %ld %s", id, how);
    if (fleet->stopping && !unfinished && (end.killed || end.code != 0))
        fleet->unclean_ends++;
    channel->child.wanted = channel->child.wanted || unfinished;

    /* The next relay first, words later: the receive queue fills meanwhile. */
    channel_step(channel, end.killed ? CHILD_KILLED : CHILD_EXITED, end.code);
    if (unfinished)
        channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);

    const struct child *child = &channel->child;
    if (child->state == CHILD_BACKOFF && child->wait_ms >= 1000)
        log_line("%s: relay %ld %s without having done any work; next try in %u s",
                 name_of(channel), id, how, child->wait_ms / 1000);
    else if (child->state == CHILD_FAILED && !channel->timer.link_from)
        log_line("%s: relay %ld %s; not started again before a reload or restart", name_of(channel),
                 id, how);
    else
        log_line("%s: relay %ld %s%s", name_of(channel), id, how, asked ? ", as asked" : "");
    if (child->state == CHILD_STOPPED && channel->removed)
        forget(channel);
    if (asked && fleet_settled(fleet))
        settle(fleet);
}

static struct channel *make_channel(struct fleet *fleet, const struct config_channel *config)
{
    struct channel *channel = calloc(1, sizeof *channel);
    if (!channel)
        return NULL;
    channel->fleet = fleet;
    channel->config = *config;
    channel->process = (struct process)PROCESS_NONE;
    channel->ended.descriptor = -1;
    channel->timer = (struct loop_timer){.due = timer_due, .context = channel};
    channel->receive = channel->full = channel->decimated = channel->memory = -1;
    channel->pending_receive = -1;
    return channel;
}

static struct channel *find(const struct fleet *fleet, const char *name)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        if (strcmp(name_of(channel), name) == 0)
            return channel;
    return NULL;
}

/* ---- mark and sweep ---- */

/* What is to become of one configured channel. Made in full before anything is changed, so that
 * running out of memory changes nothing. */
struct plan {
    struct channel *existing; /* NULL: to be added as `made` */
    struct channel *made;
    struct config_channel *pending; /* for a changed one; NULL: unchanged */
};

static int plan_one(struct fleet *fleet, struct config_channel *wanted, struct plan *plan)
{
    plan->existing = find(fleet, wanted->settings.name);
    if (!plan->existing) {
        plan->made = make_channel(fleet, wanted);
        if (!plan->made)
            return -ENOMEM;
    } else {
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

/* Whether the next relay can go on with what this one has in memory and in its open file: then it
 * takes but a moment, however slow the disk is. */
static bool can_hand_over(const struct channel *channel)
{
    const struct config_channel *is = &channel->config, *to = channel->pending;
    if (!channel->staging.memory)
        return false; /* another version's */
    return !to || (staging_bytes(&is->settings) == staging_bytes(&to->settings) &&
                   net_same_address(&is->settings.listen, &to->settings.listen) &&
                   strcmp(is->settings.directory, to->settings.directory) == 0 &&
                   is->settings.direct_io == to->settings.direct_io &&
                   is->settings.encoding == to->settings.encoding &&
                   is->layout_bytes == to->layout_bytes &&
                   memcmp(is->layout_image, to->layout_image, is->layout_bytes) == 0);
}

/* Ends the relay if there is one, and starts the next on what is pending by then. */
static void replace_relay(struct channel *channel)
{
    channel->hand_over = can_hand_over(channel);
    channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);
    channel->hand_over = false;
    channel_step(channel, CHILD_START_WANTED, 0);
}

static void change_channel(struct channel *channel, struct config_channel *pending)
{
    const struct channel_settings *is = &pending->settings;
    if (channel->pending) {
        if (!same_receiver(&channel->pending->settings, is))
            close_descriptor(&channel->pending_receive);
        free(channel->pending->layout_image);
        free(channel->pending);
    }
    channel->pending = pending;
    /* Another address is listened at from now on. On the same one, two sockets would both get each
     * datagram of a group; there the new one is opened when the old relay has gone. */
    if (channel->pending_receive < 0 &&
        !net_same_address(&channel->config.settings.listen, &is->listen))
        channel->pending_receive = open_receiver(is);
    if (channel->pending_receive < 0)
        channel->pending_receive = -1; /* tried again, and told of, when the old one has gone */
    replace_relay(channel);
}

static enum fleet_change apply_one(struct channel *channel, const struct plan *plan)
{
    bool revived = channel->removed;
    channel->removed = false;
    channel->fresh = plan->pending != NULL;
    if (plan->pending) {
        change_channel(channel, plan->pending);
        return revived ? FLEET_ADDED : FLEET_CHANGED;
    }
    if (revived || !child_alive(&channel->child)) {
        channel->fresh = true;
        channel->finishers = 0;
        replace_relay(channel);
    }
    return revived ? FLEET_ADDED : FLEET_UNCHANGED;
}

/* Moves the channel to the end of the list, so that the list takes the configuration's order. */
static void move_last(struct fleet *fleet, struct channel *channel)
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
        note(context, FLEET_REMOVED, name_of(channel));
        channel->removed = true;
        finish_first(channel);
        channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);
        if (channel->child.state == CHILD_STOPPED)
            forget(channel);
    }
    for (uint32_t i = 0; i < config->channel_count; i++) {
        struct channel *channel = plans[i].existing;
        enum fleet_change change = FLEET_ADDED;
        /* The image now is the channel's, or pending for it, or that of one that stays as it is. */
        if (!channel || plans[i].pending)
            config->channels[i].layout_image = NULL;
        if (!channel) {
            channel = plans[i].made;
            move_last(fleet, channel);
            channel->fresh = true;
            channel->finishers = 0;
            channel_step(channel, CHILD_START_WANTED, 0);
        } else {
            move_last(fleet, channel);
            change = apply_one(channel, &plans[i]);
        }
        note(context, change, config->channels[i].settings.name);
    }
    free(plans);
    return 0;
}

int fleet_restart(struct fleet *fleet, const char *name)
{
    struct channel *channel = find(fleet, name);
    if (!channel || channel->removed)
        return -ENOENT;
    channel->child.restarts++;
    channel->fresh = true;
    channel->finishers = 0;
    replace_relay(channel);
    return 0;
}

static bool has_failed(const struct channel *channel)
{
    return channel->child.state == CHILD_FAILED || channel->child.state == CHILD_BACKOFF;
}

/* Whether the relay at work has opened everything. */
static bool is_ready(const struct channel *channel)
{
    return channel->ledger && channel->process.id &&
           ledger_ready(channel->ledger) == channel->process.id;
}

bool fleet_proven(struct fleet *fleet)
{
    bool proven = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        if (!channel->fresh || has_failed(channel) || channel->child.state == CHILD_STOPPED)
            continue;
        if (channel->child.state != CHILD_STOPPING && is_ready(channel))
            channel->fresh = false;
        else
            proven = false;
    }
    return proven;
}

const char *fleet_trouble(const struct fleet *fleet, const char *name)
{
    const struct channel *channel = find(fleet, name);
    return channel && !channel->removed && channel->fresh && has_failed(channel) ? channel->reason
                                                                                 : NULL;
}

/* The manager's own: standard streams, folder, lock, loop, signals, listener, log, a few clients,
 * and what is open for a moment. Then, for each channel: socket, memory, process, its senders. */
#define DESCRIPTORS_OWN     24
#define DESCRIPTORS_CHANNEL 3

uint64_t fleet_descriptors(const struct config *config)
{
    uint64_t needed = DESCRIPTORS_OWN;
    for (uint32_t i = 0; i < config->channel_count; i++) {
        const struct channel_settings *settings = &config->channels[i].settings;
        needed +=
            DESCRIPTORS_CHANNEL + (settings->full.family != 0) + (settings->decimated.family != 0);
    }
    return needed;
}

void fleet_stop(struct fleet *fleet)
{
    fleet->stopping = true;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        finish_first(channel);
        channel_step(channel, CHILD_STOP_WANTED, FLEET_STOP_GRACE_MS);
        tell_unfinished(channel);
    }
    if (fleet_settled(fleet))
        fleet->options.settled(fleet->options.context);
}

uint32_t fleet_unclean_ends(const struct fleet *fleet)
{
    return fleet->unclean_ends;
}

/* ---- what an earlier manager left behind ---- */

struct orphan {
    struct process process;
    struct orphan *next;
};

struct orphan_search {
    struct fleet *fleet;
    struct orphan *first;
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

static int note_left(void *context, long id, const char *words, size_t bytes)
{
    const struct fleet *fleet = context;
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    (void)id;
    return read_channel(fleet, words, bytes, channel);
}

bool fleet_is_left(const char *runtime)
{
    struct fleet looked_for = {.runtime = (char *)(uintptr_t)runtime};
    return store_is_left(runtime) || process_each("flotilla-relay", note_left, &looked_for) == 1;
}

/* A relay of this runtime folder runs. Where nothing was kept of its channel, what it holds is
 * copied; where that is not allowed, it has to end. */
static int look_for_orphan(void *context, long id, const char *words, size_t bytes)
{
    struct orphan_search *search = context;
    struct fleet *fleet = search->fleet;
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    uint64_t start;
    if (!read_channel(fleet, words, bytes, channel) || process_start_time(id, &start) < 0)
        return 0;
    const struct takeover_channel *left = takeover_find(&fleet->left, channel);
    if ((left && left->descriptors[TAKEOVER_MEMORY] >= 0 &&
         left->descriptors[TAKEOVER_RECEIVE] >= 0) ||
        takeover_copy(&fleet->left, channel, id, start) == 0)
        return 0;
    struct orphan *orphan = calloc(1, sizeof *orphan);
    if (!orphan || process_open(&orphan->process, id, start) < 0) {
        free(orphan);
        return 0;
    }
    orphan->next = search->first;
    search->first = orphan;
    log_line("%s: relay %ld of an earlier manager still runs, and nothing was kept of it; ending "
             "it",
             channel, id);
    process_terminate(&orphan->process);
    return 0;
}

/* Waits for the end of those that could not be taken over: two relays on one channel would split
 * its datagrams. */
static void end_orphans(struct orphan *first)
{
    uint64_t give_up_ms = now_ms() + FLEET_CHANGE_GRACE_MS;
    while (first) {
        struct orphan *orphan = first;
        uint64_t now = now_ms();
        if (process_wait(&orphan->process, now < give_up_ms ? give_up_ms - now : 0) < 0) {
            log_line("relay %ld of an earlier manager did not end in time; killing it",
                     orphan->process.id);
            process_kill(&orphan->process);
            process_wait(&orphan->process, FLEET_CHANGE_GRACE_MS);
        }
        process_close(&orphan->process);
        first = orphan->next;
        free(orphan);
    }
}

/* What the channel's relay was told, as the ledger has it. 0, or -EBADMSG. */
static int read_settings(const struct ledger_notes *notes, struct channel_settings *settings)
{
    char *words[RELAY_WORDS_MAX], text[LEDGER_FLAGS_BYTES + 1], error[512];
    int count = 0;
    memcpy(text, notes->flags, notes->flags_bytes);
    text[notes->flags_bytes] = '\0';
    for (size_t at = 0; at < notes->flags_bytes && count < RELAY_WORDS_MAX;
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
        error = runtime_path(fleet, left->name, ".layout", layout);
    if (error < 0 || strcmp(config.settings.name, left->name) != 0 ||
        strcmp(config.settings.layout, layout) != 0) {
        ledger_unmap(ledger);
        return NULL;
    }
    config.limit_memory_bytes = notes.limit_memory_bytes;
    config.limit_cpu_percent = notes.limit_cpu_percent;
    config.record = config.settings.directory[0] != '\0';
    /* Without its layout it counts as changed. */
    file_read_whole(config.settings.layout, LAYOUT_IMAGE_BYTES_MAX, &config.layout_image,
                    &config.layout_bytes);
    struct channel *channel = make_channel(fleet, &config);
    if (!channel) {
        free(config.layout_image);
        ledger_unmap(ledger);
        return NULL;
    }
    int *const places[TAKEOVER_KINDS] = {[TAKEOVER_RECEIVE] = &channel->receive,
                                         [TAKEOVER_MEMORY] = &channel->memory,
                                         [TAKEOVER_FULL] = &channel->full,
                                         [TAKEOVER_DECIMATED] = &channel->decimated};
    for (int kind = 0; kind < TAKEOVER_KINDS; kind++) {
        *places[kind] = left->descriptors[kind];
        left->descriptors[kind] = -1;
        if (*places[kind] >= 0) /* where they were copied from a relay, nobody keeps them yet */
            keep(channel, (enum takeover_kind)kind, *places[kind]);
    }
    channel->layout_written = config.layout_image != NULL;
    channel->carried = notes.carried;
    channel->child.restarts = notes.restarts;
    channel->ledger = ledger;
    if (staging_map(&channel->staging, channel->memory) == 0) {
        channel->ledger = channel->staging.ledger;
        ledger_unmap(ledger);
    } else {
        log_line("%s: its buffer is another version's", name_of(channel));
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
        if (process_wait(&relay, FLEET_CHANGE_GRACE_MS) < 0)
            process_kill(&relay);
        process_wait(&relay, FLEET_CHANGE_GRACE_MS);
        process_close(&relay);
    }
    for (int kind = 0; kind < TAKEOVER_KINDS; kind++) {
        close_descriptor(&left->descriptors[kind]);
        store_drop(fleet->store, left->name, takeover_kind_name((enum takeover_kind)kind));
    }
    store_settle(fleet->store);
}

static void take_over(struct fleet *fleet, struct takeover_channel *left)
{
    struct channel *channel = remake_channel(fleet, left);
    if (!channel) {
        log_line("%s: what an earlier manager left of it cannot be used", left->name);
        end_unusable(fleet, left);
        return;
    }
    move_last(fleet, channel);
    /* What is counted by now says nothing of work that is still to be done. */
    read_memory(channel, &channel->found);
    if (join_relay(channel) < 0) {
        bool ended = ledger_end(channel->ledger, ledger_ready(channel->ledger)) == 0;
        channel->child.restarts += !ended;
        log_line("%s: taken over from an earlier manager; its relay has %s", name_of(channel),
                 ended ? "ended" : "died");
        return;
    }
    channel->resets = ledger_resets(channel->ledger);
    child_join(&channel->child, channel->found.batches > 0 || !channel->staging.memory, now_ms());
    watch_life(channel);
    log_line("%s: taken over from an earlier manager, with its relay %ld at work", name_of(channel),
             channel->process.id);
}

uint32_t fleet_take_over(struct fleet *fleet)
{
    struct orphan_search search = {.fleet = fleet};
    uint32_t count = 0;
    process_each("flotilla-relay", look_for_orphan, &search);
    for (struct takeover_channel *left = fleet->left.first; left; left = left->next)
        take_over(fleet, left);
    takeover_close(&fleet->left);
    end_orphans(search.first);
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        count++;
    return count;
}

/* ---- relays that hang ---- */

/* Datagrams wait, and the relay shows no sign of life: it ends, and another goes on. */
static void replace_hung(struct channel *channel, uint64_t now_ns)
{
    bool suspended = process_suspended(channel->process.id);
    if (channel->aborted || suspended) {
        log_line("%s: relay %ld hangs%s; killing it", name_of(channel), channel->process.id,
                 suspended ? " (it is suspended)" : "");
        process_kill(&channel->process);
    } else {
        /* It notes which datagram it is at: one that hangs relay after relay is set aside. */
        log_line("%s: relay %ld hangs; aborting it", name_of(channel), channel->process.id);
        process_abort(&channel->process);
        channel->aborted = true;
    }
    channel->stuck_ns = now_ns - (FLEET_HANG_MS - FLEET_ABORT_MS) * NS_PER_MS;
}

/* Whether the relay is being waited for. */
static bool look_at_life(struct channel *channel, uint64_t now_ns)
{
    if (channel->child.state != CHILD_RUNNING && channel->child.state != CHILD_STARTING)
        return false;
    if (!is_ready(channel)) {
        /* Its disk may be slow, and it may wait for that; but not be suspended. */
        if (now_ms() - channel->child.spawned_ms >= FLEET_UNREADY_MS &&
            process_suspended(channel->process.id))
            replace_hung(channel, now_ns);
        return false;
    }
    uint64_t beats = ledger_beats(channel->ledger);
    if (beats != channel->beats || net_wait(channel->receive, -1, 0) != 1) {
        channel->beats = beats;
        channel->stuck_ns = 0;
        return false;
    }
    if (channel->stuck_ns == 0)
        channel->stuck_ns = now_ns;
    uint64_t stuck_ms = (now_ns - channel->stuck_ns) / NS_PER_MS;
    if (stuck_ms >= FLEET_HANG_MS ||
        (stuck_ms >= FLEET_SUSPENDED_MS && process_suspended(channel->process.id)))
        replace_hung(channel, now_ns);
    return true;
}

static void pulse_due(void *context)
{
    struct fleet *fleet = context;
    uint64_t now_ns = clock_monotonic_ns();
    bool waiting = false;
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        waiting = look_at_life(channel, now_ns) || waiting;
    loop_arm(fleet->options.loop, &fleet->pulse,
             now_ns + (waiting ? FLEET_SUSPECT_MS : FLEET_PULSE_MS) * NS_PER_MS);
}

/* ---- all relays anew, one after the other ---- */

static void renewal_due(void *context)
{
    struct fleet *fleet = context;
    uint64_t now_ns = clock_monotonic_ns();
    struct channel *channel = fleet->renewing;
    if (fleet->stopping)
        return;
    bool up = channel && channel->child.state != CHILD_STOPPING && is_ready(channel);
    bool failed = channel && !up &&
                  (has_failed(channel) ||
                   now_ns - fleet->renewing_ns >= 2 * FLEET_CHANGE_GRACE_MS * NS_PER_MS);
    if (channel && !up && !failed) {
        loop_arm(fleet->options.loop, &fleet->renewal, now_ns + FLEET_RENEWAL_MS * NS_PER_MS);
        return;
    }
    fleet->renewing = NULL;
    if (failed) {
        /* The others are better off with what they have. */
        for (struct channel *other = fleet->first; other; other = other->next)
            other->renew = false;
        snprintf(fleet->unrenewable, sizeof fleet->unrenewable, "%s", name_of(channel));
        log_line("%s did not come up: no further relay is replaced", name_of(channel));
        return;
    }
    for (channel = fleet->first; channel && !channel->renew;)
        channel = channel->next;
    if (!channel) {
        store_renew(fleet->store);
        log_line("every relay was replaced");
        return;
    }
    channel->renew = false;
    if (!channel->removed && child_alive(&channel->child)) {
        fleet->renewing = channel;
        fleet->renewing_ns = now_ns;
        channel->fresh = true;
        channel->finishers = 0;
        replace_relay(channel);
    }
    loop_arm(fleet->options.loop, &fleet->renewal, now_ns + FLEET_RENEWAL_MS * NS_PER_MS);
}

void fleet_renew(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        channel->renew = child_alive(&channel->child) && channel->child.state != CHILD_STOPPING;
    fleet->renewing = NULL;
    fleet->unrenewable[0] = '\0';
    loop_arm(fleet->options.loop, &fleet->renewal, clock_monotonic_ns());
}

uint32_t fleet_unrenewed(const struct fleet *fleet)
{
    uint32_t count = fleet->renewing != NULL;
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        count += channel->renew;
    return count;
}

const char *fleet_unrenewable(const struct fleet *fleet)
{
    return fleet->unrenewable;
}

int fleet_bridge(struct fleet *fleet)
{
    return store_bridge(fleet->store);
}

void fleet_unbridge(struct fleet *fleet)
{
    store_unbridge(fleet->store);
}

long fleet_keeper(const struct fleet *fleet)
{
    return store_keeper(fleet->store);
}

/* ---- what status shows ---- */

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
        memcpy(channel->sound, now->rejected, sizeof channel->sound);
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
    if (now->write_errno != ENOSPC) {
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

static void sample_due(void *context)
{
    struct fleet *fleet = context;
    bool wanting = false, rates = clock_monotonic_ns() >= fleet->rates_ns;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        struct counters now;
        if (!channel->ledger)
            continue;
        note_work(channel);
        read_memory(channel, &now);
        note_activity(channel, &now);
        if (rates)
            note_rate(channel);
        wanting = wants_room(channel, &now) || wanting;
    }
    if (rates)
        fleet->rates_ns = clock_monotonic_ns() + (FLEET_SAMPLE_MS - FLEET_LOOK_MS / 2) * NS_PER_MS;
    loop_arm(fleet->options.loop, &fleet->sample, clock_monotonic_ns() + FLEET_LOOK_MS * NS_PER_MS);
    store_look(fleet->store);
    if (wanting)
        fleet->options.rotated(fleet->options.context);
}

const struct channel *fleet_next(const struct fleet *fleet, const struct channel *channel)
{
    struct channel *next = channel ? channel->next : fleet->first;
    while (next && next->removed)
        next = next->next;
    return next;
}

/* "98 truncated, 2 utf8": why the present row of rejects was rejected. */
static void write_rejects(const struct channel *channel, const struct counters *counters,
                          char *text, size_t text_bytes)
{
    uint64_t counts[REJECT_REASONS] = {0}, sum = 0;
    size_t used = 0;
    text[0] = '\0';
    for (int reason = 0; reason < REJECT_REASONS; reason++) {
        uint64_t before = channel->carried.rejected[reason] + channel->sound[reason];
        /* Senders that nobody asked for are turned away, too, but say nothing of the schema. */
        if (reason != REJECT_SOURCE && counters->rejected[reason] > before)
            counts[reason] = counters->rejected[reason] - before;
        sum += counts[reason];
    }
    for (bool first = true; used < text_bytes; first = false) {
        int most = 0;
        for (int reason = 1; reason < REJECT_REASONS; reason++)
            if (counts[reason] > counts[most])
                most = reason;
        if (!counts[most])
            return;
        /* Between the last look and the row's beginning others may have been rejected. */
        if (sum != counters->rejected_in_a_row) {
            snprintf(text, text_bytes, ": most of them %s", datum_reject_name((enum reject)most));
            return;
        }
        used += (size_t)snprintf(text + used, text_bytes - used, "%s %llu %s", first ? ":" : ",",
                                 (unsigned long long)counts[most],
                                 datum_reject_name((enum reject)most));
        counts[most] = 0;
    }
}

/* Why the public state is what it is, where that is not plain from the word. */
static void explain_state(struct channel *channel, const struct channel_view *view,
                          const struct child_signs *signs)
{
    char rejects[160];
    if (strcmp(view->state, "not_recording") == 0) {
        explain(channel, "cannot record in %.160s: %s; %llu datums wait in the buffer",
                channel->config.settings.directory, strerror(view->counters.write_errno),
                (unsigned long long)view->counters.unsynced_datums);
    } else if (strcmp(view->state, "schema_mismatch") == 0) {
        write_rejects(channel, &view->counters, rejects, sizeof rejects);
        explain(channel, "the last %llu datagrams were all rejected%s",
                (unsigned long long)view->counters.rejected_in_a_row, rejects);
    } else if (child_alive(&channel->child)) {
        channel->reason[0] = '\0';
    }
    const char *reason = channel->reason;
    const size_t bytes = sizeof channel->shown;
    bool relay_alive =
        channel->child.state == CHILD_STARTING || channel->child.state == CHILD_RUNNING;
    if (relay_alive && signs->quiet_ms >= CHILD_QUIET_MS && signs->alive_ms >= CHILD_QUIET_MS &&
        process_suspended(view->pid))
        snprintf(channel->shown, bytes, "relay %ld is suspended (SIGSTOP or a debugger)%s%s",
                 view->pid, reason[0] ? "; " : "", reason);
    else if (has_failed(channel) && channel->timer.link_from) {
        uint64_t now_ns = clock_monotonic_ns(), due_ns = channel->timer.deadline_ns;
        snprintf(channel->shown, bytes, "%s%snext try in %llu s", reason, reason[0] ? "; " : "",
                 (unsigned long long)(due_ns > now_ns ? (due_ns - now_ns) / NS_PER_S + 1 : 0));
    } else
        snprintf(channel->shown, bytes, "%s", reason);
}

void fleet_view(const struct channel *of, struct channel_view *view)
{
    /* What is noted in passing (that the relay has worked) is no change that a caller could see. */
    struct channel *channel = (struct channel *)(uintptr_t)of;
    memset(view, 0, sizeof *view);
    note_work(channel);
    read_memory(channel, &view->counters);
    note_activity(channel, &view->counters);
    uint64_t active_ns = channel->active_ns;
    struct child_signs signs = {
        .alive_ms = now_ms() - channel->child.spawned_ms,
        .quiet_ms = active_ns ? (clock_monotonic_ns() - active_ns) / NS_PER_MS : UINT64_MAX,
        .ready = is_ready(channel),
        .recording = view->counters.recording,
        .write_errno = view->counters.write_errno,
        .rejected_in_a_row = view->counters.rejected_in_a_row,
    };
    if (channel->receive >= 0 && channel->staging.memory) {
        /* What the kernel dropped since the relay last looked; it may hang. */
        struct receiver_state receiver;
        staging_copy_receiver(&channel->staging, &receiver);
        uint32_t more = net_dropped(channel->receive);
        if (receiver.socket == net_cookie(channel->receive))
            more -= receiver.dropped;
        if (more < 1u << 31)
            view->counters.datagrams_dropped += more;
    }
    add_counters(&view->counters, &channel->carried);
    view->name = name_of(channel);
    view->state = child_public_state(&channel->child, &signs);
    view->pid = channel->process.id;
    view->restarts = channel->child.restarts;
    view->rate = channel->rate;
    uint64_t queue_bytes = channel->receive >= 0 ? net_queue_bytes(channel->receive) : 0;
    view->budget_seconds = net_queue_seconds(queue_bytes);
    explain_state(channel, view, &signs);
    view->reason = channel->shown;
}

/* ---- beginning and end ---- */

static void found_kept(void *context, const char *name, int descriptor)
{
    struct fleet *fleet = context;
    takeover_add(&fleet->left, name, descriptor);
}

/* Whoever keeps has lost it, or is new. */
static void keep_everything(void *context)
{
    const struct fleet *fleet = context;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        if (channel->receive >= 0)
            keep(channel, TAKEOVER_RECEIVE, channel->receive);
        if (channel->memory >= 0)
            keep(channel, TAKEOVER_MEMORY, channel->memory);
        if (channel->full >= 0)
            keep(channel, TAKEOVER_FULL, channel->full);
        if (channel->decimated >= 0)
            keep(channel, TAKEOVER_DECIMATED, channel->decimated);
        if (channel->process.descriptor >= 0)
            store_know(fleet->store, name_of(channel), channel->process.descriptor);
    }
}

int fleet_open(struct fleet **fleet, const struct fleet_options *options)
{
    struct fleet *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->options = *options;
    made->runtime = strdup(options->runtime);
    made->relay = strdup(options->relay);
    made->sample = (struct loop_timer){.due = sample_due, .context = made};
    made->pulse = (struct loop_timer){.due = pulse_due, .context = made};
    made->renewal = (struct loop_timer){.due = renewal_due, .context = made};
    *fleet = made;
    if (!made->runtime || !made->relay)
        return -ENOMEM;
    struct store_options store = {.loop = options->loop,
                                  .runtime = options->runtime,
                                  .keeper = options->keeper,
                                  .lost = keep_everything,
                                  .context = made};
    int error = store_open(&made->store, &store, found_kept);
    if (error < 0)
        return error;
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
    loop_disarm(&fleet->sample);
    loop_disarm(&fleet->pulse);
    loop_disarm(&fleet->renewal);
    while (fleet->first) {
        struct channel *channel = fleet->first;
        struct process_end end;
        if (channel->process.id) {
            process_kill(&channel->process);
            process_wait(&channel->process, FLEET_CHANGE_GRACE_MS);
            process_reap(&channel->process, &end);
        }
        forget(channel);
    }
    takeover_close(&fleet->left);
    store_close(fleet->store);
    limits_close(&fleet->limits);
    free(fleet->runtime);
    free(fleet->relay);
    free(fleet);
}
