/* SPDX-License-Identifier: MIT
 * The writing thread. Relies on blocks below `closed` never changing, and on the claim (staging.h)
 * that keeps an open block that was written as a page within that page.
 *
 * Deadlines: a datum is synced at most `sync` after it came in. The receiver closes a block that is
 * larger than a page at half of that; this thread writes the open page and syncs at 7/8 of it. */
#include "relay/writer.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "avro/block.h"
#include "avro/datum.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "channel/lanes.h"
#include "channel/mounted.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/memory.h"
#include "relay/leftover.h"

enum { PARTS_MAX = 16 };
/* What a relay was writing when it was killed is written once more by the next: so not for long. */
#define WRITE_NS_MAX    ((int64_t)(20 * NS_PER_MS))
#define RETRY_NS        NS_PER_S
#define AHEAD_BYTES_MIN (4u << 20) /* of a file that is worth making the next one ahead */
#define STACK_BYTES     (64u << 10)
/* Closed blocks that end a wait before the deadline of the first does, unless `buffer` holds but
 * few. Telling the disk costs most of a write: with 512 KiB each, the writing thread took 95 ns for
 * 1,200 bytes, with 1 MiB 75, with 2 MiB 50. Where every block is a page, a handful. */
#define DIRECT_WAKE_BLOCKS 8u
#define PAGED_WAKE_BLOCKS  16u

/* A file that the state calls open is open here only once it has been gone on with. */
static bool is_open(const struct writer *writer)
{
    return writer->segment->resumed && lane_writer(writer->lane)->file_open;
}

static void note_arrival(struct writer_state *next, uint64_t arrival_ns)
{
    if (arrival_ns > next->latest_ns)
        next->latest_ns = arrival_ns;
}

/* After a write over the open page that failed, or that a kill kept from being noted: whether a
 * whole page stands there, the old or the new one. Notes how many datums it holds. */
static bool does_page_stand(struct writer *writer)
{
    const struct writer_state *state = lane_writer(writer->lane);
    struct block_info info;
    if (state->open_datums <= state->early_datums ||
        direct_file_read(&writer->segment->file, writer->page, BLOCK_PAGE_BYTES,
                         state->file_bytes) != (long)BLOCK_PAGE_BYTES ||
        block_inspect((struct span){writer->page, BLOCK_PAGE_BYTES}, state->sync_marker, &info) <
            0 ||
        !info.sound || info.count < state->open_datums - state->early_datums)
        return false;
    struct writer_state *next = lane_writer_begin(writer->lane);
    next->open_datums = next->early_datums + info.count;
    next->open_bytes = next->early_bytes + (uint32_t)info.data_bytes;
    note_arrival(next, info.arrival_ns);
    if (next->open_datums > next->counted_datums) {
        next->unsynced_datums += next->open_datums - next->counted_datums;
        next->counted_datums = next->open_datums;
    }
    lane_writer_commit(writer->lane);
    return true;
}

/* The file that the last relay left is continued. Killed between writing its page and noting that,
 * it left more in the page than is noted: were the file ended so, those datums would be recorded
 * again in the next. Killed after the disk had torn the page, it left no page at all. */
static void learn_page(struct writer *writer)
{
    const struct writer_state *state = lane_writer(writer->lane);
    if (writer->page_known || !is_open(writer))
        return;
    writer->page_known = true;
    if (state->open_datums > state->early_datums && !does_page_stand(writer))
        segment_end(writer->segment, state->file_bytes);
}

int writer_prepare(struct writer *writer, struct lane *lane,
                   const struct channel_settings *settings, const struct block_format *format,
                   struct segment *segment)
{
    writer->lane = lane;
    writer->settings = settings;
    writer->segment = segment;
    writer->format = *format;
    writer->write_bytes = BLOCK_BYTES_MAX;
    bool paged = format->room < BLOCK_BYTES_MAX;
    writer->wake_blocks = paged ? PAGED_WAKE_BLOCKS : DIRECT_WAKE_BLOCKS;
    uint32_t quarter = lane->staging->slot_count / 4;
    if (!paged && writer->wake_blocks > quarter)
        writer->wake_blocks = quarter > 1 ? quarter : 1;
    /* Drawn from the names, so that it is the same for every relay of the channel. */
    uint32_t drawn = crc32c(crc32c(0, settings->name, strlen(settings->name)), &segment->holds,
                            sizeof(segment->holds));
    writer->phase_ns = settings->rotate_age_ms * NS_PER_MS / 65536 * (drawn >> 16);
    /* A block is split over two files only while it is a page; its rest fits one unit as well. */
    writer->page = private_memory_map(format->alignment);
    return writer->page == NULL ? -ENOMEM : 0;
}

/* Goes on with the file of an earlier relay and finds out what is in its last page. */
static void resume(struct writer *writer)
{
    segment_resume(writer->segment); /* what fails is tried again with the first thing to write */
    learn_page(writer);
}

