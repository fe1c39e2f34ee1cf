/* SPDX-License-Identifier: MIT
 * Interfaces and addresses that go, come, come late and are made anew under the same name: names
 * and addresses are the configuration's, and hold; numbers are the kernel's, and change. A socket
 * that waits for one listens on it again, with all that waits in the socket; the relay is told by
 * which interface to send; a channel that could not start is tried again.
 * Looked at when os/links tells of a change, and where the routing table chooses once more behind
 * it, as routes go after what they go with; where it cannot, and where something is away, once a
 * second. Where something may have
 * happened that nobody told of, the groups that an interface is in tell whether it is the same. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "os/health.h"
#include "os/links.h"

#define LOOK_PAUSE_NS (50 * NS_PER_MS)   /* between two looks, when much happens */
#define LATELY_NS     (2000 * NS_PER_MS) /* longer than from one tick to the next */

/* ---- what has gone ---- */

static bool listens_by_interface(const struct channel_settings *settings)
{
    return net_listens_by_interface(&settings->listen, settings_listen_interface(settings));
}

/* The interface that is away, or was last, of those to send by. */
static const char *way_out(const struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    return settings_send_interface(
        settings, channel->away_stream == LEDGER_FULL ? &settings->full : &settings->decimated);
}

static void write_gone(const struct channel *channel, bool input, char *text, size_t text_bytes)
{
    const struct channel_settings *settings = &channel->config.settings;
    const char *interface = input ? settings_listen_interface(settings) : way_out(channel);
    char address[NET_ADDRESS_TEXT_BYTES];
    bool known = channel->was_there & (input ? AWAY_INPUT : AWAY_OUTPUT);
    net_write_address(address, &settings->listen);
    const char *verb = input ? "come" : "be sent";
    bool routed = input && interface[0] == '\0';
    bool unicast = input && !listens_by_interface(settings);
    if (unicast || (input && channel->joined != 0))
        snprintf(text, text_bytes,
                 "no interface has the address of %s%s; nothing can come until one has", address,
                 known ? " any more" : "");
    else if (routed)
        snprintf(text, text_bytes, "no interface leads to %s%s; nothing can come until one does",
                 address, known ? " any more" : "");
    else if (known)
        snprintf(text, text_bytes, "%s is gone; nothing can %s until it is back", interface, verb);
    else
        snprintf(text, text_bytes, "there is no interface %s; nothing can %s until there is",
                 interface, verb);
}

void channel_write_away(const struct channel *channel, char *text, size_t text_bytes)
{
    text[0] = '\0';
    if (channel->away & AWAY_INPUT)
        write_gone(channel, true, text, text_bytes);
    else if (channel->away & AWAY_OUTPUT)
        write_gone(channel, false, text, text_bytes);
}

static uint64_t send_errors(const struct channel *channel)
{
    struct counters now;
    channel_read_memory(channel, &now);
    return channel->carried.send_errors + now.send_errors;
}

void channel_follow_anew(struct channel *channel)
{
    channel->away = channel->was_there = 0;
    channel->unsent_before = send_errors(channel);
}

/* Whether the output goes the way that the input comes: then only that is told of. */
static bool has_one_way(const struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    return listens_by_interface(settings) &&
           strcmp(settings_listen_interface(settings), way_out(channel)) == 0;
}

static void tell_gone(const struct channel *channel, enum away which)
{
    char text[FLEET_REASON_BYTES];
    write_gone(channel, which == AWAY_INPUT, text, sizeof text);
    log_line("%s: %s", channel_name(channel), text);
}

static void tell_back(const struct channel *channel, enum away which)
{
    const struct channel_settings *settings = &channel->config.settings;
    uint64_t gone_ms = (clock_monotonic_ns() - channel->away_ns[which]) / NS_PER_MS;
    char address[NET_ADDRESS_TEXT_BYTES];
    net_write_address(address, &settings->listen);
    bool input = which == AWAY_INPUT;
    const char *interface = !input                           ? way_out(channel)
                            : listens_by_interface(settings) ? settings_listen_interface(settings)
                                                             : "";
    log_line("%s: %s is %s after %llu.%llu s: %s", channel_name(channel),
             interface[0] ? interface : address, channel->was_there & which ? "back" : "there",
             (unsigned long long)(gone_ms / 1000), (unsigned long long)(gone_ms / 100 % 10),
             input ? "listening there again; what was sent to it meanwhile did not come"
                   : "sending there again");
}

static void tell_unsent(struct channel *channel)
{
    uint64_t missed = send_errors(channel) - channel->unsent_before;
    if (missed > 0)
        log_line("%s: %llu datagrams could not be sent meanwhile", channel_name(channel),
                 (unsigned long long)missed);
    channel->unsent_before += missed;
}

