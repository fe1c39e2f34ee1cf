/* SPDX-License-Identifier: MIT
 * What a channel owns and a relay is handed down: the sockets, the memory with its counters and its
 * ledger, the layout. Made, changed and kept here; whose relay works on them does not matter. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "os/file.h"
#include "os/memory.h"
#include "os/path.h"
#include "os/storage.h"

__attribute__((format(printf, 2, 3))) void channel_explain(struct channel *channel,
                                                           const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(channel->reason, sizeof channel->reason, format, arguments);
    va_end(arguments);
}

void channel_close_one(int *descriptor)
{
    if (*descriptor >= 0)
        descriptor_close(*descriptor);
    *descriptor = -1;
}

/* ---- files in the runtime folder ---- */

int fleet_runtime_path(const struct fleet *fleet, const char *name, const char *ending,
                       char path[CHANNEL_PATH_BYTES_MAX])
{
    int used = snprintf(path, CHANNEL_PATH_BYTES_MAX, "%s/%s%s", fleet->runtime, name, ending);
    return used < 0 || used >= CHANNEL_PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* Written under another name and renamed, but not synced: after a power cut the runtime folder says
 * nothing that is still true, and a thousand syncs would cost the start of a fleet seconds. Without
 * `keep` it is only tried. */
static int write_runtime_file(const char *path, const void *bytes, size_t byte_count, bool keep)
{
    char beside[CHANNEL_PATH_BYTES_MAX + 8];
    snprintf(beside, sizeof beside, "%s.new", path);
    int error = folder_clear_at(beside);
    if (error == 0)
        error = folder_clear_at(path);
    if (error < 0)
        return error;
    return file_replace(path, beside, (struct span){bytes, byte_count}, !keep);
}

/* ---- counters, and what the next manager finds ---- */

void fleet_add_counters(struct counters *total, const struct counters *more)
{
    for (size_t i = 0; i < counter_name_count; i++) {
        if (counter_names[i].gauge)
            continue;
        uint64_t *to = (uint64_t *)(void *)((char *)total + counter_names[i].offset);
        *to = count_add(
            *to, *(const uint64_t *)(const void *)((const char *)more + counter_names[i].offset));
    }
    for (uint32_t i = 0; i < REJECT_REASONS; i++)
        total->rejected[i] += more->rejected[i];
}

void channel_keep(struct channel *channel, enum takeover_kind kind, int descriptor)
{
    char name[TAKEOVER_NAME_BYTES];
    takeover_name(name, channel_name(channel), kind);
    holder_put(channel->fleet->holder, name, descriptor);
}

void channel_drop(struct channel *channel, enum takeover_kind kind)
{
    char name[TAKEOVER_NAME_BYTES];
    takeover_name(name, channel_name(channel), kind);
    holder_drop(channel->fleet->holder, name);
}

void channel_put_process(struct channel *channel)
{
    char name[TAKEOVER_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", channel_name(channel), HOLDER_PROCESS_SUFFIX);
    holder_put_process(channel->fleet->holder, name, channel->process.descriptor);
}

uint64_t channel_layout_digest(const struct config_channel *config)
{
    return (uint64_t)config->layout_bytes << 32 |
           crc32c(0, config->layout_image, config->layout_bytes);
}

void channel_write_ledger(struct channel *channel)
{
    struct ledger_notes notes = {.restarts = channel->child.restarts,
                                 .limit_memory_bytes = channel->config.limit_memory_bytes,
                                 .limit_cpu_percent = channel->config.limit_cpu_percent,
                                 .layout = channel->config.layout_image
                                               ? channel_layout_digest(&channel->config)
                                               : channel->layout_digest,
                                 .carried = channel->carried,
                                 .counted_socket = channel->counted_socket};
    char *words[FLEET_RELAY_WORDS_MAX];
    if (!channel->ledger)
        return;
    int count = settings_write_flags(&channel->config.settings, notes.flags, sizeof notes.flags,
                                     words, FLEET_RELAY_WORDS_MAX);
    if (count > 0)
        notes.flags_bytes =
            (uint32_t)(words[count - 1] + strlen(words[count - 1]) + 1 - notes.flags);
    ledger_write(channel->ledger, &notes);
}

/* What the memory counts. A relay that finds it damaged empties it: what it had counted up to that
 * relay's start is kept, whatever was counted by the one before it. */
void channel_read_memory(struct channel *channel, struct counters *counters)
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
        fleet_add_counters(&channel->carried, &channel->found);
        memset(&channel->found, 0, sizeof channel->found);
        channel_write_ledger(channel);
    }
}