static void note_error(struct writer *writer, int error)
{
    const struct writer_state *state = lane_writer(writer->lane);
    if (state->write_errno != (uint32_t)error) {
        const struct channel_settings *settings = writer->settings;
        char why[CHANNEL_PATH_BYTES_MAX + 40];
        if (error != 0)
            log_line("cannot record in %s: %s; trying again every second", settings->directory,
                     mounted_error_text(error, settings->mounted, settings->directory, why,
                                        sizeof(why)));
        else
            log_line("recording again in %s", writer->settings->directory);
        struct writer_state *next = lane_writer_begin(writer->lane);
        next->write_errno = (uint32_t)error;
        lane_writer_commit(writer->lane);
    }
    if (error == EINVAL || error == EOPNOTSUPP) /* direct I/O was taken once, but not for good */
        staging_note_direct(writer->lane->staging, 0, 0);
    if (error != 0)
        channel_folder_fails(writer->segment->folder, error);
    writer->retry_at_ns = error == 0 ? 0 : clock_monotonic_ns() + RETRY_NS;
}

static bool ensure_open(struct writer *writer)
{
    if (is_open(writer))
        return true;
    int status = segment_open(writer->segment);
    if (status < 0)
        note_error(writer, -status);
    learn_page(writer);
    return is_open(writer);
}

/* Datums of the open block that stand in a file. */
static uint64_t standing_datums(const struct writer_state *state)
{
    return state->open_datums > state->early_datums ? state->open_datums : state->early_datums;
}

/* The file is followed by another at the next write. Its new name is synced with that one's
 * datums. */
static void end_file(struct writer *writer)
{
    int status = segment_end(writer->segment, 0);
    writer->unsynced_since_ns = clock_monotonic_ns();
    writer->page_written_ns = 0;
    if (status < 0)
        note_error(writer, -status);
}

/* A write failed: what is in the file stays, and the next attempt goes to a new one. */
static void fail_write(struct writer *writer, int error, uint64_t torn_at)
{
    const struct writer_state *state = lane_writer(writer->lane);
    bool is_long = error == EFBIG && state->file_bytes > state->file_header_bytes;
    segment_end(writer->segment, torn_at != 0 && does_page_stand(writer) ? 0 : torn_at);
    if (lane_writer(writer->lane)->unsynced_datums == 0)
        writer->unsynced_since_ns = clock_monotonic_ns(); /* the name */
    if (!is_long) /* else the file system takes no more in one file: the next one is made at once */
        note_error(writer, error);
}

static void note_unsynced(struct writer *writer, uint64_t since_ns)
{
    if (writer->unsynced_since_ns == 0 || since_ns < writer->unsynced_since_ns)
        writer->unsynced_since_ns = since_ns;
}

/* Stands for the newest arrival in a file that is not in order, until that has ended: every block
 * comes in before it. */
#define LATEST_UNORDERED UINT64_MAX

/* The place for a block to note. None in a file that is not in order though its header says so:
 * by that a search knows it. */
static uint16_t noted_place(const struct writer_state *state, uint64_t offset)
{
    return state->latest_ns == LATEST_UNORDERED ? 0 : block_place(offset);
}

/* Builds the image of block `number`, of its part that is in no ended file, to be written at
 * `offset`. Empty if there is no such part. */
static struct span finish_block(struct writer *writer, uint64_t number, uint64_t offset)
{
    const struct writer_state *state = lane_writer(writer->lane);
    const struct staging_block *block = lane_entry(writer->lane, number);
    uint8_t *image = staging_image(writer->lane->staging, block);
    uint64_t count = block->count;
    uint32_t data_bytes = block->data_bytes;
    if (number == state->written && state->early_datums > 0) {
        count -= state->early_datums;
        data_bytes -= state->early_bytes;
        if (count == 0)
            return (struct span){NULL, 0};
        block_copy(writer->page, image, state->early_bytes, block->data_bytes);
        image = writer->page;
    }
    /* The receiver has done all but the rest of a page that was split over two files. */
    uint32_t checksum = image == writer->page
                            ? block_carry_checksum(0, image, 0, data_bytes)
                            : block_carry_checksum(block->data_checksum, image,
                                                   block->checked_bytes, block->data_bytes);
    size_t bytes =
        block_finish_checked(image, data_bytes, count, block->arrival_ns, state->sync_marker,
                             state->file_alignment, noted_place(state, offset), checksum);
    return (struct span){image, bytes};
}

static bool must_rotate(const struct writer *writer, const struct writer_state *state,
                        uint64_t more)
{
    uint64_t size = writer->segment->folder->rotate_bytes;
    return size > 0 && state->file_bytes > state->file_header_bytes &&
           state->file_bytes + more > size;
}

/* Whether a block that an earlier relay staged holds what it says: the bytes it was closed with, so
 * many datums of the schema. A relay that went wrong before it died may have written anything. */
