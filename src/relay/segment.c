/* SPDX-License-Identifier: MIT
 * Recording files. Relies on the writer's state for every step that must survive a kill, and on
 * the file system for O_EXCL, rename without replacing, and fdatasync.
 * Known: a rename and the note of it are two steps; a kill between them is found at the next start.
 */
#include "relay/segment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/host.h"
#include "os/memory.h"

#define PART_SUFFIX        ".part"
#define LOCK_NAME          ".lock"
#define PROBE_NAME         ".probe"
#define OPENING_NAME       ".opening" /* a file without a header yet, which no reader could open */
#define RESERVE_BYTES_MIN  (1u << 20)
#define RESERVE_BYTES_MAX  (64u << 20)
#define HEADER_EXTRA_BYTES 16384u /* of a header besides the schema, padding included */
#define SCAN_BYTES         ((size_t)LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))

/* ---- starting ---- */

/* Whether files in the folder can be written directly: tried with a write, as some file systems
 * accept the flag and refuse then. 0 or a negative errno. */
static int probe_direct(int folder, uint32_t *alignment)
{
    struct direct_file file;
    folder_remove(folder, PROBE_NAME);
    int status = direct_file_open(&file, folder, PROBE_NAME, FILE_CREATE, true);
    if (status < 0)
        return status;
    uint8_t *page = private_memory_map(file.alignment);
    status = -ENOMEM;
    if (page != NULL) {
        struct span part = {page, file.alignment};
        status = direct_file_write(&file, &part, 1, 0);
        shared_memory_unmap(page, file.alignment);
    }
    *alignment = file.alignment;
    direct_file_close(&file);
    folder_remove(folder, PROBE_NAME);
    return status;
}

/* Opens and locks the folder and decides how to write there. */
static int open_folder(struct segment *segment)
{
    const struct channel_settings *settings = segment->settings;
    int folder = folder_open(settings->directory);
    if (folder < 0)
        return folder;
    int lock = folder_lock(folder, LOCK_NAME); /* held until the process ends */
    if (lock < 0) {
        descriptor_close(folder);
        return lock;
    }
    segment->folder = folder;
    segment->lock = lock;
    if (settings->direct_io == DIRECT_OFF)
        return 0;
    uint32_t alignment = BLOCK_PAGE_BYTES;
    int status = probe_direct(folder, &alignment);
    bool refused = status == -EINVAL || status == -EOPNOTSUPP || status == -EPERM;
    if (refused && settings->direct_io == DIRECT_REQUIRED)
        return -EOPNOTSUPP;
    if (refused)
        log_line("no direct I/O in %s: recording through the page cache", settings->directory);
    /* A full or failing disk is no reason to do without it. */
    segment->direct = !refused;
    segment->alignment = alignment;
    return 0;
}

int segment_prepare(struct segment *segment, struct staging *staging,
                    const struct channel_settings *settings, struct span schema, char *why,
                    size_t why_bytes)
{
    segment->staging = staging;
    segment->settings = settings;
    segment->schema = schema;
    segment->file.descriptor = -1;
    segment->folder = segment->lock = -1;
    segment->alignment = BLOCK_PAGE_BYTES;
    host_name(segment->host, sizeof(segment->host));
    int status = open_folder(segment);
    if (status == -EWOULDBLOCK) {
        snprintf(why, why_bytes, "another relay records in %s", settings->directory);
        return status;
    }
    if (status == -EOPNOTSUPP) {
        snprintf(why, why_bytes,
                 "direct_io: required, but the file system of %s has no direct I/O; record "
                 "elsewhere, or set direct_io: auto",
                 settings->directory);
        return status;
    }
    if (status < 0)
        log_line("cannot use the folder %s: %s; relaying without recording until it can be",
                 settings->directory, strerror(-status));
    segment->scratch_bytes = schema.bytes + HEADER_EXTRA_BYTES + 2 * segment->alignment;
    segment->scratch = private_memory_map(segment->scratch_bytes);
    snprintf(why, why_bytes, "out of memory");
    return segment->scratch == NULL ? -ENOMEM : 0;
}

