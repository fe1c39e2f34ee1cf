/* SPDX-License-Identifier: MIT
 * Rows with their time. A row whose time field is null, no number or out of range has the time of
 * the row before in its table, the first one its arrival. */
#include "export/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/peaks.h"
#include "archive/source.h"
#include "base/check.h"
#include "export/own.h"
#include "schema/report.h"

#define ORIGIN_LINES_MAX 200u /* of a list in a file's provenance */

static void tell(const struct feed_report *report, const char *path, const char *what)
{
    if (report->before_line != NULL)
        report->before_line(report->context);
    fprintf(stderr, "%s: %s\n", path, what);
}

/* ---- before the first row ---- */

/* Which files are to be looked at: all, or those of the span. */
static int list_files(const struct catalog *catalog, const struct time_span *span, size_t **files,
                      size_t *count)
{
    struct scan_cost cost = {0};
    struct search_hit *hits = NULL;
    bool all = span->from_ns == 0 && span->to_ns == UINT64_MAX;
    size_t hit_count = catalog->count;
    int status = all ? 0 : search_catalog(catalog, span, &hits, &hit_count, &cost);
    if (status < 0)
        return status;
    *files = calloc(hit_count + 1, sizeof(size_t));
    for (size_t i = 0; *files != NULL && i < hit_count; i++)
        (*files)[i] = all ? i : hits[i].file;
    *count = hit_count;
    free(hits);
    return *files == NULL ? -ENOMEM : 0;
}

/* A gap in the numbers of a channel's files is one in what it recorded. */
static void see_number(struct table *table, const struct catalog *catalog, size_t file)
{
    const struct catalog_file *now = &catalog->files[file];
    if (table->origin.file_count > 0 && now->named) {
        uint64_t before = catalog->files[table->last_file].name.number;
        if (now->name.number > before + 1)
            table->origin.missing_files += now->name.number - before - 1;
    }
    table->origin.file_count++;
    table->last_file = file;
    const char *slash = strrchr(now->path, '/');
    if (table->origin.file_count <= ORIGIN_LINES_MAX)
        text_add(&table->files, "%s%s", table->files.bytes > 0 ? "\n" : "",
                 slash != NULL ? slash + 1 : now->path);
}

static int survey_file(struct tables *tables, const struct catalog *catalog, size_t file,
                       struct feed_report *report, char *error, size_t error_bytes)
{
    struct source source;
    struct scan *scan = NULL;
    struct table *table = NULL;
    char why[512];
    const char *path = catalog->files[file].path;
    int status = source_scan(&source, &scan, path, SOURCE_FILES, why, sizeof(why));
    if (status == -EINTR || status == -ENOMEM || status < 0) {
        source_close(&source);
        return status == -EINTR || status == -ENOMEM ? status : 0;
    }
    size_t before = tables->count;
    status = tables_take(tables, &catalog->files[file], scan, true, &table, why, sizeof(why));
    if (status == 0) {
        if (tables->count > before && why[0] != '\0')
            tell(report, path, why);
        see_number(table, catalog, file);
    } else {
        snprintf(error, error_bytes, "%s: %s", path, status == -ENOMEM ? strerror(ENOMEM) : why);
    }
    scan_close(scan);
    source_close(&source);
    return status == -ENOENT ? 0 : status;
}

int feed_survey(struct tables *tables, const struct catalog *catalog, const struct time_span *span,
                struct feed_report *report, char *error, size_t error_bytes)
{
    size_t *files = NULL, count = 0;
    error[0] = '\0';
    int status = list_files(catalog, span, &files, &count);
    for (size_t i = 0; status == 0 && i < count; i++)
        status = survey_file(tables, catalog, files[i], report, error, error_bytes);
    free(files);
    for (size_t i = 0; status == 0 && i < tables->choice.field_count; i++)
        if (tables->choice.wanted[i].why[0] != '\0' && !tables->choice.wanted[i].found) {
            snprintf(error, error_bytes, "%s", tables->choice.wanted[i].why);
            status = -EINVAL;
        }
    return status;
}

/* ---- decimation ---- */

/* The window that is open, and what came out of the one before it. A window ends with its file. */
struct feed_window {
    struct peaks *peaks;
    uint8_t *image;
    struct layout layout;
    struct span out[2];
    uint64_t out_arrival_ns[2]; /* of the window's first datum and its last */
    unsigned left;              /* of `out`: still to go out */
    struct rows_event next;     /* that ended the window, if `waits` */
    bool waits;
};

static void free_window(struct feed_window *window)
{
    if (window == NULL)
        return;
    peaks_close(window->peaks);
    free(window->image);
    free(window);
}

/* For the datums of the file that begins. */
static int begin_window(struct feed *feed)
{
    const struct table_reading *reading = &feed->reading;
    const char *time = feed->table->time_path;
    size_t bytes;
    free_window(feed->window);
    struct feed_window *window = feed->window = calloc(1, sizeof(*window));
    if (window == NULL)
        return -ENOMEM;
    int status = schema_compile(reading->schema, time != NULL ? time : "", reading->sequence_path,
                                &window->image, &bytes, feed->error, sizeof(feed->error));
    if (status < 0)
        return status;
    status = layout_load(&window->layout, (struct span){window->image, bytes});
    CHECK(status == 0);
    return peaks_open(&window->peaks, &window->layout);
}

