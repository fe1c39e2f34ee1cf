/* SPDX-License-Identifier: MIT
 * A channel's relay: spawned, watched, asked to end, followed by the next, and found out if it
 * hangs. Carries out what the state machine of manager/child.h says. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "os/inherit.h"
#include "os/memory.h"

#define RELAY_TEXT_BYTES 8192
#define FINISHERS_MAX    3u /* relays in a row that are started only to finish */
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

static int start_process(struct channel *channel)
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
                                                     {INHERIT_MEMORY, channel->memory}};
    int group = limits_group(&channel->fleet->limits, &channel->config);
    int error = process_spawn(&channel->process, channel->fleet->relay, words, descriptors, 2,
                              group);
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
        process_wait(&channel->process, FLEET_CHANGE_GRACE_MS);
        if (process_reap(&channel->process, &end) < 0)
            process_close(&channel->process);
        channel_explain(channel, "cannot watch its relay: %s", strerror(-error));
    }
    return error;
}

void channel_watch_life(struct channel *channel)
{
    channel->beats = channel->ledger ? ledger_beats(channel->ledger) : 0;
    channel->stuck_ns = 0;
    channel->aborted = channel->killed = false;
    channel_put_process(channel);
}

/* Whether it is to receive any more. */
static bool goes_on(const struct channel *channel)
{
    return !channel->removed && !channel->fleet->stopping;
}

/* Whether datums are in its memory alone, or in a file that is open. */
static bool has_datums(struct channel *channel)
{
    struct counters left;
    channel_read_memory(channel, &left);
    return left.unsynced_datums > 0 || left.file[0] != '\0';
}

/* Whether something of the channel is left for a relay to finish: datums; and, if its socket is to
 * be closed, datagrams that wait in it. Where no relay has ever come up, none would now. */
static bool is_unfinished(struct channel *channel, bool socket_goes)
{
    if (!channel->staging.memory || channel->finishers >= FINISHERS_MAX)
        return false;
    return ledger_ready(channel->ledger) > 0 &&
           (has_datums(channel) ||
            (socket_goes && channel->receive >= 0 && net_wait(channel->receive, false, 0) == 1));
}

/* The same before the pending settings are put in force. A relay that has ended as asked has
 * brought everything to the disk; but while it did, its socket went on collecting. One more takes
 * that, and not another one after it: on a live stream that goes on coming to the old socket, the
 * next datagram always waits already. */
static bool must_finish_before_change(struct channel *channel)
{
    const struct config_channel *is = &channel->config, *to = channel->pending;
    if (!to || !is->layout_image || channel_can_hand_over(channel))
        return false;
    bool socket_goes = !channel_same_receiver(&is->settings, &to->settings);
    return (!channel->drained || (socket_goes && !channel->swept)) &&
           is_unfinished(channel, socket_goes);
}

/* Before a channel without a relay is given up: starts one for what is left. It is asked to end at
 * once, and brings everything to the disk before it does. */
void channel_finish_first(struct channel *channel)
{
    if (child_alive(&channel->child) || !is_unfinished(channel, true))
        return;
    channel->finishers++;
    channel_step(channel, CHILD_START_WANTED, 0);
}

bool channel_is_owing(struct channel *channel)
{
    return channel->child.state == CHILD_FAILED && is_unfinished(channel, true);
}

bool channel_tell_unfinished(struct channel *channel)
{
    struct counters left;
    if (child_alive(&channel->child))
        return false;
    channel_read_memory(channel, &left);
    bool socket_goes = channel_gives_up_socket(channel);
    uint64_t waiting = socket_goes && channel->receive >= 0 ? net_drain(channel->receive) : 0;
    if (socket_goes)
        channel_close_ahead(channel);
    if (left.unsynced_datums > 0)
        log_line("%s: %llu datums are left in its buffer, and in no recording",
                 channel_name(channel), (unsigned long long)left.unsynced_datums);
    if (waiting > 0) {
        log_line("%s: %llu datagrams waited in its socket: counted as dropped",
                 channel_name(channel), (unsigned long long)waiting);
        channel->carried.datagrams_dropped += waiting;
        channel_write_ledger(channel);
    }
    channel->given_up = left.unsynced_datums;
    return left.unsynced_datums > 0;
}

/* The reason noted is why a change has to wait. */
static void note_blocked(struct channel *channel)
{
    snprintf(channel->blocked, sizeof channel->blocked, "not replaced yet: %.200s",
             channel->reason);
    channel->reason[0] = '\0';
}