void segment_release(struct segment *segment)
{
    direct_file_close(&segment->file);
    shared_memory_unmap(segment->scratch, segment->scratch_bytes);
    descriptor_close(segment->lock);
    descriptor_close(segment->folder);
    segment->scratch = NULL;
    segment->folder = segment->lock = -1;
}

/* ---- names ---- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t bytes = strlen(name), end = strlen(suffix);
    return bytes >= end && strcmp(name + bytes - end, suffix) == 0;
}

/* Whether `name` is CHANNEL-...avro or with ".part"; its number into `number`. */
static bool is_own_name(const struct segment *segment, const char *name, uint64_t *number)
{
    size_t prefix = strlen(segment->settings->name);
    if (strncmp(name, segment->settings->name, prefix) != 0 || name[prefix] != '-' ||
        (!has_suffix(name, ".avro") && !has_suffix(name, ".avro" PART_SUFFIX)))
        return false;
    const char *dash = strrchr(name, '-');
    char *end;
    *number = strtoull(dash + 1, &end, 10);
    return end != dash + 1 && strncmp(end, ".avro", 5) == 0;
}

struct segment_scan {
    struct segment *segment;
    const char *open_name; /* the one that goes on */
    uint64_t number_max;
    char part[256]; /* a leftover */
};

static int note_number(void *context, const char *name)
{
    struct segment_scan *scan = context;
    uint64_t number;
    if (is_own_name(scan->segment, name, &number) && number > scan->number_max)
        scan->number_max = number;
    return 0;
}

static int find_leftover(void *context, const char *name)
{
    struct segment_scan *scan = context;
    uint64_t number;
    size_t bytes = strlen(name);
    if (!is_own_name(scan->segment, name, &number) || !has_suffix(name, PART_SUFFIX) ||
        bytes >= sizeof(scan->part))
        return 0;
    size_t stem = bytes - strlen(PART_SUFFIX);
    if (scan->open_name != NULL && strncmp(name, scan->open_name, stem) == 0 &&
        scan->open_name[stem] == '\0')
        return 0;
    memcpy(scan->part, name, bytes + 1);
    return 1;
}

static void part_name(char *out, size_t out_bytes, const char *name)
{
    snprintf(out, out_bytes, "%s" PART_SUFFIX, name);
}

/* ---- after a crash of the machine ---- */

/* Finds the end of the last whole block. Returns it, 0 if not even the header is whole, or a
 * negative errno. */
static int64_t find_sound_end(struct direct_file *file, uint8_t *buffer, uint64_t *datums)
{
    uint8_t sync[BLOCK_SYNC_BYTES];
    *datums = 0;
    long got = direct_file_read(file, buffer, SCAN_BYTES, 0);
    if (got < 0)
        return got;
    long header = block_read_header((struct span){buffer, (size_t)got}, sync);
    if (header < 0 || header % BLOCK_PAGE_BYTES != 0)
        return 0;
    uint64_t end = (uint64_t)header;
    for (;;) {
        got = direct_file_read(file, buffer, SCAN_BYTES, end);
        if (got < 0)
            return got;
        uint64_t before = end;
        size_t at = 0;
        struct block_info info;
        while (block_inspect((struct span){buffer + at, (size_t)got - at}, sync, &info) == 0 &&
               info.sound && info.bytes % BLOCK_PAGE_BYTES == 0) {
            at += info.bytes;
            *datums += info.count;
        }
        end += at;
        if (end == before)
            return (int64_t)end;
    }
}

