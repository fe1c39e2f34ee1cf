/* SPDX-License-Identifier: MIT
 * A joined group: datagrams in, datums out. Its socket wakes the loop only while little comes: once
 * something has, it rests, and the tick reads what has gathered, of all that rest, 50 times a
 * second, or as often as its queue needs.
 * Known: a stream that is not a relay's (somebody else sends to the group) is judged as a relay
 * judges: a datagram with anything wrong in it counts as none. */
#include "gateway/feed_parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "avro/envelope.h"
#include "os/clock.h"

#define QUEUE_BYTES (8u << 20)
#define TICK_NS     (20 * NS_PER_MS)
#define TICK_NS_MIN (1 * NS_PER_MS)
#define AT_EASE     128u /* datagrams a tick; the shortest of queues holds some hundred */
#define ROUNDS_MAX  64u  /* of a stream at a time, so that one leaves others their turn */
#define QUIET_TICKS 50u

/* ---- datums ---- */

static void note_sequence(struct inlet *inlet, struct span datum, uint64_t at_ns)
{
    const struct layout *layout = inlet->subject.layout;
    int64_t number = 0;
    if (layout->sequence_leaf == LAYOUT_NO_LEAF)
        return;
    if (layout->sequence_step != LAYOUT_NO_STEP) {
        number = datum_sequence(layout, datum);
    } else {
        size_t bytes;
        uint32_t count = 0, i = 0;
        if (inlet->leaves == NULL ||
            datum_leaves(layout, datum, &bytes, inlet->leaves, &count) != REJECT_NONE)
            return;
        while (i < count && inlet->leaves[i].index != layout->sequence_leaf)
            i++;
        if (i == count)
            return;
        number = inlet->leaves[i].value.integer;
    }
    int64_t missing = sequence_watch_add(&inlet->sequence, number);
    if (missing != 0)
        inlet_note_gap(inlet, GAP_MISSING, inlet->last_ns > 0 ? inlet->last_ns : at_ns, at_ns,
                       missing, "");
}

static void take_datum(struct inlet *inlet, struct span datum, uint64_t at_ns)
{
    note_sequence(inlet, datum, at_ns);
    inlet_tell_datum(inlet, datum, at_ns);
    inlet->last_ns = at_ns;
}

static void take_opaque(struct inlet *inlet, const struct net_message *message,
                        struct span datagram, uint64_t at_ns)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    uint8_t *datum = inlet->feeds->opaque;
    struct address source;
    net_message_source(message, &source);
    net_write_address(text, &source);
    size_t front = opaque_write_front(
        datum, at_ns, (struct span){(const uint8_t *)text, strlen(text)}, datagram.bytes);
    if (datagram.bytes > 0)
        memcpy(datum + front, datagram.at, datagram.bytes);
    take_datum(inlet, (struct span){datum, front + datagram.bytes}, at_ns);
}

/* Judges all of the datagram before any of it counts. */
static enum reject find_datums(struct inlet *inlet, struct span rest, uint32_t *count)
{
    const struct framing *framing = &inlet->framing;
    uint32_t end = 0;
    *count = 0;
    if (rest.bytes == 0)
        return REJECT_EMPTY;
    while (rest.bytes > 0) {
        size_t bytes = 0;
        enum reject reason = framing_check(framing, rest);
        if (reason != REJECT_NONE)
            return reason;
        rest.at += framing->prefix_bytes;
        rest.bytes -= framing->prefix_bytes;
        reason = datum_check(inlet->subject.layout, rest, &bytes);
        if (reason != REJECT_NONE)
            return reason;
        if (bytes + framing->prefix_bytes == 0)
            return REJECT_TRAILING; /* no number of datums without bytes uses the rest up */
        rest.at += bytes;
        rest.bytes -= bytes;
        end += (uint32_t)(framing->prefix_bytes + bytes);
        inlet->feeds->ends[(*count)++] = end;
    }
    return REJECT_NONE;
}

static void take_datagram(struct inlet *inlet, const struct net_message *message,
                          struct span datagram, uint64_t at_ns)
{
    uint32_t count = 0, from = 0;
    if (inlet->framing.encoding == ENCODING_OPAQUE) {
        take_opaque(inlet, message, datagram, at_ns);
        return;
    }
    enum reject reason =
        message->truncated ? REJECT_OVERSIZE : find_datums(inlet, datagram, &count);
    if (reason != REJECT_NONE) {
        inlet_note_gap(inlet, GAP_INVALID, inlet->last_ns > 0 ? inlet->last_ns : at_ns, at_ns, 1,
                       datum_reject_name(reason));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = from + inlet->framing.prefix_bytes, end = inlet->feeds->ends[i];
        take_datum(inlet, (struct span){datagram.at + first, end - first}, at_ns);
        from = end;
    }
}

/* What its socket has dropped so far; what was queued before is told of less. */
static void note_dropped(struct inlet *inlet, uint32_t dropped, uint64_t at_ns)
{
    uint32_t more = dropped - inlet->dropped;
    if (more == 0 || more > INT32_MAX)
        return;
    inlet->dropped = dropped;
    inlet_note_gap(inlet, GAP_OVERRUN, inlet->last_ns > 0 ? inlet->last_ns : at_ns, at_ns, more,
                   "");
}