static int end_window(struct feed_window *window)
{
    int status = peaks_take(window->peaks, window->out);
    window->left = status == 0 ? 2 : 0;
    return status;
}

/* Takes an event into the window. 1: it is to be seen to as any other. */
static int take_into_window(struct feed *feed, const struct rows_event *event)
{
    struct feed_window *window = feed->window;
    size_t bytes;
    if (window == NULL || event->kind == ROWS_FAULT)
        return 1;
    bool empty = peaks_fill(window->peaks) == 0;
    if (event->kind != ROWS_DATUM) {
        if (empty)
            return 1;
        window->next = *event;
        window->waits = true;
        return end_window(window);
    }
    window->out_arrival_ns[1] = event->arrival_ns;
    if (empty)
        window->out_arrival_ns[0] = event->arrival_ns;
    int status = peaks_add(window->peaks, event->datum, &bytes);
    return status == 0 && peaks_fill(window->peaks) >= feed->decimate ? end_window(window) : status;
}

/* ---- rows ---- */

int feed_open(struct feed *feed, const struct catalog *catalog, const struct time_span *span,
              struct tables *tables, struct feed_report *report)
{
    *feed = (struct feed){.catalog = catalog, .tables = tables, .report = report};
    return history_open(&feed->history, catalog, span, ROWS_SKIP);
}

void feed_close(struct feed *feed)
{
    free_window(feed->window);
    feed->window = NULL;
    table_reading_free(&feed->reading);
    row_clock_free(&feed->clock);
    history_close(feed->history);
    feed->history = NULL;
}

static int begin_file(struct feed *feed, const struct rows_event *event)
{
    const struct scan *scan = history_scan(feed->history);
    const struct catalog_file *file = &feed->catalog->files[event->at.file];
    table_reading_free(&feed->reading);
    int status = tables_take(feed->tables, file, scan, false, &feed->table, feed->error,
                             sizeof(feed->error));
    if (status == 0 && !feed->table->begun)
        table_settle(feed->table);
    if (status == -ENOENT) { /* none of the fields that are wanted */
        feed->table = NULL;
        history_next_file(feed->history);
        return 0;
    }
    if (status == 0 &&
        (feed->table->origin.file_count == 0 || event->at.file > feed->table->last_file))
        see_number(feed->table, feed->catalog, event->at.file);
    if (status == 0)
        status = table_reading_begin(&feed->reading, feed->tables, feed->table, scan, feed->error,
                                     sizeof(feed->error));
    if (status == 0)
        feed->error[0] = '\0';
    return status == 0 && feed->decimate > 0 ? begin_window(feed) : status;
}

/* Damage: told, and kept with the table whose it is. */
static int take_fault(struct feed *feed, const struct rows_event *event)
{
    const char *path = feed->catalog->files[event->at.file].path;
    const char *slash = strrchr(path, '/');
    struct table *table = feed->table;
    if (event->status == -ENOMEM)
        return -ENOMEM;
    tell(feed->report, path, event->what);
    if (event->status == -EFBIG || event->status == -ENOTSUP)
        feed->report->beyond = true;
    else
        feed->report->damaged = true;
    if (table == NULL)
        return 0;
    table->origin.lost_bytes += event->bytes;
    if (table->origin.loss_count++ < ORIGIN_LINES_MAX)
        text_add(&table->losses, "%s%s: %s", table->losses.bytes > 0 ? "\n" : "",
                 slash != NULL ? slash + 1 : path, event->what);
    return 0;
}

/* An integer time in nanoseconds; false if there is no such number. */
static bool scale(int64_t value, uint64_t unit_ns, int64_t *ns)
{
    return !__builtin_mul_overflow(value, (int64_t)unit_ns, ns);
}

/* The same of a real one, whose fraction keeps its digits. */
static bool scale_real(double value, double unit_ns, int64_t *ns)
{
    double whole = floor(value);
    double real = whole * unit_ns;
    if (!(real > -9.2e18 && real < 9.2e18))
        return false;
    *ns = (int64_t)real + (int64_t)nearbyint((value - whole) * unit_ns);
    return true;
}

