/* SPDX-License-Identifier: MIT
 * Rows of archive/overview, as they stand, put into bins that are emptied whenever they are full. A
 * slice ends when so much has been made, or so long has passed.
 *
 * Where the first slice does not get far, as with hours of recordings without an overview, a coarse
 * answer comes first: of single moments, spread over the span, what was recorded then. */
#include "gateway/past.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/catalog.h"
#include "archive/history.h"
#include "archive/overview.h"
#include "gateway/bins.h"
#include "gateway/frame.h"
#include "gateway/live_words.h"
#include "gateway/picks.h"
#include "os/clock.h"

#define SLICE_NS      (60 * NS_PER_MS)
#define SLICE_BYTES   (256u << 10)
#define LOOK_ROWS     64u /* between two looks at the clock */
#define PROBES_MAX    4u
#define MOMENTS       48u /* of a coarse answer */
#define MOMENT_ROWS   4096u
#define FAR           0.3 /* of the span in the first slice: then no coarse answer */
#define GAPS_MAX      100u
#define SPREAD_ROWS   8192u /* or fewer, of so many fields that it would be more than ... */
#define SPREAD_CELLS  (1u << 16)
#define SPREAD_NS_MAX (2 * NS_PER_S)
#define PATH_ROOM     4096

enum stage { STAGE_BEGIN, STAGE_ROWS, STAGE_MOMENTS, STAGE_SAMPLES, STAGE_END };

struct past {
    struct past_request request;
    char directory[PATH_ROOM / 2], folder[PATH_ROOM], channel[CHANNEL_NAME_BYTES_MAX + 1];
    char **names;
    struct past_told told;
    enum stage stage;
    bool first_sent; /* the first message of the answer */
    bool is_coarse;
    uint64_t end_ns; /* monotonic; of the slice */

    unsigned slices;     /* so far */
    struct past *coarse; /* an answer that comes first; NULL: none does ... */
    struct text held;    /* ... before what was made so far */
    size_t *held_ends, held_count;
    struct catalog moments_of; /* of a coarse answer */
    unsigned moment;

    struct time_span span; /* of arrival */
    struct overview *overview;
    struct bins *bins;
    struct picks *picks;
    double *values, *columns; /* of a row; of a message */
    uint32_t rows_max;        /* of a message */

    /* Single datums, as long as they are few. */
    bool single;
    int64_t *times;
    double *samples;
    uint32_t sample_count, sample_room, samples_sent;

    /* Rows of which no more is known than when their block came in. */
    double *spread;
    uint32_t spread_count, spread_room;
    uint64_t spread_ns;
};

struct past_told *past_told(struct past *past)
{
    return &past->told;
}

static bool refuse(struct past *past, const char *what)
{
    past->told.state = PAST_REFUSED;
    snprintf(past->told.error, sizeof(past->told.error), "%s", what);
    return false;
}

static bool refuse_memory(struct past *past)
{
    return refuse(past, strerror(ENOMEM));
}

/* ---- messages ---- */

static bool add_message(struct past *past, struct frame frame, size_t doubles)
{
    struct past_told *told = &past->told;
    uint8_t front[FRAME_BYTES];
    frame.fields = past->request.name_count;
    frame.id = past->request.id;
    if (past->is_coarse)
        frame.flags |= FRAME_COARSE;
    if (!past->first_sent)
        frame.flags |= FRAME_FIRST;
    past->first_sent = true;
    frame_write(front, &frame);
    size_t *ends = room_grow(told->ends, &told->end_room, told->end_count + 1, sizeof(*ends));
    if (ends != NULL)
        told->ends = ends;
    text_add_bytes(&told->bytes, front, sizeof(front));
    text_add_bytes(&told->bytes, past->columns, doubles * sizeof(double));
    if (ends == NULL || told->bytes.failed)
        return refuse_memory(past);
    told->ends[told->end_count++] = told->bytes.bytes;
    return true;
}

/* Of the bins those that make a whole message, or all. */
static bool empty_bins(struct past *past)
{
    struct frame frame = {.kind = FRAME_PAST};
    while ((frame.rows = bins_front(past->bins, past->rows_max, &frame.from_ns, &frame.width_ns,
                                    past->columns)) > 0) {
        if (!add_message(past, frame, (size_t)frame.rows * 2 * past->request.name_count))
            return false;
        bins_drop_front(past->bins);
    }
    return true;
}

