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
#define AT_EASE     128u /* datagrams a tick; a queue as short as systems allow holds some hundred */
#define ROUNDS_MAX  64u  /* of a stream at a time, so that one leaves others their turn */
#define QUIET_TICKS 50u

/* ---- datums ---- */

static void note_sequence(struct stream *stream, struct span datum, uint64_t at_ns)
{
    const struct layout *layout = stream->subject.layout;
    int64_t number = 0;
    if (layout->sequence_leaf == LAYOUT_NO_LEAF)
        return;
    if (layout->sequence_step != LAYOUT_NO_STEP) {
        number = datum_sequence(layout, datum);
    } else {
        size_t bytes;
        uint32_t count = 0, i = 0;
        if (stream->leaves == NULL ||
            datum_leaves(layout, datum, &bytes, stream->leaves, &count) != REJECT_NONE)
            return;
        while (i < count && stream->leaves[i].index != layout->sequence_leaf)
            i++;
        if (i == count)
            return;
        number = stream->leaves[i].value.integer;
    }
    int64_t missing = sequence_watch_add(&stream->sequence, number);
    if (missing != 0)
        stream_note_gap(stream, GAP_MISSING, stream->last_ns > 0 ? stream->last_ns : at_ns, at_ns,
                        missing, "");
}

static void take_datum(struct stream *stream, struct span datum, uint64_t at_ns)
{
    note_sequence(stream, datum, at_ns);
    stream_tell_datum(stream, datum, at_ns);
    stream->last_ns = at_ns;
}

static void take_opaque(struct stream *stream, const struct net_message *message,
                        struct span datagram, uint64_t at_ns)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    uint8_t *datum = stream->feeds->opaque;
    struct address source;
    net_message_source(message, &source);
    net_write_address(text, &source);
    size_t front = opaque_write_front(
        datum, at_ns, (struct span){(const uint8_t *)text, strlen(text)}, datagram.bytes);
    if (datagram.bytes > 0)
        memcpy(datum + front, datagram.at, datagram.bytes);
    take_datum(stream, (struct span){datum, front + datagram.bytes}, at_ns);
}

/* Judges all of the datagram before any of it counts. */
static enum reject find_datums(struct stream *stream, struct span rest, uint32_t *count)
{
    const struct framing *framing = &stream->framing;
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
        reason = datum_check(stream->subject.layout, rest, &bytes);
        if (reason != REJECT_NONE)
            return reason;
        if (bytes + framing->prefix_bytes == 0)
            return REJECT_TRAILING; /* no number of datums without bytes uses the rest up */
        rest.at += bytes;
        rest.bytes -= bytes;
        end += (uint32_t)(framing->prefix_bytes + bytes);
        stream->feeds->ends[(*count)++] = end;
    }
    return REJECT_NONE;
}

static void take_datagram(struct stream *stream, const struct net_message *message,
                          struct span datagram, uint64_t at_ns)
{
    uint32_t count = 0, from = 0;
    if (stream->framing.encoding == ENCODING_OPAQUE) {
        take_opaque(stream, message, datagram, at_ns);
        return;
    }
    enum reject reason =
        message->truncated ? REJECT_OVERSIZE : find_datums(stream, datagram, &count);
    if (reason != REJECT_NONE) {
        stream_note_gap(stream, GAP_INVALID, stream->last_ns > 0 ? stream->last_ns : at_ns, at_ns,
                        1, datum_reject_name(reason));
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t first = from + stream->framing.prefix_bytes, end = stream->feeds->ends[i];
        take_datum(stream, (struct span){datagram.at + first, end - first}, at_ns);
        from = end;
    }
}

static void take_message(struct stream *stream, const struct net_message *message)
{
    uint64_t at_ns = message->arrival_ns > 0 ? message->arrival_ns : clock_realtime_ns();
    if (message->dropped_known && message->dropped != stream->dropped) {
        uint32_t more = message->dropped - stream->dropped;
        stream->dropped = message->dropped;
        stream_note_gap(stream, GAP_OVERRUN, stream->last_ns > 0 ? stream->last_ns : at_ns, at_ns,
                        more, "");
    }
    size_t offset = 0;
    uint32_t count = net_message_count(message);
    for (uint32_t i = 0; i < count; i++) {
        struct span datagram = net_message_datagram(message, offset);
        take_datagram(stream, message, datagram, at_ns);
        offset += datagram.bytes;
    }
}

