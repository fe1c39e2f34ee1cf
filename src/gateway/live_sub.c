/* SPDX-License-Identifier: MIT
 * A subscription: datums of a feed, put into bins, or kept one by one, until the tick sends them.
 * What may not be sent yet is merged: first within its bin, then, where bins become too many, into
 * wider ones. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "channel/settings.h"
#include "control/json_text.h"
#include "gateway/live_parts.h"
#include "os/clock.h"
#include "schema/json.h"

#define ROWS_MAX     512u /* bins that wait */
#define LATEST_NS    (200 * NS_PER_MS)
#define REFILL_NS    (1 * NS_PER_S) /* read again before what came last */
#define FULL_WINDOWS 2 /* fewer windows of the decimated stream than that in a bin ... */
#define BACK_WINDOWS 4 /* ... and as many again */

/* The message that is being made: one at a time. */
static union {
    uint8_t bytes[FRAME_BYTES_MAX];
    double columns[FRAME_BYTES_MAX / 8];
} frame_room;

/* ---- sending ---- */

static bool send_frame(struct sub *sub, const struct frame *frame, size_t doubles)
{
    frame_write(frame_room.bytes, frame);
    return socket_send(sub->client->socket, false, frame_room.bytes, FRAME_BYTES + 8 * doubles) ==
           0;
}

static void flush_bins(struct sub *sub)
{
    struct frame frame = {.kind = FRAME_BINS, .fields = sub->field_count, .id = sub->id};
    uint32_t most = frame_rows_max(2 * sub->field_count);
    while (live_has_room(sub->client) &&
           (frame.rows = bins_front(sub->bins, most, &frame.from_ns, &frame.width_ns,
                                    frame_room.columns + FRAME_BYTES / 8)) > 0) {
        if (!send_frame(sub, &frame, (size_t)frame.rows * 2 * sub->field_count))
            return;
        bins_drop_front(sub->bins);
    }
}

static void flush_samples(struct sub *sub)
{
    struct frame frame = {
        .kind = FRAME_DATUMS, .fields = sub->field_count, .id = sub->id, .rows = sub->sample_count};
    double *column = frame_room.columns + FRAME_BYTES / 8;
    if (sub->sample_count == 0 || !live_has_room(sub->client))
        return;
    frame.from_ns = sub->times[0];
    for (uint32_t i = 0; i < frame.rows; i++)
        *column++ = (double)(sub->times[i] - frame.from_ns) * 1e-9;
    for (uint32_t k = 0; k < sub->field_count; k++)
        for (uint32_t i = 0; i < frame.rows; i++)
            *column++ = sub->samples[(size_t)i * sub->field_count + k];
    if (send_frame(sub, &frame, (size_t)frame.rows * (sub->field_count + 1)))
        sub->sample_count = 0;
}

static void send_latest(struct sub *sub)
{
    struct text text = {0};
    int64_t time_ns = sub->newest_ns;
    const struct span datum = {(const uint8_t *)sub->newest.at, sub->newest.bytes};
    sub->newest_waits = false;
    if (!picks_read(sub->picks, datum, sub->values, &time_ns))
        return;
    text_add(&text,
             "{\"op\": \"latest\", \"id\": %" PRIu32 ", \"at\": \"%" PRId64 "\", \"values\": ",
             sub->id, time_ns);
    picks_add_json(sub->picks, &text);
    text_add_char(&text, '}');
    live_send_text(sub->client, &text);
    text_free(&text);
}

static void send_gap(struct sub *sub, const struct live_gap *gap)
{
    char from[24], to[24];
    snprintf(from, sizeof(from), "%" PRId64, (int64_t)gap->from_ns + sub->shift_ns);
    snprintf(to, sizeof(to), "%" PRId64, (int64_t)gap->to_ns + sub->shift_ns);
    live_send_json(
        sub->client,
        json_pack("{s:s, s:I, s:s, s:s, s:s, s:o, s:o}", "op", "gap", "id", (json_int_t)sub->id,
                  "channel", sub->channel, "from", from, "to", to, "reason", json_of_text(gap->why),
                  "count",
                  gap->count == UINT64_MAX ? json_null() : json_integer((json_int_t)gap->count)));
}

