/* SPDX-License-Identifier: MIT
 * The memory of one channel, shared by the manager (who made it), the relay at work and the relay
 * after it: the batch in flight, the blocks on their way to the disk, and what was counted.
 *
 * Whatever instant a relay dies at, the next one resumes from here. Three rules make it so:
 * 1. Each of the two threads keeps its state twice. It changes the copy that is not current
 *    and makes it current with one store (channel/twin.h), a batch or a block at a time. What was
 *    not committed never happened, and is done again from the same bytes.
 * 2. The receive buffers are here: the kernel notes each datagram it hands over in them, so a batch
 *    that was taken but not committed is still there to be done.
 * 3. Bytes below what is committed are never changed: appending to a block or writing a block to
 * its place in the file twice gives the same bytes. In front of all stands the ledger
 * (channel/ledger.h), which is for the manager. Relies on the single writer of each state. Map: see
 * staging.c. */
#ifndef FLOTILLA_CHANNEL_STAGING_H
#define FLOTILLA_CHANNEL_STAGING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/block.h"
#include "avro/datum.h"
#include "avro/decimator.h"
#include "channel/counters.h"
#include "channel/disk_times.h"
#include "channel/latency.h"
#include "channel/ledger.h"
#include "channel/settings.h"
#include "os/net.h"

/* Elsewhere a library takes a lock for each, and one of this process alone: manager and relay would
 * not see each other's. */
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
               "this processor has no atomic operations of 64 bits, and Flotilla needs them");

#define STAGING_BATCH_MESSAGES 32u
#define STAGING_SLOTS_MIN      4u
#define STAGING_SLOTS_MAX      65536u
/* As many blocks as a slot can hold: they may be of one page each. */
#define STAGING_QUEUE_PER_SLOT 64u
/* With less left, a slot takes no further block: the largest datum must fit. */
#define STAGING_SLOT_REST_BYTES (72u << 10)
/* A datagram of a batch that crashes so many relays in a row is set aside. */
#define STAGING_CRASHES_MAX 2u
/* Datagrams of a batch that can be told apart when one of them crashes its relay. */
#define STAGING_MARKS_MAX 4096u
#define STAGING_NOWHERE   0xffffffffu

/* A block that is closed and waits for the writer. A slot of BLOCK_BYTES_MAX holds one or more. */
struct staging_block {
    uint32_t slot, offset; /* where its image begins; the offset is page aligned */
    uint32_t data_bytes;
    uint32_t last;          /* the slot holds no block behind this one */
    uint64_t count;         /* datums */
    uint64_t arrival_ns;    /* realtime of its first datum */
    uint64_t since_ns;      /* monotonic: when its first datum came in */
    uint32_t data_checksum; /* of its first `checked_bytes` (block_carry_checksum) */
    uint32_t checked_bytes;
    uint32_t padding, checksum; /* of the words above, once it is closed (staging_seal_block) */
};

/* Two kinds of datums go to the disk, each by a lane of its own, into files of its own. */
enum lane_index { LANE_DATUMS, LANE_REJECTS, LANES };

/* The receiver's end of a lane. */
struct lane_state {
    uint64_t closed;           /* blocks closed since the beginning; the open one has this number */
    struct staging_block open; /* count 0: none is open */
    uint32_t slot_taken;       /* `open.slot` is in use, up to `open.offset` by closed blocks */
    uint32_t padding;
};

/* The sockets that batches are taken from: the channel's, and the one before it. */
enum socket_index { SOCKET_RECEIVE, SOCKET_DRAINING, SOCKETS };

/* How far the system's own count of a socket's drops (net_dropped) is in datagrams_dropped. */
struct socket_drops {
    uint64_t cookie; /* net_cookie; 0: no socket, or not known */
    uint32_t dropped;
    uint32_t padding;
};

/* Numbers of the `sequence` field that go on from one another (relay/sequence.h). */
struct sequence_run {
    int64_t newest;
    uint64_t missing; /* of the 64 below it, a bit each, the nearest first */
    uint32_t depth;   /* how many below it are not below the run's first; at most 64 */
    uint32_t known;   /* there is such a run */
};

