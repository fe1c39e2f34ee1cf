/* SPDX-License-Identifier: MIT
 * One thread fills the sources' rings in turn, each with one block at a time; the player takes from
 * them. Known: a block of which the time field stands still is played at once, and in the last
 * block of a source without a time field datums follow one another as in the block before. */
#include "cli/replay_reader.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/thread.h"

#define STACK_BYTES (1u << 20)
#define ASTRAY_NS   NS_PER_S /* a time field is not believed that far from arrivals, or back */

/* What is known of a file before it is read. */
struct outline {
    uint64_t first_ns, last_ns; /* arrival, of its first and its last block; 0: not known */
    uint64_t shift_ns;          /* how much later it is played: clocks were set back before it */
};

struct source {
    const struct catalog *catalog;
    struct outline *outlines; /* of the catalog's files */
    /* The files that the history is of: some of the catalog's, from number `begin` on. */
    struct catalog part;
    size_t begin;
    struct history *history;
    struct row_clock clock;
    /* The row that the next block begins with, taken already. */
    struct replay_block held;
    uint64_t held_arrival_ns;
    int64_t held_field_ns;
    bool held_field_known;
    bool admitted, told_timeless;
    /* What the time field is to arrivals: at anchor_field_ns it was anchor_ns. */
    bool anchored;
    int64_t anchor_field_ns;
    uint64_t anchor_ns;
    uint64_t each_ns; /* between two datums of the last block, where there is no time field */
    uint64_t last_ns, shift_ns;
    bool ended; /* nothing more is in it: for the reader's thread */
    struct replay_block ring[REPLAY_BLOCKS];
    _Atomic uint64_t filled, taken;
    _Atomic bool finished; /* no block behind those filled */
};

struct replay_reader {
    replay_admit *admit;
    void *context;
    struct source *sources;
    uint32_t count;
    struct time_span span;
    struct thread thread;
    struct wake is_filled, is_taken;
    _Atomic bool ended;
    _Atomic uint64_t faults, left_out;
};

/* ---- rows ---- */