static bool add_to_bins(struct past *past, int64_t at_ns, const double *values)
{
    while (!bins_add(past->bins, at_ns, values))
        if (!empty_bins(past))
            return false;
    return true;
}

static void mark_last(struct past *past)
{
    struct past_told *told = &past->told;
    size_t from = told->end_count > 1 ? told->ends[told->end_count - 2] : 0;
    if (told->end_count > 0)
        told->bytes.at[from + 1] = (char)(told->bytes.at[from + 1] | FRAME_LAST);
}

static void free_samples(struct past *past)
{
    free(past->times);
    free(past->samples);
    past->times = NULL;
    past->samples = NULL;
    past->sample_count = past->sample_room = 0;
}

/* As many as a slice holds. */
static bool send_samples(struct past *past)
{
    uint32_t fields = past->request.name_count, most = frame_rows_max(fields + 1);
    while (past->samples_sent < past->sample_count && past->told.bytes.bytes <= SLICE_BYTES) {
        uint32_t from = past->samples_sent, left = past->sample_count - from;
        uint32_t rows = left < most ? left : most;
        struct frame frame = {.kind = FRAME_DATUMS, .rows = rows, .from_ns = past->times[from]};
        double *seconds = past->columns, *column = seconds + rows;
        for (uint32_t i = 0; i < rows; i++)
            seconds[i] = (double)(past->times[from + i] - frame.from_ns) * 1e-9;
        for (uint32_t k = 0; k < fields; k++)
            for (uint32_t i = 0; i < rows; i++)
                *column++ = past->samples[(size_t)(from + i) * fields + k];
        if (!add_message(past, frame, (size_t)rows * (fields + 1)))
            return false;
        past->samples_sent += rows;
    }
    if (past->samples_sent < past->sample_count)
        return true;
    free_samples(past);
    past->stage = STAGE_END;
    mark_last(past);
    return true;
}

/* ---- rows ---- */

/* They turned out to be too many to be shown one by one. */
static bool give_up_samples(struct past *past)
{
    past->single = false;
    for (uint32_t i = 0; i < past->sample_count; i++)
        if (!add_to_bins(past, past->times[i],
                         past->samples + (size_t)i * past->request.name_count))
            return false;
    free_samples(past);
    return true;
}

static bool is_in_span(const struct past *past, int64_t at_ns)
{
    return at_ns >= past->request.from_ns && at_ns < past->request.to_ns;
}

/* Bins that the span's ends cut are whole, so that they are the same in any span. */
static bool is_in_bins(const struct past *past, int64_t at_ns)
{
    int64_t from_ns = past->request.from_ns, to_ns = past->request.to_ns;
    int64_t width = (int64_t)past->told.width_ns;
    int64_t before = from_ns % width, behind = to_ns % width;
    from_ns -= before < 0 ? before + width : before;
    to_ns += behind == 0 ? 0 : behind < 0 ? -behind : width - behind;
    return past->request.since_arrival || (at_ns >= from_ns && at_ns < to_ns);
}

static bool make_room_for_samples(struct past *past)
{
    uint32_t room = past->sample_room > 0 ? 2 * past->sample_room : 256;
    int64_t *times = realloc(past->times, room * sizeof(*times));
    if (times != NULL)
        past->times = times;
    double *samples =
        realloc(past->samples, (size_t)room * past->request.name_count * sizeof(*samples));
    if (samples != NULL)
        past->samples = samples;
    if (times == NULL || samples == NULL)
        return refuse_memory(past);
    past->sample_room = room;
    return true;
}

static bool add_row(struct past *past, int64_t at_ns, const double *values)
{
    uint32_t fields = past->request.name_count;
    bool inside = is_in_span(past, at_ns);
    if (past->single && inside && past->sample_count == past->request.points &&
        !give_up_samples(past))
        return false;
    if (!past->single || !inside) /* beside the span: for bins, if it comes to that */
        return !is_in_bins(past, at_ns) || add_to_bins(past, at_ns, values);
    if (past->sample_count == past->sample_room && !make_room_for_samples(past))
        return false;
    past->times[past->sample_count] = at_ns;
    memcpy(past->samples + (size_t)past->sample_count++ * fields, values, fields * sizeof(double));
    return true;
}

