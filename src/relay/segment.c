/* SPDX-License-Identifier: MIT
 * Recording files. Relies on the writer's state for every step that must survive a kill, and on
 * the file system for O_EXCL, rename without replacing, and fdatasync.
 * Known: a rename and the note of it are two steps; a kill between them is found at the next start.
 * A name is synced with the next datums, not at once: until then a crash of the machine can bring
 * ".part" back, or take a file away of which nothing was counted yet.
 * A file that could not be cut where it ends keeps ".part" until the next relay starts, or until
 * retention removes it in its turn. That relay cannot know where: blocks behind it, which the
 * failed write left whole, are in the next file too.
 * Blocks that are discarded (a relay without its folder is stopped, they are damaged, or of
 * another schema while the folder cannot be read) may have been written already by a relay that was
 * killed before it noted it: until the file grows over them or is ended, they stand behind its end.
 * A sync that failed is told of once: a file whose last sync failed and that the next relay ends
 * may, after a crash of the machine, hold damage behind what was counted as recorded.
 * Known, too: where a clock is set back while datums of a schema wait that a change of it has left
 * behind, they stay in one file, though it says that it is in order: the blocks from there on note
 * no place, and the next file begins a new order.
 */
#include "relay/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "base/calendar.h"
#include "base/check.h"
#include "base/log.h"
#include "channel/lanes.h"
#include "channel/recording_name.h"
#include "os/clock.h"
#include "os/host.h"
#include "os/memory.h"
#include "relay/leftover.h"

#define RESERVE_BYTES_MIN  (1u << 20)
#define RESERVE_BYTES_MAX  (64u << 20)
#define HEADER_EXTRA_BYTES 16384u /* of a header besides the schema, padding included */

int segment_prepare(struct segment *segment)
{
    segment->file.descriptor = segment->ahead.descriptor = -1;
    host_name(segment->host, sizeof(segment->host));
    segment->scratch_bytes =
        segment->schema.bytes + HEADER_EXTRA_BYTES + 2 * segment->folder->alignment;
    segment->scratch = private_memory_map(segment->scratch_bytes);
    if (segment->scratch == NULL)
        return -ENOMEM;
    /* Not when it is needed: for want of memory, what could not be written again would be lost. */
    segment->again = private_memory_map(SEGMENT_WRITE_BYTES_MAX);
    return segment->again == NULL ? -ENOMEM : 0;
}

/* Gives back what only a file of an earlier relay needs. */
static void release_again(struct segment *segment)
{
    if (segment->again != NULL)
        private_memory_unmap(segment->again, SEGMENT_WRITE_BYTES_MAX);
    segment->again = NULL;
}

void segment_release(struct segment *segment)
{
    if (segment->scratch == NULL)
        return; /* never prepared */
    direct_file_close(&segment->file);
    direct_file_close(&segment->ahead);
    release_again(segment);
    private_memory_unmap(segment->scratch, segment->scratch_bytes);
    segment->scratch = NULL;
}

bool segment_owns(const struct segment *segment, const char *text, struct recording_name *name)
{
    return recording_name_read(name, text) && name->stage != RECORDING_OPENING &&
           name->lane == segment->holds && strcmp(name->channel, segment->settings->name) == 0;
}

struct number_search {
    const struct segment *segment;
    uint64_t number_max;
};

static int note_number(void *context, const char *text)
{
    struct number_search *search = context;
    struct recording_name name;
    if (segment_owns(search->segment, text, &name) && name.number > search->number_max)
        search->number_max = name.number;
    return 0;
}

char *segment_stage_name(char out[RECORDING_NAME_BYTES], struct recording_name name,
                         enum recording_stage stage)
{
    name.stage = stage;
    return recording_name_write(out, &name);
}

static void part_name(char out[RECORDING_NAME_BYTES], const char *name)
{
    snprintf(out, RECORDING_NAME_BYTES, "%s" RECORDING_PART_SUFFIX, name);
}

static const char *opening_name(const struct segment *segment, char out[RECORDING_NAME_BYTES])
{
    return recording_name_write(out, &(struct recording_name){.lane = segment->holds});
}

/* The steps of ending that may be done twice: size, name, note. `again` if a relay before this one
 * may have done some. */