static void spawn_relay(struct channel *channel)
{
    const struct fleet_options *options = &channel->fleet->options;
    if (!options->in_charge(options->context))
        return; /* this process is about to end; another manager starts it */
    /* What the last one has left can be finished only as it was begun: with its layout. One that
     * died while its change cannot be put in force is followed by one like it. */
    bool changes = channel->pending && goes_on(channel);
    bool waits = changes && channel_foresee(channel) < 0;
    if (changes && !waits)
        channel_move_on(channel);
    else if (goes_on(channel))
        channel_hear_again(channel);
    bool finishes = changes && must_finish_before_change(channel);
    channel->kill_sent = false;
    channel->blocked[0] = '\0';
    if (waits)
        note_blocked(channel);
    if (changes && !finishes && !waits)
        channel_adopt(channel);
    /* Before the relay can change it: what there was is what it has to exceed to have worked. */
    int error = channel_prepare(channel);
    if (error == 0) {
        struct counters found;
        channel_read_memory(channel, &found);
        channel->found = found;
        channel->resets = ledger_resets(channel->ledger);
        channel_write_ledger(channel);
        error = start_process(channel);
    }
    if (error < 0) {
        channel->drained = false; /* its socket collects, and nobody looks */
        /* One that can never be started makes way for what can, unless that costs a datum. */
        if (finishes && !waits && !process_lacks(error) && error != -EAGAIN)
            channel->finishers += !has_datums(channel);
        if (channel->removed) {
            char why[FLEET_REASON_BYTES];
            snprintf(why, sizeof why, "%s", channel->reason);
            channel_explain(channel, "removed, and not all it has received is recorded: %s", why);
        }
        channel_step(channel, CHILD_UNABLE, 0);
        channel->retry = !fleet_settled(channel->fleet);
        if (!channel->retry) /* else `settle` tries again in a moment, which may be all it takes */
            log_line("%s: %s; trying again in %u s", channel_name(channel), channel->reason,
                     channel->child.wait_ms / 1000);
        return;
    }
    channel->reason[0] = '\0';
    channel->swept = channel->swept || (finishes && channel->drained);
    channel->retry = channel->drained = false;
    channel->finishers += finishes;
    channel_step(channel, CHILD_SPAWNED, 0);
    channel_watch_life(channel);
    log_line("%s: relay %ld started", channel_name(channel), channel->process.id);
    if (channel->removed)
        channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);
    else if (finishes)
        channel_replace_relay(channel);
}

void channel_note_work(struct channel *channel)
{
    struct counters now;
    if (!channel->ledger || channel->child.worked)
        return;
    channel_read_memory(channel, &now);
    /* Recording what had waited is work, too. */
    if (now.batches > channel->found.batches ||
        now.datums_recorded > channel->found.datums_recorded)
        channel_step(channel, CHILD_WORKED, 0);
}

/* Carries out what the state machine asks for. */
void channel_step(struct channel *channel, enum child_event event, long detail)
{
    unsigned todo = child_step(&channel->child, event, detail, fleet_now_ms());
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
        log_line("%s: relay %ld did not end in time; killing it", channel_name(channel),
                 channel->process.id);
        process_kill(&channel->process);
        channel->kill_sent = true;
    }
    if (todo & CHILD_SPAWN)
        spawn_relay(channel);
}

void channel_timer_due(void *context)
{
    channel_step(context, CHILD_TIMER, 0);
}

void channel_replace_relay(struct channel *channel)
{
    bool at_work = channel->child.state == CHILD_STARTING || channel->child.state == CHILD_RUNNING;
    bool was_blocked = channel->blocked[0] != '\0';
    channel->blocked[0] = '\0';
    if (at_work && channel_foresee(channel) < 0) {
        note_blocked(channel);
        channel_hear_again(channel);
        if (!was_blocked)
            log_line("%s: relay %ld goes on, %s", channel_name(channel), channel->process.id,
                     channel->blocked);
        channel_close_ahead(channel); /* nobody would take what it collects */
        channel->finishers = 0;       /* the change begins anew once it can */
        channel->swept = false;
        return;
    }
    channel_open_ahead(channel);
    channel->hand_over = channel_can_hand_over(channel);
    channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);
    channel->hand_over = false;
    channel_step(channel, CHILD_START_WANTED, 0);
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
    if (!end.killed && end.code == CHILD_EXIT_TAKEN && channel_join_relay(channel) == 0) {
        log_line("%s: relay %ld of an earlier manager is at work already", channel_name(channel),
                 channel->process.id);
        channel_watch_life(channel);
        if (channel->child.state == CHILD_STOPPING)
            process_terminate(&channel->process);
        return;
    }
    channel_note_work(channel);
    bool asked = channel->child.state == CHILD_STOPPING;
    /* It has left to a successor what is to be finished by now, or had looked for the last time
     * before nothing more came to its socket: that one finishes it. */
    bool left = end.killed || end.code == CHILD_EXIT_RENEW ||
                (end.code == 0 && channel_gives_up_socket(channel));
    bool unfinished = asked && !channel->child.wanted && !channel->kill_sent && left &&
                      is_unfinished(channel, true);
    channel->finishers += unfinished;
    channel->drained = asked && !end.killed && end.code == 0;
    char how[128];
    describe_end(&end, how, sizeof how);
    channel_explain(channel, "relay %ld %s", id, how);
    if (fleet->stopping && !unfinished && (end.killed || end.code != 0))
        fleet->unclean_ends++;
    channel->child.wanted = channel->child.wanted || unfinished;

    /* The next relay first, words later: the receive queue fills meanwhile. */
    channel_step(channel, end.killed ? CHILD_KILLED : CHILD_EXITED, end.code);
    /* A removed one for which none could be started is tried again, until all is recorded. */
    if (unfinished && (fleet->stopping || !channel_is_owing(channel)))
        channel_step(channel, CHILD_STOP_WANTED, FLEET_CHANGE_GRACE_MS);

    const struct child *child = &channel->child;
    if (child->state == CHILD_BACKOFF && child->wait_ms >= 1000)
        log_line("%s: relay %ld %s without having done any work; next try in %u s",
                 channel_name(channel), id, how, child->wait_ms / 1000);
    else if (child->state == CHILD_FAILED && !channel->timer.link_from)
        log_line("%s: relay %ld %s; not started again before a reload or restart",
                 channel_name(channel), id, how);
    else
        log_line("%s: relay %ld %s%s", channel_name(channel), id, how, asked ? ", as asked" : "");
    if (child->state == CHILD_STOPPED && (channel->removed || fleet->stopping))
        channel_tell_unfinished(channel);
    if (child->state == CHILD_STOPPED && channel->removed)
        fleet_forget(channel);
    if (asked && fleet_settled(fleet))
        fleet_settle(fleet);
}

