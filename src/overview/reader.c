/* SPDX-License-Identifier: MIT
 * One file at a time is open; the folder is listed when it has ended, and now and then while it
 * does not grow. */
#include "overview/reader.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/catalog.h"
#include "os/clock.h"
#include "os/path.h"

#define LOOKS_MAX 10u /* in vain, before the folder is listed for a later file */

void reader_open(struct reader *reader, const char *folder, const char *channel,
                 const struct place *place)
{
    reader->folder = folder;
    reader->channel = channel;
    reader->place = *place;
    reader->scan = NULL;
    reader->source.descriptor = reader->past_cache.file.descriptor = DESCRIPTOR_NONE;
    reader->looks = 0;
}

void reader_close(struct reader *reader)
{
    if (reader->scan == NULL)
        return;
    scan_close(reader->scan);
    source_close(&reader->source);
    past_cache_close(&reader->past_cache);
    reader->scan = NULL;
}

static void next_file(struct reader *reader)
{
    reader_close(reader);
    reader->place = (struct place){.number = reader->place.number + 1};
}

static int tell(struct reader *reader, struct reader_event *event, const char *what)
{
    const char *slash = strrchr(reader->path, '/');
    snprintf(reader->what, sizeof(reader->what), "%.1000s: %.400s",
             slash != NULL ? slash + 1 : reader->path, what);
    event->kind = READER_FAULT;
    event->what = reader->what;
    return 0;
}

/* The channel's file of that number, or the next one; its path and whether it has ended. 0,
 * -ENOENT or -ENOMEM. */
static int find_file(struct reader *reader, uint64_t *number, bool *done)
{
    struct catalog catalog = {0};
    long added = catalog_add(&catalog, reader->folder, CATALOG_DATUMS);
    size_t at = added > 0 ? catalog_find(&catalog, reader->channel, *number) : 0;
    int status = added == -ENOMEM ? -ENOMEM : -ENOENT;
    if (added > 0 && at < catalog.count) {
        const struct catalog_file *file = &catalog.files[at];
        *number = file->name.number;
        bool last =
            at + 1 == catalog.count || strcmp(file[1].name.channel, file->name.channel) != 0;
        *done = file->name.stage == RECORDING_DONE || !last;
        snprintf(reader->path, sizeof(reader->path), "%s", file->path);
        status = 0;
    }
    catalog_free(&catalog);
    return status;
}

/* Recordings are read past the page cache; levels, which are small and read again, through it. */
static int scan_file(struct reader *reader, char *error, size_t error_bytes)
{
    reader->source.descriptor = DESCRIPTOR_NONE;
    int status = reader->whole ? -EOPNOTSUPP
                               : past_cache_scan(&reader->past_cache, &reader->scan, reader->path,
                                                 error, error_bytes);
    if (status != -EOPNOTSUPP)
        return status;
    past_cache_close(&reader->past_cache);
    return source_scan(&reader->source, &reader->scan, reader->path, SOURCE_FILES, error,
                       error_bytes);
}

/* Opens the file at the reader's place, or the next one. */
static int open_next(struct reader *reader, struct reader_event *event)
{
    char error[300];
    uint64_t number = reader->place.number > 0 ? reader->place.number : 1;
    int status = find_file(reader, &number, &reader->done);
    if (status < 0)
        return status == -ENOENT ? 0 : status;
    status = scan_file(reader, error, sizeof(error));
    const uint8_t *sync = status == 0 ? scan_header(reader->scan)->sync : NULL;
    bool same = status == 0 && number == reader->place.number &&
                memcmp(sync, reader->place.sync, SCAN_SYNC_BYTES) == 0;
    bool seek = same && reader->place.block > 0;
    if (!same)
        reader->place = (struct place){.number = number};
    if (sync != NULL)
        memcpy(reader->place.sync, sync, SCAN_SYNC_BYTES);
    if (seek) {
        status = scan_seek(reader->scan, reader->place.block);
        snprintf(error, sizeof(error), "offset %" PRIu64 ": no block begins here any more",
                 reader->place.block);
    }
    if (status < 0) {
        scan_close(reader->scan);
        source_close(&reader->source);
        past_cache_close(&reader->past_cache);
        reader->scan = NULL;
        if (status == -EINTR || status == -ENOMEM)
            return status;
        if (!reader->done && !seek) /* its header may be on its way */
            return 0;
        next_file(reader);
        return tell(reader, event, error);
    }
    reader->next =
        reader->place.block > 0 ? reader->place.block : scan_header(reader->scan)->image.bytes;
    reader->stale = false;
    reader->looks = 0;
    event->kind = READER_FILE;
    return 0;
}