static bool add_row(struct replay_block *block, struct span datum, uint64_t at_ns)
{
    uint8_t *bytes = room_grow(block->bytes, &block->room, block->byte_count + datum.bytes, 1);
    if (bytes == NULL)
        return false;
    block->bytes = bytes;
    struct replay_row *rows =
        room_grow(block->rows, &block->row_room, block->count + 1, sizeof(*rows));
    if (rows == NULL)
        return false;
    block->rows = rows;
    if (datum.bytes > 0)
        memcpy(bytes + block->byte_count, datum.at, datum.bytes);
    block->byte_count += datum.bytes;
    rows[block->count++] = (struct replay_row){(uint32_t)datum.bytes, at_ns};
    return true;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

/* When a row of the block that arrived then came in, by its time field. 0 where that says nothing.
 */
static uint64_t field_time(struct source *source, bool known, int64_t field_ns, uint64_t arrival_ns,
                           bool first)
{
    if (!known)
        return 0;
    uint64_t at = source->anchor_ns + (uint64_t)field_ns - (uint64_t)source->anchor_field_ns;
    if (first && (!source->anchored || distance(at, arrival_ns) > ASTRAY_NS)) {
        source->anchored = true;
        source->anchor_field_ns = field_ns;
        source->anchor_ns = at = arrival_ns;
    }
    return at;
}

/* Gives the rows of a block that has no time field their times: evenly up to the next block, which
 * arrived at `next_ns` (0: not known), but no further apart than makes sense. */
static void spread(struct source *source, struct replay_block *block, uint64_t arrival_ns,
                   uint64_t next_ns)
{
    uint64_t each = source->each_ns;
    if (next_ns > arrival_ns) {
        uint64_t even = (next_ns - arrival_ns) / block->count;
        /* A pause behind the block is not its datums': blocks are closed in time. */
        if (each == 0 || even <= 4 * each || next_ns - arrival_ns <= NS_PER_S)
            each = even;
        source->each_ns = each;
    }
    for (size_t i = 0; i < block->count; i++)
        if (block->rows[i].at_ns == 0)
            block->rows[i].at_ns = arrival_ns + i * each;
}

/* The block is whole: its rows get the times that they are played at. */
static void finish(struct source *source, struct replay_block *block, uint64_t arrival_ns,
                   uint64_t next_ns)
{
    spread(source, block, arrival_ns, next_ns);
    for (size_t i = 0; i < block->count; i++) {
        uint64_t at = block->rows[i].at_ns;
        /* What the field says is held against when the block, and the next one, came in. */
        if (at + ASTRAY_NS < arrival_ns)
            at = arrival_ns;
        if (next_ns > arrival_ns && at > next_ns + ASTRAY_NS)
            at = next_ns;
        at += source->shift_ns;
        if (at + ASTRAY_NS < source->last_ns)
            source->shift_ns += source->last_ns - at;
        if (at < source->last_ns)
            at = source->last_ns;
        source->last_ns = block->rows[i].at_ns = at;
    }
}

/* ---- blocks ---- */

static void begin_file(struct replay_reader *reader, struct source *source, size_t file)
{
    const struct scan *scan = history_scan(source->history);
    uint32_t number = (uint32_t)(source - reader->sources);
    const char *path = source->catalog->files[file].path;
    source->anchored = false;
    if (source->shift_ns < source->outlines[file].shift_ns)
        source->shift_ns = source->outlines[file].shift_ns;
    source->admitted =
        scan_header(scan)->ours && reader->admit(reader->context, number, scan_schema(scan), path);
    if (!scan_header(scan)->ours)
        fprintf(stderr,
                "%s: does not say when its datums came in: it is left out ('flotilla send "
                "--from' sends it at a rate)\n",
                path);
    if (source->admitted)
        return;
    atomic_fetch_add(&reader->left_out, 1);
    history_next_file(source->history);
}

/* Opens the history of the files from `begin` up to `end`. */
static int open_part(struct replay_reader *reader, struct source *source, size_t begin, size_t end,
                     uint64_t from_ns)
{
    struct time_span span = reader->span;
    if (from_ns > span.from_ns)
        span.from_ns = from_ns;
    history_close(source->history);
    source->history = NULL;
    source->begin = begin;
    source->part = (struct catalog){.files = source->catalog->files + begin, .count = end - begin};
    return history_open(&source->history, &source->part, &span, ROWS_SKIP);
}

/* Takes the next row into `row`. 1, 0 at the end, or a negative errno. */
static int take_row(struct replay_reader *reader, struct source *source, struct rows_event *row)
{
    for (;;) {
        int status = history_next(source->history, row);
        size_t end = source->begin + source->part.count;
        if (status == 0 && row->kind == ROWS_END && end < source->catalog->count) {
            status = open_part(reader, source, end, source->catalog->count, 0);
            if (status == 0)
                continue;
        }
        if (status < 0 || row->kind == ROWS_END)
            return status;
        if (row->kind == ROWS_FILE) {
            begin_file(reader, source, source->begin + row->at.file);
            status =
                source->admitted ? row_clock_set(&source->clock, history_scan(source->history)) : 0;
            if (status < 0)
                return status;
        }
        if (row->kind == ROWS_FAULT && row->status != -ENODATA) {
            fprintf(stderr, "%s: %s\n", source->part.files[row->at.file].path, row->what);
            atomic_fetch_add(&reader->faults, 1);
        }
        if (row->kind == ROWS_DATUM)
            return 1;
    }
}

static bool add_timed(struct source *source, struct replay_block *block, struct span datum,
                      uint64_t arrival_ns, bool known, int64_t field_ns)
{
    return add_row(block, datum,
                   field_time(source, known, field_ns, arrival_ns, block->count == 0));
}

/* Keeps the row for the block that it begins. */
static bool hold(struct source *source, const struct rows_event *row, bool known, int64_t field_ns)
{
    source->held.count = source->held.byte_count = 0;
    source->held_arrival_ns = row->arrival_ns;
    source->held_field_known = known;
    source->held_field_ns = field_ns;
    return add_row(&source->held, row->datum, 0);
}

/* Fills a block. 1, 0 where there is none any more, or a negative errno. */
static int fill(struct replay_reader *reader, struct source *source, struct replay_block *block)
{
    struct rows_event row;
    block->count = block->byte_count = 0;
    for (;;) {
        if (source->held.count > 0) {
            struct span datum = {source->held.bytes, source->held.byte_count};
            source->held.count = 0;
            if (!add_timed(source, block, datum, source->held_arrival_ns, source->held_field_known,
                           source->held_field_ns))
                return -ENOMEM;
        }
        uint64_t arrival_ns = source->held_arrival_ns;
        int status = take_row(reader, source, &row);
        if (status <= 0) {
            source->ended = true;
            if (block->count > 0)
                finish(source, block, arrival_ns, 0);
            return status < 0 ? status : block->count > 0;
        }
        int64_t field_ns = 0;
        bool known = row_clock_field_ns(&source->clock, row.datum, &field_ns);
        if (block->count == 0 || row.at.index == 0 || row.arrival_ns != arrival_ns) {
            if (!hold(source, &row, known, field_ns))
                return -ENOMEM;
            if (block->count == 0)
                continue;
            finish(source, block, arrival_ns, row.arrival_ns);
            return 1;
        }
        if (!add_timed(source, block, row.datum, arrival_ns, known, field_ns))
            return -ENOMEM;
    }
}

/* Fills one block of the source if there is room. Whether something was done. */
static bool serve(struct replay_reader *reader, struct source *source)
{
    uint64_t filled = atomic_load(&source->filled);
    if (atomic_load(&source->finished) || filled - atomic_load(&source->taken) == REPLAY_BLOCKS)
        return false;
    int status = source->ended ? 0 : fill(reader, source, &source->ring[filled % REPLAY_BLOCKS]);
    if (status > 0) {
        atomic_store(&source->filled, filled + 1);
    } else {
        if (status < 0 && status != -EINTR) {
            fprintf(stderr, "flotilla replay: %s\n", strerror(-status));
            atomic_fetch_add(&reader->faults, 1);
        }
        atomic_store(&source->finished, true);
    }
    wake_signal(&reader->is_filled);
    return true;
}

static void run(void *context)
{
    struct replay_reader *reader = context;
    while (!atomic_load(&reader->ended)) {
        uint32_t seen = wake_seen(&reader->is_taken);
        bool busy = false;
        for (uint32_t i = 0; i < reader->count && !atomic_load(&reader->ended); i++)
            busy |= serve(reader, &reader->sources[i]);
        if (!busy && !atomic_load(&reader->ended))
            wake_wait(&reader->is_taken, seen, -1);
    }
}

/* ---- for the player ---- */

struct replay_block *replay_reader_front(struct replay_reader *reader, uint32_t number)
{
    struct source *source = &reader->sources[number];
    for (;;) {
        uint32_t seen = wake_seen(&reader->is_filled);
        bool finished = atomic_load(&source->finished);
        uint64_t taken = atomic_load(&source->taken);
        if (atomic_load(&source->filled) > taken)
            return &source->ring[taken % REPLAY_BLOCKS];
        if (finished || interrupt_seen())
            return NULL;
        wake_wait(&reader->is_filled, seen, 100 * NS_PER_MS);
    }
}

void replay_reader_pop(struct replay_reader *reader, uint32_t number)
{
    atomic_fetch_add(&reader->sources[number].taken, 1);
    wake_signal(&reader->is_taken);
}

uint64_t replay_reader_faults(const struct replay_reader *reader)
{
    return atomic_load(&reader->faults);
}

uint64_t replay_reader_left_out(const struct replay_reader *reader)
{
    return atomic_load(&reader->left_out);
}

/* ---- from first to last ---- */

struct replay_reader *replay_reader_open(const struct time_span *span, replay_admit *admit,
                                         void *context)
{
    struct replay_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    reader->span = *span;
    reader->admit = admit;
    reader->context = context;
    return reader;
}

/* Looks at the files, and finds out by how much later each of them is played. */
static void outline(const struct replay_reader *reader, struct source *source)
{
    uint64_t shift_ns = 0, end_ns = 0;
    for (size_t i = 0; i < source->catalog->count; i++) {
        struct outline *file = &source->outlines[i];
        struct catalog_look look;
        int status = catalog_look(&source->catalog->files[i], &look);
        if (status == -ENOENT || !look.ours || look.empty || look.first_ns >= reader->span.to_ns ||
            look.last_ns < reader->span.from_ns)
            continue;
        file->first_ns =
            look.first_ns > reader->span.from_ns ? look.first_ns : reader->span.from_ns;
        file->last_ns = look.last_ns < reader->span.to_ns ? look.last_ns : reader->span.to_ns;
        if (file->first_ns + shift_ns + ASTRAY_NS < end_ns)
            shift_ns = end_ns - file->first_ns;
        file->shift_ns = shift_ns;
        if (file->last_ns + shift_ns > end_ns)
            end_ns = file->last_ns + shift_ns;
    }
}

bool replay_reader_add(struct replay_reader *reader, const struct catalog *catalog)
{
    struct source *sources =
        realloc(reader->sources, (reader->count + 1) * sizeof(*reader->sources));
    if (sources == NULL)
        return false;
    reader->sources = sources;
    memset(&sources[reader->count], 0, sizeof(*sources));
    sources[reader->count].catalog = catalog;
    sources[reader->count].outlines = calloc(catalog->count + 1, sizeof(struct outline));
    if (sources[reader->count].outlines == NULL)
        return false;
    outline(reader, &sources[reader->count++]);
    return true;
}

struct replay_extent replay_reader_extent(const struct replay_reader *reader)
{
    struct replay_extent extent = {0};
    for (uint32_t i = 0; i < reader->count; i++)
        for (size_t file = 0; file < reader->sources[i].catalog->count; file++) {
            const struct outline *known = &reader->sources[i].outlines[file];
            uint64_t first_ns = known->first_ns + known->shift_ns;
            uint64_t last_ns = known->last_ns + known->shift_ns;
            if (known->last_ns == 0)
                continue;
            if (extent.first_ns == 0 || first_ns < extent.first_ns)
                extent.first_ns = first_ns;
            if (last_ns > extent.last_ns)
                extent.last_ns = last_ns;
        }
    return extent;
}

static void stop(struct replay_reader *reader)
{
    atomic_store(&reader->ended, true);
    wake_signal(&reader->is_taken);
    thread_join(&reader->thread);
    for (uint32_t i = 0; i < reader->count; i++) {
        struct source *source = &reader->sources[i];
        history_close(source->history);
        source->history = NULL;
        source->held.count = 0;
        source->anchored = source->ended = false;
        source->each_ns = source->last_ns = source->shift_ns = 0;
        atomic_store(&source->filled, 0);
        atomic_store(&source->taken, 0);
        atomic_store(&source->finished, false);
    }
}

/* Opens the source where what is played at `from_ns` stands: in the last file that begins before
 * that, and the whole of those behind it. */
static int open_at(struct replay_reader *reader, struct source *source, uint64_t from_ns)
{
    size_t count = source->catalog->count, at = count;
    for (size_t i = 0; i < count; i++)
        if (source->outlines[i].last_ns > 0 &&
            source->outlines[i].first_ns + source->outlines[i].shift_ns <= from_ns)
            at = i;
    return at == count ? open_part(reader, source, 0, count, 0)
                       : open_part(reader, source, at, at + 1,
                                   from_ns - source->outlines[at].shift_ns);
}

int replay_reader_start(struct replay_reader *reader, uint64_t from_ns)
{
    stop(reader);
    for (uint32_t i = 0; i < reader->count; i++) {
        int status = open_at(reader, &reader->sources[i], from_ns);
        if (status < 0)
            return status;
    }
    atomic_store(&reader->ended, false);
    return thread_start(&reader->thread, run, reader, STACK_BYTES);
}

static void free_block(struct replay_block *block)
{
    free(block->bytes);
    free(block->rows);
}

void replay_reader_close(struct replay_reader *reader)
{
    if (reader == NULL)
        return;
    stop(reader);
    for (uint32_t i = 0; i < reader->count; i++) {
        struct source *source = &reader->sources[i];
        row_clock_free(&source->clock);
        free(source->outlines);
        free_block(&source->held);
        for (uint32_t block = 0; block < REPLAY_BLOCKS; block++)
            free_block(&source->ring[block]);
    }
    free(reader->sources);
    free(reader);
}