static void finish_ending(struct segment *segment, bool again)
{
    struct lane *lane = segment->lane;
    const struct writer_state *state = lane_writer(lane);
    char part[RECORDING_NAME_BYTES];
    part_name(part, state->file_name);
    bool shortens = direct_file_size(&segment->file) != (int64_t)state->file_final_bytes;
    /* Where it has its length already, this gives back what was reserved. */
    int status = direct_file_truncate(&segment->file, state->file_final_bytes);
    if (status == 0 && (shortens || again)) /* what was cut off must not come back under a name */
        status = direct_file_sync(&segment->file);
    bool removed = !direct_file_linked(&segment->file);
    direct_file_close(&segment->file);
    if (removed)
        log_line("%s was removed while it was written", part);
    else if (state->file_final_bytes <= state->file_header_bytes) /* no datums */
        status = folder_remove(segment->folder->descriptor, part);
    else if (status == 0) /* else it may hold more than it should: no final name for that */
        status = folder_rename(segment->folder->descriptor, part, state->file_name);
    if (status < 0)
        log_line("%s/%s cannot be ended: %s; the next relay does it",
                 segment->settings->directory, part, strerror(-status));

    struct writer_state *next = lane_writer_begin(lane);
    if (status < 0)
        next->latest_ns = 0; /* it may hold more, which comes again in the next file */
    next->folder_unsynced = 1;
    next->file_open = 0;
    next->file_ending = 0;
    lane_writer_commit(lane);
}

/* The file that was open is not there any more, or shorter than it was: what was not synced of it
 * cannot be counted on. */
void lane_discard_file(struct lane *lane)
{
    struct writer_state *next = lane_writer_begin(lane);
    next->datums_unrecorded += next->unsynced_datums;
    next->unsynced_datums = 0;
    next->unsynced_since_ns = 0;
    if (next->open_datums > 0) {
        next->early_datums = next->open_datums;
        next->early_bytes = next->open_bytes;
    }
    next->open_datums = 0;
    next->open_bytes = 0;
    next->file_doubt_bytes = next->file_again_bytes = next->again_datums = 0;
    next->latest_ns = 0; /* what else is in it, nobody knows */
    next->file_open = 0;
    next->file_ending = 0;
    lane_writer_commit(lane);
}

static uint64_t file_end(const struct writer_state *state)
{
    return state->file_bytes +
           (state->open_datums > state->early_datums ? state->file_alignment : 0);
}

/* The last relay was killed in a sync, which may have failed: the system tells of that once, and a
 * later sync passes over what could not be written. So all that was not synced is in doubt until it
 * has been written again: the open page at once, the blocks by segment_write_again. */
static void begin_doubt(struct segment *segment)
{
    const struct writer_state *state = lane_writer(segment->lane);
    struct span page = {segment->scratch, (size_t)(file_end(state) - state->file_bytes)};
    long got = page.bytes == 0 ? 0
                               : direct_file_read(&segment->file, segment->scratch, page.bytes,
                                                  state->file_bytes);
    if (got < 0)
        segment->sync_status = (int)got;
    else if (got > 0 && (size_t)got == page.bytes) /* else it never came */
        segment->sync_status = direct_file_write(&segment->file, &page, 1, state->file_bytes);
    if (segment->sync_status < 0)
        return; /* as a sync that failed */
    struct writer_state *next = lane_writer_begin(segment->lane);
    next->file_again_bytes = next->file_synced_bytes;
    if (next->synced_page_datums > 0) /* that page may have been written anew since */
        next->file_again_bytes -= next->file_alignment;
    next->again_datums = 0;
    next->file_doubt_bytes = next->file_bytes;
    if (next->file_again_bytes >= next->file_doubt_bytes)
        next->file_doubt_bytes = next->file_again_bytes = 0;
    next->synced_ns = clock_monotonic_ns();
    next->file_syncing = 0;
    lane_writer_commit(segment->lane);
}

/* 0 if the file is continued, or is done with; a negative errno to be tried again: then what it
 * holds is not known, and nothing of it may be written to another. */