/* Rows that came in one after the other, from when the first did up to `next_ns`. */
static bool empty_spread(struct past *past, uint64_t next_ns)
{
    uint64_t length = next_ns > past->spread_ns ? next_ns - past->spread_ns : 0;
    length = length > SPREAD_NS_MAX ? SPREAD_NS_MAX : length;
    for (uint32_t i = 0; i < past->spread_count; i++) {
        uint64_t at_ns = past->spread_ns + length * i / past->spread_count;
        if (!add_row(past, (int64_t)at_ns, past->spread + (size_t)i * past->request.name_count))
            return false;
    }
    past->spread_count = 0;
    return true;
}

static bool take_row(struct past *past, struct span datum, uint64_t at_ns)
{
    uint32_t fields = past->request.name_count;
    int64_t time_ns = (int64_t)at_ns;
    if (past->picks == NULL || !picks_read(past->picks, datum, past->values, &time_ns))
        return true;
    if (at_ns > past->told.reached_ns)
        past->told.reached_ns = at_ns;
    past->told.own = picks_have_time(past->picks);
    if (past->told.own)
        return add_row(past, time_ns, past->values);
    if ((past->spread_count == past->spread_room || at_ns != past->spread_ns) &&
        !empty_spread(past, at_ns))
        return false;
    past->spread_ns = at_ns;
    memcpy(past->spread + (size_t)past->spread_count++ * fields, past->values,
           fields * sizeof(double));
    return true;
}

/* The datums from here on are of another schema. One that has not all of the fields is passed over,
 * but the last is to have them. */
static bool take_schema(struct past *past, const struct schema_file *schema, const char *time)
{
    if (past->spread_count > 0 && !empty_spread(past, past->spread_ns))
        return false;
    picks_close(past->picks);
    past->picks = NULL;
    int status =
        picks_open(&past->picks, schema, (const char *const *)past->names, past->request.name_count,
                   time, past->told.error, sizeof(past->told.error));
    if (status < 0)
        past->picks = NULL;
    return status == -ENOMEM ? refuse_memory(past) : true;
}

static void note_gap(struct past *past, uint64_t from_ns, uint64_t to_ns, const char *what)
{
    char from[24], to[24];
    const char *name = strrchr(what, '/'); /* no path leaves this machine */
    if (json_array_size(past->told.gaps) >= GAPS_MAX)
        return;
    snprintf(from, sizeof(from), "%" PRIu64, from_ns);
    snprintf(to, sizeof(to), "%" PRIu64, to_ns);
    json_t *gap = json_pack("{s:s, s:s, s:s, s:n}", "from", from, "to", to, "reason",
                            name != NULL ? name + 1 : what, "count");
    json_array_append_new(past->told.gaps, gap);
}

/* ---- where in the recordings ---- */

/* How much later than it came in a row says that it is, of the first that came in at `from_ns` or
 * later. False: there is none, or it does not say. */
static bool probe(struct past *past, const struct catalog *catalog, uint64_t from_ns,
                  int64_t *shift_ns)
{
    struct time_span span = {from_ns, UINT64_MAX};
    struct row_clock clock = {0};
    struct history *history;
    struct rows_event event;
    bool found = false;
    if (history_open(&history, catalog, &span, ROWS_SKIP) < 0)
        return false;
    while (!found && history_next(history, &event) == 0 && event.kind != ROWS_END) {
        int64_t own_ns;
        if (event.kind == ROWS_FILE && row_clock_set(&clock, history_scan(history)) < 0)
            break;
        if (event.kind != ROWS_DATUM)
            continue;
        if (!row_clock_field_ns(&clock, event.datum, &own_ns))
            break;
        found = true;
        *shift_ns = own_ns - (int64_t)history_at(history);
    }
    past->told.bytes_read += history_cost(history).bytes;
    history_close(history);
    row_clock_free(&clock);
    return found;
}

static uint64_t arrival_of(int64_t own_ns, int64_t shift_ns)
{
    int64_t at_ns = own_ns - shift_ns;
    return at_ns > 0 ? (uint64_t)at_ns : 0;
}

static bool is_near(int64_t one, int64_t other)
{
    int64_t apart = one > other ? one - other : other - one;
    return apart < (int64_t)PAST_MARGIN_NS / 2;
}

/* Goes by what came in then, until that says so itself. Where nothing came in any more, nothing
 * says otherwise. */
static bool settle_shift(struct past *past, const struct catalog *catalog, int64_t own_ns,
                         int64_t *shift_ns, bool of_end)
{
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        int64_t before = *shift_ns;
        if (!probe(past, catalog, arrival_of(own_ns, before), shift_ns))
            return of_end;
        if (is_near(*shift_ns, before))
            return true;
    }
    return false;
}

