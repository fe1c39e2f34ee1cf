/* SPDX-License-Identifier: MIT
 * The receiving thread's work: take a batch, check every datum, send it on, decimate, stage for the
 * disk. A batch is committed as a whole; until then nothing of it has happened but the sending.
 */
#ifndef FLOTILLA_RELAY_RECEIVER_H
#define FLOTILLA_RELAY_RECEIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "avro/decimator.h"
#include "avro/layout.h"
#include "channel/ledger.h"
#include "channel/settings.h"
#include "channel/staging.h"
#include "os/net.h"
#include "os/notify.h"
#include "relay/check.h"
#include "relay/stage.h"
#include "relay/writer.h"

struct receiver {
    const struct channel_settings *settings;
    const struct layout *layout;
    struct staging *staging;
    struct writer_thread *writer_thread; /* NULL: nothing is recorded */
    int descriptor;
    int draining; /* the socket before it, in which nothing more comes; -1: none */
    struct net_outbox full, decimated; /* descriptor -1: no such stream */
    bool coalesced_drops;        /* the kernel counts a coalesced message that it drops once */
    bool coalesces_still;        /* though it should not: the socket outlives relays */
    bool may_hand_over;          /* what is left behind outlives this process */
    const struct notify *notify; /* told of a sign of life ... */
    uint64_t beat_ns;            /* ... at least so often; 0: never */

    /* Its own, set by receiver_prepare. */
    struct net_batch *batch;
    struct checker checker;
    struct stage stage; /* its format is set before */
    struct decimator decimator;
    struct address source; /* of the newest opaque datagram, and its text */
    char source_text[NET_ADDRESS_TEXT_BYTES];
    size_t source_bytes;
    struct leaf *leaves;    /* layout->leaf_count */
    uint32_t sequence_at;   /* which of them was the sequence number */
    uint8_t *decimated_out; /* an arena for the decimated datums of a batch */
    size_t decimated_room, decimated_used;
    bool wants_leaves;
    bool oversize_told;       /* that a decimated datum was too long for a datagram: once */
    uint32_t messages_wanted; /* in the next batch */
    uint32_t largest_batch;   /* pages touched in the batch's buffers since memory was given back */
    bool touched;             /* there has been work since memory was last given back */
    uint64_t beat_due_ns;     /* monotonic */
    struct ledger_ways ways;  /* as the senders were last turned */
    uint32_t settling;        /* times that what was sent is still looked after */
    uint32_t full_told, decimated_told; /* bits of enum net_send_cause, in the log */
    bool handed_over;                   /* receiver_run has left everything to a successor */
    struct receiver_state *next;        /* the state being made, during a batch */
};

/* Lays out what it needs over the inherited memory. 0 or a negative errno. Fields above the mark
 * must be set, all else zero. */
int receiver_prepare(struct receiver *receiver);

/* Does the batch that a relay before this one had taken and not committed, whichever socket that
 * was from, and closes the block that it had open. */
void receiver_resume(struct receiver *receiver);

/* Closes the open blocks, if there are any. */
void receiver_close_block(struct receiver *receiver);

/* Takes what waits in the draining socket, says so (ledger_note_drained) and closes it, then works
 * on the other until asked to stop (interrupt_seen). Then it takes what is queued in both and
 * closes the open block; or, asked to hand over, ends between two batches, with what is queued left
 * to the successor: that gets the draining socket again unless it has been said to be drained. 0,
 * or a negative errno if a socket fails for good. A socket's queue is taken until nothing is left;
 * where datagrams come faster than they can be taken, as many messages as the queue can hold: more
 * than what waited when it was begun. */
int receiver_run(struct receiver *receiver);

#endif
