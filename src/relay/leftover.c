/* SPDX-License-Identifier: MIT
 * Files that nobody ended. Relies on every block telling where it ends and whether it is whole. */
#include "relay/leftover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avro/block.h"
#include "avro/layout.h"
#include "base/log.h"
#include "channel/lanes.h"
#include "channel/recording_name.h"
#include "os/file.h"
#include "os/memory.h"

#define SCAN_BYTES ((size_t)LAYOUT_SCHEMA_BYTES_MAX + (1u << 20))

struct leftover_search {
    struct segment *segment;
    const char *open_name;      /* the one that is continued */
    struct recording_name part; /* found */
    uint32_t seen, skip;        /* those that could not be ended are passed over */
};

static int find_leftover(void *context, const char *text)
{
    struct leftover_search *search = context;
    char done[RECORDING_NAME_BYTES];
    if (!segment_owns(search->segment, text, &search->part) || search->part.stage != RECORDING_PART)
        return 0;
    segment_stage_name(done, search->part, RECORDING_DONE);
    if (search->open_name != NULL && strcmp(done, search->open_name) == 0)
        return 0;
    return search->seen++ >= search->skip;
}

/* Whether a valid block stands anywhere behind `at`: then what is there is damage, not a tail that
 * never got to the disk. 1, 0 or a negative errno. */
static int has_block_behind(struct direct_file *file, uint8_t *buffer, uint64_t at,
                            const uint8_t sync[BLOCK_SYNC_BYTES])
{
    for (;;) {
        long got = direct_file_read(file, buffer, SCAN_BYTES, at);
        struct block_info info;
        for (long page = BLOCK_PAGE_BYTES; page < got; page += BLOCK_PAGE_BYTES)
            if (block_inspect((struct span){buffer + page, (size_t)(got - page)}, sync, &info) ==
                    0 &&
                info.sound)
                return 1;
        if (got < (long)SCAN_BYTES)
            return got < 0 ? (int)got : 0;
        at += SCAN_BYTES - BLOCK_BYTES_MAX; /* a block may stand across the end of what was read */
    }
}

/* Whether any page of a file whose header cannot be read begins like a block. */
static bool has_block_front(struct direct_file *file, uint8_t *buffer)
{
    uint64_t at = 0;
    for (long got = SCAN_BYTES; got == (long)SCAN_BYTES; at += SCAN_BYTES) {
        got = direct_file_read(file, buffer, SCAN_BYTES, at);
        struct block_info info;
        for (long page = 0; page < got; page += BLOCK_PAGE_BYTES)
            if (block_read_front((struct span){buffer + page, (size_t)(got - page)}, &info) == 0)
                return true;
    }
    return false;
}

/* Finds the end of the last whole block. Returns it, 0 if not even the header is whole, or a
 * negative errno. `*damaged` if valid blocks stand behind it. */
static int64_t find_valid_end(struct direct_file *file, uint8_t *buffer, uint64_t *datums,
                              bool *damaged)
{
    uint8_t sync[BLOCK_SYNC_BYTES];
    *datums = 0;
    *damaged = false;
    long got = direct_file_read(file, buffer, SCAN_BYTES, 0);
    if (got < 0)
        return got;
    long header = block_read_header((struct span){buffer, (size_t)got}, sync);
    if (header < 0 || header % BLOCK_PAGE_BYTES != 0 ||
        block_check_header((struct span){buffer, (size_t)header}) == -EBADMSG) {
        /* Without its header nothing says which schema: but blocks that stand there are kept. */
        *damaged = has_block_front(file, buffer);
        return 0;
    }
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
        if (end == before) {
            int behind = has_block_behind(file, buffer, end, sync);
            *damaged = behind > 0;
            return behind < 0 ? behind : (int64_t)end;
        }
    }
}

/* Gives a left-over file its final name; where that is taken, one with the next number. `name` is
 * then that. */
static int rename_leftover(struct segment *segment, const char *part, struct recording_name *name)
{
    int folder = segment->folder->descriptor;
    char done[RECORDING_NAME_BYTES];
    name->stage = RECORDING_DONE;
    int status = folder_rename(folder, part, recording_name_write(done, name));
    if (status != -EEXIST)
        return status;
    struct writer_state *next = lane_writer_begin(segment->lane);
    name->number = ++next->file_number;
    lane_writer_commit(segment->lane);
    return folder_rename(folder, part, recording_name_write(done, name));
}

/* Copies what stands from `from` to `to` of a file to the same place in another. */
static int copy_part(struct direct_file *file, struct direct_file *other, uint8_t *buffer,
                     uint64_t from, uint64_t to)
{
    while (from < to) {
        size_t bytes = to - from < SCAN_BYTES ? (size_t)(to - from) : SCAN_BYTES;
        long got = direct_file_read(file, buffer, bytes, from);
        if (got <= 0)
            return got < 0 ? (int)got : -EIO;
        struct span part = {buffer, (size_t)got};
        int status = direct_file_write(other, &part, 1, from);
        if (status < 0)
            return status;
        from += part.bytes;
    }
    return 0;
}