/* What the receiving thread has done. */
struct receiver_state {
    uint64_t batches; /* committed; the one in flight is this + 1 */
    uint64_t datagrams_received, datagrams_accepted, datagrams_dropped, datagrams_sent_full;
    uint64_t datums_sent_decimated, send_errors, datums_accepted, datums_unrecorded;
    uint64_t send_errors_by[NET_SEND_CAUSES];
    uint64_t sequence_gaps, sequence_reordered, sequence_duplicates, bytes_received;
    uint64_t rejected[REJECT_REASONS];
    uint64_t rejected_in_a_row, last_arrival_ns;
    uint64_t rejects_kept, rejects_kept_bytes; /* given to LANE_REJECTS; bytes of closed blocks */
    uint64_t reject_second;                    /* of the newest reject's arrival ... */
    uint64_t rejects_in_second;                /* ... and how many it had */
    struct lane_state lane[LANES];
    struct socket_drops sockets[SOCKETS];
    struct sequence_run sequence[2]; /* the one at work; one that was, or that one number began */
    uint32_t sequence_doubtful;      /* that number is in sequence_reordered: 1 or 0 */
    uint32_t taking;                 /* enum socket_index: where the next batch comes from */
    uint32_t window_fill;            /* datums in the decimation window */
    uint32_t window_copy;            /* which of the two accumulator areas is current */
    uint64_t window_time;            /* bits of the time field of the window's first datum ... */
    uint32_t window_time_known;      /* ... if it had one */
    uint32_t coalesced;              /* datagrams in the newest message */
    uint32_t latency_copy;           /* which of the two histograms is current */
    uint32_t padding;
    uint64_t version;  /* the commit that made it current ... */
    uint32_t checksum; /* ... and made this, of all above */
};

/* What the writing thread has done in a lane. The file is the one being written, if `file_open`. */
struct writer_state {
    uint64_t written; /* blocks done with since the beginning: in the file, or discarded */
    uint64_t datums_recorded, datums_unrecorded, bytes_recorded;
    uint64_t unsynced_datums;   /* in the file, not yet synced ... */
    uint64_t unsynced_since_ns; /* ... monotonic: since when the oldest waits; 0: not known */
    /* Block number `written` may be in parts: its first `early_datums` (`early_bytes`) are in a
     * file that has been ended; up to `open_datums` (`open_bytes`) it stands in this file as its
     * open page; `counted_datums` of it are in the totals above. */
    uint64_t early_datums, open_datums, counted_datums;
    uint32_t early_bytes, open_bytes;
    uint64_t file_number; /* of the newest file, open or not */
    /* Realtime: the newest arrival in the files since number `ordered_since`, which no block in
     * them lies behind by more than BLOCK_DISORDER_NS. 0: the next file begins a new order. */
    uint64_t latest_ns, ordered_since;
    uint64_t file_stamp_ns;  /* realtime in its name */
    uint64_t file_opened_ns; /* monotonic, for rotation by age */
    uint64_t
        file_bytes; /* header and finished blocks; the open page stands behind. 0: not made yet */
    uint64_t file_header_bytes;
    uint64_t begun_ns;          /* monotonic: when the relay at work began to write */
    uint64_t synced_ns;         /* monotonic: when a sync last ended, however it did; 0: none */
    uint64_t file_synced_bytes; /* the file's end when it was last synced */
    /* Datums of the page that ended it then, if that page may still grow; they are recorded. */
    uint64_t synced_page_datums;
    /* A sync that nobody saw the end of left in doubt what was not synced before it, up to here; 0:
     * nothing. Up to `file_again_bytes` it has been written again, with `again_datums` that are
     * not recorded yet. */
    uint64_t file_doubt_bytes, file_again_bytes, again_datums;
    uint64_t file_final_bytes; /* while it is being ended: where */
    uint32_t file_open, file_ending;
    uint32_t file_direct;
    uint32_t folder_unsynced; /* names changed that may not be on the medium yet */
    uint32_t file_alignment, write_errno;
    uint8_t sync_marker[BLOCK_SYNC_BYTES];
    char file_name[128];   /* without ".part" */
    uint64_t version;      /* the commit that made it current ... */
    uint32_t file_syncing; /* a sync of the file has begun, and was not seen to end well */
    uint32_t checksum;     /* ... and made this, of all above */
};

struct lane {
    struct staging *staging;
    enum lane_index index;
    struct lane_shared *shared;
    uint32_t queue_count;        /* STAGING_QUEUE_PER_SLOT for each slot */
    struct staging_block *queue; /* closed blocks, by block number modulo queue_count */
};

struct staging {
    void *memory;
    size_t bytes;
    uint32_t slot_count;
    struct ledger_shared *ledger;
    struct staging_shared *shared;
    struct lane lanes[LANES];
    struct accumulator *accumulators[2]; /* LAYOUT_LEAVES_MAX each */
    void *batch;                         /* net_batch_bytes(STAGING_BATCH_MESSAGES) */
    uint8_t *slots;                      /* slot_count times BLOCK_BYTES_MAX */
};

/* To memory that is fresh: so much of what the system dropped on these sockets is counted by now,
 * in another memory; the newest message had `coalesced` datagrams. */
void staging_note_sockets(struct staging *staging, const struct socket_drops sockets[SOCKETS],
                          uint32_t coalesced);
