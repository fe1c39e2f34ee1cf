/* SPDX-License-Identifier: MIT
 * Reading on one side, writing on the other. The target takes its name when all is written and
 * synced. */
#include "export/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "command/usage.h"
#include "export/feed.h"
#include "export/grid.h"
#include "export/own.h"
#include "export/progress.h"
#include "export/writing.h"
#include "os/folder.h"
#include "os/interrupt.h"
#include "os/made.h"
#include "os/storage.h"

struct run {
    const struct export_task *task;
    struct tables tables;
    struct feed feed;
    struct grid *grid; /* NULL: a table a channel */
    struct feed_report report;
    struct writing writing;
    struct batch *batch; /* being filled; NULL: none */
    struct progress progress;
    uint64_t bytes_total, bytes_before; /* of all files; of those in front of the one at hand */
    size_t file;
    _Atomic bool lossy; /* not every value could be written as it is */
};

static void clear_progress(void *context)
{
    progress_clear(context);
}

/* For a format, in its thread. */
static void take_loss(void *context, const char *what)
{
    struct run *run = context;
    atomic_store(&run->lossy, true);
    fprintf(stderr, "flotilla export: %s\n", what);
}

static int fail(struct run *run, const char *what)
{
    progress_clear(&run->progress);
    fprintf(stderr, "flotilla export: %s\n", what);
    return EXIT_FAILED;
}

static int fail_status(struct run *run, int status, const char *message)
{
    if (status == -EINTR)
        return fail(run, "interrupted; nothing is written");
    return fail(run, message[0] != '\0' ? message : strerror(-status));
}

/* ---- rows ---- */

static void show_progress(struct run *run)
{
    const struct catalog *catalog = &run->task->catalog;
    const struct row_position *at = &run->feed.at;
    for (; run->file < at->file; run->file++)
        run->bytes_before += catalog->files[run->file].bytes;
    const char *path = catalog->files[at->file].path;
    const char *slash = strrchr(path, '/');
    progress_show(&run->progress, slash != NULL ? slash + 1 : path, run->bytes_before + at->block,
                  run->bytes_total);
}

/* Hands the batch on, if there is one. 0, -ENOMEM, or 1: writing has failed. */
static int hand_on(struct run *run)
{
    if (run->batch == NULL || run->batch->rows == 0)
        return 0;
    int status = batch_seal(run->batch);
    if (status < 0)
        return status;
    writing_hand_on(&run->writing);
    run->batch = NULL;
    show_progress(run);
    return 0;
}

/* A batch for rows of `table`. As hand_on. */
static int begin_batch(struct run *run, struct table *table)
{
    if (run->batch != NULL && run->batch->table == table)
        return 0;
    int status = hand_on(run);
    if (status != 0)
        return status;
    run->batch = writing_batch(&run->writing);
    return run->batch == NULL ? 1 : batch_begin(run->batch, table, run->task->format->rows);
}

static int take_row(struct run *run, const struct feed_row *row)
{
    uint64_t every = run->task->every;
    if (every > 1 && (row->table->seen - 1) % every != 0)
        return 0;
    int status = begin_batch(run, row->table);
    if (status != 0)
        return status;
    feed_count(row->table, row->time_ns);
    status = batch_add(run->batch, &run->feed.reading, row->datum, row->time_ns, row->arrival_ns);
    return status == 0 && batch_is_full(run->batch) ? hand_on(run) : status;
}

/* Ends the tables that no file from `file` on has anything for. */
static int end_tables(struct run *run, size_t file)
{
    for (size_t i = 0; i < run->tables.count; i++) {
        struct table *table = run->tables.list[i];
        if (table->ended || table->last_file >= file)
            continue;
        int status = hand_on(run);
        if (status != 0)
            return status;
        if (!table->begun)
            table_settle(table);
        table->ended = true;
        table->origin.files = table->files.at != NULL ? table->files.at : "";
        table->origin.losses = table->losses.at != NULL ? table->losses.at : "";
        if (table->files.failed || table->losses.failed)
            return -ENOMEM;
        run->batch = NULL; /* an empty one, whose place is needed */
        if (!writing_end_table(&run->writing, table))
            return 1;
    }
    return 0;
}

static int begin_file(struct run *run, const struct feed_row *row)
{
    int status = end_tables(run, run->feed.at.file);
    if (status == 0 && run->task->format->one_table && run->tables.count > 1) {
        snprintf(run->feed.error, sizeof(run->feed.error),
                 "%s holds one table; there are \"%s\" and \"%s\": export them one by one",
                 run->task->format->name, run->tables.list[0]->name, row->table->name);
        status = -EINVAL;
    }
    return status;
}

/* All rows. 0, a negative errno with its message in feed.error, or 1: writing has failed. */
static int take_rows(struct run *run)
{
    struct feed_row row;
    for (;;) {
        int status = feed_next(&run->feed, &row);
        if (status == 0 && row.kind == FEED_END)
            break;
        if (status == 0)
            status = row.kind == FEED_FILE ? begin_file(run, &row) : take_row(run, &row);
        if (status != 0)
            return status;
    }
    int status = hand_on(run);
    return status == 0 ? end_tables(run, SIZE_MAX) : status;
}

/* ---- the whole ---- */

static void show_grid(void *context, uint64_t bytes, const char *path)
{
    struct run *run = context;
    const char *slash = strrchr(path, '/');
    progress_show(&run->progress, slash != NULL ? slash + 1 : path, bytes, run->bytes_total);
}

static int write_grid(struct run *run)
{
    char error[512];
    int status = grid_run(run->grid, &run->writing, show_grid, run, error, sizeof(error));
    int written = writing_stop(&run->writing, status == 0);
    if (status < 0)
        return fail_status(run, status, error);
    return written < 0 ? fail_status(run, written, run->writing.error) : EXIT_OK;
}

