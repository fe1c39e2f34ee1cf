/* SPDX-License-Identifier: MIT
 * The sockets of a channel. `receive` listens where the settings say. Ahead of a change to another
 * address `next_receive` is opened there; with the change that becomes `receive`, and what it was
 * before becomes `draining`: nothing more comes to that, the relay takes what waits in it and says
 * so in the ledger, and it is closed. What is held for the next manager has two names: "receive" is
 * the newest of them, "draining" the one before it. */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "os/file.h"

void channel_close_one(descriptor_t *descriptor)
{
    if (*descriptor >= 0)
        descriptor_close(*descriptor);
    *descriptor = -1;
}

static struct net_receive_options receive_options(const struct channel_settings *settings)
{
    return (struct net_receive_options){.listen = settings->listen,
                                        .interface = settings_listen_interface(settings),
                                        .sources = settings->sources,
                                        .source_count = settings->source_count,
                                        .queue_bytes = settings->receive_bytes};
}

void channel_hold(struct channel *channel, enum takeover_kind kind, descriptor_t descriptor)
{
    char name[TAKEOVER_NAME_BYTES];
    takeover_name(name, channel_name(channel), kind);
    if (descriptor >= 0)
        holder_put(channel->fleet->holder, name, descriptor);
    else
        holder_drop(channel->fleet->holder, name);
}