void channel_unmap(struct staging *staging, struct ledger_shared *ledger)
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
    channel_read_memory(channel, &last);
    if (!channel->staging.memory && ledger_totals(channel->ledger, &last) < 0)
        log_line("%s: what another version's relay had counted is lost with it",
                 channel_name(channel));
    if (last.unsynced_datums)
        log_line("%s: %llu datums were lost with the buffer that was given up",
                 channel_name(channel), (unsigned long long)last.unsynced_datums);
    last.datums_unrecorded += last.unsynced_datums;
    fleet_add_counters(&channel->carried, &last);
    memset(&channel->found, 0, sizeof channel->found);
    memset(channel->sound, 0, sizeof channel->sound);
}

/* ---- sockets ---- */

static struct net_receive_options receive_options(const struct channel_settings *settings)
{
    return (struct net_receive_options){.listen = settings->listen,
                                        .interface = settings->interface,
                                        .sources = settings->sources,
                                        .source_count = settings->source_count,
                                        .queue_bytes = settings->receive_bytes};
}

int channel_open_receiver(const struct channel_settings *settings)
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
    return channel->receive >= 0 && address_is_multicast(&is->listen) &&
           address_equal(&was->listen, &is->listen) &&
           net_rejoin(channel->receive, &from, &to) == 0;
}

static bool joins_everybody(const struct channel_settings *settings)
{
    return net_joins_everybody(settings->sources, settings->source_count);
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
    if (!address_is_multicast(&a->listen))
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
    return address_is_multicast(listen) ||
           (listen->family == 6 && listen->bytes[0] == 0xfe && (listen->bytes[1] & 0xc0) == 0x80);
}

bool channel_same_receiver(const struct channel_settings *a, const struct channel_settings *b)
{
    return address_equal(&a->listen, &b->listen) &&
           (!is_of_interface(&a->listen) || strcmp(a->interface, b->interface) == 0) &&
           same_joins(a, b);
}

/* What came since the relay last looked was for an address that is not listened at any more, and
 * counts as dropped. */
static void count_unheard(struct channel *channel)
{
    if (channel->receive < 0)
        return;
    uint64_t lost = net_drain(channel->receive), socket = net_cookie(channel->receive);
    struct receiver_state seen = {0};
    if (channel->staging.memory)
        staging_copy_receiver(&channel->staging, &seen);
    if (seen.sockets[SOCKET_RECEIVE].cookie != socket) /* no relay has come to it */
        seen.coalesced = 0;
    /* An earlier manager may have counted what the kernel dropped, and have died then. */
    if (socket != 0 && socket != channel->counted_socket && channel->staging.memory) {
        uint32_t more =
            net_dropped(channel->receive) - staging_dropped(&seen, socket); /* goes round at 2^32 */
        bool many = seen.coalesced > 0 && net_is_coalescing(channel->receive);
        lost += more < 1u << 31 ? (uint64_t)more * (many ? seen.coalesced : 1) : 0;
    }
    channel->carried.datagrams_dropped += lost;
    channel->counted_socket = socket;
    channel_write_ledger(channel);
    if (lost)
        log_line("%s: %llu datagrams came to its old address as that changed: counted as dropped",
                 channel_name(channel), (unsigned long long)lost);
}

