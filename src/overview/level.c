/* SPDX-License-Identifier: MIT
 * A level at work. How large a block becomes is a matter of what is read: who looks at a minute
 * wants no hour's block, and who looks at the newest minute finds what has not ended in the level
 * below. Where the time of single rows is not known, a block is all that is known of time. */
#include "overview/level.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/datum.h"
#include "base/calendar.h"
#include "base/check.h"
#include "os/clock.h"
#include "os/host.h"
#include "os/path.h"

#define FILE_BYTES_MAX   (256u << 20)                 /* a further block begins another file */
#define FILE_AGE_NS      (30ull * 86400 * 1000000000) /* from its first datum to its last */
#define BLOCK_SOURCE_MAX (4u << 20)                   /* bytes from below in a block, about */
#define TIMELESS_SOURCE_MAX                                                                        \
    (25u * BLOCK_PAGE_BYTES)         /* where a block is all that is known of time */
#define GAP_NS       (10 * NS_PER_S) /* shorter ones never end a window ... */
#define GAP_SPACINGS 50u             /* ... nor those of fewer times the usual distance of datums */
#define ENTRIES_MAX  10u
#define WELL_FILLED  93u /* per cent of a block that are datums, before it is ended */

/* ---- beginning and end ---- */

static void forget_schema(struct level *level)
{
    peaks_close(level->peaks);
    level->peaks = NULL;
    free(level->layout_image);
    level->layout_image = NULL;
    free((void *)(uintptr_t)level->schema.at);
    free((void *)(uintptr_t)level->time.at);
    free((void *)(uintptr_t)level->sequence.at);
    level->schema = level->time = level->sequence = (struct span){NULL, 0};
}

void level_close(struct level *level)
{
    reader_close(&level->reader);
    writer_close(level->writer);
    level->writer = NULL;
    row_clock_free(&level->clock);
    forget_schema(level);
    level->file_ends = false;
}

static int copy_span(struct span *to, struct span from)
{
    uint8_t *copy = malloc(from.bytes + 1);
    if (copy == NULL)
        return -ENOMEM;
    if (from.bytes > 0)
        memcpy(copy, from.at, from.bytes);
    copy[from.bytes] = '\0';
    *to = (struct span){copy, from.bytes};
    return 0;
}

static int copy_schema(struct level *level, const struct scan *scan)
{
    const struct scan_header *header = scan_header(scan);
    int status = copy_span(&level->schema, schema_text(scan_schema(scan)));
    if (status == 0)
        status = copy_span(&level->time, header->time);
    return status < 0 ? status : copy_span(&level->sequence, header->sequence);
}

/* The name that the file of `state` has in the end. */
static char *file_name(const struct level *level, const struct level_state *state,
                       char text[RECORDING_NAME_BYTES])
{
    struct recording_name name = {
        .stamp_ns = state->stamp_ns, .number = state->number, .stage = RECORDING_DONE};
    snprintf(name.channel, sizeof(name.channel), "%.*s", CHANNEL_NAME_BYTES_MAX, level->name);
    return recording_name_write(text, &name);
}

/* Takes the file up again that was noted last. */
static int resume_file(struct level *level, const struct level_state *state)
{
    char name[RECORDING_NAME_BYTES], path[OVERVIEW_PATH_BYTES], error[300];
    struct source source = {.descriptor = DESCRIPTOR_NONE};
    struct scan *scan = NULL;
    file_name(level, state, name);
    snprintf(path, sizeof(path), "%s/%s", level->path, name);
    if (path_exists(path)) { /* it was finished, and that was not noted any more */
        level->ended.end = 0;
        return 0;
    }
    int status = writer_resume(&level->writer, level->folder, name, state->end, level->direct);
    snprintf(path, sizeof(path), "%s/%s" RECORDING_PART_SUFFIX, level->path, name);
    if (status == 0) {
        status = source_scan(&source, &scan, path, SOURCE_FILES, error, sizeof(error));
        if (status == 0)
            status = copy_schema(level, scan);
        scan_close(scan);
        source_close(&source);
    }
    return status == -ENOENT ? -EBADMSG : status;
}

