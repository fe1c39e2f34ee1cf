/* SPDX-License-Identifier: MIT
 * What staging.c, lanes.c and memory.c share: how the front of a channel's memory is laid out. For
 * them alone. */
#ifndef FLOTILLA_CHANNEL_STAGING_SHARED_H
#define FLOTILLA_CHANNEL_STAGING_SHARED_H

#include "base/crc32c.h"
#include "channel/staging.h"

struct lane_shared {
    _Alignas(64) _Atomic uint64_t writer_version; /* the current copy is this & 1 */
    struct writer_state writer[2];
    _Alignas(64) _Atomic uint64_t claim; /* block number times 4 plus enum staging_claim */
};

struct staging_shared {
    struct {
        uint32_t magic, version;
        uint64_t bytes;
        uint32_t slot_count, batch_messages;
        uint32_t receiver_state_bytes, writer_state_bytes; /* another build's may differ */
        uint32_t checksum;                                 /* of the words above */
    } fixed;

    uint32_t layout_checksum, factor, algorithm, recording, alignment, latency_on;
    uint32_t drops_uncounted, unused;
    uint64_t receive_queue_bytes, buffer_limit_bytes;
    char directory[CHANNEL_PATH_BYTES_MAX];

    struct { /* of the newest relay that tried it (staging_note_direct) */
        uint64_t folder;
        uint32_t alignment, checksum; /* of the words before */
    } direct;

    _Alignas(64) _Atomic uint64_t receiver_version; /* the current copy is this & 1 */
    _Atomic uint64_t in_flight;                     /* number of the newest batch asked for */
    _Atomic uint32_t mark;                          /* the datagram of it that is looked at */
    struct receiver_state receiver[2];
    struct latency latency[2]; /* changed only where it is measured */

    struct lane_shared lanes[LANES];

    /* Written by the crash handler alone. */
    _Alignas(64) _Atomic uint64_t crash_batch; /* the batch that relays crashed over */
    uint32_t crash_mark, crash_count;          /* at which datagram the last ones did, how many */
    uint8_t poison[STAGING_MARKS_MAX / 8];     /* a bit for each datagram that did it too often */

    /* Behind all that version 7 began with, in the room that its pages had left: zero where an
     * earlier relay made it. The writing thread's. */
    _Alignas(64) struct disk_times disk[DISK_ACTS];
};
_Static_assert(sizeof(struct staging_shared) <= 3 * BLOCK_PAGE_BYTES, "in as many pages as before");

/* Of a state, over all in front of its checksum. */
static inline uint32_t writer_checksum(const struct writer_state *state)
{
    return crc32c(0, state, offsetof(struct writer_state, checksum));
}

static inline uint32_t receiver_checksum(const struct receiver_state *state)
{
    return crc32c(0, state, offsetof(struct receiver_state, checksum));
}

#endif