static int resume_open_file(struct segment *segment)
{
    const struct writer_state *state = lane_writer(segment->lane);
    const struct channel_folder *folder = segment->folder;
    char part[RECORDING_NAME_BYTES];
    part_name(part, state->file_name);
    if (state->file_bytes == 0) { /* killed while it was made */
        folder_remove(folder->descriptor, part);
        lane_discard_file(segment->lane);
        return 0;
    }
    int status = direct_file_open(&segment->file, folder->descriptor, part, FILE_EXISTING,
                                  state->file_direct != 0 && folder->direct);
    if (state->file_ending && status == 0) {
        finish_ending(segment, true);
        return 0;
    }
    if (status < 0 && status != -ENOENT)
        return status;
    int64_t size = status < 0 ? status : direct_file_size(&segment->file);
    if (size >= (int64_t)state->file_bytes && segment->file.alignment <= state->file_alignment) {
        if (folder->alignment < state->file_alignment) {
            /* What the last relay wrote and could not note was laid out for the other alignment:
             * some of it would stand behind the same blocks. */
            status = size > (int64_t)state->file_bytes
                         ? direct_file_truncate(&segment->file, state->file_bytes)
                         : 0;
            if (status < 0) {
                direct_file_close(&segment->file);
                return status;
            }
            struct writer_state *next = lane_writer_begin(segment->lane);
            next->file_alignment = folder->alignment;
            next->file_direct = segment->file.direct;
            lane_writer_commit(segment->lane);
        }
        segment->file.alignment = state->file_alignment;
        segment->reserved_bytes = state->file_bytes;
        if (state->file_syncing)
            begin_doubt(segment);
        return 0;
    }
    if (state->unsynced_datums > 0)
        log_line("cannot continue %s: %s", part, size < 0 ? strerror((int)-size) : "it was cut");
    direct_file_close(&segment->file);
    lane_discard_file(segment->lane);
    return 0;
}

int segment_resume(struct segment *segment)
{
    char opening[RECORDING_NAME_BYTES];
    if (segment->resumed)
        return 0;
    if (segment->folder->descriptor < 0)
        return -ENOENT;
    /* Of a relay that was killed while it made it, or before it used it. */
    folder_remove(segment->folder->descriptor, opening_name(segment, opening));
    const struct writer_state *state = lane_writer(segment->lane);
    struct number_search search = {.segment = segment, .number_max = state->file_number};
    int status = folder_list(segment->folder->descriptor, note_number, &search);
    if (status == 0 && state->file_open)
        status = resume_open_file(segment);
    if (status < 0)
        return status;
    segment->resumed = true;
    if (search.number_max > lane_writer(segment->lane)->file_number) {
        struct writer_state *next = lane_writer_begin(segment->lane);
        next->file_number = search.number_max;
        lane_writer_commit(segment->lane);
    }
    return 0;
}

/* Makes a file without a header, under a name that no reader looks for. */
static int make_nameless(struct segment *segment, struct direct_file *file)
{
    char opening[RECORDING_NAME_BYTES];
    int folder = segment->folder->descriptor;
    opening_name(segment, opening);
    folder_remove(folder, opening); /* of an attempt that failed half-way */
    return direct_file_open(file, folder, opening, FILE_CREATE, segment->folder->direct);
}

static uint64_t reserve_step(const struct segment *segment, uint64_t bytes)
{
    uint64_t step = bytes < RESERVE_BYTES_MAX ? bytes : RESERVE_BYTES_MAX;
    return step / segment->folder->alignment * segment->folder->alignment;
}

void segment_make_ahead(struct segment *segment)
{
    uint64_t file_bytes = lane_writer(segment->lane)->file_bytes;
    if (segment->ahead_tried || segment->folder->descriptor < 0)
        return;
    segment->ahead_tried = true;
    if (make_nameless(segment, &segment->ahead) < 0)
        return;
    uint64_t step = reserve_step(segment, file_bytes);
    int status = direct_file_reserve(&segment->ahead, 0, step);
    segment->ahead_reserved_bytes = status == 0 ? step : 0;
}

void segment_drop_ahead(struct segment *segment)
{
    char opening[RECORDING_NAME_BYTES];
    if (segment->ahead.descriptor < 0)
        return;
    direct_file_close(&segment->ahead);
    folder_remove(segment->folder->descriptor, opening_name(segment, opening));
}