void sub_flush(struct sub *sub, uint64_t now_ns)
{
    if (!sub->begun)
        return;
    unsigned told = 0;
    while (told < sub->gap_count && live_has_room(sub->client))
        send_gap(sub, &sub->gaps[told++]);
    sub->gap_count -= told;
    memmove(sub->gaps, sub->gaps + told, sub->gap_count * sizeof(*sub->gaps));
    if (sub->bins != NULL)
        flush_bins(sub);
    else
        flush_samples(sub);
    if (sub->skipped > 0 && live_has_room(sub->client)) {
        live_send_json(sub->client,
                       json_pack("{s:s, s:I, s:I}", "op", "skipped", "id", (json_int_t)sub->id,
                                 "datums", (json_int_t)sub->skipped));
        sub->skipped = 0;
    }
    if (sub->newest_waits && now_ns - sub->latest_ns >= LATEST_NS && live_has_room(sub->client)) {
        sub->latest_ns = now_ns;
        send_latest(sub);
    }
}

bool sub_waits(const struct sub *sub)
{
    return sub->ends ||
           (sub->begun && (sub->newest_waits || sub->sample_count > 0 || sub->skipped > 0 ||
                           sub->gap_count > 0 || (sub->bins != NULL && bins_count(sub->bins) > 0)));
}

/* ---- datums ---- */

static void add_sample(struct sub *sub, int64_t time_ns)
{
    if (sub->sample_count == sub->sample_room)
        flush_samples(sub);
    if (sub->sample_count == sub->sample_room) {
        sub->skipped++;
        return;
    }
    sub->times[sub->sample_count] = time_ns;
    memcpy(sub->samples + (size_t)sub->sample_count++ * sub->field_count, sub->values,
           sub->field_count * sizeof(double));
}

static void add_to_bins(struct sub *sub, int64_t time_ns)
{
    if (bins_add(sub->bins, time_ns, sub->values))
        return;
    flush_bins(sub);
    while (!bins_add(sub->bins, time_ns, sub->values))
        bins_coarsen(sub->bins);
}

static void take_datum(void *context, struct span datum, uint64_t at_ns)
{
    struct sub *sub = context;
    int64_t time_ns = (int64_t)at_ns;
    if (!sub->begun || !picks_read(sub->picks, datum, sub->values, &time_ns))
        return;
    sub->shift_ns = time_ns - (int64_t)at_ns;
    sub->last_ns = at_ns;
    if (sub->bins != NULL)
        add_to_bins(sub, time_ns);
    else
        add_sample(sub, time_ns);
    if (sub->latest) {
        text_clear(&sub->newest);
        text_put(&sub->newest, datum.at, datum.bytes);
        sub->newest_ns = (int64_t)at_ns;
        sub->newest_waits = !sub->newest.failed;
    }
    live_wake(sub->client);
}

static void take_gap(void *context, uint64_t from_ns, uint64_t to_ns, uint64_t count,
                     const char *why)
{
    struct sub *sub = context;
    struct live_gap gap = {.from_ns = from_ns, .to_ns = to_ns, .count = count};
    snprintf(gap.why, sizeof(gap.why), "%s", why);
    if (sub->gap_count == 0 && live_has_room(sub->client) && sub->begun) {
        send_gap(sub, &gap);
        return;
    }
    struct live_gap *last = sub->gap_count > 0 ? &sub->gaps[sub->gap_count - 1] : NULL;
    if (last != NULL && last->from_ns == from_ns && strcmp(last->why, gap.why) == 0) {
        *last = gap;
    } else if (sub->gap_count < LIVE_GAPS_WAIT) {
        sub->gaps[sub->gap_count++] = gap;
    } else { /* which of them, is lost to who does not keep up */
        last->to_ns = to_ns;
        last->count = UINT64_MAX;
        snprintf(last->why, sizeof(last->why), "several: %.150s", why);
    }
    live_wake(sub->client);
}

/* ---- beginning ---- */

/* Whether the decimated stream is too coarse for the bins, or, where the full one is looked at,
 * fine enough again. */
