/* SPDX-License-Identifier: MIT
 * What status shows of a channel, from its memory alone; and the looks at the counters now and then
 * that rates, retention and "silent" need. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CHILD_QUIET_MS 1000u /* quiet for so long, a relay is looked at for being suspended */

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

static void retry_blocked(struct channel *channel)
{
    struct fleet *fleet = channel->fleet;
    if (!channel->blocked[0] || channel->removed || fleet->stopping)
        return;
    bool restart = !channel->pending;
    channel_replace_relay(channel);
    channel->child.restarts += restart && !channel->blocked[0];
}

void fleet_sample_due(void *context)
{
    struct fleet *fleet = context;
    bool wanting = false, rates = clock_monotonic_ns() >= fleet->rates_ns;
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        struct counters now;
        retry_blocked(channel);
        if (!channel->ledger)
            continue;
        channel_note_work(channel);
        channel_read_memory(channel, &now);
        note_activity(channel, &now);
        if (rates)
            note_rate(channel);
        wanting = wants_room(channel, &now) || wanting;
    }
    if (rates)
        fleet->rates_ns = clock_monotonic_ns() + (FLEET_SAMPLE_MS - FLEET_LOOK_MS / 2) * NS_PER_MS;
    loop_arm(fleet->options.loop, &fleet->sample, clock_monotonic_ns() + FLEET_LOOK_MS * NS_PER_MS);
    holder_tick(fleet->holder);
    if (wanting)
        fleet->options.rotated(fleet->options.context);
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
        channel_explain(channel, "cannot record in %.160s: %s; %llu datums wait in the buffer",
                        channel->config.settings.directory, strerror(view->counters.write_errno),
                        (unsigned long long)view->counters.unsynced_datums);
    } else if (strcmp(view->state, "schema_mismatch") == 0) {
        write_rejects(channel, &view->counters, rejects, sizeof rejects);
        channel_explain(channel, "the last %llu datagrams were all rejected%s",
                        (unsigned long long)view->counters.rejected_in_a_row, rejects);
    } else if (child_alive(&channel->child)) {
        channel->reason[0] = '\0';
    }
    const char *reason = channel->reason[0] ? channel->reason : channel->blocked;
    const size_t bytes = sizeof channel->shown;
    bool relay_alive =
        channel->child.state == CHILD_STARTING || channel->child.state == CHILD_RUNNING;
    if (relay_alive && signs->quiet_ms >= CHILD_QUIET_MS && signs->alive_ms >= CHILD_QUIET_MS &&
        process_suspended(view->pid))
        snprintf(channel->shown, bytes, "relay %ld is suspended (SIGSTOP or a debugger)%s%s",
                 view->pid, reason[0] ? "; " : "", reason);
    else if (channel_has_failed(channel) && channel->timer.link_from) {
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
    channel_note_work(channel);
    channel_read_memory(channel, &view->counters);
    note_activity(channel, &view->counters);
    uint64_t active_ns = channel->active_ns;
    struct child_signs signs = {
        .alive_ms = fleet_now_ms() - channel->child.spawned_ms,
        .quiet_ms = active_ns ? (clock_monotonic_ns() - active_ns) / NS_PER_MS : UINT64_MAX,
        .ready = channel_is_ready(channel),
        .recording = view->counters.recording,
        .write_errno = view->counters.write_errno,
        .rejected_in_a_row = view->counters.rejected_in_a_row,
    };
    if (channel->receive >= 0 && channel->staging.memory) {
        /* What the kernel dropped since the relay last looked; it may hang. */
        struct receiver_state receiver;
        staging_copy_receiver(&channel->staging, &receiver);
        uint32_t more = net_dropped(channel->receive) -
                        staging_dropped(&receiver, net_cookie(channel->receive));
        if (more < 1u << 31)
            view->counters.datagrams_dropped += more;
    }
    if (channel->given_up) {
        view->counters.datums_unrecorded += channel->given_up;
        view->counters.unsynced_datums = 0;
    }
    fleet_add_counters(&view->counters, &channel->carried);
    view->name = channel_name(channel);
    view->state = child_public_state(&channel->child, &signs);
    view->pid = channel->process.id;
    view->restarts = channel->child.restarts;
    view->rate = channel->rate;
    uint64_t queue_bytes = channel->receive >= 0 ? net_queue_bytes(channel->receive) : 0;
    view->budget_seconds = net_queue_seconds(queue_bytes);
    explain_state(channel, view, &signs);
    view->reason = channel->shown;
}
