/* SPDX-License-Identifier: MIT
 * Recordings as files of other programs: the manager has `flotilla-export` run, and hands over the
 * end of a pipe, or a file without a name (manager/errand.h). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/calendar.h"
#include "base/check.h"
#include "channel/recording_name.h"
#include "control/client.h"
#include "gateway/errands.h"
#include "gateway/router.h"
#include "gateway/stream.h"
#include "os/file.h"
#include "os/local.h"
#include "os/storage.h"

enum export_value {
    EXPORT_FORMAT,
    EXPORT_CHANNELS,
    EXPORT_FIELDS,
    EXPORT_FROM,
    EXPORT_TO,
    EXPORT_CLOCK,
    EXPORT_EVERY,
    EXPORT_DECIMATE,
    EXPORT_GZIP
};

#define LOOK_MS     200u /* so often it is looked whether the client is still there */
#define FIRST_BYTES 65536u
#define EXIT_WORDS  2 /* of flotilla-export: it does not take what it was told */

static const struct {
    const char *ending, *name, *type;
} formats[] = {{"csv", "csv", "text/csv; charset=utf-8"},
               {"h5", "hdf5", "application/x-hdf5"},
               {"mf4", "mdf4", "application/x-mf4"},
               {"mcap", "mcap", "application/x-mcap"},
               {"avro", "avro", "application/avro"}};

static size_t format_of(const struct request *request)
{
    size_t i = 0;
    while (strcmp(formats[i].ending, request->values[EXPORT_FORMAT].text) != 0)
        if (++i == ARRAY_COUNT(formats))
            return 0; /* the table of parameters takes no other */
    return i;
}

/* ---- the question ---- */

/* The channels' names; NULL with a problem. A new array. */
static json_t *read_channels(const struct request *request, struct reply *reply)
{
    char name[CHANNEL_NAME_BYTES_MAX + 1], path[CHANNEL_PATH_BYTES_MAX + sizeof(name) + 1];
    const char *at = request->values[EXPORT_CHANNELS].text;
    struct storage_entry entry;
    json_t *list = json_array();
    for (;;) {
        size_t bytes = strcspn(at, ",");
        snprintf(name, sizeof(name), "%.*s", (int)bytes, at);
        snprintf(path, sizeof(path), "%s/%s", request->gateway->directory, name);
        if (bytes >= sizeof(name) || !channel_name_is_valid(name) ||
            storage_look_at(path, &entry) < 0 || !entry.folder) {
            reply_problem(reply, 404, "nothing is recorded of a channel \"%.*s\"",
                          (int)(bytes < 100 ? bytes : 100), at);
            json_decref(list);
            return NULL;
        }
        json_array_append_new(list, json_string(name));
        if (at[bytes] == '\0')
            return list;
        at += bytes + 1;
    }
}

static void add(json_t *object, const char *key, const struct request_value *value)
{
    char text[CALENDAR_TEXT_BYTES];
    bool time = strcmp(key, "from") == 0 || strcmp(key, "to") == 0;
    if (value->given)
        json_object_set_new(
            object, key, json_string(time ? calendar_write(text, value->number, 9) : value->text));
}

/* NULL with a problem. */
static json_t *make_question(const struct request *request, struct reply *reply)
{
    const struct request_value *values = request->values;
    if (values[EXPORT_FROM].given && values[EXPORT_TO].given &&
        values[EXPORT_FROM].number >= values[EXPORT_TO].number) {
        reply_problem(reply, 400, "the span ends before it begins");
        return NULL;
    }
    json_t *channels = read_channels(request, reply);
    if (channels == NULL)
        return NULL;
    bool arrival =
        values[EXPORT_CLOCK].given && strcmp(values[EXPORT_CLOCK].text, "arrival") == 0;
    json_t *question = json_pack("{s:s, s:s, s:o, s:s}", "verb", "export", "format",
                                 formats[format_of(request)].name, "channels", channels, "span_by",
                                 arrival ? "arrival" : "time");
    add(question, "fields", &values[EXPORT_FIELDS]);
    add(question, "from", &values[EXPORT_FROM]);
    add(question, "to", &values[EXPORT_TO]);
    add(question, "every", &values[EXPORT_EVERY]);
    add(question, "decimate", &values[EXPORT_DECIMATE]);
    add(question, "gzip", &values[EXPORT_GZIP]);
    return question;
}

/* ---- the answer ---- */