int level_open(struct level *level, const struct level_state *state, const char *below,
               const char *channel_below)
{
    level->ended = level->put = *state;
    level->all_datums = state->datums;
    level->reader.whole = level->index > 1;
    reader_open(&level->reader, below, channel_below, &state->source);
    return state->end == 0 ? 0 : resume_file(level, state);
}

/* ---- a file of the level ---- */

static struct span text_span(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

/* Whether the window at hand came in so much earlier than one before it that no file has both. */
static bool is_back(const struct level *level)
{
    return level->put.latest_ns > level->window_ns &&
           level->put.latest_ns - level->window_ns > BLOCK_DISORDER_NS;
}

static int begin_file(struct level *level, uint64_t arrival_ns)
{
    char host[256], started[CALENDAR_TEXT_BYTES], factor[24], since[24], text[RECORDING_NAME_BYTES];
    struct level_state *ended = &level->ended;
    ended->number++;
    if (is_back(level) || ended->ordered_since == 0)
        ended->ordered_since = ended->number;
    if (is_back(level))
        level->put.latest_ns = ended->latest_ns = 0;
    ended->stamp_ns = arrival_ns;
    file_name(level, ended, text);
    host_name(host, sizeof(host));
    calendar_write(started, clock_realtime_ns(), 0);
    snprintf(factor, sizeof(factor), "%llu", (unsigned long long)level->factor);
    snprintf(since, sizeof(since), "%llu", (unsigned long long)ended->ordered_since);
    struct writer_entry entries[ENTRIES_MAX] = {
        {"avro.schema", level->schema},
        {"flotilla.channel", text_span(level->channel)},
        {"flotilla.host", text_span(host)},
        {"flotilla.started", text_span(started)},
        {"flotilla.version", text_span(FLOTILLA_VERSION)},
        {"flotilla.factor", text_span(factor)},
        {"flotilla.source", text_span(level->source)},
        {"flotilla.ordered_since", text_span(since)},
    };
    size_t count = 8;
    if (level->time.bytes > 0)
        entries[count++] = (struct writer_entry){"flotilla.time", level->time};
    if (level->sequence.bytes > 0)
        entries[count++] = (struct writer_entry){"flotilla.sequence", level->sequence};
    int status = writer_begin(&level->writer, level->folder, text, entries, count, level->direct);
    if (status == 0)
        ended->end = writer_bytes(level->writer);
    return status;
}

/* Ends the block at hand: what is in it, and the place it goes on from, can be noted. */
static int end_block(struct level *level)
{
    if (writer_block_bytes(level->writer) == 0)
        return 0;
    int status = writer_end_block(level->writer);
    struct level_state *ended = &level->ended;
    ended->end = writer_bytes(level->writer);
    ended->source = level->put.source;
    ended->source_ns = level->put.source_ns;
    ended->datums = level->put.datums;
    ended->latest_ns = level->put.latest_ns;
    level->source_bytes = 0;
    if (ended->end >= FILE_BYTES_MAX || ended->latest_ns - ended->stamp_ns >= FILE_AGE_NS)
        level->file_ends = true;
    return status;
}

int level_sync(struct level *level)
{
    return level->writer == NULL ? 0 : writer_sync(level->writer);
}

/* Finishes the file; its end is noted before it gets its final name. */
static int end_file(struct level *level)
{
    level->file_ends = false;
    int status = level->note(level->context);
    if (status < 0)
        return status;
    status = writer_finish(level->writer);
    level->writer = NULL;
    level->ended.end = 0;
    return status;
}

/* ---- windows ---- */

/* How large the level's blocks are to be: at level 1 large enough that little of them is no datum;
 * above it small, for that is a few bytes of each. */
static size_t block_bytes_for(const struct level *level, size_t pair_bytes)
{
    enum { LARGE = 64u << 10, MIDDLE = 16u << 10 };
    if (level->index > 1)
        return level->index == 2 && level->clock.unit_ns != 0 ? MIDDLE : BLOCK_PAGE_BYTES;
    for (size_t bytes = level->clock.unit_ns != 0 ? LARGE : BLOCK_PAGE_BYTES; bytes < LARGE;
         bytes += BLOCK_PAGE_BYTES)
        if (block_data_max(bytes) / pair_bytes * pair_bytes * 100 >= WELL_FILLED * bytes)
            return bytes;
    return LARGE;
}

/* Puts the two datums of a window into the level's file. */
static int put_window(struct level *level, const struct span pair[2])
{
    size_t both = pair[0].bytes + pair[1].bytes;
    struct level_state *put = &level->put;
    int status = 0;
    bool back = is_back(level);
    if (level->writer != NULL && back) /* its blocks must rise in time */
        status = end_block(level);
    if (status == 0 && level->writer != NULL && (back || level->file_ends))
        status = end_file(level);
    if (status == 0 && level->writer == NULL)
        status = begin_file(level, level->window_ns);
    if (status < 0)
        return status;
    if (writer_block_bytes(level->writer) == 0)
        level->block_bytes_max = block_bytes_for(level, both);
    for (int i = 0; i < 2 && status == 0; i++) {
        if (!writer_fits(level->writer, pair[i].bytes, BLOCK_BYTES_MAX))
            status = end_block(level);
        writer_add(level->writer, pair[i], level->window_ns);
    }
    if (level->newest_ns > put->latest_ns)
        put->latest_ns = level->newest_ns;
    put->source = level->reader.place; /* behind the datum that was taken last */
    put->source_ns = level->newest_ns;
    put->datums = level->all_datums;
    size_t bytes = writer_block_bytes(level->writer), data = writer_block_data(level->writer);
    bool full = !writer_fits(level->writer, both, level->block_bytes_max);
    bool page_full = block_finished_bytes(data + both, writer_alignment(level->writer)) > bytes &&
                     data * 100 >= WELL_FILLED * bytes;
    if (status == 0 && (full || (page_full && level->source_bytes >= BLOCK_SOURCE_MAX) ||
                        (level->clock.unit_ns == 0 && level->source_bytes >= TIMELESS_SOURCE_MAX)))
        status = end_block(level);
    return status;
}

static int end_window(struct level *level)
{
    struct span pair[2];
    if (level->peaks == NULL || peaks_fill(level->peaks) == 0)
        return 0;
    int status = peaks_take(level->peaks, pair);
    level->all_datums += level->window_datums;
    level->window_datums = 0;
    return status < 0 ? status : put_window(level, pair);
}

int level_flush(struct level *level)
{
    int status = end_window(level);
    return status < 0 || level->writer == NULL ? status : end_block(level);
}

/* ---- what comes from below ---- */

static bool is_same(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

/* Makes what the schema at hand is read by. A time or sequence field that is not in it is none. */
static int make_peaks(struct level *level, const struct scan *scan)
{
    char error[256];
    size_t bytes;
    const char *time = (const char *)level->time.at, *sequence = (const char *)level->sequence.at;
    int status = schema_compile(scan_schema(scan), time, sequence, &level->layout_image, &bytes,
                                error, sizeof(error));
    if (status == -EINVAL)
        status = schema_compile(scan_schema(scan), NULL, NULL, &level->layout_image, &bytes, error,
                                sizeof(error));
    if (status < 0)
        return status;
    status = layout_load(&level->layout, (struct span){level->layout_image, bytes});
    CHECK(status == 0);
    return peaks_open(&level->peaks, &level->layout);
}

/* Another file begins below. */
static int begin_source(struct level *level)
{
    const struct scan *scan = level->reader.scan;
    const struct scan_header *header = scan_header(scan);
    struct span schema = schema_text(scan_schema(scan));
    const char *slash = strrchr(level->reader.path, '/');
    snprintf(level->source, sizeof(level->source), "%.*s", (int)sizeof(level->source) - 1,
             slash != NULL ? slash + 1 : level->reader.path);
    size_t length = strlen(level->source), suffix = strlen(RECORDING_PART_SUFFIX);
    if (length > suffix && strcmp(level->source + length - suffix, RECORDING_PART_SUFFIX) == 0)
        level->source[length - suffix] = '\0';
    bool same = level->schema.at != NULL && is_same(level->schema, schema) &&
                is_same(level->time, header->time) && is_same(level->sequence, header->sequence);
    int status = same ? 0 : end_window(level); /* by the schema that it is of */
    if (status == 0 && !same && level->writer != NULL) {
        status = end_block(level);
        if (status == 0)
            status = end_file(level);
    }
    if (!same) {
        forget_schema(level);
        if (status == 0)
            status = copy_schema(level, scan);
    }
    if (status == 0 && level->peaks == NULL)
        status = make_peaks(level, scan);
    return status < 0 ? status : row_clock_set(&level->clock, scan);
}

/* Whether what came in at `arrival_ns` must not be in one window with what is there. */
static bool is_apart(const struct level *level, uint64_t arrival_ns)
{
    uint64_t fill = level->peaks == NULL ? 0 : peaks_fill(level->peaks);
    if (fill == 0)
        return false;
    if (arrival_ns < level->newest_ns)
        return level->newest_ns - arrival_ns > BLOCK_DISORDER_NS;
    uint64_t gap = arrival_ns - level->newest_ns;
    return level->usual_ns > 0 && gap > GAP_NS && gap / GAP_SPACINGS > level->usual_ns;
}

/* Keeps in mind what is usual, of what came in at `arrival_ns`. */
static void note_gap(struct level *level, uint64_t arrival_ns)
{
    if (level->newest_ns == 0 || arrival_ns <= level->newest_ns)
        return;
    uint64_t gap = arrival_ns - level->newest_ns, most = 10 * level->usual_ns + GAP_NS;
    gap = level->usual_ns > 0 && gap > most ? most : gap;
    level->usual_ns = level->usual_ns == 0 ? gap : (3 * level->usual_ns + gap) / 4;
}

/* Takes the datum at the start of `bytes`. Returns its length, or a negative errno. */
static long take_datum(struct level *level, const struct reader_event *event, struct span bytes,
                       uint64_t index)
{
    const struct scan_event *block = &event->block;
    size_t used;
    uint64_t at = block->arrival_ns;
    bool begins = peaks_fill(level->peaks) == 0;
    /* Of recordings a window's first alone: its block says enough of the others. */
    if (index == 0 || begins || level->index > 1)
        at = row_clock_ns(&level->clock, bytes, index, block->arrival_ns, event->next_ns);
    else
        at = level->newest_ns > at ? level->newest_ns : at;
    if ((index == 0 || level->index > 1) && is_apart(level, at)) {
        int status = end_window(level);
        if (status < 0)
            return status;
        begins = true;
    }
    int status = peaks_add(level->peaks, bytes, &used);
    if (status < 0)
        return status;
    if (begins)
        level->window_ns = at;
    if (index == 0 || level->index > 1)
        note_gap(level, at);
    level->newest_ns = at;
    level->window_datums++;
    level->source_bytes += used;
    return (long)used;
}

/* Takes what the block at hand has, from the reader's place on. */
static int take_block(struct level *level, const struct reader_event *event)
{
    const struct scan_event *block = &event->block;
    struct reader *reader = &level->reader;
    uint64_t index = reader->place.index;
    struct span rest = {block->data.at, block->data.bytes};
    if (index > 0 && index < block->shown) { /* its first says when the others came in */
        row_clock_ns(&level->clock, rest, 0, block->arrival_ns, event->next_ns);
        struct span first = scan_datum(reader->scan, block, index);
        rest.bytes -= (size_t)(first.at - rest.at);
        rest.at = first.at;
    }
    for (; index < block->shown; index++) {
        long used = take_datum(level, event, rest, index);
        if (used < 0)
            return (int)used;
        rest.at += used;
        rest.bytes -= (size_t)used;
        reader->place.index = index + 1;
        if (peaks_fill(level->peaks) >= level->window) {
            int status = end_window(level);
            if (status < 0)
                return status;
        }
    }
    level->source_bytes += block->bytes - block->data.bytes;
    reader_pass(reader, block);
    return 1;
}

int level_step(struct level *level, const char **what)
{
    struct reader_event event;
    int status = reader_next(&level->reader, &event);
    if (status < 0)
        return status;
    switch (event.kind) {
    case READER_NOTHING:
        return 0;
    case READER_FILE:
        status = begin_source(level);
        return status < 0 ? status : 1;
    case READER_BLOCK:
        return take_block(level, &event);
    case READER_FAULT:
        *what = event.what;
        return -ENODATA;
    }
    return 0;
}
