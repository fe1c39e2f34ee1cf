/* SPDX-License-Identifier: MIT
 * The table of counters. */
#include "channel/counters.h"

#include "base/check.h"

#define COUNTER(name)                                                                              \
    {                                                                                              \
#name, offsetof(struct counters, name), false                                              \
    }
#define GAUGE(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct counters, name), true                                               \
    }
#define CAUSE(name, cause)                                                                         \
    {                                                                                              \
        "send_errors_" #name, offsetof(struct counters, send_errors_by[cause]), false              \
    }

const struct counter_name counter_names[] = {
    COUNTER(datagrams_received),
    COUNTER(datagrams_accepted),
    COUNTER(datagrams_rejected),
    COUNTER(datagrams_dropped),
    COUNTER(datagrams_sent_full),
    COUNTER(datums_sent_decimated),
    COUNTER(send_errors),
    COUNTER(datums_accepted),
    COUNTER(datums_recorded),
    COUNTER(datums_unrecorded),
    COUNTER(sequence_gaps),
    COUNTER(bytes_received),
    COUNTER(bytes_recorded),
    GAUGE(buffer_bytes),
    /* In this order from here on: the ledger's rows go by it. */
    COUNTER(sequence_reordered),
    COUNTER(sequence_duplicates),
    CAUSE(queue_full, NET_SEND_QUEUE_FULL),
    CAUSE(socket_full, NET_SEND_SOCKET_FULL),
    CAUSE(too_large, NET_SEND_TOO_LARGE),
    CAUSE(no_link, NET_SEND_NO_LINK),
    CAUSE(unreachable, NET_SEND_UNREACHABLE),
    CAUSE(forbidden, NET_SEND_FORBIDDEN),
    CAUSE(other, NET_SEND_OTHER),
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