static void name_answer(const struct request *request, struct reply *reply)
{
    size_t format = format_of(request);
    char channels[100], from[CALENDAR_TEXT_BYTES] = "", *at;
    snprintf(channels, sizeof(channels), "%s", request->values[EXPORT_CHANNELS].text);
    while ((at = strchr(channels, ',')) != NULL)
        *at = '+';
    if (request->values[EXPORT_FROM].given)
        calendar_write(from, request->values[EXPORT_FROM].number, 0);
    while ((at = strchr(from, ':')) != NULL)
        memmove(at, at + 1, strlen(at));
    snprintf(reply->disposition, sizeof(reply->disposition),
             "attachment; filename=\"%s%s%s.%s\"", channels, from[0] != '\0' ? "-" : "", from,
             formats[format].ending);
    reply->status = 200;
    reply->type = formats[format].type;
}

/* It has ended, and not with a file. */
static void explain(const json_t *line, struct reply *reply)
{
    const char *said = json_string_value(json_object_get(line, "said"));
    json_int_t code = json_integer_value(json_object_get(line, "exit"));
    if (said == NULL)
        errands_refused(line, reply);
    else if (strstr(said, "nothing to export") != NULL || strstr(said, "no recordings in") != NULL)
        reply_problem(reply, 404, "there is nothing of that in this span");
    else
        reply_problem(reply, code == EXIT_WORDS || code == 1 ? 400 : 500, "%s",
                      said[0] != '\0' ? said : "it was not made");
}

/* The next line, as long as the client is there. 0, or a negative errno. */
static int wait_for_line(const struct request *request, struct control_talk *talk, json_t **line)
{
    for (;;) {
        int status = control_talk_next(talk, LOOK_MS, line);
        if (status != -ETIMEDOUT)
            return status;
        if (local_is_over(request->client))
            return -ECANCELED;
    }
}

/* The first of what comes out of the pipe, as long as the client is there. Bytes, 0 at its end, or
 * a negative errno. */
static long wait_for_first(const struct request *request, descriptor_t pipe, uint8_t *into)
{
    for (;;) {
        long got = file_read_next(pipe, into, FIRST_BYTES);
        if (got != -EAGAIN && got != -EINTR)
            return got;
        int status = local_wait(pipe, LOOK_MS);
        if (status < 0 && status != -ETIMEDOUT)
            return status;
        if (local_is_over(request->client))
            return -ECANCELED;
    }
}

/* What is streamed, once it is known that there is something: the talk is the stream's then, and
 * true is returned. */
static bool stream(const struct request *request, struct control_talk *talk, struct reply *reply)
{
    json_t *line = NULL;
    descriptor_t pipe = talk->handed;
    uint8_t *first = malloc(FIRST_BYTES);
    talk->handed = DESCRIPTOR_NONE;
    long got = first == NULL ? -ENOMEM : wait_for_first(request, pipe, first);
    struct stream *made =
        got > 0 ? stream_make(pipe, talk, first, (size_t)got) : NULL;
    if (made != NULL) {
        name_answer(request, reply);
        reply->stream = made;
        return true;
    }
    if (got == 0 && wait_for_line(request, talk, &line) == 0 && !stream_is_whole(line))
        explain(line, reply);
    else
        reply_problem(reply, 500, "it was not made");
    json_decref(line);
    free(first);
    descriptor_close(pipe);
    return false;
}

static void hand_file(const struct request *request, struct control_talk *talk,
                      const json_t *line, struct reply *reply)
{
    int64_t bytes = talk->handed >= 0 && stream_is_whole(line) ? file_bytes(talk->handed) : -1;
    if (bytes < 0) {
        explain(line, reply);
        return;
    }
    name_answer(request, reply);
    reply->file = talk->handed;
    reply->first = 0;
    reply->bytes = (uint64_t)bytes;
    talk->handed = DESCRIPTOR_NONE;
}

void rest_export(const struct request *request, struct reply *reply)
{
    char error[1200];
    struct control_talk talk;
    json_t *line = NULL, *question = make_question(request, reply);
    if (question == NULL)
        return;
    int status = control_talk_begin(&talk, request->gateway->runtime, question, error,
                                    sizeof(error));
    json_decref(question);
    if (status < 0) {
        reply_problem(reply, 503, "%s", error);
        control_talk_end(&talk);
        return;
    }
    status = wait_for_line(request, &talk, &line);
    bool streams = status == 0 && json_is_true(json_object_get(line, "stream"));
    if (status == -EPIPE)
        reply_problem(reply, 503, "the manager ended without an answer");
    else if (status < 0)
        reply_problem(reply, 500, "no answer: %s", strerror(-status));
    else if (!streams)
        hand_file(request, &talk, line, reply);
    if (!streams || talk.handed < 0 || !stream(request, &talk, reply))
        control_talk_end(&talk);
    if (reply->status == 0)
        reply_problem(reply, 500, "it was not made");
    json_decref(line);
}
