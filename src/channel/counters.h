/* SPDX-License-Identifier: MIT
 * What a channel counts: one struct, one table of names; status, metrics and the manual use the
 * same. Read from a relay's shared memory without a call into it, alive or dead. */
#ifndef FLOTILLA_CHANNEL_COUNTERS_H
#define FLOTILLA_CHANNEL_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/datum.h"
#include "channel/disk_times.h"
#include "channel/latency.h"
#include "os/net.h"

/* From here on: a count that the system does not keep. So is every sum with it; the value is such
 * that adding to it by `+=` leaves it unknown. */
#define COUNT_UNKNOWN (UINT64_C(1) << 62)

/* What a relay does with its files, as it is timed. */
enum disk_act { DISK_WRITE, DISK_SYNC, DISK_ACTS };

struct counters {
    uint64_t datagrams_received; /* taken from the socket */
    uint64_t datagrams_accepted; /* every datum in it valid */
    uint64_t datagrams_rejected; /* = received - accepted */
    uint64_t datagrams_dropped;  /* by the kernel at the socket; may be unknown */
    uint64_t datagrams_sent_full;
    uint64_t datums_sent_decimated;
    uint64_t send_errors; /* datagrams that did not leave this host, of both streams */
    uint64_t send_errors_by[NET_SEND_CAUSES]; /* sums to send_errors */
    uint64_t datums_accepted;
    uint64_t datums_recorded;   /* synced to the file */
    uint64_t datums_unrecorded; /* recording off, no room, or the disk failed */
    uint64_t sequence_gaps; /* numbers missing in the `sequence` field; falls as one comes late */
    uint64_t sequence_reordered, sequence_duplicates;
    uint64_t bytes_received;
    uint64_t bytes_recorded;           /* of files: header, framing and padding included, synced */
    uint64_t buffer_bytes;             /* gauge: memory in use to bridge the disk */
    uint64_t rejected[REJECT_REASONS]; /* by reason; sums to datagrams_rejected */

    uint64_t rejects_kept; /* datagrams set aside in a file of rejects */

    /* Not counters, but read in the same breath. */
    uint64_t batches;           /* since the memory was made; rises when a relay does work */
    uint64_t last_arrival_ns;   /* realtime of the newest datagram, accepted or not; 0: none yet */
    uint64_t rejected_in_a_row; /* since the last accepted datagram */
    uint64_t buffer_limit_bytes;
    uint64_t receive_queue_bytes; /* granted by the kernel */
    uint64_t unsynced_datums;     /* accepted, not yet counted as recorded or unrecorded */
    bool recording;               /* the channel records at all */
    bool direct_io;               /* the open file bypasses the page cache */
    bool latency_on;              /* it is measured now; what was measured stays */
    struct latency_figures latency;
    struct disk_figures disk[DISK_ACTS]; /* since the memory was made */
    int write_errno; /* positive errno of the last write, while writing fails; else 0 */
    char file[1200]; /* path of the open file; "" when none is open */
};

/* The counters as status and metrics show them, in their order: JSON key and metric stem, and place
 * in struct. What they mean is in flotilla(1). */
struct counter_name {
    const char *name;
    size_t offset; /* of a uint64_t in struct counters */
    bool gauge;
};
extern const struct counter_name counter_names[];
extern const size_t counter_name_count;

/* Why a datagram was not sent, for people: "the interface's queue is full ...". */
const char *send_cause_text(enum net_send_cause cause);
/* The name of its counter. */
const char *send_cause_counter(enum net_send_cause cause);

static inline uint64_t count_add(uint64_t a, uint64_t b)
{
    return a >= COUNT_UNKNOWN || b >= COUNT_UNKNOWN ? COUNT_UNKNOWN : a + b;
}

#endif