static void finish_leftover(struct segment *segment, const char *part)
{
    char name[256];
    size_t stem = strlen(part) - strlen(PART_SUFFIX);
    memcpy(name, part, stem);
    name[stem] = '\0';

    struct direct_file file;
    int status = direct_file_open(&file, segment->folder, part, FILE_EXISTING, false);
    uint8_t *buffer = status < 0 ? NULL : private_memory_map(SCAN_BYTES);
    if (buffer == NULL) {
        log_line("cannot look into %s: %s", part, strerror(status < 0 ? -status : ENOMEM));
        direct_file_close(&file);
        return;
    }
    uint64_t datums;
    int64_t size = direct_file_size(&file), end = find_sound_end(&file, buffer, &datums);
    shared_memory_unmap(buffer, SCAN_BYTES);
    if (end < 0) {
        log_line("cannot read %s: %s", part, strerror((int)-end));
    } else if (datums == 0) {
        status = folder_remove(segment->folder, part);
        log_line("removed %s, which holds no whole block: %s", part,
                 status < 0 ? strerror(-status) : "done");
    } else {
        status = direct_file_truncate(&file, (uint64_t)end);
        if (status == 0)
            status = direct_file_sync(&file);
        if (status == 0)
            status = folder_rename(segment->folder, part, name);
        if (status == 0)
            status = folder_sync(segment->folder);
        log_line("ended %s, which was left open: %" PRIu64 " datums kept, %" PRId64
                 " bytes cut off: %s",
                 name, datums, size - end, status < 0 ? strerror(-status) : "done");
    }
    direct_file_close(&file);
}

/* The steps of ending that may be done twice: size, name, note. */
static void finish_ending(struct segment *segment)
{
    struct staging *staging = segment->staging;
    const struct writer_state *state = staging_writer(staging);
    char part[160];
    part_name(part, sizeof(part), state->file_name);
    int status = direct_file_truncate(&segment->file, state->file_final_bytes);
    if (status == 0)
        status = direct_file_sync(&segment->file);
    bool removed = !direct_file_linked(&segment->file);
    direct_file_close(&segment->file);
    if (removed)
        log_line("%s was removed while it was written", part);
    else if (state->file_final_bytes <= state->file_header_bytes) /* no datums */
        status = folder_remove(segment->folder, part);
    else {
        int renamed = folder_rename(segment->folder, part, state->file_name);
        status = renamed < 0 ? renamed : status;
    }
    if (folder_sync(segment->folder) < 0 || status < 0)
        log_line("%s/%s may not be ended properly: %s", segment->settings->directory, part,
                 strerror(status < 0 ? -status : EIO));

    struct writer_state *next = staging_writer_begin(staging);
    next->file_open = 0;
    next->file_ending = 0;
    staging_writer_commit(staging);
}

/* The file that was open is not there any more, or shorter than it was: what was not synced of it
 * cannot be counted on. */
static void give_up_open_file(struct segment *segment)
{
    struct writer_state *next = staging_writer_begin(segment->staging);
    next->datums_unrecorded += next->unsynced_datums;
    next->unsynced_datums = 0;
    if (next->open_datums > 0) {
        next->early_datums = next->open_datums;
        next->early_bytes = next->open_bytes;
    }
    next->open_datums = 0;
    next->open_bytes = 0;
    next->file_open = 0;
    next->file_ending = 0;
    staging_writer_commit(segment->staging);
}

static void resume_open_file(struct segment *segment)
{
    const struct writer_state *state = staging_writer(segment->staging);
    char part[160];
    part_name(part, sizeof(part), state->file_name);
    if (state->file_bytes == 0) { /* killed while it was made */
        folder_remove(segment->folder, OPENING_NAME);
        folder_remove(segment->folder, part);
        give_up_open_file(segment);
        return;
    }
    int status = direct_file_open(&segment->file, segment->folder, part, FILE_EXISTING,
                                  state->file_direct != 0);
    if (state->file_ending && status == 0) {
        finish_ending(segment);
        return;
    }
    int64_t size = status < 0 ? status : direct_file_size(&segment->file);
    if (size >= (int64_t)state->file_bytes && segment->file.alignment <= state->file_alignment) {
        segment->file.alignment = state->file_alignment;
        segment->reserved_bytes = state->file_bytes;
        return;
    }
    if (state->unsynced_datums > 0)
        log_line("cannot go on with %s: %s", part, size < 0 ? strerror((int)-size) : "it was cut");
    direct_file_close(&segment->file);
    give_up_open_file(segment);
}

