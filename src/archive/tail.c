/* SPDX-License-Identifier: MIT
 * The follower. Looks at the folder again when that has changed, or once a second; at the file at
 * hand whenever it is asked. */
#include "archive/tail.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "archive/history.h"
#include "archive/source.h"
#include "avro/block.h"
#include "base/crc32c.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/storage.h"

/* Blocks that a failed write may take out of a file again: those of one write, and its last page.
 */
#define TAKEN_BLOCKS 32u
#define LOOK_NS      NS_PER_S

/* A block as far as it was handed out. */
struct taken {
    uint64_t offset, arrival_ns, count;
    uint32_t bytes, checksum; /* of those datums */
};

struct tail {
    char *folder, channel[CHANNEL_NAME_BYTES_MAX + 1];
    enum recording_lane lane;
    struct catalog catalog;
    uint64_t modified_ns, looked_ns; /* the folder's time when it was listed; monotonic: when */

    /* The file at hand. */
    struct source source;
    struct scan *scan;
    char *path;                /* it was opened by */
    uint64_t number, stamp_ns; /* in its name; also of the last one at hand; 0: none yet */
    bool done;                 /* it was opened by its final name */
    struct scan_event block;   /* at hand; of another kind where none is */
    uint64_t index;            /* of the next datum in it */
    bool last;                 /* nothing stood behind it when it was read: it may grow */
    uint64_t next, skip;       /* else the block to read, and how many of its datums to pass over */

    uint64_t from_ns, from_until; /* what came in before is left out, up to this file's number */
    struct row_clock clock;
    struct tail_position to;      /* where to go on, in the file to open; number 0: nowhere */
    bool file_waits, fault_waits; /* to be told, the file first */
    char what[512];

    struct taken taken[TAKEN_BLOCKS]; /* blocks of this file, a ring ... */
    uint64_t taken_count;
    struct taken again[TAKEN_BLOCKS]; /* ... and of the last one, those that may come again */
    uint32_t again_count, again_next;
};

int tail_open(struct tail **tail, const char *folder, const char *channel, enum recording_lane lane)
{
    struct tail *made = calloc(1, sizeof(*made));
    size_t bytes = strlen(folder) + 1;
    if (made == NULL || (made->folder = malloc(bytes)) == NULL) {
        free(made);
        return -ENOMEM;
    }
    memcpy(made->folder, folder, bytes);
    snprintf(made->channel, sizeof(made->channel), "%s", channel);
    made->lane = lane;
    made->source.descriptor = DESCRIPTOR_NONE;
    *tail = made;
    return 0;
}

static void close_file(struct tail *tail)
{
    scan_close(tail->scan);
    source_close(&tail->source);
    free(tail->path);
    tail->scan = NULL;
    tail->path = NULL;
    tail->block.kind = SCAN_END;
    tail->file_waits = false;
    tail->taken_count = 0;
}

void tail_close(struct tail *tail)
{
    if (tail == NULL)
        return;
    close_file(tail);
    catalog_free(&tail->catalog);
    row_clock_free(&tail->clock);
    free(tail->folder);
    free(tail);
}

const struct scan *tail_scan(const struct tail *tail)
{
    return tail->scan;
}

static bool has_block(const struct tail *tail)
{
    return tail->block.kind == SCAN_BLOCK;
}

void tail_tell(const struct tail *tail, struct tail_position *position)
{
    *position = tail->to;
    if (tail->scan == NULL)
        position->number = tail->to.number > 0 ? tail->to.number : tail->number + 1;
    if (tail->scan == NULL)
        return;
    position->number = tail->number;
    memcpy(position->sync, scan_header(tail->scan)->sync, sizeof(position->sync));
    position->block = has_block(tail) ? tail->block.offset : tail->next;
    position->index = has_block(tail) ? tail->index : tail->skip;
}

void tail_seek(struct tail *tail, const struct tail_position *position)
{
    close_file(tail);
    tail->to = *position;
    tail->from_until = 0;
    tail->number = position->number > 0 ? position->number - 1 : 0;
    tail->again_count = tail->again_next = 0;
}

/* ---- the folder ---- */

/* Lists it again if it may have changed. 0, also where it is not there, or -ENOMEM. */
static int look_around(struct tail *tail)
{
    struct storage_entry folder;
    uint64_t now_ns = clock_monotonic_ns();
    int status = storage_look_at(tail->folder, &folder);
    if (status < 0) {
        catalog_free(&tail->catalog);
        tail->looked_ns = tail->modified_ns = 0;
        return 0;
    }
    if (folder.modified_ns == tail->modified_ns && now_ns - tail->looked_ns < LOOK_NS)
        return 0;
    catalog_free(&tail->catalog);
    tail->modified_ns = folder.modified_ns;
    tail->looked_ns = now_ns;
    long added = catalog_add(&tail->catalog, tail->folder, CATALOG_ALL);
    return added == -ENOMEM ? -ENOMEM : 0;
}

