/* SPDX-License-Identifier: MIT
 * Channels side by side. Each has its newest datum at hand as a batch of one row, from which the
 * joined row is copied, and the one behind it waiting in its feed. */
#include "export/grid.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "export/columns.h"
#include "os/interrupt.h"

/* On end: 115 days of rows each 10 ms. */
#define ROWS_WITHOUT_A_DATUM 1000000000u

/* Of one channel. */
struct lane {
    struct catalog catalog; /* paths are the whole catalog's */
    struct feed feed;
    bool open;
    struct feed_row waiting;
    bool waits;          /* there is one */
    struct batch *held;  /* for each of the tables that are the channel's; NULL: none yet */
    struct table *table; /* which of them is at hand */
    uint64_t bytes_before;
    size_t file;
};

struct grid {
    struct tables *tables;
    struct time_span span;
    uint64_t interval_ns;
    struct feed_report *report;
    struct lane *lanes;
    size_t lane_count;
    struct table *joined;
    size_t table_count; /* that it is made of */
    uint32_t *first;    /* by table: which of the joined columns is its first */
    struct batch *batch;
};

/* ---- the joined table ---- */

/* As `column`, of the table `of` among several. False without memory. */
static bool lead(struct export_column *made, const struct export_column *column,
                 const struct table *of, bool several)
{
    struct text path = {0};
    const char **names = calloc(column->name_count + 2u, sizeof(char *));
    *made = *column;
    made->nullable = true;
    text_add(&path, "%s%s%s", several ? of->name : "",
             several && column->path[0] != '\0' ? "." : "", column->path);
    made->path = text_take(&path);
    made->names = names;
    if (names == NULL || made->path == NULL)
        return false;
    if (several)
        names[0] = of->name;
    for (uint32_t i = 0; i < column->name_count; i++)
        names[i + several] = column->names[i];
    made->name_count += several;
    return true;
}

static int join_columns(struct grid *grid)
{
    struct tables *tables = grid->tables;
    bool several = tables->count > 1;
    size_t count = 0;
    grid->table_count = tables->count;
    for (size_t i = 0; i < tables->count; i++) {
        table_settle(tables->list[i]);
        count += tables->list[i]->of_format.columns.count;
    }
    struct export_column *list = calloc(count + 1, sizeof(*list));
    grid->joined = calloc(1, sizeof(*grid->joined));
    grid->first = calloc(tables->count + 1, sizeof(*grid->first));
    if (list == NULL || grid->joined == NULL || grid->first == NULL) {
        free(list);
        return -ENOMEM;
    }
    struct export_columns *columns = &grid->joined->of_format.columns;
    columns->list = list;
    for (size_t i = 0; i < tables->count; i++) {
        const struct table *table = tables->list[i];
        grid->first[i] = columns->count;
        for (uint32_t at = 0; at < table->of_format.columns.count; at++)
            if (!lead(&list[columns->count++], &table->of_format.columns.list[at], table, several))
                return -ENOMEM;
    }
    return 0;
}

/* What a grid needs of tables that are as they are: a time that is known, and other names. */
static int join(struct grid *grid, char *error, size_t error_bytes)
{
    struct tables *tables = grid->tables;
    for (size_t i = 0; i < tables->count; i++)
        if (tables->list[i]->of_format.time == EXPORT_TIME_NONE) {
            snprintf(error, error_bytes, "\"%s\" says no time to put it on a grid by: --time does",
                     tables->list[i]->name);
            return -EINVAL;
        }
    int status = join_columns(grid);
    if (status < 0)
        return status;
    struct table *joined = grid->joined;
    joined->name = text_copy(tables->count == 1 ? tables->list[0]->name : "joined");
    joined->of_format.name = joined->name;
    joined->of_format.channel = tables->count == 1 ? tables->list[0]->of_format.channel : "";
    joined->of_format.time = EXPORT_TIME_GRID;
    table_settle(joined);
    return joined->name == NULL ? -ENOMEM : 0;
}

static void free_joined(struct table *joined)
{
    struct export_columns *columns = &joined->of_format.columns;
    for (uint32_t i = 0; i < columns->count; i++) {
        free((void *)(uintptr_t)columns->list[i].path);
        free((void *)(uintptr_t)columns->list[i].names);
    }
    free((void *)(uintptr_t)columns->list);
    text_free(&joined->files);
    text_free(&joined->losses);
    free(joined->name);
    free(joined);
}

/* ---- channels ---- */

static struct lane *lane_of(struct grid *grid, const struct catalog_file *file)
{
    for (size_t i = 0; i < grid->lane_count; i++)
        if (table_same_channel(&grid->lanes[i].catalog.files[0], file))
            return &grid->lanes[i];
    struct lane *grown = realloc(grid->lanes, (grid->lane_count + 1) * sizeof(*grown));
    if (grown == NULL)
        return NULL;
    grid->lanes = grown;
    grown[grid->lane_count] = (struct lane){0};
    return &grown[grid->lane_count++];
}