void channel_hold_process(struct channel *channel)
{
    char name[TAKEOVER_NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", channel_name(channel), HOLDER_PROCESS_SUFFIX);
    holder_put_process(channel->fleet->holder, name, channel->process.descriptor);
}

void receiver_hold(struct channel *channel)
{
    /* In such an order that each socket always has a name. */
    if (channel->next_receive >= 0) {
        channel_hold(channel, TAKEOVER_DRAINING, channel->receive);
        channel_hold(channel, TAKEOVER_RECEIVE, channel->next_receive);
    } else {
        channel_hold(channel, TAKEOVER_RECEIVE, channel->receive);
        channel_hold(channel, TAKEOVER_DRAINING, channel->draining);
    }
}

/* ---- whether one socket does for two settings ---- */

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

static bool same_receiver(const struct channel_settings *a, const struct channel_settings *b)
{
    return address_equal(&a->listen, &b->listen) &&
           strcmp(settings_listen_interface(a), settings_listen_interface(b)) == 0 &&
           same_joins(a, b);
}

/* Whether the same interfaces are listened on and sent by. */
static bool same_ways(const struct channel_settings *a, const struct channel_settings *b)
{
    return strcmp(settings_listen_interface(a), settings_listen_interface(b)) == 0 &&
           strcmp(settings_send_interface(a, &a->full), settings_send_interface(b, &b->full)) ==
               0 &&
           strcmp(settings_send_interface(a, &a->decimated),
                  settings_send_interface(b, &b->decimated)) == 0;
}

bool receiver_moves(const struct channel *channel)
{
    if (!channel->pending)
        return false;
    const struct channel_settings *current = &channel->config.settings,
                                  *next = &channel->pending->settings;
    /* A socket changes what it has joined and which interface it is bound to; whether a link has
     * the address of a link shows only when it is opened there. */
    bool rejoins = address_is_multicast(&next->listen) || !address_is_link_local(&next->listen);
    return !same_receiver(current, next) &&
           !(rejoins && address_equal(&current->listen, &next->listen));
}

/* ---- one socket ---- */

bool receiver_fits(descriptor_t descriptor, const struct channel_settings *settings)
{
    struct net_receive_options options = receive_options(settings);
    return net_check_receiver(descriptor, &settings->listen) == 0 &&
           net_adopt_receiver(descriptor, &options) == 0;
}

/* Closes a socket that nobody receives from any more. What had come to it, and the `dropped` before
 * that, counts as dropped. It is not held any longer, so that a manager killed here counts nothing
 * twice. */
static void give_up(struct channel *channel, descriptor_t *descriptor, uint32_t dropped,
                    const char *which)
{
    uint64_t lost = *descriptor >= 0 ? net_drain(*descriptor) + dropped : 0;
    channel_close_one(descriptor);
    holder_barrier(channel->fleet->holder,
                   HOLDER_BARRIER_MS); /* another channel may want its address */
    if (lost == 0)
        return;
    log_line("%s: %llu datagrams had come to its %s: counted as dropped", channel_name(channel),
             (unsigned long long)lost, which);
    channel->carried.datagrams_dropped = count_add(channel->carried.datagrams_dropped, lost);
    channel_write_ledger(channel);
}

void receiver_quiesce(struct channel *channel)
{
    if (channel->receive >= 0)
        net_quiesce(channel->receive);
}

void receiver_resume(struct channel *channel)
{
    if (channel->receive < 0 ||
        net_check_receiver(channel->receive, &channel->config.settings.listen) != -EISCONN)
        return;
    int error = net_resume(channel->receive);
    if (error < 0)
        log_line("%s: cannot have its socket listen again: %s; stop the fleet, and start it",
                 channel_name(channel), strerror(-error));
    channel->joined = 0; /* its interface may have been made anew meanwhile */
    channel->doubted = true;
    channel_follow(channel);
}

/* ---- a change of address ---- */

static void hold_next(void *context, descriptor_t made)
{
    struct channel *channel = context;
    channel->next_receive = made;
    receiver_hold(channel);
}

void receiver_open_next(struct channel *channel)
{
    struct net_receive_options options =
        receive_options(channel->pending ? &channel->pending->settings : &channel->config.settings);
    bool moves = receiver_moves(channel);
    if (channel->next_receive >= 0 && moves &&
        receiver_fits(channel->next_receive, &channel->pending->settings))
        return;
    receiver_close_next(channel);
    if (!moves || channel->draining >= 0)
        return;
    options.made = hold_next;
    options.context = channel;
    if (net_open_receiver_overlapping(&options, channel->receive) >= 0)
        return;
    channel->next_receive = -1; /* tried again, and told of, when the old one has gone */
    receiver_hold(channel);
}

void receiver_close_next(struct channel *channel)
{
    descriptor_t next = channel->next_receive;
    if (next < 0)
        return;
    channel->next_receive = -1;
    receiver_hold(channel);
    give_up(channel, &next, net_dropped(next), "next address");
}

void receiver_adopt(struct channel *channel, const struct channel_settings *next)
{
    const struct channel_settings *current = &channel->config.settings;
    struct net_receive_options from = receive_options(current), to = receive_options(next);
    channel->joined = 0; /* looked for anew before the next relay starts */
    channel->doubted = true;
    if (!same_ways(current, next))
        channel_follow_anew(channel);
    if (channel->next_receive >= 0) {
        channel->draining = channel->receive;
        channel->receive = channel->next_receive;
        channel->next_receive = -1;
    } else if (same_receiver(current, next)) {
        if (channel->receive >= 0 && current->receive_bytes != next->receive_bytes) {
            channel->queue_bytes = net_queue_bytes(channel->receive);
            net_set_queue(channel->receive, next->receive_bytes);
        }
    } else if (channel->receive >= 0 &&
               (receiver_moves(channel) || net_rejoin(channel->receive, &from, &to) < 0)) {
        /* Where only one socket may be at an address, this one, or another channel's, may have to
         * wait until these have gone. */
        receiver_give_up(channel, true);
    }
}

bool receiver_close_drained(struct channel *channel)
{
    if (channel->draining < 0 || !channel->ledger ||
        ledger_drained(channel->ledger) != net_cookie(channel->draining))
        return false;
    channel_close_one(&channel->draining);
    channel_hold(channel, TAKEOVER_DRAINING, -1);
    holder_barrier(channel->fleet->holder, HOLDER_BARRIER_MS);
    return true;
}

/* ---- beginning and end ---- */

static void hold_first(void *context, descriptor_t made)
{
    channel_hold(context, TAKEOVER_RECEIVE, made);
}

static void explain_refusal(struct channel *channel, int error)
{
    const struct channel_settings *settings = &channel->config.settings;
    const char *interface = settings_listen_interface(settings);
    const char *behind = settings->listen.zone[0] == '\0' ? interface : "";
    char text[NET_ADDRESS_TEXT_BYTES];
    net_write_address(text, &settings->listen);
    if (error == -ENODEV && interface[0])
        channel_explain(channel, "there is no interface %s", interface);
    else if (error == -ENODEV)
        channel_explain(channel, "no interface leads to %s: name one (interface)", text);
    else if (error == -EADDRNOTAVAIL)
        channel_explain(channel, "cannot listen at %s%s%s: no interface has the address", text,
                        behind[0] ? " on " : "", behind);
    else
        channel_explain(channel, "cannot listen at %s%s%s: %s", text, behind[0] ? " on " : "",
                        behind, strerror(-error));
    channel->awaits = error == -ENODEV || error == -EADDRNOTAVAIL;
}

int receiver_prepare(struct channel *channel)
{
    const struct channel_settings *settings = &channel->config.settings;
    struct net_receive_options options = receive_options(settings);
    if (channel->receive >= 0)
        return 0;
    options.made = hold_first;
    options.context = channel;
    descriptor_t opened = net_open_receiver(&options);
    if (opened < 0) {
        channel_hold(channel, TAKEOVER_RECEIVE, -1);
        explain_refusal(channel, opened);
        return opened;
    }
    channel->receive = opened;
    channel->joined = 0;
    return 0;
}

int receiver_follow(struct channel *channel, unsigned index)
{
    struct net_receive_options options = receive_options(&channel->config.settings);
    if (index == 0 && channel->next_receive >= 0 && channel->pending) {
        /* It is looked at when it is adopted: by then another one may have the number. */
        struct net_receive_options next = receive_options(&channel->pending->settings);
        net_follow(channel->next_receive, &next, channel->joined, 0);
    }
    return net_follow(channel->receive, &options, channel->joined, index);
}

bool receiver_waits(const struct channel *channel, bool moves)
{
    return (moves && channel->receive >= 0 && net_wait(channel->receive, false, 0) == 1) ||
           (channel->draining >= 0 && net_wait(channel->draining, false, 0) == 1);
}

void receiver_give_up(struct channel *channel, bool moves)
{
    if (channel->draining >= 0) {
        channel_hold(channel, TAKEOVER_DRAINING, -1);
        give_up(channel, &channel->draining, 0, "old address");
    }
    if (moves && channel->receive >= 0) {
        channel_hold(channel, TAKEOVER_RECEIVE, -1);
        give_up(channel, &channel->receive, 0, "address");
    }
}

void receiver_take_over(struct channel *channel, descriptor_t newest, descriptor_t before)
{
    const struct address *listen = &channel->config.settings.listen;
    if (newest >= 0)
        net_set_exclusive(newest);
    if (before >= 0)
        net_set_exclusive(before);
    /* That manager was killed between the two steps of holding: one socket has both names. */
    if (newest >= 0 && before >= 0 && net_cookie(newest) == net_cookie(before)) {
        channel_close_one(&before);
        channel_hold(channel, TAKEOVER_DRAINING, -1);
    }
    bool adopted = newest < 0 || net_check_receiver(newest, listen) != -EADDRNOTAVAIL;
    if (newest < 0 && before >= 0 && net_check_receiver(before, listen) != -EADDRNOTAVAIL) {
        newest = before; /* the other one was lost with whoever held it */
        before = -1;
    }
    channel->receive = adopted ? newest : before;
    channel->draining = adopted ? before : -1;
    channel->next_receive = adopted ? -1 : newest;
    channel->doubted = true;
}
