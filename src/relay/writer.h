/* SPDX-License-Identifier: MIT
 * The thread that brings closed blocks, and the open one while it fits a page, to the disk: writes,
 * syncs, rotates, and tries again when the disk fails. Never touches the network. */
#ifndef FLOTILLA_RELAY_WRITER_H
#define FLOTILLA_RELAY_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "channel/settings.h"
#include "channel/staging.h"
#include "os/thread.h"
#include "relay/segment.h"

enum writer_watch { WATCH_NOTHING, WATCH_CLOSED, WATCH_DATA };

struct writer {
    struct staging *staging;
    const struct channel_settings *settings;
    struct segment *segment;
    struct thread thread;
    struct wake wake;
    _Atomic uint32_t watch; /* enum writer_watch: what must wake it before its deadline */
    _Atomic uint32_t stop;  /* bring everything to the disk, then end */
    bool pages;             /* the open block may be written while it fits a page */
    uint32_t wake_blocks;   /* closed blocks that are worth a wake-up */
    uint8_t *page;          /* an aligned image for a part of a block */

    /* The thread's own. */
    uint64_t unsynced_since_ns; /* monotonic: the oldest datum not yet synced; 0: none */
    uint64_t page_written_ns;   /* monotonic: when the open block was last written */
    uint64_t retry_at_ns;       /* monotonic: 0 unless the disk failed */
};

/* Prepares a writer over a segment that has been prepared and resumed. 0 or a negative errno. The
 * writer must be zeroed. */
int writer_prepare(struct writer *writer, struct staging *staging,
                   const struct channel_settings *settings, struct segment *segment);
/* Starts the thread. 0 or a negative errno. */
int writer_start(struct writer *writer);
/* To be called by the receiving thread after it has put blocks in force. `closed` says that it
 * closed one. Costs a system call only if the writer must be woken. */
void writer_notice(struct writer *writer, bool closed);
/* Asks it to bring everything that is closed to the disk, waits, and frees what it holds. */
void writer_stop(struct writer *writer);
/* Brings everything to the disk and ends the file in the calling thread, which must be the only
 * one. */
void writer_drain(struct writer *writer);

/* Gives up all blocks that wait: counts them as unrecorded. For a relay without a place for them.
 */
void writer_abandon(struct staging *staging);

#endif