/* How much of a socket's own count of drops is in datagrams_dropped; 0 of one that no relay has
 * taken from: it counts from its beginning. */
uint32_t staging_dropped(const struct receiver_state *state, uint64_t cookie);
/* For a relay that takes over, once the batch in flight is done, as that is of the socket that the
 * last relay took from: the sockets that this one has, by their cookies; with `drains`, batches
 * come from SOCKET_DRAINING until the receiver has drained it. When a count is reset: never, but
 * for a socket that neither count was of, which begins at 0. One that was SOCKET_RECEIVE keeps its
 * count as SOCKET_DRAINING, and back; without one to drain, the last SOCKET_RECEIVE is kept there.
 * So each drop is counted once, however often a pair of sockets is handed down and in which roles.
 */
void staging_use_sockets(struct staging *staging, uint64_t receive, uint64_t draining, bool drains);

/* The current state; the copy to change, made equal to it; and making that copy current. Only
 * the thread that owns the state may call the last two. */
const struct receiver_state *staging_receiver(const struct staging *staging);
struct receiver_state *staging_receiver_begin(struct staging *staging);
void staging_receiver_commit(struct staging *staging);

/* A copy of the other thread's state as of one instant. */
void staging_copy_receiver(const struct staging *staging, struct receiver_state *copy);

static inline uint8_t *staging_image(const struct staging *staging,
                                     const struct staging_block *block)
{
    return staging->slots + (size_t)block->slot * BLOCK_BYTES_MAX + block->offset;
}
/* Carries a block's checksum on over all that was appended to it. */
static inline void staging_carry_checksum(const struct staging *staging,
                                          struct staging_block *block)
{
    block->data_checksum = block_carry_checksum(block->data_checksum, staging_image(staging, block),
                                                block->checked_bytes, block->data_bytes);
    block->checked_bytes = block->data_bytes;
}

/* Notes that a batch is about to be taken: between this and the next staging_receiver_commit, what
 * the batch's buffers hold has not been done. */
void staging_flight_begin(struct staging *staging);
/* Whether a batch was in flight when the last relay ended. */
bool staging_flight_pending(const struct staging *staging);

/* Notes which datagram of the batch in flight is looked at, counted from 0, or STAGING_NOWHERE: one
 * store. */
void staging_mark(struct staging *staging, uint32_t index);
/* For the crash handler: notes that the relay has crashed over the datagram marked. Writes memory,
 * does nothing else. */
void staging_note_crash(struct staging *staging);
/* Whether the datagram of the batch in flight has crashed STAGING_CRASHES_MAX relays. */
bool staging_is_poison(const struct staging *staging, uint32_t index);
/* Whether a relay has noted that a datagram of the batch in flight crashed it. */
bool staging_has_poison(const struct staging *staging);
/* Whether a relay is, or was when it ended, at a datagram of a batch. */
bool staging_is_at_datagram(const struct staging *staging);
/* For who gives a channel up, with no relay at it: the datagrams in flight, which are counted
 * nowhere. */
uint64_t staging_flight_datagrams(const struct staging *staging);

/* The histogram to change in this batch, made equal to the current one; it becomes current with the
 * state. Between staging_receiver_begin and _commit. */
struct latency *staging_latency_begin(struct staging *staging, struct receiver_state *next);

/* Whether what is staged or in an open file was checked with another layout. */
bool staging_layout_changed(const struct staging *staging, uint32_t layout_checksum);

/* The alignment that the blocks which wait were laid out for; 0 if none wait. */
uint32_t staging_alignment(const struct staging *staging);

/* A folder (folder_identity) that takes direct I/O, in units of `alignment`, as a relay has tried:
 * so that the next one need not wait for the disk before it receives. Noting alignment 0 forgets
 * it. */
void staging_note_direct(struct staging *staging, uint64_t folder, uint32_t alignment);
/* The alignment, or 0 where this folder has not been tried. */
uint32_t staging_known_direct(const struct staging *staging, uint64_t folder);

/* What the relay found when it started, for status. Where the layout or the decimation is another
 * than before, the window and the sequence begin anew. */
void staging_note_start(struct staging *staging, const struct channel_settings *settings,
                        uint64_t receive_queue_bytes, uint32_t layout_checksum, uint32_t alignment);
/* Whether the system does not count what it drops in front of the relay (net_counts_drops): they
 * are COUNT_UNKNOWN then. */
void staging_note_uncounted(struct staging *staging, bool uncounted);

/* Reads everything that is counted, but for `disk`, of a relay alive or dead. Never waits. */
void staging_read(const struct staging *staging, struct counters *counters);
/* And what writes and syncs took, which no relay asks for. */
void staging_read_disk(const struct staging *staging, struct counters *counters);

#endif