static bool is_block_valid(const struct writer *writer, uint64_t number)
{
    const struct staging_block *block = lane_entry(writer->lane, number);
    if (number >= writer->inherited)
        return true;
    const uint8_t *image = staging_image(writer->lane->staging, block);
    if (block_carry_checksum(0, image, 0, block->checked_bytes) != block->data_checksum)
        return false;
    if (writer->layout == NULL)
        return true;
    uint8_t *data = private_memory_map(BLOCK_BYTES_MAX);
    if (data == NULL)
        return true; /* short of memory is no reason to lose them */
    block_take_data(data, image, block->data_bytes);
    struct span left = {data, block->data_bytes};
    uint64_t count = 0;
    for (size_t bytes; count < block->count; count++) {
        if (datum_check(writer->layout, left, &bytes) != REJECT_NONE)
            break;
        left.at += bytes;
        left.bytes -= bytes;
    }
    private_memory_unmap(data, BLOCK_BYTES_MAX);
    return count == block->count && left.bytes == 0;
}

/* Gives up the blocks that wait, up to `end`: counts them as unrecorded. */
static void abandon_until(struct lane *lane, uint64_t end)
{
    struct writer_state *next = lane_writer_begin(lane);
    if (next->written == end)
        return;
    uint64_t datums = 0;
    for (; next->written < end; next->written++)
        datums += lane_entry(lane, next->written)->count;
    next->datums_unrecorded += datums - next->counted_datums;
    /* If the first of them stood in the file as its page, it stays there. */
    if (next->open_datums > next->early_datums)
        next->file_bytes += next->file_alignment;
    next->early_datums = next->open_datums = next->counted_datums = 0;
    next->early_bytes = next->open_bytes = 0;
    lane_writer_commit(lane);
}

/* Whether a clock was set back between two arrivals, as far as a search by time would notice. */
static bool is_clock_back(uint64_t latest_ns, uint64_t arrival_ns)
{
    return arrival_ns + BLOCK_DISORDER_NS < latest_ns;
}

static void set_latest(struct writer *writer, uint64_t latest_ns)
{
    struct writer_state *next = lane_writer_begin(writer->lane);
    next->latest_ns = latest_ns;
    lane_writer_commit(writer->lane);
}

/* Before a block goes to the open file: ends that where the block came in before what is in it, so
 * that arrival times rise in every file. True if it did. */
static bool begin_order(struct writer *writer, uint64_t arrival_ns)
{
    if (!is_clock_back(lane_writer(writer->lane)->latest_ns, arrival_ns))
        return false;
    end_file(writer);
    set_latest(writer, 0);
    return true;
}

/* Blocks that go to the file in one write. */
struct gathered {
    struct span parts[PARTS_MAX];
    uint32_t part_count;
    uint64_t bytes, datums;
    uint64_t end;       /* the number of the block behind the last */
    uint64_t latest_ns; /* arrival, also of what is in the file */
};

/* Whether the next block goes into the same write. */
static bool fits(const struct writer *writer, const struct gathered *gathered, uint64_t more,
                 uint64_t room)
{
    return gathered->part_count == 0 ||
           (gathered->bytes + more <= writer->write_bytes && gathered->bytes + more <= room);
}

/* Finds out how much the disk takes in WRITE_NS_MAX, from writes that were as large as allowed.
 * Returns how long this one took. */
static int64_t learn_pace(struct writer *writer, uint64_t bytes, uint64_t since_ns)
{
    int64_t took_ns = (int64_t)(clock_monotonic_ns() - since_ns);
    if (took_ns > WRITE_NS_MAX && writer->write_bytes > BLOCK_BYTES_MAX)
        writer->write_bytes /= 2;
    else if (took_ns < WRITE_NS_MAX / 2 && bytes > writer->write_bytes / 2 &&
             writer->write_bytes < SEGMENT_WRITE_BYTES_MAX)
        writer->write_bytes *= 2;
    return took_ns;
}

/* Gathers blocks below `closed`, of which the first always fits, the others while the file has
 * `room`. False if the first is damaged: then it is discarded. */