static bool is_followed(const struct tail *tail, const struct catalog_file *file)
{
    return file->named && file->name.lane == tail->lane && file->name.stage != RECORDING_DAMAGED &&
           strcmp(file->name.channel, tail->channel) == 0;
}

/* The file with the lowest number from `number` on, of those that were begun after `stamp_ns`;
 * `*highest` of all there are, 0 for none. NULL if there is none. */
static const struct catalog_file *file_from(const struct tail *tail, uint64_t number,
                                            uint64_t stamp_ns, uint64_t *highest)
{
    const struct catalog_file *found = NULL;
    *highest = 0;
    for (size_t i = 0; i < tail->catalog.count; i++) {
        const struct catalog_file *file = &tail->catalog.files[i];
        if (!is_followed(tail, file))
            continue;
        if (file->name.number > *highest)
            *highest = file->name.number;
        if (file->name.number >= number && file->name.stamp_ns >= stamp_ns &&
            (found == NULL || file->name.number < found->name.number))
            found = file;
    }
    return found;
}

/* ---- what a failed write takes back ---- */

/* What was handed out of blocks that are in the file no more. */
static void keep_taken_back(struct tail *tail, uint64_t file_bytes)
{
    uint64_t from = tail->taken_count > TAKEN_BLOCKS ? tail->taken_count - TAKEN_BLOCKS : 0;
    tail->again_count = tail->again_next = 0;
    for (uint64_t i = from; i < tail->taken_count; i++)
        if (tail->taken[i % TAKEN_BLOCKS].offset >= file_bytes)
            tail->again[tail->again_count++] = tail->taken[i % TAKEN_BLOCKS];
}

/* How many datums of the block at hand were handed out before it was written again. */
static uint64_t datums_again(struct tail *tail)
{
    const struct scan_event *block = &tail->block;
    if (tail->again_next == tail->again_count)
        return 0;
    const struct taken *taken = &tail->again[tail->again_next++];
    if (block->arrival_ns == taken->arrival_ns && block->count >= taken->count &&
        block->data.bytes >= taken->bytes &&
        crc32c(0, block->data.at, taken->bytes) == taken->checksum)
        return taken->count;
    tail->again_next = tail->again_count; /* they were given up */
    return 0;
}

/* Before another block is read. */
static void note_taken(struct tail *tail)
{
    const struct scan_event *block = &tail->block;
    struct taken *last = &tail->taken[(tail->taken_count + TAKEN_BLOCKS - 1) % TAKEN_BLOCKS];
    if (!has_block(tail) || tail->index == 0 || tail->done)
        return;
    if (tail->taken_count == 0 || last->offset != block->offset)
        last = &tail->taken[tail->taken_count++ % TAKEN_BLOCKS];
    struct span latest = scan_datum(tail->scan, block, tail->index - 1);
    size_t bytes = (size_t)(latest.at - block->data.at) + latest.bytes;
    *last = (struct taken){.offset = block->offset,
                           .arrival_ns = block->arrival_ns,
                           .count = tail->index,
                           .bytes = (uint32_t)bytes,
                           .checksum = crc32c(0, block->data.at, bytes)};
}

/* ---- from file to file ---- */

__attribute__((format(printf, 2, 3))) static void note_fault(struct tail *tail, const char *format,
                                                             ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(tail->what, sizeof(tail->what), format, arguments);
    va_end(arguments);
    tail->fault_waits = true;
}

/* The file to open, once the folder has been looked at; NULL if there is none yet. */
static const struct catalog_file *choose_file(struct tail *tail, uint64_t seen_next)
{
    uint64_t highest, wanted = tail->to.number;
    const struct catalog_file *file = file_from(tail, tail->number + 1, 0, &highest);
    if (file == NULL && highest < tail->number) { /* was the folder emptied? */
        file = file_from(tail, 0, tail->stamp_ns + 1, &highest);
        if (file != NULL)
            note_fault(tail, "%s: the numbers of %s begin again", tail->folder, tail->channel);
    } else if (file != NULL && wanted > 0 && file->name.number != wanted) {
        note_fault(tail, "%s: number %" PRIu64 " of %s has gone", tail->folder, wanted,
                   tail->channel);
    } else if (file != NULL && seen_next > 0 && file->name.number > seen_next) {
        note_fault(tail, "%s: number %" PRIu64 " of %s went before it was read", tail->folder,
                   seen_next, tail->channel);
    }
    return file;
}

