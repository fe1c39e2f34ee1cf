/* SPDX-License-Identifier: MIT
 * Rows of a part of time. The rows of every file are asked for from where the search says, and one
 * file is left for the next as soon as it can have no more. */
#include "archive/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "avro/block.h"
#include "avro/datum.h"
#include "base/check.h"

/* ---- when a row came in ---- */

uint64_t instant_unit_ns(const struct schema *type)
{
    static const struct {
        const char *logical;
        uint64_t ns;
    } units[] = {
        {"timestamp-millis", 1000000},    {"timestamp-micros", 1000},
        {"timestamp-nanos", 1},           {"local-timestamp-millis", 1000000},
        {"local-timestamp-micros", 1000}, {"local-timestamp-nanos", 1},
    };
    if (type->logical == NULL || !type->logical_holds)
        return 0;
    for (size_t i = 0; i < ARRAY_COUNT(units); i++)
        if (strcmp(units[i].logical, type->logical) == 0)
            return units[i].ns;
    return 0;
}

static void see_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    struct row_clock *clock = context;
    (void)path;
    if (index == clock->layout.time_leaf)
        clock->unit_ns = instant_unit_ns(type);
}

void row_clock_free(struct row_clock *clock)
{
    free(clock->layout_image);
    free(clock->leaves);
    *clock = (struct row_clock){0};
}

int row_clock_set(struct row_clock *clock, const struct scan *scan)
{
    char field[512], error[256];
    size_t bytes;
    struct span name = scan_header(scan)->time;
    row_clock_free(clock);
    if (name.bytes == 0 || name.bytes >= sizeof(field))
        return 0;
    memcpy(field, name.at, name.bytes);
    field[name.bytes] = '\0';
    /* As the sequence, too: that field is read without the others. */
    if (schema_compile(scan_schema(scan), field, field, &clock->layout_image, &bytes, error,
                       sizeof(error)) < 0 &&
        schema_compile(scan_schema(scan), field, NULL, &clock->layout_image, &bytes, error,
                       sizeof(error)) < 0)
        return 0; /* there is no such field: the header was written by somebody else */
    int status = layout_load(&clock->layout, (struct span){clock->layout_image, bytes});
    CHECK(status == 0);
    clock->leaves = calloc(clock->layout.leaf_count + 1u, sizeof(*clock->leaves));
    if (clock->leaves == NULL)
        return -ENOMEM;
    schema_visit_leaves(scan_schema(scan), &clock->layout, see_leaf, clock);
    return 0;
}

/* The datum's time field, if it has one. */
static bool read_time(struct row_clock *clock, struct span datum, int64_t *time)
{
    size_t bytes;
    uint32_t count;
    if (clock->layout.sequence_step != LAYOUT_NO_STEP) {
        *time = datum_sequence(&clock->layout, datum);
        return true;
    }
    if (datum_leaves(&clock->layout, datum, &bytes, clock->leaves, &count) != REJECT_NONE)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (clock->leaves[i].index == clock->layout.time_leaf) {
            *time = clock->leaves[i].value.integer;
            return true;
        }
    return false;
}

bool row_clock_field_ns(struct row_clock *clock, struct span datum, int64_t *ns)
{
    int64_t time, unit = (int64_t)clock->unit_ns;
    if (unit == 0 || !read_time(clock, datum, &time) || time > INT64_MAX / unit ||
        time < INT64_MIN / unit)
        return false;
    *ns = time * unit;
    return true;
}

uint64_t row_clock_ns(struct row_clock *clock, struct span datum, uint64_t index,
                      uint64_t arrival_ns, uint64_t next_ns)
{
    int64_t time = 0;
    if (clock->unit_ns == 0)
        return arrival_ns;
    bool known = read_time(clock, datum, &time);
    if (index == 0) {
        clock->first = time;
        clock->first_known = known;
        clock->limit_ns = next_ns > arrival_ns ? next_ns : arrival_ns;
        return arrival_ns;
    }
    if (!known || !clock->first_known || time <= clock->first)
        return arrival_ns;
    uint64_t later = (uint64_t)time - (uint64_t)clock->first;
    bool within = later < (UINT64_MAX - arrival_ns) / clock->unit_ns &&
                  arrival_ns + later * clock->unit_ns < clock->limit_ns;
    return within ? arrival_ns + later * clock->unit_ns : clock->limit_ns;
}