static bool gather(struct writer *writer, uint64_t closed, uint64_t room, struct gathered *gathered)
{
    struct lane *lane = writer->lane;
    const struct writer_state *state = lane_writer(lane);
    const struct staging_block *first = lane_entry(lane, state->written);
    bool rewrites_page = state->open_datums > state->early_datums;
    *gathered = (struct gathered){.end = state->written, .latest_ns = state->latest_ns};
    if (rewrites_page && state->open_datums == first->count) { /* its last page holds all of it */
        note_unsynced(writer, first->since_ns); /* the last relay's page may be news to this one */
        gathered->datums = first->count;
        gathered->bytes = state->file_alignment;
        gathered->end++;
        return true;
    }
    while (gathered->end < closed && gathered->part_count < PARTS_MAX) {
        const struct staging_block *block = lane_entry(lane, gathered->end);
        if (gathered->end > state->written && is_clock_back(gathered->latest_ns, block->arrival_ns))
            break;
        if (!is_block_valid(writer, gathered->end)) {
            if (gathered->part_count > 0)
                break;
            log_line("a block of %" PRIu64
                     " datums that an earlier relay left is damaged: discarded",
                     block->count);
            abandon_until(lane, gathered->end + 1);
            return false;
        }
        uint64_t more = block_finished_bytes(block->data_bytes, state->file_alignment);
        if (!fits(writer, gathered, more, room))
            break;
        note_unsynced(writer, block->since_ns);
        struct span image =
            finish_block(writer, gathered->end, state->file_bytes + gathered->bytes);
        gathered->datums += block->count;
        if (block->arrival_ns > gathered->latest_ns)
            gathered->latest_ns = block->arrival_ns;
        gathered->end++;
        if (image.bytes > 0) {
            gathered->parts[gathered->part_count++] = image;
            gathered->bytes += image.bytes;
        }
        /* The page that stands in the file is replaced in a write of its own, so that a reader
         * finds the old or the new one. */
        if (rewrites_page)
            break;
    }
    return true;
}

/* Writes the next closed blocks to the open file, as many as one write takes, while it has `room`.
 * False if that failed. */
static bool write_to_file(struct writer *writer, uint64_t closed, uint64_t room)
{
    struct lane *lane = writer->lane;
    const struct writer_state *state = lane_writer(lane);
    struct gathered gathered;
    if (!gather(writer, closed, room, &gathered))
        return true;
    uint64_t since_ns = clock_monotonic_ns();
    int status = gathered.part_count == 0 ? 0
                                          : segment_write(writer->segment, gathered.parts,
                                                          gathered.part_count, state->file_bytes);
    writer->owed_ns -= learn_pace(writer, gathered.part_count == 0 ? 0 : gathered.bytes, since_ns);
    if (status < 0) {
        fail_write(writer, -status, state->file_bytes);
        return false;
    }
    struct writer_state *next = lane_writer_begin(lane);
    next->written = gathered.end;
    next->unsynced_datums += gathered.datums - next->counted_datums;
    next->unsynced_since_ns = writer->unsynced_since_ns;
    next->file_bytes += gathered.bytes;
    note_arrival(next, gathered.latest_ns);
    next->early_datums = next->open_datums = next->counted_datums = 0;
    next->early_bytes = next->open_bytes = 0;
    lane_writer_commit(lane);
    writer->page_written_ns = 0;
    note_error(writer, 0);
    return true;
}

/* Writes the next closed blocks, or ends the file that has no room for them. False if that failed.
 */
static bool write_blocks(struct writer *writer, uint64_t closed)
{
    if (!ensure_open(writer))
        return false;
    const struct writer_state *state = lane_writer(writer->lane);
    const struct staging_block *first = lane_entry(writer->lane, state->written);
    if (state->open_datums <= state->early_datums &&
        must_rotate(writer, state,
                    block_finished_bytes(first->data_bytes, state->file_alignment))) {
        end_file(writer);
        return true;
    }
    if (begin_order(writer, first->arrival_ns))
        return true;
    uint64_t size = writer->segment->folder->rotate_bytes;
    return write_to_file(writer, closed,
                         size == 0                  ? UINT64_MAX
                         : size > state->file_bytes ? size - state->file_bytes
                                                    : 0);
}

/* Writes the open block to its place as a page, if it has grown and still fits. */
static void write_open_page(struct writer *writer)
{
    struct lane *lane = writer->lane;
    struct lane_state receiver;
    lane_copy_receiver(lane, &receiver);
    uint64_t number = receiver.closed;
    const struct writer_state *state = lane_writer(lane);
    if (!writer->format.page_rewrite || number != state->written ||
        receiver.open.count <= standing_datums(state) ||
        !lane_claim(lane, number, OPEN_BLOCK_ON_DISK))
        return;
    /* The current state was committed by a receiver that knew of no claim, or of this one. */
    lane_copy_receiver(lane, &receiver);
    if (receiver.closed != number || receiver.open.count == 0 ||
        receiver.open.data_bytes > block_data_max(BLOCK_PAGE_BYTES))
        return;
    if (is_open(writer) && state->open_datums <= state->early_datums &&
        must_rotate(writer, state, BLOCK_PAGE_BYTES))
        end_file(writer);
    if (!ensure_open(writer))
        return;
    if (begin_order(writer, receiver.open.arrival_ns) && !ensure_open(writer))
        return;
    state = lane_writer(lane);
    uint64_t count = receiver.open.count - state->early_datums;
    uint32_t data_bytes = receiver.open.data_bytes - state->early_bytes;
    block_copy(writer->page, staging_image(lane->staging, &receiver.open), state->early_bytes,
               receiver.open.data_bytes);
    size_t bytes =
        block_finish_at(writer->page, data_bytes, count, receiver.open.arrival_ns,
                        state->sync_marker, BLOCK_PAGE_BYTES, block_place(state->file_bytes));
    CHECK(bytes == BLOCK_PAGE_BYTES);
    struct span part = {writer->page, bytes};
    note_unsynced(writer, receiver.open.since_ns);
    int status = segment_write(writer->segment, &part, 1, state->file_bytes);
    if (status < 0) {
        fail_write(writer, -status, state->file_bytes);
        return;
    }
    struct writer_state *next = lane_writer_begin(lane);
    next->unsynced_datums += receiver.open.count - next->counted_datums;
    next->unsynced_since_ns = writer->unsynced_since_ns;
    next->counted_datums = receiver.open.count;
    next->open_datums = receiver.open.count;
    next->open_bytes = receiver.open.data_bytes;
    note_arrival(next, receiver.open.arrival_ns);
    lane_writer_commit(lane);
    note_error(writer, 0);
}