/* There is no further block for now. Whether the file has ended meanwhile, or a later one is there.
 */
static int look_again(struct reader *reader)
{
    size_t bytes = strlen(reader->path), suffix = strlen(RECORDING_PART_SUFFIX);
    char final[OVERVIEW_PATH_BYTES];
    uint64_t number = reader->place.number;
    reader->stale = true;
    if (bytes > suffix && strcmp(reader->path + bytes - suffix, RECORDING_PART_SUFFIX) == 0) {
        snprintf(final, sizeof(final), "%.*s", (int)(bytes - suffix), reader->path);
        if (path_exists(final)) {
            reader->done = true;
            return 0;
        }
    }
    if (++reader->looks < LOOKS_MAX)
        return 0;
    reader->looks = 0;
    int status = find_file(reader, &number, &reader->done);
    if (status == -ENOENT || (status == 0 && number != reader->place.number))
        reader->done = true; /* it has gone, or a later one is there */
    return status == -ENOMEM ? status : 0;
}

/* Whether the block may be read already. */
static bool is_finished(const struct reader *reader, const struct scan_event *block)
{
    uint64_t now_ns = clock_realtime_ns();
    if (reader->done)
        return true;
    if (!reader->whole && block->offset + block->bytes >= scan_bytes(reader->scan))
        return false;
    return block->arrival_ns <= now_ns && now_ns - block->arrival_ns >= reader->age_ns;
}

/* What came of the scan's event: 1 to hand out, 0 to go on, -EAGAIN: nothing for now. */
static int take_event(struct reader *reader, struct reader_event *event)
{
    const struct scan_event *block = &event->block;
    bool at_end = block->offset + block->bytes >= scan_bytes(reader->scan);
    switch (block->kind) {
    case SCAN_BLOCK:
        if (!is_finished(reader, block))
            return -EAGAIN;
        if (block->offset != reader->place.block)
            reader->place.index = 0;
        reader->place.block = block->offset;
        event->kind = READER_BLOCK;
        if (!scan_peek_arrival(reader->scan, &event->next_ns))
            event->next_ns = UINT64_MAX;
        return 1;
    case SCAN_HEADER:
        reader->next = block->offset + block->bytes;
        event->kind = READER_FILE;
        return 1;
    case SCAN_FAULT:
    case SCAN_UNREAD:
        if (!reader->done && at_end) /* it is being written */
            return -EAGAIN;
        tell(reader, event, block->what);
        return 1;
    case SCAN_END:
        if (!reader->done)
            return -EAGAIN;
        next_file(reader);
        return 0;
    }
    return 0;
}

int reader_next(struct reader *reader, struct reader_event *event)
{
    event->kind = READER_NOTHING;
    for (;;) {
        if (reader->scan == NULL)
            return open_next(reader, event);
        int status = reader->stale ? scan_seek(reader->scan, reader->next) : 0;
        reader->stale = false;
        if (status == 0)
            status = scan_next(reader->scan, &event->block);
        if (status == -EINTR || status == -ENOMEM)
            return status;
        if (status < 0) {
            tell(reader, event, strerror(-status));
            next_file(reader);
            return 0;
        }
        status = take_event(reader, event);
        if (status > 0)
            return 0;
        if (status == -EAGAIN) {
            bool was_done = reader->done;
            status = look_again(reader);
            if (status < 0 || reader->done == was_done)
                return status;
        }
        if (reader->scan == NULL) {
            status = open_next(reader, event);
            if (status < 0 || event->kind != READER_NOTHING || reader->scan == NULL)
                return status;
        }
    }
}

void reader_pass(struct reader *reader, const struct scan_event *block)
{
    reader->next = reader->place.block = block->offset + block->bytes;
    reader->place.index = 0;
}