static int split(struct grid *grid, const struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        struct lane *lane = lane_of(grid, &catalog->files[i]);
        void *grown = lane == NULL ? NULL
                                   : room_grow(lane->catalog.files, &lane->catalog.room,
                                               lane->catalog.count + 1, sizeof(catalog->files[0]));
        if (grown == NULL)
            return -ENOMEM;
        lane->catalog.files = grown;
        lane->catalog.files[lane->catalog.count++] = catalog->files[i];
    }
    return 0;
}

int grid_open(struct grid **opened, struct tables *tables, const struct catalog *catalog,
              const struct time_span *span, uint64_t interval_ns, struct feed_report *report,
              char *error, size_t error_bytes)
{
    struct grid *grid = calloc(1, sizeof(*grid));
    *opened = grid;
    error[0] = '\0';
    if (grid == NULL)
        return -ENOMEM;
    *grid = (struct grid){
        .tables = tables, .span = *span, .interval_ns = interval_ns, .report = report};
    int status = split(grid, catalog);
    for (size_t i = 0; status == 0 && i < grid->lane_count; i++)
        status = feed_survey(tables, &grid->lanes[i].catalog, span, report, error, error_bytes);
    return status < 0 || tables->count == 0 ? status : join(grid, error, error_bytes);
}

void grid_close(struct grid *grid)
{
    if (grid == NULL)
        return;
    for (size_t i = 0; i < grid->lane_count; i++) {
        struct lane *lane = &grid->lanes[i];
        for (size_t at = 0; lane->held != NULL && at < grid->table_count; at++)
            batch_free(&lane->held[at]);
        free(lane->held);
        if (lane->open)
            feed_close(&lane->feed);
        free(lane->catalog.files);
    }
    if (grid->joined != NULL)
        free_joined(grid->joined);
    free(grid->lanes);
    free(grid->first);
    free(grid);
}

static size_t index_of(const struct grid *grid, const struct table *table)
{
    size_t index = 0;
    while (index < grid->table_count && grid->tables->list[index] != table)
        index++;
    return index;
}

/* The next datum of a channel waits then, or none does. */
static int wait_for(struct lane *lane)
{
    do {
        int status = feed_next(&lane->feed, &lane->waiting);
        if (status < 0)
            return status;
    } while (lane->waiting.kind == FEED_FILE);
    lane->waits = lane->waiting.kind == FEED_ROW;
    return 0;
}

/* The datum that waits is the newest one. */
static int take_waiting(struct grid *grid, struct lane *lane)
{
    size_t index = index_of(grid, lane->waiting.table);
    if (index == grid->table_count)
        return -EINVAL;
    struct batch *held = &lane->held[index];
    held->rows_most = 1;
    int status = batch_begin(held, lane->waiting.table, EXPORT_VECTORS);
    if (status == 0)
        status = batch_add(held, &lane->feed.reading, lane->waiting.datum, lane->waiting.time_ns,
                           lane->waiting.arrival_ns);
    if (status == 0)
        status = batch_seal(held);
    lane->table = lane->waiting.table;
    return status < 0 ? status : wait_for(lane);
}

/* ---- rows ---- */

/* Hands the batch on. As grid_run. */
static int hand_on(struct grid *grid, struct writing *writing)
{
    int status = grid->batch == NULL || grid->batch->rows == 0 ? 1 : batch_seal(grid->batch);
    if (status == 0)
        writing_hand_on(writing);
    grid->batch = NULL;
    return status > 0 ? 0 : status;
}

static int add_row(struct grid *grid, struct writing *writing, int64_t time_ns)
{
    int status = 0;
    if (grid->batch == NULL) {
        grid->batch = writing_batch(writing);
        if (grid->batch == NULL)
            return 1;
        status = batch_begin(grid->batch, grid->joined, EXPORT_VECTORS);
    }
    for (size_t i = 0; status == 0 && i < grid->lane_count; i++) {
        struct lane *lane = &grid->lanes[i];
        if (lane->table == NULL)
            continue;
        size_t index = index_of(grid, lane->table);
        status = batch_copy(grid->batch, grid->first[index], &lane->held[index]);
    }
    if (status < 0)
        return status;
    batch_end_row(grid->batch, time_ns, 0);
    feed_count(grid->joined, time_ns);
    return batch_is_full(grid->batch) ? hand_on(grid, writing) : 0;
}

static int begin_lanes(struct grid *grid, char *error, size_t error_bytes)
{
    for (size_t i = 0; i < grid->lane_count; i++) {
        struct lane *lane = &grid->lanes[i];
        lane->held = calloc(grid->table_count + 1, sizeof(*lane->held));
        if (lane->held == NULL)
            return -ENOMEM;
        lane->open = true;
        int status =
            feed_open(&lane->feed, &lane->catalog, &grid->span, grid->tables, grid->report);
        if (status == 0)
            status = wait_for(lane);
        if (status < 0) {
            snprintf(error, error_bytes, "%s", lane->feed.error);
            return status;
        }
    }
    return 0;
}