static bool wants_full(const struct sub *sub)
{
    double rate = live_status_number(sub->channel, "rate");
    if (sub->bin_ns == 0)
        return true;
    if (rate <= 0 || sub->factor <= 1)
        return sub->full;
    double window_ns = sub->factor / rate * 1e9;
    return (double)sub->bin_ns < window_ns * (sub->full ? BACK_WINDOWS : FULL_WINDOWS);
}

void sub_reconsider(struct sub *sub)
{
    if (!sub->begun || sub->factor <= 1 || wants_full(sub) == sub->full)
        return;
    sub->full = !sub->full;
    feed_choose(sub->feed, sub->full);
}

static bool make_room(struct sub *sub)
{
    sub->values = malloc(sub->field_count * sizeof(*sub->values));
    if (sub->bin_ns > 0)
        return sub->values != NULL &&
               bins_open(&sub->bins, sub->field_count, sub->bin_ns, ROWS_MAX) == 0;
    sub->sample_room = frame_rows_max(sub->field_count + 1);
    sub->times = malloc(sub->sample_room * sizeof(*sub->times));
    sub->samples = malloc((size_t)sub->sample_room * sub->field_count * sizeof(*sub->samples));
    return sub->values != NULL && sub->times != NULL && sub->samples != NULL;
}

static void tell_subscribed(struct sub *sub, const struct feed_subject *subject)
{
    static const char *const sources[] = {
        [FEED_DECIMATED] = "decimated", [FEED_FULL] = "full", [FEED_RECORDING] = "recording"};
    bool decimated = subject->source == FEED_DECIMATED;
    bool exact = !decimated || (subject->algorithm == ALGORITHM_MIN_MAX &&
                                picks_keep_peaks(sub->picks, subject->layout));
    char bin[24];
    snprintf(bin, sizeof(bin), "%" PRIu64, sub->bin_ns);
    live_send_json(
        sub->client,
        json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:b, s:o, s:o}", "op", "subscribed", "id",
                  (json_int_t)sub->id, "channel", sub->channel, "bin_ns", bin, "clock",
                  picks_have_time(sub->picks) ? "own" : "arrival", "source",
                  sources[subject->source], "exact", exact, "algorithm",
                  decimated ? json_string(algorithm_name(subject->algorithm)) : json_null(),
                  "fields", picks_describe(sub->picks)));
}

/* Nothing more comes: it is taken away when no feed is in the middle of telling. */
static void end_soon(struct sub *sub)
{
    sub->client->sub_count--;
    sub->client->field_count -= sub->field_count;
    if (sub->back != NULL)
        query_end(sub->back);
    sub->ends = true;
    sub->begun = false;
    feed_close(sub->feed);
    sub->feed = NULL;
    live_wake(sub->client);
}

/* The first time. False: it has ended. */
static bool begin(struct sub *sub, const struct feed_subject *subject)
{
    char error[400];
    if (picks_open(&sub->picks, subject->schema, sub->fields, sub->field_count, subject->time,
                   error, sizeof(error)) < 0 ||
        (sub->values == NULL && !make_room(sub) &&
         snprintf(error, sizeof(error), "%s", strerror(ENOMEM)) > 0)) {
        live_send_error(sub->client, sub->id, error);
        end_soon(sub);
        return false;
    }
    sub->checksum = subject->layout->checksum;
    sub->begun = true;
    return true;
}

static void begins(void *context, const struct feed_subject *subject)
{
    struct sub *sub = context;
    bool again = sub->begun;
    if (subject->source == FEED_DECIMATED) {
        sub->factor = subject->factor;
        if (!again && !sub->full && subject->has_full && wants_full(sub)) {
            sub->full = true;
            feed_choose(sub->feed, true);
            return;
        }
    }
    if (!subject->has_full && sub->bin_ns > 0)
        sub->factor = 1; /* there is nothing to choose */
    if (again && sub->checksum != subject->layout->checksum) {
        live_send_ended(sub->client, sub->id, "its schema has become another");
        end_soon(sub);
        return;
    }
    if (again) { /* the schema is the same, in another place */
        picks_close(sub->picks);
        sub->picks = NULL;
    }
    if (!begin(sub, subject))
        return;
    tell_subscribed(sub, subject);
    if (again) {
        sub->refill_ns = sub->last_ns > REFILL_NS ? sub->last_ns - REFILL_NS : 0;
        if (sub->back == NULL)
            sub_past_over(sub, false);
    } else if (sub->back_ns > 0) {
        uint64_t now_ns = clock_realtime_ns();
        query_begin_back(sub, now_ns > sub->back_ns ? now_ns - sub->back_ns : 1, subject->since_ns,
                         true);
    } else {
        sub_past_over(sub, true);
    }
}