/* The settings to come differ in where they listen: the new socket takes over from the old one. */
static void change_receiver(struct channel *channel, const struct channel_settings *settings)
{
    if (channel->pending_receive >= 0 &&
        net_check_receiver(channel->pending_receive, &settings->listen) < 0)
        channel_close_ahead(channel);
    int ahead = channel->pending_receive;
    int receive = ahead < 0 ? channel_open_receiver(settings) : ahead;
    channel->pending_receive = -1;
    count_unheard(channel);
    /* On an address that only one socket may hold, the old one has to go first; `prepare` then
     * opens the new one, and says why if it cannot. */
    if (receive >= 0)
        channel_keep(channel, TAKEOVER_RECEIVE, receive);
    else
        channel_drop(channel, TAKEOVER_RECEIVE);
    if (ahead >= 0)
        channel_drop(channel, TAKEOVER_NEXT);
    channel_close_one(&channel->receive);
    holder_barrier(channel->fleet->holder, HOLDER_BARRIER_MS);
    channel->receive = receive < 0 ? -1 : receive;
}

void channel_close_ahead(struct channel *channel)
{
    if (channel->pending_receive < 0)
        return;
    uint64_t socket = net_cookie(channel->pending_receive);
    /* An earlier manager may have had its relay go on with it already. */
    if (channel->receive < 0 || socket == 0 || socket != net_cookie(channel->receive)) {
        uint64_t lost = net_drain(channel->pending_receive);
        if (socket != channel->counted_socket)
            lost += net_dropped(channel->pending_receive);
        channel->carried.datagrams_dropped += lost;
        channel->counted_socket = socket;
        channel_write_ledger(channel);
    }
    channel_close_one(&channel->pending_receive);
    channel_drop(channel, TAKEOVER_NEXT);
    /* Another channel may want its address. */
    holder_barrier(channel->fleet->holder, HOLDER_BARRIER_MS);
}

void channel_open_ahead(struct channel *channel)
{
    const struct channel_settings *was = &channel->config.settings;
    if (!channel->pending)
        return;
    struct net_receive_options options = receive_options(&channel->pending->settings);
    if (channel->pending_receive >= 0 &&
        net_check_receiver(channel->pending_receive, &options.listen) == 0 &&
        net_adopt_receiver(channel->pending_receive, &options) == 0)
        return;
    channel_close_ahead(channel); /* an earlier manager's, for another address */
    if (address_equal(&was->listen, &options.listen))
        return;
    channel->pending_receive = net_open_receiver_beside(&options, channel->receive);
    if (channel->pending_receive >= 0)
        channel_keep(channel, TAKEOVER_NEXT, channel->pending_receive);
    else
        channel->pending_receive = -1; /* tried again, and told of, when the old one has gone */
}

void channel_move_on(struct channel *channel)
{
    if (channel->pending_receive >= 0 && channel->receive >= 0 &&
        !channel_same_receiver(&channel->config.settings, &channel->pending->settings))
        net_hear_nobody(channel->receive);
    else
        channel_hear_again(channel);
}

static int check_receiver(const struct channel *channel)
{
    return channel->receive < 0
               ? 0
               : net_check_receiver(channel->receive, &channel->config.settings.listen);
}

bool channel_gives_up_socket(const struct channel *channel)
{
    /* Who starts us again may want what has come; systemd keeps it for that. */
    return channel->removed ||
           (channel->fleet->stopping && !holder_is_system(channel->fleet->holder));
}

void channel_leave(struct channel *channel)
{
    if (channel->receive >= 0 && channel_gives_up_socket(channel))
        net_hear_nobody(channel->receive);
}

void channel_hear_again(struct channel *channel)
{
    int error = check_receiver(channel) == -EISCONN ? net_hear_again(channel->receive) : 0;
    if (error < 0)
        log_line("%s: cannot have its socket listen again: %s; stop the fleet, and start it",
                 channel_name(channel), strerror(-error));
}