/* Takes the file that was made ahead, if it still is what a new one would be. */
static bool take_ahead(struct segment *segment)
{
    if (segment->ahead.descriptor < 0)
        return false;
    if (segment->ahead.direct != segment->folder->direct ||
        !direct_file_linked(&segment->ahead)) { /* the folder is another, or was emptied */
        segment_drop_ahead(segment);
        return false;
    }
    segment->file = segment->ahead;
    segment->reserved_bytes = segment->ahead_reserved_bytes;
    segment->ahead.descriptor = -1;
    return true;
}

/* Makes a file that gets its name with its header: whoever finds it can read it. */
static int make_file(struct segment *segment, const char *part, struct span header)
{
    char opening[RECORDING_NAME_BYTES];
    int folder = segment->folder->descriptor;
    int status = 0;
    if (!take_ahead(segment)) {
        segment->reserved_bytes = 0;
        status = make_nameless(segment, &segment->file);
    }
    if (status < 0)
        return status;
    opening_name(segment, opening);
    status = direct_file_write(&segment->file, &header, 1, 0);
    if (status == 0)
        status = folder_rename(folder, opening, part);
    if (status < 0) {
        direct_file_close(&segment->file);
        folder_remove(folder, opening);
        folder_remove(folder, part);
    }
    return status;
}

/* Writes the header of the file that `state` names to the scratch memory. Returns its bytes. */
static size_t write_header(struct segment *segment, const struct writer_state *state)
{
    char started[CALENDAR_TEXT_BYTES];
    struct block_header_text text = {.schema = segment->schema,
                                     .channel = segment->settings->name,
                                     .host = segment->host,
                                     .started = calendar_write(started, state->file_stamp_ns, 0),
                                     .version = FLOTILLA_VERSION,
                                     .ordered_since = state->ordered_since,
                                     .time = segment->time,
                                     .sequence = segment->sequence};
    long header = block_write_header(segment->scratch, segment->scratch_bytes, &text,
                                     state->sync_marker, segment->folder->alignment);
    CHECK(header > 0);
    return (size_t)header;
}

int segment_open(struct segment *segment)
{
    struct lane *lane = segment->lane;
    struct channel_folder *folder = segment->folder;
    if (folder->descriptor < 0)
        return channel_folder_look(folder);
    int status = 0;
    if (!segment->resumed) {
        status = segment_resume(segment);
        if (status == 0)
            leftovers_finish(segment);
    }
    if (status == -ENOENT) { /* the folder was removed */
        channel_folder_close(folder);
        folder->status = status;
    }
    if (status < 0 || lane_writer(lane)->file_open)
        return status;
    struct writer_state *next = lane_writer_begin(lane);
    next->file_number++;
    if (next->latest_ns == 0)
        next->ordered_since = next->file_number;
    next->file_stamp_ns = clock_realtime_ns();
    next->file_opened_ns = clock_monotonic_ns();
    next->file_bytes = 0;
    next->file_synced_bytes = 0;
    next->synced_page_datums = 0;
    next->file_doubt_bytes = next->file_again_bytes = next->again_datums = 0;
    next->file_syncing = 0;
    struct recording_name name = {.stamp_ns = next->file_stamp_ns,
                                  .number = next->file_number,
                                  .lane = segment->holds,
                                  .stage = RECORDING_DONE};
    snprintf(name.channel, sizeof(name.channel), "%s", segment->settings->name);
    char part[RECORDING_NAME_BYTES];
    snprintf(next->file_name, sizeof(next->file_name), "%s", recording_name_write(part, &name));
    part_name(part, next->file_name);
    status = host_random(next->sync_marker, sizeof(next->sync_marker));
    if (status < 0)
        return status;
    next->file_open = 1;
    next->file_alignment = segment->folder->alignment;
    lane_writer_commit(lane); /* from here on a successor knows the name */

    const struct writer_state *state = lane_writer(lane);
    size_t header = write_header(segment, state);
    status = make_file(segment, part, (struct span){segment->scratch, header});
    if (status == -ENOENT) { /* the folder was removed */
        channel_folder_close(folder);
        folder->status = status;
    }
    if (segment->reserved_bytes < header)
        segment->reserved_bytes = header;
    segment->ahead_tried = false;
    segment->sync_status = 0;
    next = lane_writer_begin(lane);
    next->folder_unsynced = 1;
    next->file_open = status == 0;
    next->file_bytes = status == 0 ? header : 0;
    next->file_header_bytes = header;
    next->file_direct = segment->file.direct;
    lane_writer_commit(lane);
    return status;
}