/* When the last block that there is came in; 0: there is none. */
static uint64_t find_end(const struct catalog *catalog)
{
    struct catalog_look look;
    for (size_t i = catalog->count; i > 0; i--)
        if (catalog_look(&catalog->files[i - 1], &look) == 0 && look.ours && !look.empty)
            return look.last_ns;
    return 0;
}

/* When what says `own_ns` came in, about: as if the two clocks were one, by how they are at the
 * end, or at the begin. */
static uint64_t find_arrival(struct past *past, const struct catalog *catalog, int64_t own_ns)
{
    int64_t shift_ns = 0;
    if (settle_shift(past, catalog, own_ns, &shift_ns, false))
        return arrival_of(own_ns, shift_ns);
    if (probe(past, catalog, find_end(catalog), &shift_ns) &&
        settle_shift(past, catalog, own_ns, &shift_ns, true))
        return arrival_of(own_ns, shift_ns);
    if (!probe(past, catalog, 1, &shift_ns))
        return arrival_of(own_ns, 0);
    settle_shift(past, catalog, own_ns, &shift_ns, false);
    return arrival_of(own_ns, shift_ns);
}

static bool find_span(struct past *past)
{
    struct catalog catalog = {0};
    struct past_request *request = &past->request;
    if (request->since_arrival) {
        past->span = (struct time_span){arrival_of(request->from_ns, 0), UINT64_MAX};
        return true;
    }
    if (catalog_add(&catalog, past->folder, CATALOG_DATUMS) == -ENOMEM) {
        catalog_free(&catalog);
        return refuse_memory(past);
    }
    uint64_t from_ns = find_arrival(past, &catalog, request->from_ns);
    uint64_t to_ns = find_arrival(past, &catalog, request->to_ns);
    catalog_free(&catalog);
    uint64_t margin = PAST_MARGIN_NS + past->told.width_ns;
    past->span.from_ns = from_ns > margin ? from_ns - margin : 0;
    past->span.to_ns = (to_ns > from_ns ? to_ns : from_ns) + margin;
    return true;
}

/* ---- an answer ---- */

static bool open_overview(struct past *past)
{
    uint64_t length = past->span.to_ns - past->span.from_ns, points = OVERVIEW_POINTS_MAX;
    if (past->request.since_arrival)
        length =
            clock_realtime_ns() > past->span.from_ns ? clock_realtime_ns() - past->span.from_ns : 1;
    /* A window's two rows stand at its begin and end: one in each bin leaves none empty. */
    if (length / past->told.width_ns < OVERVIEW_POINTS_MAX - 1)
        points = length / past->told.width_ns + 1;
    int status =
        overview_open(&past->overview, past->folder, past->channel, &past->span, (uint32_t)points);
    if (status == -ENOENT) {
        past->stage = STAGE_END;
        return true;
    }
    if (status < 0)
        return refuse(past, strerror(-status));
    past->told.recorded = true;
    overview_as_it_stands(past->overview);
    struct overview_account account;
    overview_told(past->overview, &account);
    past->single = past->request.width_ns == 0 && account.exact;
    past->stage = STAGE_ROWS;
    return true;
}

static bool begin(struct past *past)
{
    struct past_request *request = &past->request;
    past->told.width_ns =
        request->width_ns > 0
            ? request->width_ns
            : live_width((uint64_t)(request->to_ns - request->from_ns), request->points);
    uint32_t rows = past->rows_max, fields = request->name_count;
    if (past->bins == NULL && bins_open(&past->bins, fields, past->told.width_ns, 2 * rows) < 0)
        return refuse_memory(past);
    if (past->columns == NULL)
        past->columns = malloc((size_t)(rows + 1) * (2 * (size_t)fields + 1) * sizeof(double));
    past->spread_room = SPREAD_CELLS / fields < SPREAD_ROWS ? SPREAD_CELLS / fields : SPREAD_ROWS;
    if (past->spread == NULL)
        past->spread = malloc((size_t)past->spread_room * fields * sizeof(double));
    if (past->columns == NULL || past->spread == NULL)
        return refuse_memory(past);
    if (past->is_coarse) {
        past->stage = STAGE_MOMENTS;
        return true;
    }
    return find_span(past) && open_overview(past);
}

static bool take_event(struct past *past, const struct overview_event *event)
{
    if (event->kind == OVERVIEW_ROW)
        return take_row(past, event->datum, event->at_ns);
    if (event->kind == OVERVIEW_SCHEMA)
        return take_schema(past, overview_schema(past->overview), overview_time(past->overview));
    note_gap(past, past->told.reached_ns, past->told.reached_ns, event->what);
    return true;
}

