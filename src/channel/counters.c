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

const struct counter_name counter_names[] = {
    COUNTER(datagrams_received, "Datagrams taken from the socket."),
    COUNTER(datagrams_accepted, "Datagrams in which every datum passed the schema."),
    COUNTER(datagrams_rejected, "Datagrams turned away; see the reasons."),
    COUNTER(datagrams_dropped, "Datagrams the kernel dropped because the receive queue was full."),
    COUNTER(datagrams_sent_full, "Datagrams sent again at full rate."),
    COUNTER(datums_sent_decimated, "Datums sent on the decimated stream."),
    COUNTER(send_errors, "Datagrams that could not be sent on, of both streams."),
    COUNTER(datums_accepted, "Datums that passed the schema."),
    COUNTER(datums_recorded, "Datums synced to a recording."),
    COUNTER(datums_unrecorded, "Accepted datums that are in no recording."),
    COUNTER(sequence_gaps, "Numbers missing in the sequence field."),
    COUNTER(bytes_received, "Payload bytes taken from the socket."),
    COUNTER(bytes_recorded, "Bytes of recordings synced, framing and padding included."),
    GAUGE(buffer_bytes, "Memory in use to bridge the disk."),
};
const size_t counter_name_count = ARRAY_COUNT(counter_names);