bool channel_has_failed(const struct channel *channel)
{
    return channel->child.state == CHILD_FAILED || channel->child.state == CHILD_BACKOFF;
}

bool channel_is_ready(const struct channel *channel)
{
    return channel->ledger && channel->process.id &&
           ledger_ready(channel->ledger) == channel->process.id;
}

/* ---- relays that hang ---- */

/* Datagrams wait, and the relay shows no sign of life: it ends, and another goes on. */
static void replace_hung(struct channel *channel, uint64_t now_ns)
{
    if (channel->killed) /* its disk may not let it go yet */
        return;
    bool suspended = process_suspended(channel->process.id);
    if (channel->aborted || suspended) {
        log_line("%s: relay %ld hangs%s; killing it", channel_name(channel), channel->process.id,
                 suspended ? " (it is suspended)" : "");
        process_kill(&channel->process);
        channel->killed = true;
    } else {
        /* It notes which datagram it is at: one that hangs relay after relay is set aside. */
        log_line("%s: relay %ld hangs; aborting it", channel_name(channel), channel->process.id);
        process_abort(&channel->process);
        channel->aborted = true;
    }
    channel->stuck_ns = now_ns - (FLEET_HANG_MS - FLEET_ABORT_MS) * NS_PER_MS;
}

/* Whether it stands still, so that it is worth asking whether datagrams wait for it. */
static bool stands_still(struct channel *channel, uint64_t now_ns)
{
    if (channel->child.state != CHILD_RUNNING && channel->child.state != CHILD_STARTING)
        return false;
    if (!channel_is_ready(channel)) {
        /* Its disk may be slow, and it may wait for that; but not be suspended. */
        if (fleet_now_ms() - channel->child.spawned_ms >= FLEET_UNREADY_MS &&
            process_suspended(channel->process.id))
            replace_hung(channel, now_ns);
        return false;
    }
    uint64_t beats = ledger_beats(channel->ledger);
    bool still = beats == channel->beats;
    channel->beats = beats;
    if (!still)
        channel->stuck_ns = 0;
    return still;
}

/* It stands still, and datagrams wait or not. */
static void note_still(struct channel *channel, bool waiting, uint64_t now_ns)
{
    if (!waiting) {
        channel->stuck_ns = 0;
        return;
    }
    if (channel->stuck_ns == 0)
        channel->stuck_ns = now_ns;
    uint64_t stuck_ms = (now_ns - channel->stuck_ns) / NS_PER_MS;
    if (stuck_ms >= FLEET_HANG_MS ||
        (stuck_ms >= FLEET_SUSPENDED_MS && process_suspended(channel->process.id)))
        replace_hung(channel, now_ns);
}

/* The kernel is asked of many at once: a thousand calls for a thousand idle channels would be most
 * of what a manager does. */
void fleet_pulse_due(void *context)
{
    struct fleet *fleet = context;
    uint64_t now_ns = clock_monotonic_ns();
    bool any = false;
    for (struct channel *channel = fleet->first; channel;) {
        struct channel *still[NET_LOOK_MAX];
        int sockets[NET_LOOK_MAX];
        bool waiting[NET_LOOK_MAX];
        uint32_t count = 0;
        for (; channel && count < NET_LOOK_MAX; channel = channel->next)
            if (stands_still(channel, now_ns)) {
                still[count] = channel;
                sockets[count++] = channel->receive;
            }
        net_look(sockets, count, waiting);
        for (uint32_t i = 0; i < count; i++) {
            note_still(still[i], waiting[i], now_ns);
            any = any || waiting[i];
        }
    }
    loop_arm(fleet->options.loop, &fleet->pulse,
             now_ns + (any ? FLEET_SUSPECT_MS : FLEET_PULSE_MS) * NS_PER_MS);
}
