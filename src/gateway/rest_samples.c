/* SPDX-License-Identifier: MIT
 * The route about what was recorded: rows of archive/overview, as JSON or CSV. A row is a single
 * datum, or the minima or the maxima of a point. Made as a whole before it is sent, bounded by
 * SAMPLES_BYTES_MAX. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/overview.h"
#include "base/calendar.h"
#include "channel/recording_name.h"
#include "gateway/rest_columns.h"
#include "gateway/router.h"
#include "schema/columns.h"
#include "schema/csv.h"
#include "schema/json.h"

enum samples_value { SAMPLES_FROM, SAMPLES_TO, SAMPLES_FIELDS, SAMPLES_POINTS, SAMPLES_FORMAT };

#define SAMPLES_POINTS_USUAL 1000u
#define SAMPLES_BYTES_MAX    (32u << 20)
#define SAMPLES_FIELDS_MAX   256u
#define FAULTS_MAX           20u

/* An answer in the making. */
struct samples {
    struct reply *reply;
    bool csv;
    const char *fields[SAMPLES_FIELDS_MAX];
    size_t field_count;
    char *names; /* what they point into */
    const struct columns *columns;
    struct column_value *values;
    struct text rows, heading;
    uint64_t row_count;
    bool last_was_minima;
    json_t *faults;
};

/* Each takes a step; false with a problem in the reply. */

static bool take_fields(struct samples *samples, const char *given)
{
    samples->names = text_copy(given);
    for (char *at = samples->names; at != NULL;) {
        char *comma = strchr(at, ',');
        if (comma != NULL)
            *comma++ = '\0';
        if (*at == '\0' || samples->field_count == SAMPLES_FIELDS_MAX) {
            reply_problem(samples->reply, 400, "fields are up to %u names joined by commas",
                          SAMPLES_FIELDS_MAX);
            return false;
        }
        samples->fields[samples->field_count++] = at;
        at = comma;
    }
    return true;
}

static bool take_schema(struct samples *samples, const struct schema_file *schema)
{
    char error[512];
    struct text heading = {0};
    columns_free(samples->columns);
    samples->columns = NULL;
    if (columns_select(schema, samples->fields, samples->field_count, &samples->columns, error,
                       sizeof(error)) < 0) {
        samples->columns = NULL;
        reply_problem(samples->reply, 400, "%s", error);
        return false;
    }
    free(samples->values);
    samples->values = calloc(samples->columns->value_room + 1, sizeof(*samples->values));
    if (samples->values == NULL) {
        reply_problem(samples->reply, 500, "%s", strerror(ENOMEM));
        return false;
    }
    csv_add_heading(samples->columns, &heading);
    bool same = samples->heading.at == NULL || heading.at == NULL ||
                strcmp(samples->heading.at, heading.at) == 0;
    text_free(&samples->heading);
    samples->heading = heading;
    if (!same && samples->csv)
        reply_problem(samples->reply, 409,
                      "the columns change within this span: as CSV, ask for "
                      "parts of it, or for fields that all have");
    return same || !samples->csv;
}

static bool take_row(struct samples *samples, const struct overview_event *event)
{
    char at[CALENDAR_TEXT_BYTES];
    size_t datum_bytes;
    struct text *rows = &samples->rows;
    /* Of a point the minima come first. */
    samples->last_was_minima = !event->exact && !samples->last_was_minima;
    const char *kind = event->exact ? "datum" : samples->last_was_minima ? "min" : "max";
    if (columns_read(samples->columns, event->datum, &datum_bytes, samples->values) != REJECT_NONE)
        return true; /* it is valid by the schema, says overview_next */
    calendar_write(at, event->at_ns, 9);
    if (samples->csv) {
        text_add(rows, "%s,%s,", at, kind);
        csv_add_row(samples->columns, samples->values, rows);
        text_end(rows);
    } else {
        text_add(rows, "%s{\"at\": \"%s\", \"kind\": \"%s\", \"value\": ",
                 samples->row_count > 0 ? ",\n" : "", at, kind);
        columns_write_json(samples->columns, samples->values, rows);
        text_end(rows);
        text_add_char(rows, '}');
    }
    samples->row_count++;
    if (rows->bytes <= SAMPLES_BYTES_MAX)
        return true;
    reply_problem(samples->reply, 413,
                  "the answer has more than %u bytes: ask for fewer fields, or points",
                  SAMPLES_BYTES_MAX);
    return false;
}

