/* SPDX-License-Identifier: MIT
 * An answer is a list of stretches of time, each of one level. The coarsest level is counted first,
 * no further than it has to be, and the next one is tried where it is too coarse: what that takes
 * is a small part of what the answer does. */
#include "archive/overview.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "archive/history.h"
#include "archive/peaks.h"
#include "archive/source.h"
#include "base/check.h"
#include "base/units.h"
#include "channel/overview.h"

#define LEVELS_MAX     (OVERVIEW_LEVELS_MAX + 1) /* the recordings themselves are the last */
#define STRETCHES_MAX  (3 * LEVELS_MAX)
#define PATH_BYTES_MAX 4096

/* A level, or the recordings. */
struct stage {
    uint64_t factor; /* 1: the recordings */
    struct catalog catalog;
    uint64_t first_ns; /* what came in before this it does not have; UINT64_MAX: it has nothing */
    uint64_t end_ns;   /* the same of what came in from then on; UINT64_MAX of the recordings */
    bool passed_over;  /* it is damaged where it is to be read */
};

/* A part of the span, from one stage. */
struct stretch {
    size_t stage;
    struct time_span span;
};

struct overview {
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    struct time_span span;
    uint32_t points;
    uint64_t point_ns;
    struct catalog files;            /* of all levels */
    struct stage stages[LEVELS_MAX]; /* from the coarsest on */
    size_t stage_count;
    struct stretch stretches[STRETCHES_MAX];
    size_t stretch_count, stretch; /* the one at hand, or the next to open */
    struct history *history;       /* NULL: none is open */
    struct overview_account account;
    uint64_t head_ns; /* of the stage that was counted last: before this it may lack something */

    struct schema_file *schema; /* of the rows ... */
    struct span time, sequence; /* ... with names of fields, of the file's header; copies */
    uint8_t *layout_image;
    struct layout layout;
    struct peaks *peaks;
    uint64_t point;     /* the one whose rows are being gathered */
    uint64_t pair_ns;   /* when that of `pair` began */
    uint64_t newest_ns; /* of the newest row that was read */
    struct span pair[2];
    unsigned pair_count; /* of these are still to be handed out, from the end */
    bool as_it_stands;   /* rows are not put together */
    bool file_waits;     /* to be begun, once the rows before it are out */
    char what[PATH_BYTES_MAX + 300];
};

void overview_close(struct overview *overview)
{
    if (overview == NULL)
        return;
    history_close(overview->history);
    /* The stages' are parts of `files`, but for the last, the recordings'. */
    if (overview->stage_count > 0)
        catalog_free(&overview->stages[overview->stage_count - 1].catalog);
    catalog_free(&overview->files);
    peaks_close(overview->peaks);
    schema_free(overview->schema);
    free(overview->layout_image);
    free((void *)(uintptr_t)overview->time.at);
    free((void *)(uintptr_t)overview->sequence.at);
    free(overview);
}

void overview_told(const struct overview *overview, struct overview_account *account)
{
    *account = overview->account;
}

const struct schema_file *overview_schema(const struct overview *overview)
{
    return overview->schema;
}

const char *overview_time(const struct overview *overview)
{
    return overview->time.at != NULL ? (const char *)overview->time.at : "";
}

static void add_cost(struct overview *overview, struct scan_cost cost)
{
    overview->account.cost.reads += cost.reads;
    overview->account.cost.bytes += cost.bytes;
}

/* ---- what there is ---- */

/* The factor that a level's files are called by: "engine-2500". 0: they are no level's. */
static uint64_t factor_of(const struct overview *overview, const char *name)
{
    size_t bytes = strlen(overview->channel);
    uint64_t factor;
    if (strncmp(name, overview->channel, bytes) != 0 || name[bytes] != '-' ||
        units_read_count(name + bytes + 1, 2, UINT64_MAX / 2, &factor) < 0)
        return 0;
    return factor;
}

static int by_factor(const void *a, const void *b)
{
    uint64_t one = ((const struct stage *)a)->factor, other = ((const struct stage *)b)->factor;
    return (one < other) - (one > other);
}

