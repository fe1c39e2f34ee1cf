/* SPDX-License-Identifier: MIT
 * The thread that brings closed blocks, and the open one while it fits a page, to the disk: writes,
 * syncs, rotates, and tries again when the disk fails. Never touches the network. */
#ifndef FLOTILLA_RELAY_WRITER_H
#define FLOTILLA_RELAY_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "avro/layout.h"
#include "channel/settings.h"
#include "channel/staging.h"
#include "os/thread.h"
#include "relay/block_format.h"
#include "relay/segment.h"

enum writer_watch { WATCH_NOTHING, WATCH_MANY, WATCH_CLOSED, WATCH_DATA };

/* One lane's way to the disk. */
struct writer {
    struct lane *lane;
    const struct channel_settings *settings;
    struct segment *segment;
    struct block_format format;
    bool page_known;      /* how much the open page of the last relay's file holds */
    uint32_t wake_blocks; /* closed blocks that are worth a wake-up */
    uint32_t write_bytes; /* of a write, so that it takes no longer than WRITE_NS_MAX */
    uint8_t *page;        /* an aligned image for a part of a block */
    /* Blocks with a lower number were staged by an earlier relay: their bytes are checked before
     * they are written, and their datums with this layout, if it is not NULL. */
    uint64_t inherited;
    const struct layout *layout;
    uint64_t phase_ns; /* of rotation by age, below the age */

    uint64_t unsynced_since_ns; /* monotonic: the oldest datum or name not yet synced; 0: none */
    uint64_t page_written_ns;   /* monotonic: when the open block was last written */
    uint64_t looked_ns;         /* monotonic: when what is due was last done */
    uint64_t sync_from_ns;      /* monotonic: no sync is begun before, whatever is due */
    uint64_t sync_after_ns;     /* how old what is not synced gets before it is */
    uint64_t outlived_ns;       /* monotonic: when this relay is as old as the last one got */
    uint64_t retry_at_ns;       /* monotonic: 0 unless the disk failed */
    int64_t owed_ns;            /* in doubt: for how long new blocks may be written now */
};

/* The thread over all lanes. */
struct writer_thread {
    struct writer writers[LANES];
    struct thread thread;
    struct wake wake;
    _Atomic uint32_t watch[LANES]; /* enum writer_watch: what must wake it before its deadline */
    _Atomic uint32_t begun;        /* it may begin */
    _Atomic uint32_t stop;         /* end; having brought everything to the disk ... */
    _Atomic uint32_t quiesce;      /* ... or as it is */
    _Atomic uint32_t quiesced;     /* it has ended so */
    _Atomic uint32_t wants_successor;
    /* With a manager, that learns of it and replaces this relay: the id that is told; 0: without,
     * then it has to end for it. */
    long managed;
};

/* When a file that was opened at `opened_ns` must end for its age, all in nanoseconds of one clock:
 * at most `age_ns` later. Every channel has a moment of its own in every `age_ns`, `phase_ns` after
 * the whole multiple, so that a fleet does not end all its files at once; a file ends at the first
 * of these moments, or half-way to the second where less than half of `age_ns` is left to the
 * first. */
uint64_t writer_age_end_ns(uint64_t opened_ns, uint64_t age_ns, uint64_t phase_ns);

/* Prepares a lane's writer over a segment that has been prepared. 0 or a negative errno. The writer
 * must be zeroed but for `inherited` and `layout`. */
int writer_prepare(struct writer *writer, struct lane *lane,
                   const struct channel_settings *settings, const struct block_format *format,
                   struct segment *segment);
/* Before the thread begins: brings everything that is closed to the file that an earlier relay left
 * open, however long that gets, and ends it. What cannot be written there is discarded: in another
 * file it would stand behind another schema. Waits for the disk. */
void writer_finish_file(struct writer *writer);
/* Gives up all blocks of a lane that wait: counts them as unrecorded. For a relay without a place
 * for them. */
void lane_discard_blocks(struct lane *lane);

/* Starts the thread over writers that have all been prepared. It touches nothing before
 * writer_thread_begin, so that the sandbox can be closed over it. 0 or a negative errno. */
int writer_thread_start(struct writer_thread *thread);
void writer_thread_begin(struct writer_thread *thread);
/* Whether the relay is to end as it is, with all that waits left to its successor: the folder has
 * to be opened by one that still can. The receiving thread is woken for it (interrupt_wake). Never
 * with a manager: there may be none just now, nor anybody else who holds socket and memory. */
bool writer_thread_wants_successor(const struct writer_thread *thread);
/* To be called by the receiving thread after it has committed blocks. `closed` says that it
 * closed one in that lane. Costs a system call only if the writer must be woken. */
void writer_thread_notice(struct writer_thread *thread, enum lane_index lane, bool closed);
/* Asks it to end between two steps, and leave the rest to the next relay; whether it has. Asking
 * again is harmless. */
void writer_thread_quiesce(struct writer_thread *thread);
bool writer_thread_quiesced(const struct writer_thread *thread);
/* Waits for its end and frees what it holds; with `finish`, everything that is closed is on the
 * disk then, also if it was quiesced before. After writer_thread_begin. */
void writer_thread_join(struct writer_thread *thread, bool finish);

#endif
