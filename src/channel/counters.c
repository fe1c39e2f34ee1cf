/* SPDX-License-Identifier: MIT
 * The table of counters. */
#include "channel/counters.h"

#include "base/check.h"

#define COUNTER(name, help)                                                                        \
    {                                                                                              \
#name, offsetof(struct counters, name), false, help                                        \
    }
#define GAUGE(name, help)                                                                          \
    {                                                                                              \
#name, offsetof(struct counters, name), true, help                                         \
    }
#define CAUSE(name, cause, help)                                                                   \
    {                                                                                              \
        "send_errors_" #name, offsetof(struct counters, send_errors_by[cause]), false, help        \
    }

const struct counter_name counter_names[] = {
    COUNTER(datagrams_received, "Datagrams taken from the socket."),
    COUNTER(datagrams_accepted, "Datagrams in which every datum passed the schema."),
    COUNTER(datagrams_rejected, "Datagrams turned away; see the reasons."),
    COUNTER(datagrams_dropped, "Datagrams dropped at the socket: no room, or a wrong checksum."),
    COUNTER(datagrams_sent_full, "Datagrams sent again at full rate."),
    COUNTER(datums_sent_decimated, "Datums sent on the decimated stream."),
    COUNTER(send_errors, "Datagrams that did not leave this host, of both streams."),
    COUNTER(datums_accepted, "Datums that passed the schema."),
    COUNTER(datums_recorded, "Datums synced to a recording."),
    COUNTER(datums_unrecorded, "Accepted datums that are in no recording."),
    COUNTER(sequence_gaps, "Numbers missing in the sequence field."),
    COUNTER(bytes_received, "Payload bytes taken from the socket."),
    COUNTER(bytes_recorded, "Bytes of recordings synced, framing and padding included."),
    GAUGE(buffer_bytes, "Memory in use to bridge the disk."),
    /* In this order from here on: the ledger's rows go by it. */
    COUNTER(sequence_reordered, "Numbers in the sequence field that came behind a later one."),
    COUNTER(sequence_duplicates, "Numbers in the sequence field that had come already."),
    CAUSE(queue_full, NET_SEND_QUEUE_FULL, "Of send_errors: dropped by the interface's queue."),
    CAUSE(socket_full, NET_SEND_SOCKET_FULL, "Of send_errors: the socket's own queue was full."),
    CAUSE(too_large, NET_SEND_TOO_LARGE, "Of send_errors: too large for a datagram."),
    CAUSE(no_link, NET_SEND_NO_LINK, "Of send_errors: the interface was down or gone."),
    CAUSE(unreachable, NET_SEND_UNREACHABLE, "Of send_errors: no route, or nobody at the address."),
    CAUSE(forbidden, NET_SEND_FORBIDDEN, "Of send_errors: refused by this host's packet filter."),
    CAUSE(other, NET_SEND_OTHER, "Of send_errors: for another reason, see the log."),
};
const size_t counter_name_count = ARRAY_COUNT(counter_names);

const char *send_cause_text(enum net_send_cause cause)
{
    static const char *const texts[NET_SEND_CAUSES] = {
        [NET_SEND_QUEUE_FULL] =
            "the interface's queue is full: its link is slower than the stream, or has no carrier",
        [NET_SEND_SOCKET_FULL] =
            "the socket's queue is full: the link is slower than the stream, or has no carrier",
        [NET_SEND_TOO_LARGE] = "too large for a datagram",
        [NET_SEND_NO_LINK] = "the interface is down or gone",
        [NET_SEND_UNREACHABLE] = "no route leads there, or nobody is at the address",
        [NET_SEND_FORBIDDEN] = "this host's packet filter refuses it",
        [NET_SEND_OTHER] = "the system refuses it",
    };
    CHECK(cause < NET_SEND_CAUSES);
    return texts[cause];
}

const char *send_cause_counter(enum net_send_cause cause)
{
    size_t offset = offsetof(struct counters, send_errors_by) + cause * sizeof(uint64_t);
    for (size_t i = 0; i < counter_name_count; i++)
        if (counter_names[i].offset == offset)
            return counter_names[i].name;
    CHECK(false);
    return "";
}