void segment_resume(struct segment *segment)
{
    if (segment->folder < 0) {
        give_up_open_file(segment);
        return;
    }
    if (staging_writer(segment->staging)->file_open)
        resume_open_file(segment);
    const struct writer_state *state = staging_writer(segment->staging);
    struct segment_scan scan = {.segment = segment,
                                .open_name = state->file_open ? state->file_name : NULL,
                                .number_max = state->file_number};
    folder_list(segment->folder, note_number, &scan);
    if (scan.number_max > state->file_number) {
        struct writer_state *next = staging_writer_begin(segment->staging);
        next->file_number = scan.number_max;
        staging_writer_commit(segment->staging);
    }
    /* Each pass renames or removes one; what cannot be is left after as many passes as a folder may
     * reasonably hold. */
    for (int pass = 0; pass < 1000; pass++) {
        if (folder_list(segment->folder, find_leftover, &scan) != 1)
            break;
        finish_leftover(segment, scan.part);
    }
}

/* ---- at work ---- */

static void write_name(struct segment *segment, struct writer_state *next)
{
    struct calendar at;
    clock_calendar(next->file_stamp_ns, &at);
    snprintf(next->file_name, sizeof(next->file_name),
             "%.64s-%04u%02u%02uT%02u%02u%02u.%06uZ-%06" PRIu64 ".avro", segment->settings->name,
             (unsigned)at.year % 10000, (unsigned)at.month % 100, (unsigned)at.day % 100,
             (unsigned)at.hour % 100, (unsigned)at.minute % 100, (unsigned)at.second % 100,
             (unsigned)at.nanosecond / 1000 % 1000000, next->file_number);
}

/* Makes the file, directly if that is wanted and can be. */
static int make_file(struct segment *segment)
{
    folder_remove(segment->folder, OPENING_NAME); /* of a relay that was killed here */
    int status = direct_file_open(&segment->file, segment->folder, OPENING_NAME, FILE_CREATE,
                                  segment->direct);
    bool refused = status == -EINVAL || status == -EOPNOTSUPP || status == -EPERM;
    if (!segment->direct || !refused || segment->settings->direct_io == DIRECT_REQUIRED)
        return status;
    log_line("no direct I/O in %s any more: recording through the page cache",
             segment->settings->directory);
    segment->direct = false;
    return direct_file_open(&segment->file, segment->folder, OPENING_NAME, FILE_CREATE, false);
}

/* A folder that could not be opened at the start is tried again. The blocks that wait are pages
 * then (see receiver_prepare), which any way of writing takes that wants no more than a page's
 * alignment. */
static int open_folder_late(struct segment *segment)
{
    int status = open_folder(segment);
    if (status == 0 && segment->alignment != BLOCK_PAGE_BYTES) {
        segment->alignment = BLOCK_PAGE_BYTES;
        segment->direct = false;
    }
    if (status == 0)
        segment_resume(segment);
    return status;
}