/* Reads what waits. How many messages that were. */
static unsigned read_waiting(struct stream *stream)
{
    struct net_batch *batch = stream->feeds->batch;
    unsigned all = 0;
    for (unsigned round = 0; round < ROUNDS_MAX && stream->descriptor != DESCRIPTOR_NONE; round++) {
        net_batch_clear(batch);
        int taken = net_batch_receive(batch, stream->descriptor, FEED_MESSAGES);
        for (int i = 0; i < taken; i++) {
            struct net_message message;
            net_batch_message(batch, (uint32_t)i, &message);
            take_message(stream, &message);
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
    for (struct stream **link = &feeds->resting; *link != NULL;) {
        struct stream *stream = *link;
        unsigned taken = read_waiting(stream);
        most = taken > most ? taken : most;
        stream->quiet = taken > 0 ? 0 : stream->quiet + 1;
        if (stream->quiet < QUIET_TICKS) {
            link = &stream->next_resting;
            continue;
        }
        *link = stream->next_resting;
        stream->resting = false;
        loop_watch(hub_loop(feeds->hub), &stream->watch, LOOP_READ);
    }
    uint64_t wait_ns = most <= AT_EASE ? TICK_NS : TICK_NS * AT_EASE / most;
    if (feeds->resting != NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->tick,
                 clock_monotonic_ns() + (wait_ns > TICK_NS_MIN ? wait_ns : TICK_NS_MIN));
    feeds_leave(feeds);
}

static void ready(void *context, unsigned events)
{
    struct stream *stream = context;
    struct feeds *feeds = stream->feeds;
    (void)events;
    feeds_enter(feeds);
    loop_unwatch(hub_loop(feeds->hub), &stream->watch);
    stream->resting = true;
    stream->quiet = 0;
    stream->next_resting = feeds->resting;
    feeds->resting = stream;
    read_waiting(stream);
    if (feeds->tick.link_from == NULL)
        loop_arm(hub_loop(feeds->hub), &feeds->tick, clock_monotonic_ns() + TICK_NS);
    feeds_leave(feeds);
}

/* ---- joining ---- */

int stream_join(struct stream *stream, char *error, size_t error_bytes)
{
    bool full = stream->subject.source == FEED_FULL;
    const struct address *address = full ? &stream->ways.full : &stream->ways.decimated;
    const char *interface = full ? stream->ways.full_by : stream->ways.decimated_by;
    const struct net_receive_options options = {
        .listen = *address, .interface = interface, .queue_bytes = QUEUE_BYTES};
    char text[NET_ADDRESS_TEXT_BYTES];
    stream->descriptor = net_open_receiver(&options);
    if (stream->descriptor < 0) {
        int status = stream->descriptor;
        stream->descriptor = DESCRIPTOR_NONE;
        snprintf(error, error_bytes, "cannot join %s on interface %s: %s",
                 net_write_address(text, address), interface[0] != '\0' ? interface : "(any)",
                 strerror(-status));
        return status;
    }
    stream->interface = interface[0] != '\0' ? net_interface_index(interface) : 0;
    stream->dropped = 0;
    stream->last_ns = 0;
    stream->watch = (struct loop_watch){
        .descriptor = stream->descriptor, .ready = ready, .context = stream};
    return loop_watch(hub_loop(stream->feeds->hub), &stream->watch, LOOP_READ);
}

void stream_leave(struct stream *stream)
{
    struct feeds *feeds = stream->feeds;
    trail_close(stream->trail);
    stream->trail = NULL;
    if (stream->descriptor == DESCRIPTOR_NONE)
        return;
    struct stream **link = &feeds->resting;
    while (stream->resting && *link != stream)
        link = &(*link)->next_resting;
    if (stream->resting)
        *link = stream->next_resting;
    stream->resting = false;
    loop_unwatch(hub_loop(feeds->hub), &stream->watch);
    descriptor_close(stream->descriptor);
    stream->descriptor = DESCRIPTOR_NONE;
}

bool stream_lost_interface(const struct stream *stream)
{
    const char *interface = stream->subject.source == FEED_FULL ? stream->ways.full_by
                                                                : stream->ways.decimated_by;
    if (interface[0] == '\0')
        return false;
    int index = net_interface_index(interface);
    return index > 0 && index != stream->interface;
}