static void close_receiver(struct channel *channel)
{
    channel_drop(channel, TAKEOVER_RECEIVE);
    channel_close_one(&channel->receive);
    holder_barrier(channel->fleet->holder, HOLDER_BARRIER_MS);
}

void channel_sort_receivers(struct channel *channel)
{
    int status = check_receiver(channel);
    if (status == -EISCONN && net_cookie(channel->receive) == channel->counted_socket)
        close_receiver(channel); /* that manager was about to */
    if (status != -EADDRNOTAVAIL)
        return;
    if (channel->pending_receive >= 0) {
        close_receiver(channel);
        return;
    }
    channel->pending_receive = channel->receive;
    channel->receive = -1;
    channel_keep(channel, TAKEOVER_NEXT, channel->pending_receive);
    channel_drop(channel, TAKEOVER_RECEIVE);
}

/* ---- settings in force ---- */

void channel_adopt(struct channel *channel)
{
    struct config_channel *pending = channel->pending;
    if (!pending)
        return;
    channel->pending = NULL;
    const struct channel_settings *was = &channel->config.settings, *is = &pending->settings;
    if (!channel_same_receiver(was, is) && !rejoin(channel, is))
        change_receiver(channel, is);
    else if (was->receive_bytes != is->receive_bytes && channel->receive >= 0)
        net_set_queue(channel->receive, is->receive_bytes);
    channel->layout_written = false;
    channel->layout_digest = 0;
    free(channel->config.layout_image);
    channel->config = *pending;
    free(pending);
    channel_write_ledger(channel);
    channel_close_ahead(channel); /* it was for a change that is not wanted any more */
}

/* Where the socket stays, what was dropped on it is in the counters that are carried over. */
static void carry_drops(const struct channel *channel, struct staging *made)
{
    struct receiver_state seen = {0};
    if (channel->staging.memory) {
        staging_copy_receiver(&channel->staging, &seen);
    } else if (channel->ledger && channel->receive >= 0) { /* another version's, and at its end */
        seen.sockets[SOCKET_RECEIVE] = (struct socket_drops){
            .cookie = net_cookie(channel->receive), .dropped = net_dropped(channel->receive)};
    }
    if (seen.sockets[SOCKET_RECEIVE].cookie != 0)
        staging_note_sockets(made, seen.sockets, seen.coalesced);
}

/* Makes the memory, if there is none or if it is not the one that these settings need. The new one
 * has its ledger before the old one goes, so that a manager killed here loses no count. */
static int prepare_memory(struct channel *channel)
{
    size_t bytes = staging_bytes(&channel->config.settings);
    if (channel->staging.memory && channel->staging.bytes == bytes)
        return 0;
    struct staging before = channel->staging; /* its parts are found by its place, not this copy */
    int descriptor = shared_memory_create(channel_name(channel), bytes);
    struct staging made;
    int error = descriptor < 0 ? descriptor : staging_map(&made, descriptor);
    if (error < 0) {
        if (descriptor >= 0)
            descriptor_close(descriptor);
        channel_explain(channel, "cannot make its buffer of %zu bytes: %s", bytes,
                        strerror(-error));
        return error;
    }
    carry_counters(channel);
    carry_drops(channel, &made);
    if (channel->ledger) /* it can be started: see is_unfinished */
        ledger_note_ready(made.ledger, ledger_ready(channel->ledger));
    channel_unmap(&before, channel->ledger);
    staging_move(&channel->staging, &made);
    int old = channel->memory;
    channel->memory = descriptor;
    channel->ledger = channel->staging.ledger;
    channel_write_ledger(channel);
    channel_keep(channel, TAKEOVER_MEMORY, descriptor);
    channel_close_one(&old);
    return 0;
}