static bool end_answer(struct past *past)
{
    struct overview_account account;
    if (past->spread_count > 0 && !empty_spread(past, past->spread_ns))
        return false;
    if (past->picks == NULL && past->told.error[0] != '\0' && past->told.reached_ns == 0) {
        past->told.state = PAST_REFUSED; /* no file has all of these fields */
        return false;
    }
    if (!past->single && !empty_bins(past))
        return false;
    overview_told(past->overview, &account);
    past->told.exact = account.coarsest <= 1 || past->single;
    past->told.level = account.coarsest;
    past->told.rows_read += account.rows_read;
    past->told.bytes_read += account.cost.bytes;
    if (past->single)
        past->told.width_ns = 0;
    past->stage = past->single ? STAGE_SAMPLES : STAGE_END;
    if (!past->single)
        mark_last(past);
    return true;
}

/* Whether the slice is over. */
static bool is_over(const struct past *past)
{
    return past->told.bytes.bytes > SLICE_BYTES || clock_monotonic_ns() > past->end_ns;
}

static bool read_rows(struct past *past)
{
    struct overview_event event;
    for (unsigned count = 0; count % LOOK_ROWS != 0 || !is_over(past) || count == 0; count++) {
        int status = overview_next(past->overview, &event);
        if (status < 0)
            return refuse(past, strerror(-status));
        if (event.kind == OVERVIEW_END)
            return end_answer(past);
        if (!take_event(past, &event))
            return false;
    }
    return true;
}

/* ---- a coarse answer ---- */

/* Reads what came in about one moment. */
static bool read_moment(struct past *past)
{
    uint64_t step = (past->span.to_ns - past->span.from_ns) / MOMENTS + 1;
    struct time_span span = {past->span.from_ns + past->moment * step, 0};
    char time[512];
    struct history *history;
    struct rows_event event;
    uint64_t block = 0;
    bool good = true;
    span.to_ns = span.from_ns + step;
    if (history_open(&history, &past->moments_of, &span, ROWS_SKIP) < 0)
        return refuse_memory(past);
    for (unsigned rows = 0; good && rows < MOMENT_ROWS;) {
        if (history_next(history, &event) < 0 || event.kind == ROWS_END ||
            (event.kind == ROWS_DATUM && rows > 0 && event.at.block != block))
            break;
        if (event.kind == ROWS_FILE) {
            const struct scan *scan = history_scan(history);
            struct span name = scan_header(scan)->time;
            snprintf(time, sizeof(time), "%.*s", (int)name.bytes, (const char *)name.at);
            good = take_schema(past, scan_schema(scan), name.bytes < sizeof(time) ? time : "");
        }
        if (event.kind != ROWS_DATUM)
            continue;
        rows++;
        block = event.at.block;
        good = take_row(past, event.datum, history_at(history));
    }
    good = good && (past->spread_count == 0 || empty_spread(past, past->spread_ns));
    picks_close(past->picks); /* their schema goes with the history */
    past->picks = NULL;
    history_close(history);
    return good;
}

static bool read_moments(struct past *past)
{
    while (past->moment < MOMENTS && clock_monotonic_ns() < past->end_ns) {
        if (!read_moment(past))
            return false;
        past->moment++;
    }
    if (past->moment < MOMENTS)
        return true;
    past->stage = STAGE_END;
    if (!empty_bins(past))
        return false;
    mark_last(past);
    return true;
}

/* The first slice has not got far: what it has made waits. */
static void begin_coarse(struct past *past)
{
    uint64_t length = past->span.to_ns - past->span.from_ns;
    uint64_t got =
        past->told.reached_ns > past->span.from_ns ? past->told.reached_ns - past->span.from_ns : 0;
    if (past->is_coarse || past->single || past->request.only_fine || past->request.since_arrival ||
        (double)got > FAR * (double)length)
        return;
    struct past_request request = past->request;
    request.width_ns = live_width((uint64_t)(request.to_ns - request.from_ns), MOMENTS);
    request.points = 0;
    request.names = (const char *const *)past->names;
    request.directory = past->directory;
    past->coarse = past_open(&request);
    if (past->coarse == NULL ||
        catalog_add(&past->coarse->moments_of, past->folder, CATALOG_DATUMS) <= 0) {
        past_close(past->coarse);
        past->coarse = NULL;
        return;
    }
    past->coarse->is_coarse = true;
    past->coarse->span = past->span;
    past->held = past->told.bytes;
    past->held_ends = past->told.ends;
    past->held_count = past->told.end_count;
    past->told.bytes = (struct text){0};
    past->told.ends = NULL;
    past->told.end_count = past->told.end_room = 0;
}

