/* SPDX-License-Identifier: MIT
 * A channel's relay as a process: started, found again, and what its end says. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "os/inherit.h"
#include "os/memory.h"

#define RELAY_TEXT_BYTES 8192
#define SIGNAL_UNKNOWN   0

static void relay_ended(void *context, unsigned events);

static int watch_process(struct channel *channel)
{
    channel->ended = (struct loop_watch){
        .descriptor = channel->process.descriptor, .ready = relay_ended, .context = channel};
    return loop_watch(channel->fleet->options.loop, &channel->ended, LOOP_READ);
}

int channel_join_relay(struct channel *channel)
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

int channel_spawn_relay(struct channel *channel)
{
    char program[] = "flotilla-relay", text[RELAY_TEXT_BYTES];
    char *words[FLEET_RELAY_WORDS_MAX + 2] = {program};
    int count = settings_write_flags(&channel->config.settings, text, sizeof text, words + 1,
                                     FLEET_RELAY_WORDS_MAX);
    if (count < 0) {
        channel_explain(channel, "its settings do not fit a command line: %s", strerror(-count));
        return count;
    }
    words[count + 1] = NULL;

    const struct process_descriptor descriptors[] = {{INHERIT_RECEIVE, channel->receive},
                                                     {INHERIT_MEMORY, channel->memory},
                                                     {INHERIT_DRAINING, channel->draining}};
    int group = limits_group(&channel->fleet->limits, &channel->config);
    int error = process_spawn(&channel->process, channel->fleet->relay, words, descriptors,
                              channel->draining >= 0 ? 3 : 2, group);
    channel_close_one(&group);
    if (error < 0) {
        channel_explain(channel, "cannot run %.160s: %s", channel->fleet->relay, strerror(-error));
        return error;
    }
    error = watch_process(channel);
    if (error < 0) {
        /* A relay whose end we would not learn of must not run. */
        struct process_end end;
        process_kill(&channel->process);
        process_wait(&channel->process, CHANNEL_GRACE_MS);
        if (process_reap(&channel->process, &end) < 0)
            process_close(&channel->process);
        channel_explain(channel, "cannot watch its relay: %s", strerror(-error));
    }
    return error;
}

void channel_note_work(struct channel *channel)
{
    struct counters now;
    if (!channel->ledger || channel->machine.child.worked)
        return;
    channel_read_memory(channel, &now);
    /* Recording what had waited is work, too. */
    if (now.batches > channel->found.batches ||
        now.datums_recorded > channel->found.datums_recorded)
        channel_step(channel, CHANNEL_WORKED, 0);
}

static void describe_end(const struct process_end *end, char *text, size_t text_bytes)
{
    if (end->killed && end->code == SIGNAL_UNKNOWN)
        snprintf(text, text_bytes, "was killed");
    else if (end->killed)
        snprintf(text, text_bytes, "was killed by signal %d (%s)", end->code,
                 process_signal_text(end->code));
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

/* How the relay ended. An earlier manager's child, or one whose exit code somebody has taken: what
 * it left behind tells, and one that left nothing was killed. */
static struct process_end reap(struct channel *channel)
{
    struct process_end end;
    if (process_reap(&channel->process, &end) == 0)
        return end;
    int code = channel->ledger ? ledger_end(channel->ledger, channel->process.id) : -1;
    process_close(&channel->process);
    return (struct process_end){.killed = code < 0, .code = code < 0 ? SIGNAL_UNKNOWN : code};
}

/* Another relay has the channel: an earlier manager's. */
static bool join_other(struct channel *channel)
{
    if (channel_join_relay(channel) < 0)
        return false;
    log_line("%s: relay %ld of an earlier manager is at work already", channel_name(channel),
             channel->process.id);
    channel_watch_life(channel);
    if (channel_machine_ends(&channel->machine))
        process_terminate(&channel->process);
    return true;
}

static void tell_end(const struct channel *channel, long id, const char *how, bool asked)
{
    const struct channel_machine *machine = &channel->machine;
    if (asked)
        log_line("%s: relay %ld %s, as asked", channel_name(channel), id, how);
    else if (machine->step == CHANNEL_WAITING && machine->child.wait_ms >= CHILD_WAIT_FIRST_MS)
        log_line("%s: relay %ld %s without having done any work; next try in %u s",
                 channel_name(channel), id, how, machine->child.wait_ms / 1000);
    else if (machine->child.state == CHILD_FAILED && !channel->timer.link_from)
        log_line("%s: relay %ld %s; not started again before a reload or restart",
                 channel_name(channel), id, how);
    else
        log_line("%s: relay %ld %s", channel_name(channel), id, how);
}

static void relay_ended(void *context, unsigned events)
{
    struct channel *channel = context;
    struct fleet *fleet = channel->fleet;
    long id = channel->process.id;
    (void)events;

    loop_unwatch(fleet->options.loop, &channel->ended);
    struct process_end end = reap(channel);
    if (!end.killed && end.code == CHILD_EXIT_TAKEN) {
        if (join_other(channel))
            return;
        channel_end_stray(channel);
    }
    channel_note_work(channel);
    bool asked = channel_machine_ends(&channel->machine);
    char how[128];
    describe_end(&end, how, sizeof how);
    channel_explain(channel, "relay %ld %s", id, how);

    /* The next relay first, words later: the receive queue fills meanwhile. */
    channel_step(channel, end.killed ? CHANNEL_KILLED : CHANNEL_EXITED, end.code);
    tell_end(channel, id, how, asked);
    if (fleet->stopping && channel->machine.step == CHANNEL_ABSENT)
        fleet->unclean_ends += end.killed || end.code != 0;
    fleet_sweep(fleet);
    fleet_settle(fleet);
}

bool channel_has_failed(const struct channel *channel)
{
    return channel->machine.child.state == CHILD_FAILED ||
           channel->machine.child.state == CHILD_BACKOFF;
}

bool channel_is_ready(const struct channel *channel)
{
    return channel->ledger && channel->process.id &&
           ledger_ready(channel->ledger) == channel->process.id;
}