/* Lists levels, each a part of one list that is in order. */
static int list_levels(struct overview *overview, const char *folder)
{
    char path[PATH_BYTES_MAX];
    struct catalog *all = &overview->files;
    if (snprintf(path, sizeof(path), "%s/" OVERVIEW_FOLDER, folder) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    long added = catalog_add(all, path, CATALOG_DATUMS);
    if (added == -ENOMEM)
        return -ENOMEM;
    for (size_t begin = 0, end; begin < all->count; begin = end) {
        for (end = begin + 1; end < all->count && strcmp(all->files[end].name.channel,
                                                         all->files[begin].name.channel) == 0;)
            end++;
        uint64_t factor =
            all->files[begin].named ? factor_of(overview, all->files[begin].name.channel) : 0;
        if (factor == 0 || overview->stage_count == OVERVIEW_LEVELS_MAX)
            continue;
        overview->stages[overview->stage_count++] = (struct stage){
            .factor = factor, .catalog = {all->files + begin, end - begin, end - begin}};
    }
    qsort(overview->stages, overview->stage_count, sizeof(*overview->stages), by_factor);
    return 0;
}

static int list_recordings(struct overview *overview, const char *folder)
{
    struct stage *stage = &overview->stages[overview->stage_count++];
    *stage = (struct stage){.factor = 1, .end_ns = UINT64_MAX};
    long added = catalog_add(&stage->catalog, folder, CATALOG_DATUMS);
    if (added < 0 && added != -ENOENT)
        return (int)added;
    bool none = stage->catalog.count == 0 || !stage->catalog.files[0].named;
    return none && overview->stage_count == 1 ? -ENOENT : 0;
}

/* When the last datum of the file's last block came in. 0 or a negative errno. */
static int last_row(const struct catalog_file *file, const struct catalog_look *look,
                    uint64_t *last_ns)
{
    struct source source;
    struct scan *scan;
    struct scan_event block;
    struct row_clock clock = {0};
    char error[256];
    *last_ns = look->last_ns;
    int status = source_scan(&source, &scan, file->path, SOURCE_FILES, error, sizeof(error));
    if (status == 0)
        status = scan_seek(scan, look->last_block);
    if (status == 0)
        status = scan_next(scan, &block);
    if (status == 0 && block.kind == SCAN_BLOCK && block.shown > 0) {
        status = row_clock_set(&clock, scan);
        for (uint64_t index = 0; status == 0 && index < block.shown;
             index = index == 0 && block.shown > 1 ? block.shown - 1 : block.shown)
            *last_ns = row_clock_ns(&clock, scan_datum(scan, &block, index), index,
                                    block.arrival_ns, UINT64_MAX);
    }
    row_clock_free(&clock);
    scan_close(scan);
    source_close(&source);
    return status;
}

/* When a stage's first datum came in, the last block's first, and the last. */
struct ends {
    uint64_t first_ns, block_ns, last_ns; /* UINT64_MAX and 0, 0: it has nothing */
};

/* `whole`: what the last block goes on to counts, too. */
static struct ends look_at_ends(const struct stage *stage, bool whole)
{
    const struct catalog *catalog = &stage->catalog;
    struct catalog_look look;
    struct ends ends = {UINT64_MAX, 0, 0};
    for (size_t i = catalog->count; i > 0 && ends.block_ns == 0; i--)
        if (catalog_look(&catalog->files[i - 1], &look) == 0 && look.ours && !look.empty) {
            ends.block_ns = ends.last_ns = look.last_ns;
            if (whole)
                last_row(&catalog->files[i - 1], &look, &ends.last_ns);
        }
    if (ends.block_ns == 0)
        return ends;
    size_t first = 0; /* by time, which need not be by number */
    for (size_t i = 1; i < catalog->count; i++)
        if (catalog->files[i].name.stamp_ns < catalog->files[first].name.stamp_ns)
            first = i;
    ends.first_ns = catalog->files[first].name.stamp_ns;
    /* A level's file is called by its first datum, a recording by the moment that it was made. */
    if (stage->factor == 1 && catalog_look(&catalog->files[first], &look) == 0 && look.ours &&
        !look.empty && look.first_ns < ends.first_ns)
        ends.first_ns = look.first_ns;
    return ends;
}

/* Where a clock was set back, the end is not the last that there is: some file may be. */
static uint64_t latest_of(const struct catalog *catalog, uint64_t last_ns)
{
    for (size_t i = 0; i < catalog->count; i++) {
        const struct catalog_file *file = &catalog->files[i];
        if (!file->named || file->name.stamp_ns <= last_ns)
            continue;
        last_ns = file->modified_ns > file->name.stamp_ns ? file->modified_ns : file->name.stamp_ns;
    }
    return last_ns;
}

/* Finds what each stage has, and of a span that is open what there is of it, so that its points are
 * no longer than they need be. What is in the last block of a level the one below has too, where
 * that is there. */
static void look_at_stages(struct overview *overview)
{
    uint64_t first_ns = UINT64_MAX, last_ns = 0;
    for (size_t i = overview->stage_count; i > 0; i--) {
        struct stage *stage = &overview->stages[i - 1];
        struct ends ends = look_at_ends(stage, stage->factor == 1);
        bool below = first_ns <= ends.block_ns;
        if (stage->factor > 1 && !below)
            ends = look_at_ends(stage, true);
        if (stage->factor > 1)
            stage->end_ns = below ? ends.block_ns : ends.last_ns + 1;
        stage->first_ns = ends.first_ns;
        first_ns = ends.first_ns < first_ns ? ends.first_ns : first_ns;
        last_ns = ends.last_ns > last_ns ? ends.last_ns : last_ns;
        last_ns = latest_of(&stage->catalog, last_ns);
    }
    struct time_span *span = &overview->span;
    if (span->from_ns < first_ns && first_ns < span->to_ns)
        span->from_ns = first_ns;
    if (span->to_ns > last_ns && last_ns > span->from_ns)
        span->to_ns = last_ns + 1;
}

/* ---- which to take ---- */

/* Counts rows of the stage in the span, up to `most`. */
static int count_rows(struct overview *overview, size_t index, const struct time_span *span,
                      uint64_t most, uint64_t *count)
{
    struct history *history;
    struct rows_event event;
    *count = overview->head_ns = 0;
    int status = history_open(&history, &overview->stages[index].catalog, span, ROWS_SKIP);
    if (status < 0)
        return status;
    while (*count < most) {
        status = history_next(history, &event);
        if (status < 0 || event.kind == ROWS_END)
            break;
        /* Of a block in front of it the rest may be of the span, where only its begin is known. */
        if (event.kind == ROWS_DATUM && *count == 0 && !history_times_rows(history))
            overview->head_ns = history_at(history);
        *count += event.kind == ROWS_DATUM;
    }
    add_cost(overview, history_cost(history));
    history_close(history);
    return status;
}

/* The part of [from_ns, to_ns) that the stage has; false if it has none. */
static bool part_of(const struct overview *overview, size_t index, uint64_t from_ns, uint64_t to_ns,
                    struct time_span *part)
{
    const struct stage *stage = &overview->stages[index];
    part->from_ns = from_ns > stage->first_ns ? from_ns : stage->first_ns;
    part->to_ns = to_ns < stage->end_ns ? to_ns : stage->end_ns;
    return part->from_ns < part->to_ns && !stage->passed_over;
}

/* The coarsest stage with a window a point, of what it has of the span. */
static int choose_stage(struct overview *overview, size_t *chosen)
{
    struct time_span part;
    const struct time_span *span = &overview->span;
    size_t last = overview->stage_count - 1;
    uint64_t count = 0, most = UINT64_MAX; /* `most` datums of the recordings up to `known_ns` */
    uint64_t known_ns = 0;
    for (*chosen = 0; *chosen < last; (*chosen)++) {
        uint64_t factor = overview->stages[*chosen].factor;
        if (!part_of(overview, *chosen, span->from_ns, span->to_ns, &part))
            continue;
        double share = (double)(part.to_ns - part.from_ns) / (double)(span->to_ns - span->from_ns);
        uint64_t wanted = 2 * ((uint64_t)(share * overview->points) + 1); /* two rows a window */
        if (part.to_ns == known_ns && most / factor < wanted / 2)         /* too coarse for sure */
            continue;
        int status = count_rows(overview, *chosen, &part, wanted, &count);
        if (status < 0)
            return status;
        if (count >= wanted)
            return 0;
        known_ns = part.to_ns;
        most = (count / 2 + 2) * factor; /* a window at either end may be cut */
    }
    int status = count_rows(overview, last, span, overview->points + 1u, &count);
    bool whole = true; /* no level has what the recordings do not have any more */
    for (size_t i = 0; i < last; i++)
        whole = whole && (span->from_ns >= overview->stages[last].first_ns ||
                          overview->stages[i].first_ns >= overview->stages[last].first_ns);
    overview->account.exact = whole && count <= overview->points;
    return status;
}

static void add_stretch(struct overview *overview, size_t index, uint64_t from_ns, uint64_t to_ns)
{
    struct time_span part;
    if (part_of(overview, index, from_ns, to_ns, &part) && overview->stretch_count < STRETCHES_MAX)
        overview->stretches[overview->stretch_count++] = (struct stretch){index, part};
}

/* From the stage on: what it does not have any more is of the coarser ones, what it does not have
 * yet of the finer ones. */
static void add_stretches(struct overview *overview, size_t index, uint64_t from_ns, uint64_t to_ns)
{
    const struct stage *stages = overview->stages;
    size_t first = index;
    while (first > 0 && stages[first].first_ns > from_ns)
        first--;
    for (size_t i = first; i < index; i++) { /* each up to where the next finer one begins */
        uint64_t end_ns = to_ns;
        for (size_t k = i + 1; k <= index; k++)
            end_ns = stages[k].first_ns < end_ns ? stages[k].first_ns : end_ns;
        add_stretch(overview, i, from_ns, end_ns);
        from_ns = end_ns > from_ns ? end_ns : from_ns;
    }
    for (size_t i = index; i < overview->stage_count && from_ns < to_ns; i++) {
        add_stretch(overview, i, from_ns, to_ns);
        if (stages[i].first_ns < to_ns && stages[i].end_ns > from_ns && !stages[i].passed_over)
            from_ns = stages[i].end_ns;
    }
}

int overview_open(struct overview **overview, const char *folder, const char *channel,
                  const struct time_span *span, uint32_t points)
{
    struct overview *made = calloc(1, sizeof(*made));
    size_t chosen = 0;
    if (made == NULL)
        return -ENOMEM;
    CHECK(points > 0 && points <= OVERVIEW_POINTS_MAX);
    snprintf(made->channel, sizeof(made->channel), "%s", channel);
    made->span = *span;
    made->points = points;
    int status = list_levels(made, folder);
    int listed = list_recordings(made, folder);
    status = status < 0 ? status : listed;
    if (status == 0 && span->from_ns < span->to_ns) {
        look_at_stages(made);
        made->point_ns = (made->span.to_ns - made->span.from_ns + points - 1) / points;
        status = choose_stage(made, &chosen);
    }
    if (status < 0) {
        overview_close(made);
        return status;
    }
    made->account.point_ns = made->account.exact ? 0 : made->point_ns;
    uint64_t from_ns = made->span.from_ns;
    if (made->head_ns > from_ns && chosen + 1 < made->stage_count) {
        add_stretches(made, chosen + 1, from_ns, made->head_ns);
        from_ns = made->head_ns;
    }
    add_stretches(made, chosen, from_ns, made->span.to_ns);
    *overview = made;
    return 0;
}

void overview_as_it_stands(struct overview *overview)
{
    overview->as_it_stands = true;
}

/* ---- schemas ---- */

static bool is_same(struct span a, struct span b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

static int copy_text(struct span *to, struct span from)
{
    uint8_t *copy = malloc(from.bytes + 1);
    if (copy == NULL)
        return -ENOMEM;
    if (from.bytes > 0)
        memcpy(copy, from.at, from.bytes);
    copy[from.bytes] = '\0';
    free((void *)(uintptr_t)to->at);
    *to = (struct span){copy, from.bytes};
    return 0;
}

/* Whether the file at hand is read as the one before. */
static bool goes_on(const struct overview *overview)
{
    const struct scan *scan = history_scan(overview->history);
    const struct scan_header *header = scan_header(scan);
    return overview->schema != NULL &&
           is_same(schema_text(overview->schema), schema_text(scan_schema(scan))) &&
           is_same(overview->time, header->time) && is_same(overview->sequence, header->sequence);
}

static int begin_schema(struct overview *overview)
{
    char error[256];
    size_t bytes;
    const struct scan *scan = history_scan(overview->history);
    const struct scan_header *header = scan_header(scan);
    peaks_close(overview->peaks);
    overview->peaks = NULL;
    free(overview->layout_image);
    overview->layout_image = NULL;
    schema_free(overview->schema);
    overview->schema = schema_parse(schema_text(scan_schema(scan)), error, sizeof(error));
    int status = overview->schema == NULL ? -ENOMEM : copy_text(&overview->time, header->time);
    if (status == 0)
        status = copy_text(&overview->sequence, header->sequence);
    if (status < 0)
        return status;
    const char *time = (const char *)overview->time.at;
    const char *sequence = (const char *)overview->sequence.at;
    if (schema_compile(overview->schema, time, sequence, &overview->layout_image, &bytes, error,
                       sizeof(error)) < 0)
        status = schema_compile(overview->schema, NULL, NULL, &overview->layout_image, &bytes,
                                error, sizeof(error));
    if (status < 0)
        return status;
    status = layout_load(&overview->layout, (struct span){overview->layout_image, bytes});
    CHECK(status == 0);
    return peaks_open(&overview->peaks, &overview->layout);
}

/* ---- rows ---- */

/* Has the rows of the point at hand handed out. */
static int end_point(struct overview *overview)
{
    if (overview->peaks == NULL || peaks_fill(overview->peaks) == 0)
        return 0;
    overview->pair_count = 2;
    overview->pair_ns = overview->span.from_ns + overview->point * overview->point_ns;
    return peaks_take(overview->peaks, overview->pair);
}

static void take_pair(struct overview *overview, struct overview_event *event)
{
    *event = (struct overview_event){.kind = OVERVIEW_ROW,
                                     .datum = overview->pair[2 - overview->pair_count],
                                     .at_ns = overview->pair_ns};
    overview->pair_count--;
}

/* A level is damaged: from where it was read to, the ones below are taken. False where they do not
 * go back so far. */
static bool step_down(struct overview *overview)
{
    const struct stretch bad = overview->stretches[overview->stretch];
    uint64_t from_ns =
        overview->newest_ns > bad.span.from_ns ? overview->newest_ns : bad.span.from_ns;
    struct stretch behind[STRETCHES_MAX];
    size_t count = overview->stretch_count - overview->stretch - 1;
    bool below = false;
    for (size_t i = bad.stage + 1; i < overview->stage_count; i++)
        below |= overview->stages[i].first_ns <= from_ns;
    if (!below)
        return false;
    memcpy(behind, overview->stretches + overview->stretch + 1, count * sizeof(*behind));
    overview->stretch = overview->stretch_count = 0;
    overview->stages[bad.stage].passed_over = true;
    add_stretches(overview, bad.stage + 1, from_ns, bad.span.to_ns);
    overview->stages[bad.stage].passed_over = false;
    for (size_t i = 0; i < count && overview->stretch_count < STRETCHES_MAX; i++)
        overview->stretches[overview->stretch_count++] = behind[i];
    return true;
}

static void close_history(struct overview *overview)
{
    add_cost(overview, history_cost(overview->history));
    history_close(overview->history);
    overview->history = NULL;
}

/* Opens the next stretch. 1, 0 at the end, or a negative errno. */
static int open_stretch(struct overview *overview)
{
    if (overview->stretch == overview->stretch_count)
        return 0;
    const struct stretch *stretch = &overview->stretches[overview->stretch];
    struct stage *stage = &overview->stages[stretch->stage];
    struct overview_account *account = &overview->account;
    account->coarsest = stage->factor > account->coarsest ? stage->factor : account->coarsest;
    account->finest =
        account->finest == 0 || stage->factor < account->finest ? stage->factor : account->finest;
    int status = history_open(&overview->history, &stage->catalog, &stretch->span, ROWS_SKIP);
    return status < 0 ? status : 1;
}

/* A fault of a recording is told, of a level it has the next one taken. 1: told. */
static int take_fault(struct overview *overview, const struct rows_event *from,
                      struct overview_event *event)
{
    const struct stage *stage = &overview->stages[overview->stretches[overview->stretch].stage];
    if (stage->factor > 1 && step_down(overview)) {
        close_history(overview);
        return 0;
    }
    const char *path = stage->catalog.files[from->at.file].path;
    snprintf(overview->what, sizeof(overview->what), "%s: %s", path, from->what);
    *event = (struct overview_event){
        .kind = OVERVIEW_FAULT, .status = from->status, .what = overview->what};
    return 1;
}

/* Takes a row in. 1: it is to be handed out; 0; or a negative errno. */
static int take_row(struct overview *overview, struct span datum, struct overview_event *event)
{
    uint64_t at_ns = history_at(overview->history);
    size_t bytes;
    overview->account.rows_read++;
    overview->newest_ns = at_ns;
    if (overview->account.exact || overview->as_it_stands) {
        const struct stretch *stretch = &overview->stretches[overview->stretch];
        *event = (struct overview_event){.kind = OVERVIEW_ROW,
                                         .datum = datum,
                                         .at_ns = at_ns,
                                         .exact = overview->stages[stretch->stage].factor == 1};
        return 1;
    }
    uint64_t point = (at_ns - overview->span.from_ns) / overview->point_ns;
    int status = point == overview->point ? 0 : end_point(overview);
    overview->point = point;
    return status < 0 ? status : peaks_add(overview->peaks, datum, &bytes);
}

static int begin_file(struct overview *overview, struct overview_event *event)
{
    overview->file_waits = false;
    int status = begin_schema(overview);
    *event = (struct overview_event){.kind = OVERVIEW_SCHEMA};
    return status < 0 ? status : 1;
}

/* Takes what is next of the stretch at hand. 1: there is an event; 0: not yet; or a negative errno.
 */
static int take_next(struct overview *overview, struct overview_event *event)
{
    struct rows_event from;
    int status = history_next(overview->history, &from);
    if (status < 0)
        return status;
    switch (from.kind) {
    case ROWS_END:
        close_history(overview);
        overview->stretch++;
        return 0;
    case ROWS_FAULT:
        return take_fault(overview, &from, event);
    case ROWS_FILE:
        overview->file_waits = !goes_on(overview);
        return overview->file_waits ? end_point(overview) : 0;
    case ROWS_DATUM:
        return take_row(overview, from.datum, event);
    }
    return 0;
}

int overview_next(struct overview *overview, struct overview_event *event)
{
    for (;;) {
        if (overview->pair_count > 0) {
            take_pair(overview, event);
            return 0;
        }
        int status;
        if (overview->file_waits) {
            status = begin_file(overview, event);
        } else if (overview->history != NULL) {
            status = take_next(overview, event);
        } else {
            status = open_stretch(overview);
            if (status == 0) {
                status = end_point(overview);
                *event = (struct overview_event){.kind = OVERVIEW_END};
                if (status < 0 || overview->pair_count == 0)
                    return status;
            }
            status = status > 0 ? 0 : status;
        }
        if (status < 0)
            return status;
        if (status > 0)
            return 0;
    }
}