void sub_past_over(struct sub *sub, bool announced)
{
    uint64_t refill_ns = sub->refill_ns;
    sub->refill_ns = 0;
    if (announced)
        live_send_json(sub->client,
                       json_pack("{s:s, s:I}", "op", "past", "id", (json_int_t)sub->id));
    if (refill_ns > 0 && sub->bins != NULL)
        query_begin_back(sub, refill_ns, clock_realtime_ns(), false);
}

static void ended(void *context, bool refused, const char *why)
{
    struct sub *sub = context;
    sub_flush(sub, clock_monotonic_ns());
    if (refused && !sub->begun)
        live_send_error(sub->client, sub->id, why);
    else
        live_send_ended(sub->client, sub->id, why);
    sub->feed = NULL; /* it is over already */
    end_soon(sub);
}

/* ---- the outside ---- */

struct sub *sub_find(const struct client *client, uint32_t id)
{
    for (struct sub *sub = client->subs; sub != NULL; sub = sub->next)
        if (sub->id == id && !sub->ends)
            return sub;
    return NULL;
}

void sub_end(struct sub *sub)
{
    struct client *client = sub->client;
    struct sub **link = &client->subs;
    while (*link != sub)
        link = &(*link)->next;
    *link = sub->next;
    client->sub_count -= !sub->ends;
    client->field_count -= sub->ends ? 0 : sub->field_count;
    if (sub->back != NULL)
        query_end(sub->back);
    feed_close(sub->feed);
    picks_close(sub->picks);
    bins_close(sub->bins);
    text_free(&sub->newest);
    json_decref(sub->message);
    free(sub->fields);
    free(sub->values);
    free(sub->times);
    free(sub->samples);
    free(sub);
}

/* Why there is no room for it; NULL: there is. */
static const char *find_refusal(const struct client *client, const struct live_request *request)
{
    if (query_find(client, request->id) != NULL)
        return "the id is that of a question about history";
    if (client->sub_count >= LIVE_SUBS_MAX)
        return "a client has at most 256 subscriptions";
    if (client->field_count + request->field_count > LIVE_FIELDS_MAX)
        return "the subscriptions of a client have at most 1024 fields in all";
    return NULL;
}

void sub_begin(struct client *client, struct live_request *request)
{
    static const struct feed_use use = {
        .begins = begins, .datum = take_datum, .gap = take_gap, .ended = ended};
    struct sub *old = sub_find(client, request->id);
    if (old != NULL)
        sub_end(old);
    const char *refusal = find_refusal(client, request);
    if (refusal != NULL) {
        live_send_error(client, request->id, refusal);
        return;
    }
    struct sub *sub = calloc(1, sizeof(*sub));
    const char **fields = malloc(request->field_count * sizeof(*fields));
    if (sub == NULL || fields == NULL) {
        free(sub);
        free(fields);
        live_send_error(client, request->id, strerror(ENOMEM));
        return;
    }
    memcpy(fields, request->fields, request->field_count * sizeof(*fields));
    *sub = (struct sub){.client = client,
                        .next = client->subs,
                        .id = request->id,
                        .field_count = request->field_count,
                        .message = json_incref(request->message),
                        .fields = fields,
                        .bin_ns = request->bin_ns,
                        .back_ns = request->back_ns,
                        .latest = request->latest,
                        .full = request->bin_ns == 0};
    memcpy(sub->channel, request->channel, sizeof(sub->channel));
    client->subs = sub;
    client->sub_count++;
    client->field_count += sub->field_count;
    if (feed_open(&sub->feed, hub_feeds(client->hub), sub->channel, sub->full, &use, sub) < 0) {
        live_send_error(client, sub->id, strerror(ENOMEM));
        sub_end(sub);
    }
}