/* Reserves ahead in steps that grow with the file, so that a small file stays small and a large one
 * is laid out in large pieces. What cannot be reserved is found out by the write. */
static void reserve_ahead(struct segment *segment, uint64_t end)
{
    if (end <= segment->reserved_bytes || end < RESERVE_BYTES_MIN)
        return;
    uint64_t step = reserve_step(segment, end);
    int status = direct_file_reserve(&segment->file, segment->reserved_bytes,
                                     end + step - segment->reserved_bytes);
    segment->reserved_bytes = status == 0 ? end + step : end + RESERVE_BYTES_MIN;
}

int segment_write(struct segment *segment, const struct span *parts, uint32_t part_count,
                  uint64_t offset)
{
    int64_t there = direct_file_size(&segment->file); /* negative: it cannot be told */
    if (there >= 0 && there < (int64_t)offset)
        return -ENOENT; /* somebody cut it; writing on would leave a hole */
    uint64_t end = offset;
    for (uint32_t i = 0; i < part_count; i++)
        end += parts[i].bytes;
    reserve_ahead(segment, end);
    uint64_t since_ns = clock_monotonic_ns();
    int status = direct_file_write(&segment->file, parts, part_count, offset);
    lane_note_disk(segment->lane, DISK_WRITE, since_ns);
    return status;
}

bool segment_in_doubt(const struct segment *segment)
{
    const struct writer_state *state = lane_writer(segment->lane);
    return segment->resumed && state->file_open && state->file_doubt_bytes > 0;
}

/* What stands in the first `got` bytes at `at`, of the header or of whole blocks. `*datums` gets
 * how many are in it. */
static size_t measure_blocks(const struct writer_state *state, const uint8_t *buffer, size_t got,
                             uint64_t at, uint64_t *datums)
{
    size_t used = 0;
    struct block_info info;
    *datums = 0;
    if (at < state->file_header_bytes) {
        uint64_t left = state->file_header_bytes - at;
        return got < left ? got / state->file_alignment * state->file_alignment : (size_t)left;
    }
    while (block_inspect((struct span){buffer + used, got - used}, state->sync_marker, &info) ==
               0 &&
           info.sound && info.bytes % state->file_alignment == 0) {
        used += info.bytes;
        *datums += info.count;
    }
    return used;
}

int segment_write_again(struct segment *segment, size_t bytes_max)
{
    const struct writer_state *state = lane_writer(segment->lane);
    uint64_t at = state->file_again_bytes, left = state->file_doubt_bytes - at, datums = 0;
    uint8_t *buffer = segment->again;
    CHECK(buffer != NULL && bytes_max <= SEGMENT_WRITE_BYTES_MAX);
    size_t bytes = left < bytes_max ? (size_t)left : bytes_max;
    long got = direct_file_read(&segment->file, buffer, bytes, at);
    struct span part = {buffer, 0};
    if (got > 0)
        part.bytes = measure_blocks(state, buffer, (size_t)got, at, &datums);
    int status = got < 0           ? (int)got
                 : part.bytes == 0 ? -EIO /* it is not what was written */
                                   : direct_file_write(&segment->file, &part, 1, at);
    if (status < 0) {
        segment->sync_status = status;
        return status;
    }
    struct writer_state *next = lane_writer_begin(segment->lane);
    if (at < next->file_synced_bytes) /* the page whose first datums are recorded */
        datums -= datums < next->synced_page_datums ? datums : next->synced_page_datums;
    next->again_datums += datums;
    next->file_again_bytes += part.bytes;
    if (next->file_again_bytes == next->file_doubt_bytes)
        next->file_doubt_bytes = next->file_again_bytes = next->again_datums = 0;
    lane_writer_commit(segment->lane);
    if (!segment_in_doubt(segment))
        release_again(segment);
    return 0;
}