/* Keeps what stands behind the damage at `end`: in a file of its own, with the header, each byte at
 * its old place. Done again after a kill it gives the same file. */
static int set_damage_aside(struct segment *segment, struct direct_file *file, uint8_t *buffer,
                            const char *name, uint64_t end, uint64_t size)
{
    uint8_t sync[BLOCK_SYNC_BYTES];
    int folder = segment->folder->descriptor;
    long got = direct_file_read(file, buffer, SCAN_BYTES, 0);
    long header = got < 0 ? got : block_read_header((struct span){buffer, (size_t)got}, sync);
    if (header < 0)
        return (int)header;
    struct direct_file aside;
    folder_remove(folder, name);
    int status = direct_file_open(&aside, folder, name, FILE_CREATE, false);
    if (status < 0)
        return status;
    status = copy_part(file, &aside, buffer, 0, (uint64_t)header);
    if (status == 0)
        status = copy_part(file, &aside, buffer, end, size);
    if (status == 0)
        status = direct_file_sync(&aside);
    direct_file_close(&aside);
    return status == 0 ? folder_sync(folder) : status;
}

/* Ends a leftover at `end`, behind its last valid block. */
static int end_leftover(struct segment *segment, struct direct_file *file, const char *part,
                        struct recording_name *name, uint64_t end)
{
    int status = direct_file_truncate(file, end);
    if (status == 0)
        status = direct_file_sync(file);
    if (status == 0)
        status = rename_leftover(segment, part, name);
    return status == 0 ? folder_sync(segment->folder->descriptor) : status;
}

/* False if it is there still under that name: it could not be ended. */
static bool finish_leftover(struct segment *segment, struct recording_name name)
{
    struct direct_file file;
    char part[RECORDING_NAME_BYTES], aside[RECORDING_NAME_BYTES], done[RECORDING_NAME_BYTES];
    recording_name_write(part, &name);
    segment_stage_name(aside, name, RECORDING_DAMAGED);
    int status = direct_file_open(&file, segment->folder->descriptor, part, FILE_EXISTING, false);
    uint8_t *buffer = status < 0 ? NULL : private_memory_map(SCAN_BYTES);
    if (buffer == NULL) {
        log_line("cannot read %s: %s", part, strerror(status < 0 ? -status : ENOMEM));
        direct_file_close(&file);
        return status == -ENOENT;
    }
    uint64_t datums;
    bool damaged;
    int64_t size = direct_file_size(&file);
    int64_t end = find_valid_end(&file, buffer, &datums, &damaged);
    if (end < 0) {
        log_line("cannot read %s: %s", part, strerror((int)-end));
    } else if (damaged) {
        /* Nothing is cut off that could still be read, and nothing but whole blocks gets the name
         * of a recording: a reader that knows no checksums would take damage for datums. */
        if (datums == 0) {
            status = folder_rename(segment->folder->descriptor, part, aside);
        } else {
            status = set_damage_aside(segment, &file, buffer, aside, (uint64_t)end, (uint64_t)size);
            if (status == 0)
                status = end_leftover(segment, &file, part, &name, (uint64_t)end);
        }
        log_line("%s was left open, damaged at byte %" PRId64 ": ended there, with %" PRIu64
                 " datums; the rest is kept in %s, for `flotilla recover`: %s",
                 part, end, datums, aside, status < 0 ? strerror(-status) : "done");
    } else if (datums == 0) {
        status = folder_remove(segment->folder->descriptor, part);
        log_line("removed %s, which holds no whole block: %s", part,
                 status < 0 ? strerror(-status) : "done");
    } else {
        status = end_leftover(segment, &file, part, &name, (uint64_t)end);
        log_line("ended %s, which was left open: %" PRIu64 " datums kept, %" PRId64
                 " bytes cut off: %s",
                 recording_name_write(done, &name), datums, size - end,
                 status < 0 ? strerror(-status) : "done");
    }
    bool removed = !direct_file_linked(&file); /* by retention, meanwhile */
    private_memory_unmap(buffer, SCAN_BYTES);
    direct_file_close(&file);
    return removed || (end >= 0 && status == 0);
}

void leftovers_finish(struct segment *segment)
{
    if (segment->folder->descriptor < 0)
        return;
    const struct writer_state *state = lane_writer(segment->lane);
    struct leftover_search search = {.segment = segment,
                                     .open_name = state->file_open ? state->file_name : NULL};
    /* Each pass renames or removes one, or passes over one more. */
    for (; folder_list(segment->folder->descriptor, find_leftover, &search) == 1; search.seen = 0)
        search.skip += !finish_leftover(segment, search.part);
}