int segment_open(struct segment *segment)
{
    struct staging *staging = segment->staging;
    int folder_status = segment->folder < 0 ? open_folder_late(segment) : 0;
    if (folder_status < 0)
        return folder_status;
    struct writer_state *next = staging_writer_begin(staging);
    next->file_number++;
    next->file_stamp_ns = clock_realtime_ns();
    next->file_opened_ns = clock_monotonic_ns();
    next->file_bytes = 0;
    next->file_synced_bytes = 0;
    write_name(segment, next);
    char part[160], started[CLOCK_TEXT_BYTES];
    part_name(part, sizeof(part), next->file_name);
    int status = host_random(next->sync_marker, sizeof(next->sync_marker));
    if (status < 0)
        return status;
    next->file_open = 1;
    next->file_alignment = segment->alignment;
    staging_writer_commit(staging); /* from here on a successor knows the name */

    const struct writer_state *state = staging_writer(staging);
    struct block_header_text text = {.schema = segment->schema,
                                     .channel = segment->settings->name,
                                     .host = segment->host,
                                     .started = clock_write(started, state->file_stamp_ns),
                                     .version = FLOTILLA_VERSION};
    long header = block_write_header(segment->scratch, segment->scratch_bytes, &text,
                                     state->sync_marker, segment->alignment);
    CHECK(header > 0);
    status = make_file(segment);
    if (status == 0) {
        struct span image = {segment->scratch, (size_t)header};
        status = direct_file_write(&segment->file, &image, 1, 0);
        /* It gets its name with its header: whoever finds it can read it. */
        if (status == 0)
            status = folder_rename(segment->folder, OPENING_NAME, part);
        if (status < 0) {
            direct_file_close(&segment->file);
            folder_remove(segment->folder, OPENING_NAME);
        }
    }
    if (status == -ENOENT) { /* the folder was removed: the next attempt makes it again */
        descriptor_close(segment->lock);
        descriptor_close(segment->folder);
        segment->folder = segment->lock = -1;
    }
    segment->reserved_bytes = (uint64_t)header;
    next = staging_writer_begin(staging);
    next->file_open = status == 0;
    next->file_bytes = status == 0 ? (uint64_t)header : 0;
    next->file_header_bytes = (uint64_t)header;
    next->file_direct = segment->file.direct;
    staging_writer_commit(staging);
    return status;
}

/* Reserves ahead in steps that grow with the file, so that a small file stays small and a large one
 * is laid out in large pieces. What cannot be reserved is found out by the write. */
static void reserve_ahead(struct segment *segment, uint64_t end)
{
    if (end <= segment->reserved_bytes || end < RESERVE_BYTES_MIN)
        return;
    uint64_t step = end < RESERVE_BYTES_MAX ? end : RESERVE_BYTES_MAX;
    step = step / segment->alignment * segment->alignment;
    int status = direct_file_reserve(&segment->file, end, step);
    segment->reserved_bytes = status == 0 ? end + step : end + RESERVE_BYTES_MIN;
}

int segment_write(struct segment *segment, const struct span *parts, uint32_t part_count,
                  uint64_t offset)
{
    if (direct_file_size(&segment->file) < (int64_t)offset)
        return -ENOENT; /* somebody cut it; writing on would leave a hole */
    uint64_t end = offset;
    for (uint32_t i = 0; i < part_count; i++)
        end += parts[i].bytes;
    reserve_ahead(segment, end);
    return direct_file_write(&segment->file, parts, part_count, offset);
}

static uint64_t file_end(const struct writer_state *state)
{
    return state->file_bytes +
           (state->open_datums > state->early_datums ? state->file_alignment : 0);
}

int segment_sync(struct segment *segment)
{
    int status = direct_file_sync(&segment->file);
    const struct writer_state *state = staging_writer(segment->staging);
    /* Removed or cut by somebody: what is in it, or behind its end, nobody can read. */
    if (status == 0 && (!direct_file_linked(&segment->file) ||
                        direct_file_size(&segment->file) < (int64_t)file_end(state)))
        status = -ENOENT;
    if (status < 0)
        return status;
    struct writer_state *next = staging_writer_begin(segment->staging);
    next->datums_recorded += next->unsynced_datums;
    next->unsynced_datums = 0;
    if (file_end(next) > next->file_synced_bytes)
        next->bytes_recorded += file_end(next) - next->file_synced_bytes;
    next->file_synced_bytes = file_end(next);
    staging_writer_commit(segment->staging);
    return 0;
}

void segment_end(struct segment *segment, uint64_t torn_at)
{
    struct staging *staging = segment->staging;
    bool synced = segment_sync(segment) == 0;
    struct writer_state *next = staging_writer_begin(staging);
    uint64_t size = file_end(next);
    if (!synced) {
        next->datums_unrecorded += next->unsynced_datums;
        next->unsynced_datums = 0;
        size = next->file_synced_bytes;
    } else if (torn_at != 0) {
        size = torn_at;
    }
    if (!(synced && torn_at != 0) && next->open_datums > next->early_datums) {
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
    staging_writer_commit(staging); /* from here on a successor ends it likewise */
    finish_ending(segment);
}
