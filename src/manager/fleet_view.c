/* SPDX-License-Identifier: MIT
 * What status shows of a channel, from its memory, and from its interface where nothing comes. */
#include "channel/mounted.h"
#include "manager/fleet_parts.h"

#include <stdio.h>
#include <string.h>

#include "os/health.h"
#include "os/links.h"

#define CHILD_QUIET_MS 1000u /* quiet for so long, a relay is looked at for being suspended */

/* "98 truncated, 2 utf8": why the present row of rejects was rejected. */
static void write_rejects(const struct channel *channel, const struct counters *counters,
                          char *text, size_t text_bytes)
{
    uint64_t counts[REJECT_REASONS] = {0}, sum = 0;
    size_t used = 0;
    text[0] = '\0';
    for (int reason = 0; reason < REJECT_REASONS; reason++) {
        uint64_t before =
            channel->carried.rejected[reason] + channel->rejected_at_last_accept[reason];
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

/* Why nothing comes, as far as its interface tells; "" if that is not why. */
static void write_silence(const struct channel *channel, char *text, size_t text_bytes)
{
    const struct channel_settings *settings = &channel->config.settings;
    const struct address *listen = &settings->listen;
    char found[NET_INTERFACE_BYTES];
    struct health_doubt doubt;
    snprintf(found, sizeof found, "%s", settings_listen_interface(settings));
    int error = found[0] != '\0'               ? 0
                : address_is_multicast(listen) ? health_route(listen, "", found)
                                               : health_holder(listen, "", found, &doubt);
    int index = error == 0 ? net_interface_index(found) : error;
    const char *fault = index > 0 ? links_fault((unsigned)index) : NULL;
    text[0] = '\0';
    if (fault != NULL)
        snprintf(text, text_bytes, "interface %s %s", found, fault);
}

/* Why the public state is what it is, where that is not plain from the word. */
static void explain_state(const struct channel *channel, struct channel_view *view,
                          const struct child_signs *signs)
{
    const struct channel_machine *machine = &channel->machine;
    const size_t bytes = sizeof view->reason;
    char rejects[160], why[CHANNEL_PATH_BYTES_MAX + 40];
    bool at_work = child_alive(&machine->child) && !channel_machine_ends(machine);
    if (at_work && signs->quiet_ms >= CHILD_QUIET_MS && signs->alive_ms >= CHILD_QUIET_MS &&
        process_suspended(view->pid)) {
        snprintf(view->reason, bytes, "relay %ld is suspended (SIGSTOP or a debugger)%s%s",
                 view->pid, machine->blocked ? "; " : "", machine->blocked ? channel->blocked : "");
    } else if (at_work && channel->away) {
        channel_write_away(channel, view->reason, bytes);
    } else if (strcmp(view->state, "not_recording") == 0) {
        const struct channel_settings *settings = &channel->config.settings;
        snprintf(view->reason, bytes,
                 "cannot record in %.100s: %.100s; %llu datums wait in the buffer",
                 settings->directory,
                 mounted_error_text(view->counters.write_errno, settings->mounted,
                                    settings->directory, why, sizeof why),
                 (unsigned long long)view->counters.unsynced_datums);
    } else if (strcmp(view->state, "schema_mismatch") == 0) {
        write_rejects(channel, &view->counters, rejects, sizeof rejects);
        snprintf(view->reason, bytes, "the last %llu datagrams were all rejected%s",
                 (unsigned long long)view->counters.rejected_in_a_row, rejects);
    } else if (strcmp(view->state, "silent") == 0 && !machine->blocked) {
        write_silence(channel, view->reason, bytes);
    } else if (child_alive(&machine->child)) {
        snprintf(view->reason, bytes, "%s", machine->blocked ? channel->blocked : "");
    } else if (channel_has_failed(channel) && channel->timer.link_from && !channel->awaits) {
        uint64_t now_ns = clock_monotonic_ns(), due_ns = channel->timer.deadline_ns;
        snprintf(view->reason, bytes, "%s%snext try in %llu s", channel->reason,
                 channel->reason[0] ? "; " : "",
                 (unsigned long long)(due_ns > now_ns ? (due_ns - now_ns) / NS_PER_S + 1 : 0));
    } else {
        snprintf(view->reason, bytes, "%s", channel->reason);
    }
}

/* What the kernel dropped since the relay last looked; it may hang. */
static uint64_t dropped_since(const struct channel *channel)
{
    struct receiver_state receiver;
    if (channel->receive < 0 || !channel->staging.memory)
        return 0;
    staging_copy_receiver(&channel->staging, &receiver);
    uint32_t more =
        net_dropped(channel->receive) - staging_dropped(&receiver, net_cookie(channel->receive));
    return more < 1u << 31 ? more : 0;
}

/* How long nothing has come in, by the monotonic clock; UINT64_MAX: nothing ever did. */
static uint64_t quiet_ms(const struct channel *channel, const struct counters *total)
{
    if (total->datagrams_received != channel->active_received)
        return 0; /* it has since the last tick */
    return channel->active_ns ? (clock_monotonic_ns() - channel->active_ns) / NS_PER_MS
                              : UINT64_MAX;
}

void fleet_view(const struct channel *channel, struct channel_view *view)
{
    struct counters *counters = &view->counters;
    memset(view, 0, sizeof *view);
    channel_read_memory(channel, counters);
    fleet_add_counters(counters, &channel->carried);
    struct child_signs signs = {
        .alive_ms = fleet_now_ms() - channel->machine.child.spawned_ms,
        .quiet_ms = quiet_ms(channel, counters),
        .ready = channel_is_ready(channel),
        .deaf = channel->away & AWAY_INPUT,
        .recording = counters->recording,
        .write_errno = counters->write_errno,
        .rejected_in_a_row = counters->rejected_in_a_row,
    };
    counters->datagrams_dropped = count_add(counters->datagrams_dropped, dropped_since(channel));
    if (channel->given_up) {
        counters->datums_unrecorded += channel->given_up;
        counters->unsynced_datums = 0;
    }
    view->name = channel_name(channel);
    view->state = child_public_state(&channel->machine.child, &signs);
    view->pid = channel->process.id;
    view->restarts = channel->machine.child.restarts;
    view->rate = channel->rate;
    uint64_t queue_bytes = channel->receive >= 0 ? net_queue_bytes(channel->receive) : 0;
    view->dropped_before = channel->dropped_before;
    view->budget_seconds = net_queue_seconds(queue_bytes);
    explain_state(channel, view, &signs);
}

void channel_note_queue(struct channel *channel)
{
    struct channel_view view;
    uint64_t bytes = channel->receive >= 0 ? net_queue_bytes(channel->receive) : 0;
    if (bytes > channel->queue_bytes && channel->queue_bytes > 0) {
        fleet_view(channel, &view);
        channel->dropped_before = view.counters.datagrams_dropped;
    }
    channel->queue_bytes = bytes;
}
