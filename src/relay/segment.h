/* SPDX-License-Identifier: MIT
 * One file of a recording: made, grown, synced, ended under its final name. Every step is noted in
 * the writer's state before or after it, so that the next relay resumes where this one stopped.
 * Names: CHANNEL-20260101T000000.000000Z-000001.avro, with ".part" behind while it is written.
 * Owned and used by the writing thread alone. */
#ifndef FLOTILLA_RELAY_SEGMENT_H
#define FLOTILLA_RELAY_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/recording_name.h"
#include "channel/settings.h"
#include "channel/staging.h"
#include "os/file.h"
#include "relay/folder.h"

/* Of one write: what is in doubt is written again in pieces of at most this. */
#define SEGMENT_WRITE_BYTES_MAX (2u << 20)

struct segment {
    struct lane *lane;
    const struct channel_settings *settings;
    struct channel_folder *folder;
    struct span schema;         /* verbatim, for the header */
    struct span time, sequence; /* paths of those fields, for the header; no bytes: none */
    enum recording_lane holds;
    bool resumed; /* until then a file that is open in the state is not open here */
    struct direct_file file;
    uint64_t reserved_bytes;
    struct direct_file ahead; /* the next file, made ahead, still without a header and a name */
    uint64_t ahead_reserved_bytes;
    bool ahead_tried; /* since `file` was opened */
    int sync_status;  /* of a failed sync; the kernel tells of it only once */
    uint8_t *scratch; /* page aligned; the header */
    size_t scratch_bytes;
    /* SEGMENT_WRITE_BYTES_MAX for what is written again; NULL once nothing can be in doubt. Takes
     * no room before it is used. */
    uint8_t *again;
    char host[128];
};

/* Prepares a lane's segment; the lane, settings, folder, schema and what it holds must be set, all
 * else zero. 0 or -ENOMEM. segment_release frees what it holds. */
int segment_prepare(struct segment *segment);
void segment_release(struct segment *segment);

/* Whether `text` names a file of this lane; taken apart in `name`. */
bool segment_owns(const struct segment *segment, const char *text, struct recording_name *name);
/* Writes `name` as it is at another stage. Returns `out`. */
char *segment_stage_name(char out[RECORDING_NAME_BYTES], struct recording_name name,
                         enum recording_stage stage);

/* Goes on with the file that was open in the staging memory, once. 0, or a negative errno while the
 * folder or the file cannot be opened: segment_open tries again. */
int segment_resume(struct segment *segment);
/* Gives up the file that a lane has open in the staging memory: what was not synced of it counts as
 * unrecorded. For a relay that does not record, and where the file has gone. */
void lane_discard_file(struct lane *lane);

/* Makes the file after the open one ahead, with space reserved as that one needed it, so that the
 * switch to it is short. Once for each file; if it fails, the switch makes it. */
void segment_make_ahead(struct segment *segment);
/* Removes what was made ahead and will not be needed soon. */
void segment_drop_ahead(struct segment *segment);

/* Makes the next file and its header, of what was made ahead if anything was, unless the last one
 * could be gone on with only now. Its name is on the medium from the next segment_sync on. 0 or a
 * negative errno. */
int segment_open(struct segment *segment);
/* Writes whole blocks at `offset` of the open file. 0 or a negative errno. */
int segment_write(struct segment *segment, const struct span *parts, uint32_t part_count,
                  uint64_t offset);
/* Whether a part of the open file may have been lost by a sync that the last relay was killed in:
 * it is to be written again before it can be synced. */
bool segment_in_doubt(const struct segment *segment);
/* Writes the next of that again: whole blocks of at most `bytes_max` (BLOCK_BYTES_MAX to
 * SEGMENT_WRITE_BYTES_MAX), as they are read back; one that is not sound cannot be. 0 or a negative
 * errno. Needs no memory that is not there yet. */
int segment_write_again(struct segment *segment, size_t bytes_max);
/* Syncs the file, and the folder if names in it changed, and counts what the file holds as
 * recorded: where a part is in doubt, what stands in front of that. 0 or a negative errno. */
int segment_sync(struct segment *segment);
/* Syncs the folder if names in it changed: where no file is open. 0 or a negative errno. */
int segment_sync_folder(struct segment *segment);
/* Ends the open file. 0, or a negative errno if it could not be synced. First it is synced; if that
 * fails, or `torn_at` is not 0, the file ends at what was last synced, or at `torn_at`. Renames it;
 * a file without datums is removed. The new name is on the
 * medium from the next segment_sync or segment_sync_folder on; until then a crash of the machine
 * may bring the old one back, and the next relay ends the file again. */
int segment_end(struct segment *segment, uint64_t torn_at);

#endif