int segment_sync_folder(struct segment *segment)
{
    if (!lane_writer(segment->lane)->folder_unsynced || segment->folder->descriptor < 0)
        return 0;
    int status = folder_sync(segment->folder->descriptor);
    if (status < 0)
        return status;
    struct writer_state *next = lane_writer_begin(segment->lane);
    next->folder_unsynced = 0;
    lane_writer_commit(segment->lane);
    return 0;
}

/* All that stands in the file is on the medium now. */
static void note_synced(struct writer_state *next)
{
    bool in_doubt = next->file_doubt_bytes > 0;
    uint64_t end = in_doubt ? next->file_again_bytes : file_end(next);
    uint64_t datums = next->unsynced_datums;
    if (in_doubt && next->again_datums < datums)
        datums = next->again_datums;
    next->file_syncing = 0;
    next->datums_recorded += datums;
    next->unsynced_datums -= datums;
    next->again_datums = 0;
    next->synced_ns = clock_monotonic_ns();
    next->unsynced_since_ns = in_doubt ? next->synced_ns : 0;
    if (in_doubt && end < next->file_synced_bytes)
        return; /* nothing was written again */
    if (end > next->file_synced_bytes)
        next->bytes_recorded += end - next->file_synced_bytes;
    next->file_synced_bytes = end;
    next->synced_page_datums = !in_doubt && next->open_datums > next->early_datums
                                   ? next->open_datums - next->early_datums
                                   : 0;
}

int segment_sync(struct segment *segment)
{
    if (segment->sync_status == 0) /* its datums could not be found without its name */
        segment->sync_status = segment_sync_folder(segment);
    if (segment->sync_status == 0) {
        struct writer_state *next = lane_writer_begin(segment->lane);
        next->file_syncing = 1;
        lane_writer_commit(segment->lane); /* whoever finds this does not know how it ended */
        uint64_t since_ns = clock_monotonic_ns();
        segment->sync_status = direct_file_sync(&segment->file);
        lane_note_disk(segment->lane, DISK_SYNC, since_ns);
    }
    int status = segment->sync_status;
    const struct writer_state *state = lane_writer(segment->lane);
    /* Removed or cut by somebody: what is in it, or behind its end, nobody can read. */
    int64_t there = status == 0 ? direct_file_size(&segment->file) : -1;
    if (status == 0 &&
        (!direct_file_linked(&segment->file) || (there >= 0 && there < (int64_t)file_end(state))))
        status = -ENOENT;
    if (status < 0)
        return status;
    note_synced(lane_writer_begin(segment->lane));
    lane_writer_commit(segment->lane);
    return 0;
}

int segment_end(struct segment *segment, uint64_t torn_at)
{
    struct lane *lane = segment->lane;
    int status = segment->sync_status;
    while (status == 0 && segment_in_doubt(segment))
        status = segment_write_again(segment, BLOCK_BYTES_MAX);
    if (status == 0)
        status = segment_sync(segment);
    bool synced = status == 0;
    struct writer_state *next = lane_writer_begin(lane);
    uint64_t size = file_end(next);
    if (!synced) {
        next->datums_unrecorded += next->unsynced_datums;
        next->unsynced_datums = 0;
        size = next->file_synced_bytes;
    }
    next->file_syncing = 0;
    next->file_doubt_bytes = next->file_again_bytes = next->again_datums = 0;
    next->unsynced_since_ns = 0;
    /* A torn page, which may have been synced when it was whole, goes to the next file again; not
     * where somebody took the file away. */
    bool again = torn_at != 0 && (synced || (status != -ENOENT && torn_at < size));
    if (again)
        size = torn_at;
    else if (next->open_datums > next->early_datums) {
        next->early_datums = next->open_datums;
        next->early_bytes = next->open_bytes;
    }
    next->open_datums = next->early_datums;
    next->open_bytes = next->early_bytes;
    int64_t there = direct_file_size(&segment->file);
    if (there >= 0 && (uint64_t)there < size)
        size = (uint64_t)there; /* somebody cut it: it is not made longer again */
    next->file_ending = 1;
    next->file_final_bytes = size;
    lane_writer_commit(lane); /* from here on a successor ends it likewise */
    release_again(segment);
    finish_ending(segment, false);
    return status;
}