/* Behind the coarse answer stands what was held back. */
static bool end_coarse(struct past *past)
{
    struct past_told *told = &past->told;
    size_t before = told->bytes.bytes;
    size_t *ends = room_grow(told->ends, &told->end_room, told->end_count + past->held_count + 1,
                             sizeof(*ends));
    text_add_bytes(&told->bytes, past->held.at != NULL ? past->held.at : "", past->held.bytes);
    if (ends == NULL || told->bytes.failed)
        return refuse_memory(past);
    told->ends = ends;
    for (size_t i = 0; i < past->held_count; i++)
        told->ends[told->end_count++] = before + past->held_ends[i];
    text_free(&past->held);
    free(past->held_ends);
    past->held_ends = NULL;
    past_close(past->coarse);
    past->coarse = NULL;
    return true;
}

static bool go_on_coarse(struct past *past)
{
    struct past *coarse = past->coarse;
    struct text bytes = past->told.bytes;
    size_t *ends = past->told.ends, room = past->told.end_room;
    past_go_on(coarse);
    /* The messages change hands, and the memory of the last ones. */
    past->told.bytes = coarse->told.bytes;
    past->told.ends = coarse->told.ends;
    past->told.end_count = coarse->told.end_count;
    past->told.end_room = coarse->told.end_room;
    coarse->told.bytes = bytes;
    coarse->told.ends = ends;
    coarse->told.end_room = room;
    return coarse->told.state == PAST_MORE || end_coarse(past);
}

void past_go_on(struct past *past)
{
    struct past_told *told = &past->told;
    text_clear(&told->bytes);
    told->end_count = 0;
    told->state = PAST_MORE;
    past->end_ns = clock_monotonic_ns() + SLICE_NS;
    if (past->coarse != NULL) {
        go_on_coarse(past);
        return;
    }
    bool good = past->stage != STAGE_BEGIN || begin(past);
    if (good && past->stage == STAGE_ROWS)
        good = read_rows(past);
    if (good && past->stage == STAGE_MOMENTS)
        good = read_moments(past);
    if (good && past->stage == STAGE_SAMPLES)
        good = send_samples(past);
    if (good && past->stage == STAGE_END)
        told->state = PAST_DONE;
    else if (good && past->slices++ == 0)
        begin_coarse(past);
}

/* ---- the outside ---- */

struct past *past_open(const struct past_request *request)
{
    struct past *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    made->request = *request;
    made->rows_max = frame_rows_max(2 * request->name_count);
    snprintf(made->directory, sizeof(made->directory), "%s", request->directory);
    snprintf(made->folder, sizeof(made->folder), "%s/%s", made->directory, request->channel);
    snprintf(made->channel, sizeof(made->channel), "%s", request->channel);
    made->request.directory = made->directory;
    made->request.channel = made->channel;
    made->names = calloc(request->name_count, sizeof(*made->names));
    made->values = calloc(request->name_count, sizeof(*made->values));
    made->told.gaps = json_array();
    bool good = made->names != NULL && made->values != NULL && made->told.gaps != NULL;
    for (uint32_t i = 0; good && i < request->name_count; i++)
        good = (made->names[i] = text_copy(request->names[i])) != NULL;
    if (good)
        return made;
    past_close(made);
    return NULL;
}

void past_again(struct past *past, int64_t from_ns)
{
    overview_close(past->overview);
    past->overview = NULL;
    past->request.from_ns = from_ns;
    past->stage = STAGE_BEGIN;
}

void past_close(struct past *past)
{
    if (past == NULL)
        return;
    past_close(past->coarse);
    text_free(&past->held);
    free(past->held_ends);
    catalog_free(&past->moments_of);
    overview_close(past->overview);
    picks_close(past->picks);
    bins_close(past->bins);
    for (uint32_t i = 0; past->names != NULL && i < past->request.name_count; i++)
        free(past->names[i]);
    free(past->names);
    free(past->values);
    free(past->columns);
    free(past->spread);
    free_samples(past);
    free(past->told.ends);
    text_free(&past->told.bytes);
    json_decref(past->told.gaps);
    free(past);
}