/* ---- the rows of a span ---- */

struct history {
    struct time_span span;
    bool all;
    struct rows *rows;
    struct search_hit *hits;
    size_t hit_count, next; /* the hit to begin with next */
    struct row_clock clock;
    size_t file;           /* at hand */
    bool over;             /* nothing more is wanted of the hit at hand */
    bool told;             /* that the file at hand has no arrival times */
    uint64_t at_ns;        /* of the newest row */
    struct scan_cost cost; /* of the search */
};

int history_open(struct history **history, const struct catalog *catalog,
                 const struct time_span *span, enum rows_damage damage)
{
    struct history *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    made->span = *span;
    made->all = span->from_ns == 0 && span->to_ns == UINT64_MAX;
    made->over = !made->all;
    int status = rows_open(&made->rows, catalog, damage);
    if (status == 0 && !made->all)
        status = search_catalog(catalog, span, &made->hits, &made->hit_count, &made->cost);
    if (status < 0) {
        history_close(made);
        return status;
    }
    *history = made;
    return 0;
}

/* Goes on with the next hit; false if there is none. */
static bool next_hit(struct history *history)
{
    if (history->next == history->hit_count)
        return false;
    const struct search_hit *hit = &history->hits[history->next++];
    rows_seek(history->rows, &(struct row_position){.file = hit->file, .block = hit->block});
    return true;
}

/* Whether a row of the hit at hand is in the span; `*over` if none behind it can be. */
static bool is_in_span(struct history *history, const struct rows_event *event, bool *over)
{
    const struct search_hit *hit = &history->hits[history->next - 1];
    *over = hit->ordered && event->arrival_ns > BLOCK_DISORDER_NS &&
            event->arrival_ns - BLOCK_DISORDER_NS >= history->span.to_ns;
    uint64_t next_ns = hit->until_ns;
    if (event->at.index == 0 && history->clock.unit_ns != 0)
        scan_peek_arrival(history_scan(history), &next_ns);
    history->at_ns =
        row_clock_ns(&history->clock, event->datum, event->at.index, event->arrival_ns, next_ns);
    return history->at_ns >= history->span.from_ns && history->at_ns < history->span.to_ns;
}

/* A file that carries no arrival times, told once. */
static bool tell_timeless(struct history *history, struct rows_event *event)
{
    bool told = history->told;
    history->told = true;
    event->kind = ROWS_FAULT;
    event->status = -ENODATA;
    event->readable = false;
    event->bytes = 0;
    event->what = "does not say when its datums came in: it is left out";
    return !told;
}

int history_next(struct history *history, struct rows_event *event)
{
    for (;;) {
        if (history->over && !next_hit(history)) {
            *event = (struct rows_event){.kind = ROWS_END};
            return 0;
        }
        int status = rows_next(history->rows, event);
        if (status == 0 && event->kind == ROWS_FILE) {
            history->file = event->at.file;
            history->told = false;
        }
        if (status < 0 || history->all)
            return status;
        history->over =
            event->kind == ROWS_END || event->at.file != history->hits[history->next - 1].file;
        if (history->over)
            continue;
        if (event->kind == ROWS_FILE)
            return row_clock_set(&history->clock, history_scan(history));
        if (event->kind == ROWS_FAULT)
            return 0;
        if (!scan_header(history_scan(history))->ours) {
            history->over = true;
            if (tell_timeless(history, event))
                return 0;
        } else if (is_in_span(history, event, &history->over) && !history->over) {
            return 0;
        }
    }
}

void history_next_file(struct history *history)
{
    if (history->all)
        rows_seek(history->rows, &(struct row_position){.file = history->file + 1});
    else
        history->over = true;
}

uint64_t history_at(const struct history *history)
{
    return history->at_ns;
}

bool history_times_rows(const struct history *history)
{
    return history->clock.unit_ns != 0;
}

struct scan_cost history_cost(const struct history *history)
{
    struct scan_cost cost = rows_cost(history->rows);
    return (struct scan_cost){cost.reads + history->cost.reads, cost.bytes + history->cost.bytes};
}

const struct scan *history_scan(const struct history *history)
{
    return rows_scan(history->rows);
}

void history_close(struct history *history)
{
    if (history == NULL)
        return;
    rows_close(history->rows);
    row_clock_free(&history->clock);
    free(history->hits);
    free(history);
}