static int write_all(struct run *run)
{
    const struct export_task *task = run->task;
    int status = feed_open(&run->feed, &task->catalog, &task->span, &run->tables, &run->report);
    run->feed.decimate = task->decimate;
    if (status == 0)
        status = take_rows(run);
    int written = writing_stop(&run->writing, status == 0);
    run->batch = NULL;
    feed_close(&run->feed);
    if (status < 0)
        return fail_status(run, status, run->feed.error);
    if (written < 0)
        return fail_status(run, written, run->writing.error);
    return EXIT_OK;
}

/* What is to be said of an export that is done. */
static int sum_up(struct run *run)
{
    progress_clear(&run->progress);
    for (size_t i = 0; i < run->tables.count; i++) {
        const struct table *table = run->tables.list[i];
        if (table->origin.times_back > 0)
            fprintf(stderr,
                    "flotilla export: note: the time of %s goes back %" PRIu64
                    " times; its rows are in the order they were recorded in\n",
                    table->name, table->origin.times_back);
    }
    if (run->report.timeless > 0)
        fprintf(stderr,
                "flotilla export: note: %" PRIu64 " datums say no time; they have that of the one "
                "before\n",
                run->report.timeless);
    if (run->report.far > 0)
        fprintf(stderr,
                "flotilla export: %" PRIu64 " datums say a time beyond the years 1678 to 2262; "
                "they have that of the one before: with --time arrival what they say stands in a "
                "column of its own\n",
                run->report.far);
    bool loss = run->report.damaged || run->report.far > 0 || atomic_load(&run->lossy);
    return loss ? EXIT_LOSS : run->report.beyond ? EXIT_BEYOND : EXIT_OK;
}

static int export_into(struct run *run, struct made *made)
{
    const struct export_task *task = run->task;
    int status = writing_start(&run->writing, task->format, made, &task->options);
    if (status < 0)
        return fail_status(run, status, "");
    int code = run->grid != NULL ? write_grid(run) : write_all(run);
    if (code != EXIT_OK)
        return code;
    if (run->tables.count == 0)
        return fail(run, "there is nothing to export");
    status = made_finish(made);
    return status < 0 ? fail_status(run, status, "") : sum_up(run);
}

/* Finds out which tables there are. An exit code. */
static int survey(struct run *run, struct export_task *task)
{
    char error[512];
    int status = task->every_ns > 0
                     ? grid_open(&run->grid, &run->tables, &task->catalog, &task->span,
                                 task->every_ns, &run->report, error, sizeof(error))
                     : feed_survey(&run->tables, &task->catalog, &task->span, &run->report, error,
                                   sizeof(error));
    if (status < 0)
        return fail_status(run, status, error);
    if (task->every_ns > 0 && run->tables.count == 0)
        return fail(run, "there is nothing to export");
    task->options.several = task->every_ns == 0 && run->tables.count > 1;
    if (!task->format->one_table || !task->options.several)
        return EXIT_OK;
    snprintf(error, sizeof(error),
             "%s holds one table; there are %zu (\"%s\", \"%s\" ...): export them one by one, or "
             "joined with --every 10ms",
             task->format->name, run->tables.count, run->tables.list[0]->name,
             run->tables.list[1]->name);
    return fail(run, error);
}

/* Whether the target, by whatever name, is a file that is read. */
static bool is_source(const struct export_task *task)
{
    struct storage_entry entry;
    struct folder_place target, source;
    if (strcmp(task->target, "-") == 0 || storage_look_at(task->target, &entry) < 0 ||
        folder_place_at(task->target, &target) < 0)
        return false;
    for (size_t i = 0; i < task->catalog.count; i++)
        if (folder_place_at(task->catalog.files[i].path, &source) >= 0 &&
            source.device == target.device && source.inode == target.inode)
            return true;
    return false;
}

/* A span of the channels' own time: where to look for it, and what to leave out. */
static void take_own(struct export_task *task)
{
    bool all = task->span.from_ns == 0 && task->span.to_ns == UINT64_MAX;
    if (!task->by_own || all)
        return;
    task->own = task->span;
    own_widen(&task->catalog, &task->own, &task->span);
    if (task->span.from_ns == 0 && task->span.to_ns == UINT64_MAX)
        task->span.to_ns--; /* of all there is, nobody asks when it came in */
    task->choice.own = &task->own;
}

int export_run(struct export_task *task)
{
    take_own(task);
    struct run run = {.task = task, .tables = {.choice = task->choice}};
    struct made made;
    char error[512];
    interrupt_install();
    progress_begin(&run.progress);
    run.report.before_line = clear_progress;
    run.report.context = &run.progress;
    task->options.tell = take_loss;
    task->options.context = &run;
    for (size_t i = 0; i < task->catalog.count; i++)
        run.bytes_total += task->catalog.files[i].bytes;
    if (is_source(task)) {
        snprintf(error, sizeof(error), "%s is one of the recordings to export; -o is another file",
                 task->target);
        return fail(&run, error);
    }
    int code = survey(&run, task);
    if (code == EXIT_OK) {
        int status = made_begin(&made, task->target);
        if (status < 0) {
            fprintf(stderr, "%s: %s\n", task->target, strerror(-status));
            code = EXIT_FAILED;
        } else if (made.once && !task->format->pipe) {
            snprintf(error, sizeof(error), "%s is not written from front to back: -o needs a file",
                     task->format->name);
            code = fail(&run, error);
        } else {
            if (made.once)
                interrupt_leave_pipes();
            code = export_into(&run, &made);
        }
        made_discard(&made);
    }
    grid_close(run.grid);
    tables_free(&run.tables);
    return code;
}