/* The earliest time that waits; false if nothing does. */
static bool earliest(const struct grid *grid, int64_t *time_ns)
{
    bool any = false;
    for (size_t i = 0; i < grid->lane_count; i++) {
        const struct lane *lane = &grid->lanes[i];
        if (!lane->waits || (any && lane->waiting.time_ns >= *time_ns))
            continue;
        *time_ns = lane->waiting.time_ns;
        any = true;
    }
    return any;
}

/* The first multiple of the interval that is not before `time_ns`. */
static int64_t grid_at(const struct grid *grid, int64_t time_ns)
{
    int64_t interval = (int64_t)grid->interval_ns, rest = time_ns % interval;
    rest = rest < 0 ? rest + interval : rest;
    if (rest == 0)
        return time_ns;
    return time_ns > INT64_MAX - interval ? time_ns - rest : time_ns + (interval - rest);
}

/* Goes on to the next row, whose datums wait up to `first`: a wrong clock's gap of decades would
 * be rows until the disk is full. */
static int advance(const struct grid *grid, int64_t *at, int64_t first, char *error,
                   size_t error_bytes)
{
    int64_t interval = (int64_t)grid->interval_ns;
    uint64_t gap = first > *at ? (uint64_t)first - (uint64_t)*at : 0;
    if (gap / grid->interval_ns > ROWS_WITHOUT_A_DATUM) {
        snprintf(error, error_bytes,
                 "nothing came in for %" PRIu64 " days, which is %" PRIu64 " rows: choose a span "
                 "with --from and --to, or a longer --every",
                 gap / 86400000000000u, gap / grid->interval_ns);
        return -EOVERFLOW;
    }
    *at = *at > INT64_MAX - interval ? INT64_MAX : *at + interval;
    return 0;
}

/* All that came up to `time_ns` is taken. */
static int take_until(struct grid *grid, int64_t time_ns, char *error, size_t error_bytes)
{
    for (size_t i = 0; i < grid->lane_count; i++) {
        struct lane *lane = &grid->lanes[i];
        while (lane->waits && lane->waiting.time_ns <= time_ns) {
            int status = take_waiting(grid, lane);
            if (status == 0)
                continue;
            snprintf(error, error_bytes, "%s",
                     status == -EINVAL ? "files were added or joined that no table is for"
                                       : lane->feed.error);
            return status;
        }
    }
    return 0;
}

static void show_all(struct grid *grid, void (*show)(void *, uint64_t, const char *), void *context)
{
    uint64_t bytes = 0;
    const char *path = "";
    for (size_t i = 0; i < grid->lane_count; i++) {
        struct lane *lane = &grid->lanes[i];
        for (; lane->file < lane->feed.at.file; lane->file++)
            lane->bytes_before += lane->catalog.files[lane->file].bytes;
        bytes += lane->bytes_before + lane->feed.at.block;
        if (lane->waits)
            path = lane->catalog.files[lane->file].path;
    }
    show(context, bytes, path);
}

/* The joined table's origin is that of all. */
static int end_table(struct grid *grid, struct writing *writing)
{
    struct export_origin *origin = &grid->joined->origin;
    struct text *files = &grid->joined->files, *losses = &grid->joined->losses;
    for (size_t i = 0; i < grid->table_count; i++) {
        const struct table *table = grid->tables->list[i];
        text_add(files, "%s%s", i > 0 ? "\n" : "", table->files.at ? table->files.at : "");
        text_add(losses, "%s%s", losses->bytes > 0 && table->losses.bytes > 0 ? "\n" : "",
                 table->losses.at ? table->losses.at : "");
        origin->file_count += table->origin.file_count;
        origin->loss_count += table->origin.loss_count;
        origin->lost_bytes += table->origin.lost_bytes;
        origin->missing_files += table->origin.missing_files;
        origin->missing_datums += table->origin.missing_datums;
    }
    origin->files = files->at != NULL ? files->at : "";
    origin->losses = losses->at != NULL ? losses->at : "";
    if (files->failed || losses->failed)
        return -ENOMEM;
    return writing_end_table(writing, grid->joined) ? 0 : 1;
}

int grid_run(struct grid *grid, struct writing *writing,
             void (*show)(void *context, uint64_t bytes, const char *path), void *context,
             char *error, size_t error_bytes)
{
    int64_t first = 0, at = 0;
    error[0] = '\0';
    int status = begin_lanes(grid, error, error_bytes);
    for (bool begun = false; status == 0 && earliest(grid, &first); begun = true) {
        if (begun)
            status = advance(grid, &at, first, error, error_bytes);
        else
            at = grid_at(grid, first);
        if (status == 0)
            status = interrupt_seen() ? -EINTR : take_until(grid, at, error, error_bytes);
        if (status == 0)
            status = add_row(grid, writing, at);
        if (grid->batch == NULL)
            show_all(grid, show, context);
    }
    if (status == 0)
        status = hand_on(grid, writing);
    return status == 0 ? end_table(grid, writing) : status;
}
