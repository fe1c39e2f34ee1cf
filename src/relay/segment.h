/* SPDX-License-Identifier: MIT
 * One file of a recording: made, grown, synced, ended under its final name. Every step is noted in
 * the writer's state before or after it, so that the next relay goes on where this one stopped.
 * Names: CHANNEL-20260101T000000.000000Z-000001.avro, with ".part" behind while it is written.
 * Owned and used by the writing thread alone. */
#ifndef FLOTILLA_RELAY_SEGMENT_H
#define FLOTILLA_RELAY_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/settings.h"
#include "channel/staging.h"
#include "os/file.h"

struct segment {
    struct staging *staging;
    const struct channel_settings *settings;
    struct span schema; /* verbatim, for the header */
    int folder;         /* -1 while it cannot be opened; tried again with every file */
    int lock;
    bool direct; /* files are to be written past the page cache */
    uint32_t alignment;
    struct direct_file file;
    uint64_t reserved_bytes;
    uint8_t *scratch; /* page aligned; the header */
    size_t scratch_bytes;
    char host[128];
};

/* Opens the channel's folder, finds out how files can be written there (says so once where `auto`
 * falls back), and locks it against a second relay. 0; -EOPNOTSUPP where direct I/O is required and
 * refused; -EWOULDBLOCK where another relay holds the folder; -ENOMEM. A folder that cannot be
 * opened for now is no error: it is logged and tried again with every file, while the channel is
 * relayed. `why` gets a message for people. The segment must be zeroed; segment_release frees what
 * it holds. */
int segment_prepare(struct segment *segment, struct staging *staging,
                    const struct channel_settings *settings, struct span schema, char *why,
                    size_t why_bytes);
void segment_release(struct segment *segment);

/* Goes on with the file that was open in the staging memory, and ends every other ".part" of this
 * channel at its last whole block. Logs what it found. */
void segment_resume(struct segment *segment);

/* Makes the next file and its header. 0 or a negative errno, and then no file is open. */
int segment_open(struct segment *segment);
/* Writes whole blocks at `offset` of the open file. 0 or a negative errno. */
int segment_write(struct segment *segment, const struct span *parts, uint32_t part_count,
                  uint64_t offset);
/* Syncs the file and counts what it holds as recorded. 0 or a negative errno. */
int segment_sync(struct segment *segment);
/* Ends the open file. First it is synced; if that fails, or `torn_at` is not 0, the file ends at
 * what was last synced, or at `torn_at`. Renames it; a file without datums is removed. */
void segment_end(struct segment *segment, uint64_t torn_at);

#endif