static void note_away(struct channel *channel, unsigned away, bool anew)
{
    const char *interface = settings_listen_interface(&channel->config.settings);
    unsigned went = away & ~channel->away, came = channel->away & ~away;
    bool one_way = has_one_way(channel);
    for (unsigned which = AWAY_INPUT; which <= AWAY_OUTPUT; which++)
        if (went & which)
            channel->away_ns[which] = clock_monotonic_ns();
    channel->away = away;
    if (went & AWAY_INPUT)
        tell_gone(channel, AWAY_INPUT);
    if ((went & AWAY_OUTPUT) && !(one_way && (away & AWAY_INPUT)))
        tell_gone(channel, AWAY_OUTPUT);
    if (came & AWAY_INPUT)
        tell_back(channel, AWAY_INPUT);
    if ((came & AWAY_OUTPUT) && !(one_way && (came & AWAY_INPUT)))
        tell_back(channel, AWAY_OUTPUT);
    if (came & AWAY_OUTPUT)
        tell_unsent(channel);
    if (anew && !away && !came)
        log_line("%s: %s is another one now, or was made anew: listening there",
                 channel_name(channel), interface[0] ? interface : "the interface of its group");
    channel->was_there |= ~away & (AWAY_INPUT | AWAY_OUTPUT);
}

/* ---- one channel ---- */

/* The number of an interface, 0: there is none of that name, or a negative errno: who knows. */
static int find(const char *name)
{
    int index = net_interface_index(name);
    return index == -ENODEV ? 0 : index;
}

/* The same of the one that the channel listens on. */
static int find_way_in(const struct channel_settings *settings)
{
    char found[NET_INTERFACE_BYTES];
    if (settings_listen_interface(settings)[0] != '\0')
        return find(settings_listen_interface(settings));
    int status = health_route(&settings->listen, "", found);
    if (status == 0)
        return find(found);
    return status == -ENETUNREACH || status == -EHOSTUNREACH || status == -ENODEV ? 0 : status;
}

/* Whether nothing can come, for want of an interface or address; as before, where that cannot be
 * told. A group is joined where it is to be joined now. */
static bool look_at_input(struct channel *channel, bool *anew)
{
    const struct channel_settings *settings = &channel->config.settings;
    bool was_away = channel->away & AWAY_INPUT;
    int status = links_has_address(&settings->listen, settings_listen_interface(settings));
    bool has_none = status == -EADDRNOTAVAIL || (status < 0 && was_away);
    if (!listens_by_interface(settings))
        return has_none;
    int index = find_way_in(settings);
    if (index < 0)
        return was_away;
    if ((unsigned)index == channel->joined)
        return index == 0 || has_none;
    int error = receiver_follow(channel, (unsigned)index);
    if (error < 0 && !was_away)
        log_line("%s: cannot listen on its interface: %s; trying again", channel_name(channel),
                 strerror(-error));
    *anew = error == 0 && index != 0 && (channel->joined != 0 || channel->left);
    channel->left = channel->left && !*anew;
    channel->joined = error < 0 ? 0 : (unsigned)index;
    return error < 0 || index == 0 || has_none;
}

static void leave_now(struct channel *channel)
{
    receiver_follow(channel, 0);
    channel->joined = 0;
    channel->left = true;
}

/* Whether nothing can be sent. The relay is told by which interface it is to. */
static bool look_at_output(struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    const struct address *streams[LEDGER_STREAMS] = {
        [LEDGER_FULL] = &settings->full, [LEDGER_DECIMATED] = &settings->decimated};
    struct ledger_ways ways = {{0}};
    bool away = false;
    for (int i = 0; i < LEDGER_STREAMS; i++) {
        const char *name = settings_send_interface(settings, streams[i]);
        int index = streams[i]->family != 0 && name[0] != '\0' ? find(name) : 0;
        if (index < 0)
            return channel->away & AWAY_OUTPUT;
        if (streams[i]->family == 0 || name[0] == '\0')
            continue;
        ways.index[i] = index == 0 ? LEDGER_AWAY : (uint32_t)index;
        if (index == 0)
            channel->away_stream = (enum ledger_stream)i;
        away = away || index == 0;
    }
    const struct ledger_ways told = channel->ledger ? ledger_ways(channel->ledger) : ways;
    if (memcmp(&told, &ways, sizeof ways) != 0)
        ledger_note_ways(channel->ledger, &ways);
    return away;
}