void inlet_look_for_drops(struct inlet *inlet)
{
    if (inlet->descriptor != DESCRIPTOR_NONE)
        note_dropped(inlet, net_dropped(inlet->descriptor), clock_realtime_ns());
}

static void take_message(struct inlet *inlet, const struct net_message *message)
{
    uint64_t at_ns = message->arrival_ns > 0 ? message->arrival_ns : clock_realtime_ns();
    if (message->dropped_known)
        note_dropped(inlet, message->dropped, at_ns);
    size_t offset = 0;
    uint32_t count = net_message_count(message);
    for (uint32_t i = 0; i < count; i++) {
        struct span datagram = net_message_datagram(message, offset);
        take_datagram(inlet, message, datagram, at_ns);
        offset += datagram.bytes;
    }
}

/* Reads what waits. How many messages that were. */
static unsigned read_waiting(struct inlet *inlet)
{
    struct net_batch *batch = inlet->feeds->batch;
    unsigned all = 0;
    for (unsigned round = 0; round < ROUNDS_MAX && inlet->descriptor != DESCRIPTOR_NONE; round++) {
        net_batch_clear(batch);
        int taken = net_batch_receive(batch, inlet->descriptor, FEED_MESSAGES);
        for (int i = 0; i < taken; i++) {
            struct net_message message;
            net_batch_message(batch, (uint32_t)i, &message);
            take_message(inlet, &message);
        }
        all += taken > 0 ? (unsigned)taken : 0;
        if (taken < (int)FEED_MESSAGES)
            break;
    }
    return all;
}

/* ---- when ---- */

void feeds_read_resting(void *context)
{
    struct feeds *feeds = context;
    unsigned most = 0;
    feeds_enter(feeds);
    for (struct inlet **link = &feeds->resting; *link != NULL;) {
        struct inlet *inlet = *link;
        unsigned taken = read_waiting(inlet);
        most = taken > most ? taken : most;
        inlet->quiet = taken > 0 ? 0 : inlet->quiet + 1;
        if (inlet->quiet < QUIET_TICKS) {
            link = &inlet->next_resting;
            continue;
        }
        *link = inlet->next_resting;
        inlet->resting = false;
        loop_watch(hub_loop(feeds->hub), &inlet->watch, LOOP_READ);
    }
    uint64_t wait_ns = most <= AT_EASE ? TICK_NS : TICK_NS * AT_EASE / most;
    if (feeds->resting != NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->tick,
                 clock_monotonic_ns() + (wait_ns > TICK_NS_MIN ? wait_ns : TICK_NS_MIN));
    feeds_leave(feeds);
}

static void ready(void *context, unsigned events)
{
    struct inlet *inlet = context;
    struct feeds *feeds = inlet->feeds;
    (void)events;
    feeds_enter(feeds);
    loop_unwatch(hub_loop(feeds->hub), &inlet->watch);
    inlet->resting = true;
    inlet->quiet = 0;
    inlet->next_resting = feeds->resting;
    feeds->resting = inlet;
    read_waiting(inlet);
    if (feeds->tick.link_from == NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->tick, clock_monotonic_ns() + TICK_NS);
    feeds_leave(feeds);
}

/* ---- joining ---- */

int inlet_join(struct inlet *inlet, char *error, size_t error_bytes)
{
    bool full = inlet->subject.source == FEED_FULL;
    const struct address *address = full ? &inlet->ways.full : &inlet->ways.decimated;
    const char *interface = full ? inlet->ways.full_by : inlet->ways.decimated_by;
    const struct net_receive_options options = {
        .listen = *address, .interface = interface, .queue_bytes = QUEUE_BYTES};
    char text[NET_ADDRESS_TEXT_BYTES];
    inlet->descriptor = net_open_receiver(&options);
    if (inlet->descriptor < 0) {
        int status = inlet->descriptor;
        inlet->descriptor = DESCRIPTOR_NONE;
        snprintf(error, error_bytes, "cannot join %s on interface %s: %s",
                 net_write_address(text, address), interface[0] != '\0' ? interface : "(any)",
                 strerror(-status));
        return status;
    }
    inlet->interface = interface[0] != '\0' ? net_interface_index(interface) : 0;
    inlet->dropped = 0;
    inlet->last_ns = 0;
    inlet->watch =
        (struct loop_watch){.descriptor = inlet->descriptor, .ready = ready, .context = inlet};
    return loop_watch(hub_loop(inlet->feeds->hub), &inlet->watch, LOOP_READ);
}

void inlet_leave(struct inlet *inlet)
{
    struct feeds *feeds = inlet->feeds;
    trail_close(inlet->trail);
    inlet->trail = NULL;
    if (inlet->descriptor == DESCRIPTOR_NONE)
        return;
    struct inlet **link = &feeds->resting;
    while (inlet->resting && *link != inlet)
        link = &(*link)->next_resting;
    if (inlet->resting)
        *link = inlet->next_resting;
    inlet->resting = false;
    loop_unwatch(hub_loop(feeds->hub), &inlet->watch);
    descriptor_close(inlet->descriptor);
    inlet->descriptor = DESCRIPTOR_NONE;
}

bool inlet_lost_interface(const struct inlet *inlet)
{
    const char *interface =
        inlet->subject.source == FEED_FULL ? inlet->ways.full_by : inlet->ways.decimated_by;
    if (interface[0] == '\0')
        return false;
    int index = net_interface_index(interface);
    return index > 0 && index != inlet->interface;
}
