/* SPDX-License-Identifier: MIT
 * A channel's memory, with its counters and its ledger: made, exchanged for one of another size,
 * and read. Whose relay works in it does not matter. */
#include "channel/memory.h"
#include "manager/fleet_parts.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "os/file.h"
#include "os/memory.h"

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

void channel_write_ledger(struct channel *channel)
{
    struct ledger_notes notes = {.restarts = channel->machine.child.restarts,
                                 .limit_memory_bytes = channel->config.limit_memory_bytes,
                                 .limit_cpu_percent = channel->config.limit_cpu_percent,
                                 .layout = channel->config.layout_image
                                               ? channel_layout_digest(&channel->config)
                                               : channel->layout_digest,
                                 .carried = channel->carried};
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

/* Whether a relay has emptied the memory since that was noted; what it had counted up to that
 * relay's start is in `found`, whatever was counted by the one before it. */
static bool was_reset(const struct channel *channel)
{
    return channel->staging.memory && ledger_resets(channel->ledger) != channel->resets;
}

static void add_found(struct counters *total, const struct channel *channel)
{
    fleet_add_counters(total, &channel->found);
    total->datums_unrecorded += channel->found.unsynced_datums;
}

void channel_note_reset(struct channel *channel)
{
    if (!was_reset(channel))
        return;
    channel->resets = ledger_resets(channel->ledger);
    add_found(&channel->carried, channel);
    memset(&channel->found, 0, sizeof channel->found);
    channel_write_ledger(channel);
}

void channel_read_memory(const struct channel *channel, struct counters *counters)
{
    memset(counters, 0, sizeof *counters);
    if (!channel->ledger)
        return;
    if (!channel->staging.memory) { /* another version's */
        ledger_totals(channel->ledger, counters);
        return;
    }
    staging_read(&channel->staging, counters);
    staging_read_disk(&channel->staging, counters);
    if (was_reset(channel))
        add_found(counters, channel);
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
    channel_note_reset(channel);
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
    memset(channel->rejected_at_last_accept, 0, sizeof channel->rejected_at_last_accept);
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
int channel_prepare_memory(struct channel *channel)
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
                        error == -EFBIG ? "the file size limit of this process is below that; "
                                          "raise it (ulimit -f, LimitFSIZE=), or lower `buffer`"
                                        : strerror(-error));
        return error;
    }
    carry_counters(channel);
    carry_drops(channel, &made);
    if (channel->ledger) /* it can be started: see channel_has_unrecorded_data */
        ledger_note_ready(made.ledger, ledger_ready(channel->ledger));
    channel_unmap(&before, channel->ledger);
    staging_move(&channel->staging, &made);
    int old = channel->memory;
    channel->memory = descriptor;
    channel->ledger = channel->staging.ledger;
    channel->resets = 0;
    channel_write_ledger(channel);
    channel_hold(channel, TAKEOVER_MEMORY, descriptor);
    channel_close_one(&old);
    return 0;
}

bool channel_can_go_on(const struct channel *channel)
{
    const struct config_channel *current = &channel->config, *next = channel->pending;
    if (!channel->staging.memory)
        return false; /* another version's */
    return !next || (staging_bytes(&current->settings) == staging_bytes(&next->settings) &&
                     strcmp(current->settings.directory, next->settings.directory) == 0 &&
                     current->settings.direct_io == next->settings.direct_io &&
                     current->settings.encoding == next->settings.encoding &&
                     current->layout_bytes == next->layout_bytes && current->layout_image &&
                     memcmp(current->layout_image, next->layout_image, current->layout_bytes) == 0);
}

bool channel_has_unrecorded_data(const struct channel *channel)
{
    struct counters left;
    if (!channel_had_relay(channel))
        return false;
    channel_read_memory(channel, &left);
    return left.unsynced_datums > 0 || left.file[0] != '\0';
}

bool channel_had_relay(const struct channel *channel)
{
    return channel->staging.memory && ledger_ready(channel->ledger) > 0;
}