/* Sets out in the file that was opened, at its begin or where to go on. */
static void set_out(struct tail *tail)
{
    const struct scan_header *header = scan_header(tail->scan);
    bool wanted = tail->to.number == tail->number && tail->to.block > 0;
    tail->next = header->image.bytes;
    tail->skip = 0;
    static const uint8_t any[SCAN_SYNC_BYTES];
    if (wanted && (memcmp(tail->to.sync, any, sizeof(any)) == 0 ||
                   memcmp(tail->to.sync, header->sync, sizeof(any)) == 0)) {
        tail->next = tail->to.block;
        tail->skip = tail->to.index;
    } else if (wanted) {
        note_fault(tail, "%s: another file than the one that was read before", tail->path);
    }
    tail->to = (struct tail_position){0};
    tail->file_waits = true;
}

/* Opens the next file. 1, 0 where there is none yet, or -ENOMEM, -EINTR. */
static int open_next(struct tail *tail)
{
    uint64_t highest;
    const struct catalog_file *file = file_from(tail, tail->number + 1, 0, &highest);
    uint64_t seen_next = file != NULL && file->name.stage == RECORDING_DONE ? file->name.number : 0;
    int status = look_around(tail);
    if (status < 0 || (file = choose_file(tail, seen_next)) == NULL)
        return status;
    status = source_open(&tail->source, file->path, SOURCE_FILES);
    if (status == -ENOENT) { /* it has another name by now, or has gone */
        tail->looked_ns = 0;
        return 0;
    }
    size_t path_bytes = strlen(file->path) + 1;
    tail->path = malloc(path_bytes);
    if (tail->path == NULL)
        return -ENOMEM;
    memcpy(tail->path, file->path, path_bytes);
    tail->number = file->name.number;
    tail->stamp_ns = file->name.stamp_ns;
    tail->done = file->name.stage == RECORDING_DONE;
    char why[256] = "";
    if (status < 0)
        snprintf(why, sizeof(why), "%s", source_error_text(status));
    else
        status = scan_open(&tail->scan, &tail->source.of_scan, why, sizeof(why));
    if (status == 0 && tail->number <= tail->from_until)
        status = row_clock_set(&tail->clock, tail->scan);
    if (status == 0) {
        set_out(tail);
    } else {
        note_fault(tail, "%s: %s", tail->path, why);
        close_file(tail);
    }
    return status == -ENOMEM || status == -EINTR ? status : 1;
}

/* ---- in a file ---- */

/* Reads the block at `offset`, and hands on from its datum `skip`. 1; 0 where no whole one stands
 * there, with the block at hand gone; or -ENOMEM, -EINTR. */
static int read_block(struct tail *tail, uint64_t offset, uint64_t skip)
{
    note_taken(tail);
    tail->block.kind = SCAN_END;
    tail->next = offset;
    tail->skip = skip;
    int status = scan_seek(tail->scan, offset);
    if (status == 0)
        status = scan_next(tail->scan, &tail->block);
    if (status == -ENOMEM || status == -EINTR)
        return status;
    if (status < 0 || !has_block(tail) || tail->block.offset != offset ||
        tail->block.count < skip) {
        tail->block.kind = SCAN_END;
        return 0;
    }
    tail->index = skip > 0 ? skip : datums_again(tail);
    tail->last = offset + tail->block.bytes >= scan_bytes(tail->scan);
    return 1;
}

/* Goes on to the block behind the one at hand, which grows no more. As read_block. */
static int read_next(struct tail *tail)
{
    uint64_t offset = tail->block.offset + tail->block.bytes;
    note_taken(tail);
    int status = scan_next(tail->scan, &tail->block);
    if (status == -ENOMEM || status == -EINTR)
        return status;
    if (status < 0 || !has_block(tail) || tail->block.offset != offset)
        return read_block(tail, offset, 0); /* or it was not whole yet */
    tail->index = datums_again(tail);
    tail->last = offset + tail->block.bytes >= scan_bytes(tail->scan);
    return 1;
}

/* Behind damage in a file that is done: the next whole block. 1, or -ENOMEM, -EINTR. */
static int pass_damage(struct tail *tail)
{
    uint64_t from = tail->next;
    int status = scan_seek(tail->scan, from);
    do
        status = status < 0 ? status : scan_next(tail->scan, &tail->block);
    while (status == 0 && tail->block.kind == SCAN_FAULT);
    if (status == -ENOMEM || status == -EINTR)
        return status;
    bool found = status == 0 && has_block(tail);
    if (!found)
        tail->block.kind = SCAN_END;
    tail->index = 0;
    tail->last = false;
    tail->next = found ? tail->block.offset : scan_bytes(tail->scan);
    note_fault(tail, "%s: offset %" PRIu64 ": %" PRIu64 " bytes are damaged", tail->path, from,
               tail->next - from);
    return 1;
}