/* Whether the file holds what it is to hold, as far as that is known. */
static bool is_layout_there(const struct config_channel *config)
{
    uint8_t *bytes;
    size_t count;
    if (!config->layout_image)
        return path_exists(config->settings.layout);
    if (file_read_whole(config->settings.layout, config->layout_bytes, &bytes, &count) < 0)
        return false;
    bool same = count == config->layout_bytes && memcmp(bytes, config->layout_image, count) == 0;
    free(bytes);
    return same;
}

int channel_prepare_layout(struct channel *channel)
{
    const struct config_channel *config = &channel->config;
    if (channel->layout_written && is_layout_there(config))
        return 0;
    if (!config->layout_image) {
        channel_explain(channel, "%.160s is gone, and was taken over without it",
                        config->settings.layout);
        return -ENOENT;
    }
    int error = write_runtime_file(config->settings.layout, config->layout_image,
                                   config->layout_bytes, true);
    if (error < 0)
        channel_explain(channel, "cannot write %.160s: %s", config->settings.layout,
                        strerror(-error));
    channel->layout_written = error == 0;
    return error;
}

int channel_foresee(struct channel *channel)
{
    const struct config_channel *next = channel->pending ? channel->pending : &channel->config;
    int error = 0;
    if (!path_runnable(channel->fleet->relay)) {
        error = -errno;
        channel_explain(channel, "cannot run %.160s: %s", channel->fleet->relay, strerror(-error));
    } else if (!channel->pending) {
        error = channel_prepare_layout(channel);
    } else {
        error = write_runtime_file(next->settings.layout, next->layout_image, next->layout_bytes,
                                   false);
        if (error < 0)
            channel_explain(channel, "cannot write %.160s: %s", next->settings.layout,
                            strerror(-error));
    }
    return error;
}

/* The socket of a channel that an earlier manager was about to start: it collects already. */
static int take_left_receiver(struct channel *channel)
{
    struct takeover_channel *left = takeover_find(&channel->fleet->left, channel_name(channel));
    struct net_receive_options options = receive_options(&channel->config.settings);
    int receive = left ? left->descriptors[TAKEOVER_RECEIVE] : -1;
    if (receive < 0)
        return -1;
    int status = net_check_receiver(receive, &options.listen);
    if (status == -EISCONN && net_hear_again(receive) == 0)
        status = net_check_receiver(receive, &options.listen);
    if (status < 0 || net_adopt_receiver(receive, &options) < 0)
        return -1;
    left->descriptors[TAKEOVER_RECEIVE] = -1;
    return receive;
}

int channel_prepare(struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    if (channel->receive < 0) {
        channel->receive = take_left_receiver(channel);
        if (channel->receive < 0)
            channel->receive = channel_open_receiver(settings);
        if (channel->receive >= 0)
            channel_keep(channel, TAKEOVER_RECEIVE, channel->receive);
    }
    if (channel->receive < 0) {
        int error = channel->receive;
        char text[NET_ADDRESS_TEXT_BYTES];
        channel->receive = -1;
        channel_explain(
            channel, "cannot listen at %s%s%s: %s", net_write_address(text, &settings->listen),
            settings->interface[0] ? " on " : "", settings->interface, strerror(-error));
        return error;
    }
    int error = prepare_memory(channel);
    if (error == 0)
        error = channel_prepare_layout(channel);
    return error;
}

bool channel_can_hand_over(const struct channel *channel)
{
    const struct config_channel *is = &channel->config, *to = channel->pending;
    if (!channel->staging.memory)
        return false; /* another version's */
    return !to || (staging_bytes(&is->settings) == staging_bytes(&to->settings) &&
                   address_equal(&is->settings.listen, &to->settings.listen) &&
                   strcmp(is->settings.directory, to->settings.directory) == 0 &&
                   is->settings.direct_io == to->settings.direct_io &&
                   is->settings.encoding == to->settings.encoding &&
                   is->layout_bytes == to->layout_bytes &&
                   memcmp(is->layout_image, to->layout_image, is->layout_bytes) == 0);
}