static void write_again(struct writer *writer)
{
    uint64_t since_ns = clock_monotonic_ns();
    /* It is read, too. */
    uint32_t bytes = writer->write_bytes / 2;
    int status =
        segment_write_again(writer->segment, bytes < BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX : bytes);
    writer->owed_ns = (writer->owed_ns < 0 ? writer->owed_ns : 0) +
                      learn_pace(writer, writer->write_bytes, since_ns) / 2;
    if (status < 0)
        fail_write(writer, -status, 0);
}

static void sync_file(struct writer *writer)
{
    const struct writer_state *state = lane_writer(writer->lane);
    bool in_doubt = state->file_doubt_bytes > 0;
    if (state->file_open && state->unsynced_datums > 0) {
        if (!ensure_open(writer)) /* not gone on with yet */
            return;
        int status = segment_sync(writer->segment);
        if (status < 0) {
            fail_write(writer, -status, 0);
            return;
        }
    } else {
        int status = segment_sync_folder(writer->segment);
        if (status < 0)
            log_line("cannot sync the folder %s: %s", writer->settings->directory,
                     strerror(-status));
    }
    writer->unsynced_since_ns = in_doubt ? clock_monotonic_ns() : 0;
    if (!lane_writer(writer->lane)->file_open) /* it is quiet: nothing is kept for what may come */
        segment_drop_ahead(writer->segment);
}

uint64_t writer_age_end_ns(uint64_t opened_ns, uint64_t age_ns, uint64_t phase_ns)
{
    uint64_t since_moment = (opened_ns + age_ns - phase_ns) % age_ns;
    uint64_t lasts = age_ns - since_moment;
    if (lasts < age_ns / 2)
        lasts = (lasts + age_ns) / 2; /* and the next one the same, up to the moment */
    return opened_ns + lasts;
}

/* When the open file is old enough; UINT64_MAX: never. */
static uint64_t age_deadline(const struct writer *writer)
{
    const struct writer_state *state = lane_writer(writer->lane);
    if (!is_open(writer) || writer->settings->rotate_age_ms == 0)
        return UINT64_MAX;
    return writer_age_end_ns(state->file_opened_ns, writer->settings->rotate_age_ms * NS_PER_MS,
                             writer->phase_ns);
}

/* Whether the file will soon be followed by another, and has grown so fast that a short switch
 * matters. */
static bool is_switch_near(const struct writer *writer, uint64_t now_ns)
{
    const struct writer_state *state = lane_writer(writer->lane);
    if (!is_open(writer) || state->file_bytes < AHEAD_BYTES_MIN)
        return false;
    uint64_t size = writer->segment->folder->rotate_bytes, age_end = age_deadline(writer);
    return (size > 0 && state->file_bytes >= size / 8 * 7) ||
           (age_end != UINT64_MAX && now_ns >= age_end - (age_end - state->file_opened_ns) / 8);
}

/* When the file must be synced; UINT64_MAX: nothing is to be. */
static uint64_t sync_deadline(const struct writer *writer)
{
    if (writer->unsynced_since_ns == 0)
        return UINT64_MAX;
    uint64_t due = writer->unsynced_since_ns + writer->sync_after_ns;
    return due < writer->sync_from_ns ? writer->sync_from_ns : due;
}

/* When the file must be synced or is old enough; UINT64_MAX: never. */
static uint64_t file_deadline(const struct writer *writer)
{
    uint64_t due = sync_deadline(writer), age = age_deadline(writer);
    return age < due ? age : due;
}