/* Brings more to hand out. 1, 0 if there is nothing yet, or -ENOMEM, -EINTR. */
static int advance(struct tail *tail)
{
    uint64_t highest;
    if (tail->scan == NULL)
        return open_next(tail);
    if (has_block(tail) && !tail->last)
        return read_next(tail);
    /* Asked first: what is read then is all there will be. */
    bool ended = tail->done || !descriptor_is_at(tail->source.descriptor, tail->path);
    int status = look_around(tail);
    bool followed = status == 0 && file_from(tail, tail->number + 1, 0, &highest) != NULL;
    uint64_t index = tail->index;
    if (status == 0 && has_block(tail)) {
        status = read_block(tail, tail->block.offset, index);
        if (status > 0 && tail->index == tail->block.count && !tail->last)
            return 1;
        status = status > 0 && tail->index == tail->block.count ? 0 : status;
    } else if (status == 0) {
        status = read_block(tail, tail->next, tail->skip);
    }
    if (status != 0 || (!ended && !followed))
        return status;
    uint64_t end = has_block(tail) ? tail->block.offset + tail->block.bytes : tail->next;
    uint64_t size = scan_bytes(tail->scan);
    if (ended && end < size) {
        tail->next = end;
        return pass_damage(tail);
    }
    note_taken(tail);
    keep_taken_back(tail, size);
    if (!tail->done && size <= scan_header(tail->scan)->image.bytes)
        tail->number--; /* it is removed, as nothing came, and the next may have its number */
    close_file(tail);
    return 1;
}

int tail_next(struct tail *tail, struct tail_event *event)
{
    for (;;) {
        *event = (struct tail_event){.kind = TAIL_FILE, .number = tail->number};
        if (tail->file_waits) {
            tail->file_waits = false;
            return 0;
        }
        event->kind = TAIL_FAULT;
        event->what = tail->what;
        if (tail->fault_waits) {
            tail->fault_waits = false;
            return 0;
        }
        const struct scan_event *block = &tail->block;
        if (has_block(tail) && tail->index < block->count) {
            event->kind = TAIL_DATUM;
            event->datum = scan_datum(tail->scan, block, tail->index);
            event->arrival_ns = block->arrival_ns;
            event->index = tail->index++;
            if (tail->number <= tail->from_until &&
                row_clock_ns(&tail->clock, event->datum, event->index, event->arrival_ns,
                             UINT64_MAX) < tail->from_ns)
                continue;
            return 0;
        }
        event->kind = TAIL_NOTHING;
        int status = advance(tail);
        if (status <= 0)
            return status;
    }
}

int tail_seek_time(struct tail *tail, uint64_t number, uint64_t from_ns)
{
    struct catalog followed = {0};
    struct search_hit *hits = NULL;
    struct scan_cost cost = {0};
    size_t hit_count;
    const struct time_span span = {from_ns, UINT64_MAX};
    uint64_t highest;
    tail_seek(tail, &(struct tail_position){.number = number});
    int status = look_around(tail);
    if (status < 0 || tail->catalog.count == 0)
        return status;
    followed.files = malloc(tail->catalog.count * sizeof(*followed.files));
    if (followed.files == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < tail->catalog.count; i++)
        if (is_followed(tail, &tail->catalog.files[i]) &&
            tail->catalog.files[i].name.number >= number)
            followed.files[followed.count++] = tail->catalog.files[i];
    status = search_catalog(&followed, &span, &hits, &hit_count, &cost);
    if (status == 0 && hit_count > 0 &&
        (number == 0 || followed.files[0].name.number == number)) /* else it has gone: a fault */
        tail_seek(tail, &(struct tail_position){.number = followed.files[hits[0].file].name.number,
                                                .block = hits[0].block});
    file_from(tail, 0, 0, &highest);
    tail->from_ns = from_ns;
    tail->from_until = highest;
    free(hits);
    free(followed.files); /* the paths are the folder's */
    return status;
}

int tail_seek_end(struct tail *tail)
{
    uint64_t highest;
    struct scan_event front;
    tail_seek(tail, &(struct tail_position){0});
    int status = look_around(tail);
    if (status < 0)
        return status;
    file_from(tail, 0, 0, &highest);
    tail->number = highest > 0 ? highest - 1 : 0;
    status = highest > 0 ? open_next(tail) : 0;
    if (status <= 0 || tail->scan == NULL)
        return status < 0 ? status : 0;
    status = scan_front_before(tail->scan, scan_bytes(tail->scan), &front);
    if (status == 0 && front.kind == SCAN_BLOCK)
        tail->next = front.offset;
    if (status == 0)
        status = read_block(tail, tail->next, 0);
    while (status > 0 && has_block(tail)) { /* more may have come meanwhile */
        tail->index = tail->block.count;
        if (tail->last)
            return 0;
        status = read_next(tail);
    }
    return status < 0 ? status : 0;
}