static int64_t clamped(uint64_t ns)
{
    return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

/* Which datum is the first whose time is beyond what can be said. */
static void tell_far(const struct feed *feed)
{
    char what[512];
    snprintf(what, sizeof(what),
             "block at %" PRIu64 ", datum %" PRIu64 ": its time (field \"%s\") is beyond the years "
             "1678 to 2262",
             feed->at.block, feed->at.index + 1, feed->table->time_path);
    report_clean(what);
    tell(feed->report, feed->catalog->files[feed->at.file].path, what);
}

/* The time of the row at hand. */
static void take_time(struct feed *feed, struct feed_row *row)
{
    const struct table_reading *reading = &feed->reading;
    row->time_ns = clamped(row->arrival_ns);
    if (reading->time == EXPORT_COLUMN_NONE)
        return;
    const struct column_value *value = &reading->values[reading->time];
    bool known = value->present && (reading->unit_ns != 0 || isfinite(value->real));
    bool fits = known && (reading->unit_ns != 0
                              ? scale(value->integer, reading->unit_ns, &row->time_ns)
                              : scale_real(value->real, reading->real_unit_ns, &row->time_ns));
    if (fits)
        return;
    if (!known)
        feed->report->timeless++;
    else if (feed->report->far++ == 0)
        tell_far(feed);
    row->time_ns = feed->table->seen > 1 ? feed->table->seen_ns : clamped(row->arrival_ns);
}

/* Numbers that the channel's sequence passes over. */
static void see_sequence(struct table *table, const struct table_reading *reading)
{
    if (reading->sequence == EXPORT_COLUMN_NONE || !reading->values[reading->sequence].present)
        return;
    int64_t now = reading->values[reading->sequence].integer, before = table->sequence;
    if (table->sequence_known && now > before)
        table->origin.missing_datums += (uint64_t)now - (uint64_t)before - 1;
    table->sequence = now;
    table->sequence_known = true;
}

static int take_row(struct feed *feed, struct span datum, uint64_t arrival_ns, struct feed_row *row)
{
    size_t bytes;
    *row = (struct feed_row){
        .kind = FEED_ROW, .table = feed->table, .datum = datum, .arrival_ns = arrival_ns};
    feed->table->seen++;
    if (feed->reading.columns == NULL) {
        row->time_ns = clamped(row->arrival_ns);
        return 0;
    }
    enum reject reason = columns_read(feed->reading.columns, datum, &bytes, feed->reading.values);
    if (reason != REJECT_NONE) { /* a datum that a scan lets pass and a walk does not: too deep */
        snprintf(feed->error, sizeof(feed->error), "offset %" PRIu64 ": a datum cannot be read",
                 feed->at.block);
        return -EBADMSG;
    }
    if (feed->decimate == 0)
        see_sequence(feed->table, &feed->reading);
    take_time(feed, row);
    feed->table->seen_ns = row->time_ns;
    return 0;
}

/* What the window has to give: a row, or the event that ended it. False: nothing. */
static bool take_from_window(struct feed *feed, struct rows_event *event, struct feed_row *row,
                             int *status)
{
    struct feed_window *window = feed->window;
    event->kind = ROWS_DATUM;
    if (window == NULL || (window->left == 0 && !window->waits))
        return false;
    if (window->left == 0) {
        *event = window->next;
        window->waits = false;
        return true;
    }
    unsigned index = 2 - window->left--;
    *status = take_row(feed, window->out[index], window->out_arrival_ns[index], row);
    return true;
}

/* Sees to an event. 1: there is nothing to give of it. */
static int take_event(struct feed *feed, const struct rows_event *event, struct feed_row *row)
{
    int status;
    switch (event->kind) {
    case ROWS_END:
        *row = (struct feed_row){.kind = FEED_END};
        return 0;
    case ROWS_FAULT:
        status = take_fault(feed, event);
        return status < 0 ? status : 1;
    case ROWS_FILE:
        status = begin_file(feed, event);
        *row = (struct feed_row){.kind = FEED_FILE, .table = feed->table};
        return status == 0 && feed->table == NULL ? 1 : status;
    default:
        return take_row(feed, event->datum, event->arrival_ns, row);
    }
}

/* The next event of those that are of the span. */
static int next_event(struct feed *feed, struct rows_event *event)
{
    const struct time_span *own = feed->tables->choice.own;
    for (;;) {
        int status = history_next(feed->history, event);
        if (status < 0 || own == NULL)
            return status;
        if (event->kind == ROWS_FILE)
            return row_clock_set(&feed->clock, history_scan(feed->history));
        if (event->kind != ROWS_DATUM ||
            own_has(&feed->clock, own, event->datum, history_at(feed->history)))
            return 0;
    }
}

int feed_next(struct feed *feed, struct feed_row *row)
{
    struct rows_event event;
    for (;;) {
        int status = 0;
        if (take_from_window(feed, &event, row, &status)) {
            if (event.kind == ROWS_DATUM)
                return status;
        } else {
            status = next_event(feed, &event);
            feed->at = status == 0 ? event.at : feed->at;
            status = status == 0 ? take_into_window(feed, &event) : status;
            if (status < 0)
                return status;
            if (status == 0)
                continue;
        }
        status = take_event(feed, &event, row);
        if (status <= 0)
            return status;
    }
}

void feed_count(struct table *table, int64_t time_ns)
{
    struct export_origin *origin = &table->origin;
    bool timed = table->of_format.time != EXPORT_TIME_NONE;
    if (origin->rows == 0)
        origin->first_ns = origin->last_ns = timed ? time_ns : 0;
    else if (timed && time_ns < table->last_ns)
        origin->times_back++;
    origin->rows++;
    if (!timed)
        return;
    table->last_ns = time_ns;
    origin->first_ns = time_ns < origin->first_ns ? time_ns : origin->first_ns;
    origin->last_ns = time_ns > origin->last_ns ? time_ns : origin->last_ns;
}