/* When the next thing is due that needs no new data; UINT64_MAX: nothing. */
static uint64_t next_deadline(struct writer *writer, const struct lane_state *receiver)
{
    const struct writer_state *state = lane_writer(writer->lane);
    uint64_t sync_ns = writer->settings->sync_ms * NS_PER_MS;
    uint64_t due = file_deadline(writer);
    if (receiver->closed > state->written) {
        uint64_t since = lane_entry(writer->lane, state->written)->since_ns;
        if (since + sync_ns / 2 < due)
            due = since + sync_ns / 2;
    } else if (writer->format.page_rewrite && receiver->open.count > standing_datums(state) &&
               receiver->open.data_bytes <= block_data_max(BLOCK_PAGE_BYTES)) {
        uint64_t since =
            writer->page_written_ns != 0 ? writer->page_written_ns : receiver->open.since_ns;
        if (since + sync_ns / 8 * 7 < due)
            due = since + sync_ns / 8 * 7;
    }
    if (writer->retry_at_ns != 0 && due < writer->retry_at_ns)
        due = writer->retry_at_ns;
    return due;
}

static void do_what_is_due(struct writer *writer, uint64_t now_ns)
{
    if (writer->retry_at_ns > now_ns)
        return;
    writer->looked_ns = now_ns;
    write_open_page(writer);
    writer->page_written_ns =
        now_ns; /* also if it could not be: no sooner than at the next deadline */
    if (now_ns >= sync_deadline(writer)) {
        sync_file(writer);
        writer->looked_ns = clock_monotonic_ns();
        if (writer->looked_ns >= writer->outlived_ns)
            writer->sync_after_ns = writer->settings->sync_ms * NS_PER_MS / 8 * 7;
    }
    if (now_ns >= age_deadline(writer))
        end_file(writer);
}

/* Whether new blocks may be written before what is in doubt. That is written first, as another sync
 * whose end nobody sees puts all that is behind it in doubt as well; but where the buffer gets
 * short, new ones get a third of the disk's time. */
static bool may_overtake(const struct writer *writer, uint64_t waiting)
{
    return writer->owed_ns > 0 && waiting >= writer->lane->staging->slot_count / 4 * 3;
}

/* Does one thing that can be done now, or says when the next is due (UINT64_MAX: nothing is).
 * True if something was done: there may be more. `known` gets the receiver's end as it was. */
static bool writer_step(struct writer *writer, struct lane_state *known, uint64_t *due)
{
    lane_copy_receiver(writer->lane, known);
    uint64_t waiting = known->closed - lane_writer(writer->lane)->written;
    uint64_t now_ns = clock_monotonic_ns();
    *due = next_deadline(writer, known);
    /* Blocks that keep coming must not put off what is due for the file; a backlog, all of it late,
     * must not be synced block by block. */
    bool file_first = file_deadline(writer) <= now_ns &&
                      now_ns - writer->looked_ns >= writer->sync_after_ns;
    bool in_doubt = segment_in_doubt(writer->segment) && writer->retry_at_ns <= now_ns;
    if (waiting > 0 && !file_first && writer->retry_at_ns <= now_ns &&
        (waiting >= writer->wake_blocks || *due <= now_ns) &&
        (!in_doubt || may_overtake(writer, waiting))) {
        write_blocks(writer, known->closed);
        return true;
    }
    if (in_doubt && !file_first) {
        write_again(writer);
        return true;
    }
    if (*due <= now_ns) {
        do_what_is_due(writer, now_ns);
        return true;
    }
    if (!writer->segment->ahead_tried && is_switch_near(writer, now_ns)) {
        segment_make_ahead(writer->segment);
        return true;
    }
    return false;
}

/* What must wake the thread before the lane's deadline. */
static enum writer_watch writer_watch_for(const struct writer *writer,
                                          const struct lane_state *known)
{
    const struct writer_state *state = lane_writer(writer->lane);
    if (known->closed != state->written)
        return WATCH_MANY; /* a deadline, or more blocks, end the wait */
    return writer->format.page_rewrite && known->open.count <= standing_datums(state)
               ? WATCH_DATA
               : WATCH_CLOSED;
}