/* Leaves a group that it has joined on an interface of that number, where that is not in it. */
static void leave_what_went(struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    bool group = channel->receive >= 0 && address_is_multicast(&settings->listen);
    int index = group ? find_way_in(settings) : 0;
    channel->doubted = group && index <= 0;
    if (index <= 0 || (channel->joined != 0 && channel->joined != (unsigned)index) ||
        links_has_group(&settings->listen, (unsigned)index) == 1)
        return;
    channel->joined = (unsigned)index;
    leave_now(channel);
}

/* All leave before one joins again: the kernel counts by number, and takes who leaves what went for
 * one that has joined what came. */
static void settle_doubts(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        if (channel->doubted)
            leave_what_went(channel);
}

static void follow(struct channel *channel)
{
    bool anew = false;
    if (channel->receive < 0) { /* why it cannot start says all */
        channel->away = 0;
        return;
    }
    unsigned away = look_at_input(channel, &anew) ? AWAY_INPUT : 0;
    away |= look_at_output(channel) ? AWAY_OUTPUT : 0;
    note_away(channel, away, anew);
}

void channel_follow(struct channel *channel)
{
    settle_doubts(channel->fleet);
    follow(channel);
}

/* ---- the fleet ---- */

static void doubt_all(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        channel->doubted = true;
}

/* Its number may be another's by the next look. 0: nobody knows which have gone. */
static void interface_gone(void *context, unsigned index)
{
    struct fleet *fleet = context;
    if (index == 0) {
        log_line("more has happened to interfaces than the system could tell of: looking at all");
        doubt_all(fleet);
        return;
    }
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        if (channel->joined == index && channel->receive >= 0)
            leave_now(channel);
}

/* What cannot be started is tried again: what it lacked may be there now. */
static void retry_failed(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel && !fleet->stopping;
         channel = channel->next)
        if (channel->machine.child.state == CHILD_FAILED &&
            channel->machine.step == CHANNEL_WAITING)
            channel_step(channel, CHANNEL_DUE, 0);
    fleet_sweep(fleet);
    fleet_settle(fleet);
}

static void changed(void *context, unsigned events)
{
    struct fleet *fleet = context;
    (void)events;
    if (links_read(fleet->links.descriptor, interface_gone, fleet))
        loop_arm(fleet->options.loop, &fleet->look, fleet->looked_ns + LOOK_PAUSE_NS);
}

static void close_links(struct fleet *fleet)
{
    loop_unwatch(fleet->options.loop, &fleet->links);
    channel_close_one(&fleet->links.descriptor);
}

/* Once all channels have what they need. 0 or a negative errno. */
static int open_links(struct fleet *fleet)
{
    fleet->links =
        (struct loop_watch){.descriptor = links_open(), .ready = changed, .context = fleet};
    int error = fleet->links.descriptor;
    if (error >= 0)
        error = loop_watch(fleet->options.loop, &fleet->links, LOOP_READ);
    if (error < 0)
        close_links(fleet);
    return error < 0 ? error : 0;
}

/* What has happened since they were closed shows at this look. */
static void open_links_again(struct fleet *fleet)
{
    bool lacks = false;
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        lacks = lacks || channel->lacks;
    if (lacks || open_links(fleet) < 0)
        return;
    log_line("the system tells of changes to interfaces now");
    doubt_all(fleet);
}

static void look(void *context)
{
    struct fleet *fleet = context;
    int error = fleet->looked_ns == 0 ? open_links(fleet) : 0;
    if (error < 0)
        log_line("the system does not tell of changes to interfaces (%s): looking once a second",
                 strerror(-error));
    fleet->looked_ns = clock_monotonic_ns();
    settle_doubts(fleet);
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        follow(channel);
    retry_failed(fleet);
}

void fleet_follow_begin(struct fleet *fleet)
{
    fleet->links.descriptor = -1;
    fleet->look = (struct loop_timer){.due = look, .context = fleet};
    loop_arm(fleet->options.loop, &fleet->look, clock_monotonic_ns());
}

void fleet_follow_less(struct fleet *fleet)
{
    if (fleet->links.watched)
        log_line("out of open files: looking for changes to interfaces once a second");
    close_links(fleet);
}

void fleet_follow_tick(struct fleet *fleet)
{
    bool all = !fleet->links.watched;
    bool lately = clock_monotonic_ns() - fleet->looked_ns < LATELY_NS;
    if (all && fleet->looked_ns != 0)
        open_links_again(fleet);
    settle_doubts(fleet);
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        const struct channel_settings *settings = &channel->config.settings;
        bool routed = settings_listen_interface(settings)[0] == '\0' &&
                      address_is_multicast(&settings->listen);
        if (all || channel->away || (routed && lately))
            follow(channel);
    }
}

void fleet_follow_end(struct fleet *fleet)
{
    loop_disarm(&fleet->look);
    close_links(fleet);
}