static bool take_all(struct samples *samples, struct overview *overview)
{
    struct overview_event event;
    int status;
    while ((status = overview_next(overview, &event)) == 0 && event.kind != OVERVIEW_END) {
        bool goes_on = true;
        if (event.kind == OVERVIEW_SCHEMA)
            goes_on = take_schema(samples, overview_schema(overview));
        else if (event.kind == OVERVIEW_ROW)
            goes_on = take_row(samples, &event);
        else if (json_array_size(samples->faults) < FAULTS_MAX)
            json_array_append_new(samples->faults, json_string(strrchr(event.what, '/') != NULL
                                                                   ? strrchr(event.what, '/') + 1
                                                                   : event.what));
        if (!goes_on)
            return false;
    }
    if (status < 0)
        reply_problem(samples->reply, 500, "%s", strerror(-status));
    return status == 0;
}

/* ---- the answer ---- */

static void answer_json(struct samples *samples, const struct overview *overview,
                        const char *channel)
{
    struct overview_account account;
    struct text *body = &samples->reply->body;
    overview_told(overview, &account);
    char *faults = json_dumps(samples->faults, JSON_COMPACT);
    text_add(body,
             "{\"channel\": \"%s\", \"exact\": %s, \"point_ns\": %" PRIu64 ", \"window\": %" PRIu64
             ", \"faults\": %s, \"rows\": [",
             channel, account.exact || samples->row_count == 0 ? "true" : "false", account.point_ns,
             account.coarsest, faults != NULL ? faults : "[]");
    text_add_bytes(body, samples->rows.at != NULL ? samples->rows.at : "", samples->rows.bytes);
    text_add_string(body, "]}\n");
    free(faults);
    samples->reply->status = 200;
    samples->reply->type = "application/json";
}

static void answer_csv(struct samples *samples)
{
    struct text *body = &samples->reply->body;
    if (json_array_size(samples->faults) > 0) {
        reply_problem(samples->reply, 500,
                      "%s (as JSON, what could be read is answered with its faults)",
                      json_string_value(json_array_get(samples->faults, 0)));
        return;
    }
    text_add_string(body, "at,kind,");
    text_add_string(body, samples->heading.at != NULL ? samples->heading.at : "\r\n");
    text_add_bytes(body, samples->rows.at != NULL ? samples->rows.at : "", samples->rows.bytes);
    samples->reply->status = 200;
    samples->reply->type = "text/csv; charset=utf-8; header=present";
}

static bool wants_csv(const struct request *request)
{
    const struct request_value *format = &request->values[SAMPLES_FORMAT];
    return format->given ? strcmp(format->text, "csv") == 0
                         : strncmp(request->accept, "text/csv", 8) == 0;
}

static bool wants_columns(const struct request *request)
{
    static const char type[] = "application/vnd.flotilla.columns";
    const struct request_value *format = &request->values[SAMPLES_FORMAT];
    return format->given ? strcmp(format->text, "columns") == 0
                         : strncmp(request->accept, type, sizeof(type) - 1) == 0;
}

void rest_samples(const struct request *request, struct reply *reply)
{
    const struct request_value *values = request->values;
    char folder[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2];
    struct samples samples = {.reply = reply, .csv = wants_csv(request)};
    struct time_span span = {values[SAMPLES_FROM].given ? values[SAMPLES_FROM].number : 0,
                             values[SAMPLES_TO].given ? values[SAMPLES_TO].number : UINT64_MAX};
    struct overview *overview = NULL;
    if (!channel_name_is_valid(request->name)) {
        reply_problem(reply, 404, "no channel can be called \"%.100s\"", request->name);
        return;
    }
    if (span.to_ns < span.from_ns) {
        reply_problem(reply, 400, "the span ends before it begins");
        return;
    }
    if (wants_columns(request)) {
        if (!values[SAMPLES_FIELDS].given || take_fields(&samples, values[SAMPLES_FIELDS].text))
            rest_columns(request, reply, &span, samples.fields, samples.field_count,
                         values[SAMPLES_POINTS].given ? (uint32_t)values[SAMPLES_POINTS].number
                                                      : SAMPLES_POINTS_USUAL);
        free(samples.names);
        return;
    }
    samples.faults = json_array();
    snprintf(folder, sizeof(folder), "%s/%s", request->gateway->directory, request->name);
    int status =
        overview_open(&overview, folder, request->name, &span,
                      values[SAMPLES_POINTS].given ? (uint32_t)values[SAMPLES_POINTS].number
                                                   : SAMPLES_POINTS_USUAL);
    if (status < 0)
        reply_problem(reply, status == -ENOENT ? 404 : 500, "\"%.100s\": %s", request->name,
                      status == -ENOENT ? "there are no recordings of it" : strerror(-status));
    else if ((!values[SAMPLES_FIELDS].given ||
              take_fields(&samples, values[SAMPLES_FIELDS].text)) &&
             take_all(&samples, overview)) {
        if (samples.csv)
            answer_csv(&samples);
        else
            answer_json(&samples, overview, request->name);
    }
    overview_close(overview);
    columns_free(samples.columns);
    free(samples.values);
    free(samples.names);
    text_free(&samples.rows);
    text_free(&samples.heading);
    json_decref(samples.faults);
}