/* Waits, having said what must end the wait early, unless that came before it could be said. */
static void wait_for_more(struct writer_thread *thread, const struct lane_state known[LANES],
                          uint32_t seen, int64_t timeout_ns)
{
    bool nothing_came = true;
    for (int i = 0; i < LANES; i++)
        atomic_store_explicit(&thread->watch[i], writer_watch_for(&thread->writers[i], &known[i]),
                              memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
    for (int i = 0; i < LANES; i++) {
        struct lane_state now;
        lane_copy_receiver(thread->writers[i].lane, &now);
        nothing_came = nothing_came && now.closed == known[i].closed &&
                       (thread->watch[i] != WATCH_DATA || now.open.count == known[i].open.count);
    }
    if (nothing_came)
        wake_wait(&thread->wake, seen, timeout_ns);
    for (int i = 0; i < LANES; i++)
        atomic_store_explicit(&thread->watch[i], WATCH_NOTHING, memory_order_relaxed);
}

void lane_discard_blocks(struct lane *lane)
{
    abandon_until(lane, lane_receiver(lane)->closed);
}

/* Ends what is open in the folder. */
static void finish_files(struct writer *writer)
{
    if (is_open(writer))
        segment_end(writer->segment, 0);
    segment_drop_ahead(writer->segment);
    int status = segment_sync_folder(writer->segment);
    if (status < 0)
        log_line("cannot sync the folder %s: %s", writer->settings->directory, strerror(-status));
}

/* What could not be written is discarded. */
static void finish(struct writer *writer)
{
    lane_discard_blocks(writer->lane);
    finish_files(writer);
}

void writer_finish_file(struct writer *writer)
{
    const struct lane *lane = writer->lane;
    uint64_t closed = lane_receiver(lane)->closed;
    resume(writer);
    while (is_open(writer) && lane_writer(lane)->written < closed) {
        const struct writer_state *state = lane_writer(lane);
        if (is_clock_back(state->latest_ns, lane_entry(lane, state->written)->arrival_ns))
            set_latest(writer, LATEST_UNORDERED);  /* no other file can have its schema */
        write_to_file(writer, closed, UINT64_MAX); /* where that fails, the file is ended */
    }
    finish(writer);
    if (lane_writer(lane)->latest_ns == LATEST_UNORDERED)
        set_latest(writer, 0);
}

/* Brings everything that is closed to the disk and ends the file, while no other thread writes. */
static void drain(struct writer *writer)
{
    const struct lane *lane = writer->lane;
    for (int attempts = 0; attempts < 3;) {
        uint64_t closed = lane_receiver(lane)->closed;
        if (lane_writer(lane)->written >= closed)
            break;
        writer->retry_at_ns = 0;
        attempts = write_blocks(writer, closed) ? 0 : attempts + 1;
    }
    finish(writer);
}

/* Looks whether the path still leads to the folder, and leaves one that it does not lead to: its
 * files are ended there, and what waits goes to the other one. While there is none, looks for one.
 */
static void follow_folder(struct writer_thread *thread)
{
    struct writer *writer = &thread->writers[LANE_DATUMS];
    struct channel_folder *folder = writer->segment->folder;
    if (folder->descriptor >= 0 && channel_folder_moved(folder)) {
        for (int i = 0; i < LANES; i++)
            finish_files(&thread->writers[i]);
        channel_folder_close(folder);
    }
    if (folder->descriptor < 0 && !folder->wants_successor) {
        int status = channel_folder_look(folder);
        if (!folder->wants_successor)
            note_error(writer, -status);
    }
}

/* Once the folder could be opened by a relay that starts. */
static void ask_for_successor(struct writer_thread *thread)
{
    const struct writer *writer = &thread->writers[LANE_DATUMS];
    if (!writer->segment->folder->wants_successor ||
        atomic_load_explicit(&thread->wants_successor, memory_order_relaxed))
        return;
    log_line("%s may be there again: a fresh relay is to open it", writer->settings->directory);
    atomic_store_explicit(&thread->wants_successor, 1, memory_order_release);
    if (thread->managed != 0)
        ledger_note_wish(writer->lane->staging->ledger, thread->managed);
    else
        interrupt_wake();
}

/* Takes over what the last relay left unsynced, which is as old as it is: relays that live shorter
 * than `sync` would never sync otherwise. A sync that a kill cuts short has to be done again, with
 * all that it was for: so where relays are killed, one is done when it is seen to its end if this
 * relay lives as long as the last one. That is at its start, and half-way through a longer life;
 * one that is late, as it had to be done again, waits until this relay has outlived that. They come
 * twice as often as `sync` asks for, so that there is less to be done again. */
static void inherit_unsynced(struct writer *writer)
{
    const struct writer_state *state = lane_writer(writer->lane);
    uint64_t sync_ns = writer->settings->sync_ms * NS_PER_MS, now_ns = clock_monotonic_ns();
    uint64_t lives_ns = state->begun_ns == 0 ? 0 : now_ns - state->begun_ns;
    writer->outlived_ns = now_ns + lives_ns;
    writer->sync_after_ns = sync_ns / 8 * 7;
    if (lives_ns > sync_ns / 2) {
        if (lives_ns / 2 < writer->sync_after_ns)
            writer->sync_after_ns = lives_ns / 2;
        lives_ns = sync_ns / 2;
    }
    bool in_doubt = segment_in_doubt(writer->segment);
    if (state->unsynced_datums > 0 || state->folder_unsynced) {
        uint64_t since_ns = state->unsynced_since_ns != 0 ? state->unsynced_since_ns : now_ns;
        uint64_t latest_ns = since_ns > state->synced_ns ? since_ns : state->synced_ns;
        bool early = latest_ns + sync_ns / 2 <= now_ns + lives_ns &&
                     (!in_doubt || state->again_datums > 0);
        writer->unsynced_since_ns = early ? now_ns - sync_ns : since_ns;
        writer->looked_ns = early ? 0 : state->synced_ns;
        writer->sync_from_ns = early ? 0 : now_ns + lives_ns;
    }
    struct writer_state *next = lane_writer_begin(writer->lane);
    next->begun_ns = now_ns;
    lane_writer_commit(writer->lane);
}

static void writer_thread_run(void *context)
{
    struct writer_thread *thread = context;
    for (uint32_t seen = wake_seen(&thread->wake);
         !atomic_load_explicit(&thread->begun, memory_order_acquire);
         seen = wake_seen(&thread->wake))
        wake_wait(&thread->wake, seen, -1);
    channel_folder_try(thread->writers[LANE_DATUMS].segment->folder,
                       thread->writers[LANE_DATUMS].lane->staging);
    for (int i = 0; i < LANES; i++) {
        struct writer *writer = &thread->writers[i];
        resume(writer);
        /* Nothing need be written to know that it can be. */
        if (writer->segment->folder->descriptor >= 0 &&
            lane_writer(writer->lane)->write_errno == MOUNTED_ERROR)
            note_error(writer, 0);
    }
    for (int i = 0; i < LANES; i++) {
        leftovers_finish(thread->writers[i].segment);
        inherit_unsynced(&thread->writers[i]);
    }
    for (uint32_t seen = wake_seen(&thread->wake); /* before the look: the wake-up comes after */
         !atomic_load_explicit(&thread->stop, memory_order_acquire);
         seen = wake_seen(&thread->wake)) {
        struct lane_state known[LANES];
        uint64_t due = UINT64_MAX;
        bool worked = false;
        for (int i = 0; i < LANES; i++) {
            uint64_t lane_due;
            worked = writer_step(&thread->writers[i], &known[i], &lane_due) || worked;
            due = lane_due < due ? lane_due : due;
        }
        follow_folder(thread);
        ask_for_successor(thread);
        uint64_t now_ns = clock_monotonic_ns();
        uint64_t look_ns = thread->writers[LANE_DATUMS].segment->folder->look_from_ns;
        due = look_ns < due ? look_ns : due;
        if (!worked && due > now_ns)
            wait_for_more(thread, known, seen, due == UINT64_MAX ? -1 : (int64_t)(due - now_ns));
    }
    bool quiesce = atomic_load_explicit(&thread->quiesce, memory_order_acquire) != 0;
    for (int i = 0; i < LANES && !quiesce; i++)
        drain(&thread->writers[i]);
    atomic_store_explicit(&thread->quiesced, quiesce, memory_order_release);
}

int writer_thread_start(struct writer_thread *thread)
{
    return thread_start(&thread->thread, writer_thread_run, thread, STACK_BYTES);
}

void writer_thread_begin(struct writer_thread *thread)
{
    atomic_store_explicit(&thread->begun, 1, memory_order_release);
    wake_signal(&thread->wake);
}

bool writer_thread_wants_successor(const struct writer_thread *thread)
{
    return thread->managed == 0 &&
           atomic_load_explicit(&thread->wants_successor, memory_order_acquire) != 0;
}

void writer_thread_notice(struct writer_thread *thread, enum lane_index lane, bool closed)
{
    const struct writer *writer = &thread->writers[lane];
    atomic_thread_fence(memory_order_seq_cst);
    uint32_t watch = atomic_load_explicit(&thread->watch[lane], memory_order_relaxed);
    bool wanted = watch == WATCH_DATA;
    if (closed && !wanted)
        wanted = watch == WATCH_CLOSED ||
                 (watch == WATCH_MANY &&
                  lane_receiver(writer->lane)->closed - lane_written(writer->lane) >=
                      writer->wake_blocks);
    if (wanted)
        wake_signal(&thread->wake);
}

void writer_thread_quiesce(struct writer_thread *thread)
{
    if (atomic_load_explicit(&thread->quiesce, memory_order_relaxed))
        return;
    atomic_store_explicit(&thread->quiesce, 1, memory_order_release);
    atomic_store_explicit(&thread->stop, 1, memory_order_release);
    wake_signal(&thread->wake);
}

bool writer_thread_quiesced(const struct writer_thread *thread)
{
    return atomic_load_explicit(&thread->quiesced, memory_order_acquire) != 0;
}

void writer_thread_join(struct writer_thread *thread, bool finish)
{
    if (!finish)
        writer_thread_quiesce(thread);
    atomic_store_explicit(&thread->stop, 1, memory_order_release);
    wake_signal(&thread->wake);
    thread_join(&thread->thread);
    for (int i = 0; i < LANES; i++) {
        struct writer *writer = &thread->writers[i];
        if (finish && writer_thread_quiesced(thread))
            drain(writer);
        if (writer->page != NULL)
            private_memory_unmap(writer->page, writer->format.alignment);
        writer->page = NULL;
    }
}
