/* SPDX-License-Identifier: MIT
 * The routes about the fleet and its channels: what the manager says, and what it is asked for. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/layout.h"
#include "control/json_text.h"
#include "gateway/dialects.h"
#include "gateway/page.h"
#include "gateway/router.h"
#include "os/file.h"
#include "schema/canonical.h"
#include "schema/schema.h"

void rest_index(const struct request *request, struct reply *reply)
{
    const struct page_file *page = page_find(request);
    if (page != NULL) {
        page_answer(page, request, reply);
        return;
    }
    reply->status = 200;
    reply->type = "text/plain; charset=utf-8";
    text_add_string(&reply->body, "Flotilla " FLOTILLA_VERSION "\n\n");
    if (page_file_count == 0)
        text_add_string(&reply->body, "There is no page for a browser: this build was made "
                                      "without npm. All else is here.\n\n");
    for (size_t i = 0; i < route_count; i++)
        if (routes[i].summary != NULL)
            text_add(&reply->body, "%-4s %s\n     %s\n", routes[i].method, routes[i].path,
                     routes[i].summary);
    for (const struct dialect *const *one = dialects; *one != NULL; one++)
        text_add(&reply->body, "GET  %s\n     A WebSocket: %s\n", (*one)->path,
                 (*one)->subprotocols[0]);
}

/* ---- the fleet ---- */

static bool is_well(const char *state)
{
    return strcmp(state, "running") == 0 || strcmp(state, "silent") == 0 ||
           strcmp(state, "starting") == 0;
}

void rest_health(const struct request *request, struct reply *reply)
{
    struct reply refusal = {.file = DESCRIPTOR_NONE};
    json_t *status = ask_status(request->gateway, &refusal), *troubled = json_array();
    const json_t *channels = json_object_get(status, "channels");
    size_t index;
    json_t *channel;
    json_array_foreach(channels, index, channel)
    {
        const char *state = json_string_value(json_object_get(channel, "state"));
        if (state != NULL && !is_well(state))
            json_array_append(troubled, json_object_get(channel, "name"));
    }
    const char *word = status == NULL ? "down" : json_array_size(troubled) > 0 ? "degraded" : "ok";
    json_t *answer =
        json_pack("{s:s, s:s, s:I, s:o}", "status", word, "version", FLOTILLA_VERSION, "channels",
                  (json_int_t)json_array_size(channels), "troubled", troubled);
    json_t *manager = json_object_get(status, "manager");
    json_object_set(answer, "manager", manager != NULL ? manager : json_null());
    if (status == NULL) {
        json_t *problem = json_loadb(refusal.body.at, refusal.body.bytes, 0, NULL);
        json_object_set(answer, "detail", json_object_get(problem, "detail"));
        json_object_set_new(answer, "title", json_string(reply_title(503)));
        json_decref(problem);
    }
    json_object_set_new(answer, "read_only", json_boolean(request->gateway->read_only));
    reply_json(reply, status != NULL ? 200 : 503, answer);
    json_decref(status);
    text_free(&refusal.body);
}

void rest_channels(const struct request *request, struct reply *reply)
{
    json_t *status = ask_status(request->gateway, reply), *chosen = json_array(), *channel;
    const struct request_value *wanted = &request->values[0];
    size_t index;
    if (status == NULL) {
        json_decref(chosen);
        return;
    }
    json_array_foreach(json_object_get(status, "channels"), index, channel)
    {
        const char *state = json_string_value(json_object_get(channel, "state"));
        if (!wanted->given || (state != NULL && strcmp(state, wanted->text) == 0))
            json_array_append(chosen, channel);
    }
    json_decref(status);
    reply_json(reply, 200, json_pack("{s:o}", "channels", chosen));
}

/* ---- a channel ---- */

/* What the manager runs the channel with; a new object, or NULL with a problem. */
static json_t *describe(const struct request *request, struct reply *reply)
{
    json_t *answer =
        ask_manager(request->gateway,
                    json_pack("{s:s, s:s}", "verb", "describe", "channel", request->name), reply);
    if (answer == NULL || json_object_get(answer, "configuration") != NULL)
        return answer;
    json_decref(answer);
    reply_problem(reply, 404, "no channel is called \"%.100s\"", request->name);
    return NULL;
}

void rest_channel(const struct request *request, struct reply *reply)
{
    json_t *description = describe(request, reply);
    json_t *status = description != NULL ? ask_status(request->gateway, reply) : NULL;
    json_t *channel = status != NULL ? find_channel(status, request->name, reply) : NULL;
    if (channel != NULL) {
        json_object_set(channel, "configuration", json_object_get(description, "configuration"));
        reply_json(reply, 200, json_incref(channel));
    }
    json_decref(status);
    json_decref(description);
}

/* The schema that its relay has: the manager writes it to the runtime folder, compiled, with the
 * text in it. False with a problem. The text is in `*image`, the caller's to free. */
static bool read_schema(const struct request *request, struct reply *reply, uint8_t **image,
                        struct span *text)
{
    char path[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 16];
    struct layout layout;
    size_t bytes = 0;
    snprintf(path, sizeof(path), "%s/%s.layout", request->gateway->runtime, request->name);
    int status = file_read_whole(path, LAYOUT_IMAGE_BYTES_MAX, image, &bytes);
    if (status == 0)
        status = layout_load(&layout, (struct span){*image, bytes});
    if (status < 0) {
        reply_problem(reply, 409, "its schema could not be read yet: %s", file_error_text(status));
        return false;
    }
    *text = layout.schema;
    return true;
}

void rest_schema(const struct request *request, struct reply *reply)
{
    json_t *description = describe(request, reply);
    uint8_t *image = NULL;
    struct span text;
    if (description != NULL && read_schema(request, reply, &image, &text)) {
        reply->status = 200;
        reply->type = "application/json";
        text_add_bytes(&reply->body, text.at, text.bytes);
    }
    free(image);
    json_decref(description);
}

void rest_restart(const struct request *request, struct reply *reply)
{
    json_t *description = describe(request, reply);
    if (description == NULL)
        return;
    json_decref(description);
    json_t *answer =
        ask_manager(request->gateway,
                    json_pack("{s:s, s:s}", "verb", "restart", "channel", request->name), reply);
    if (answer != NULL)
        reply_json(reply, 200, answer);
}

/* ---- a schema for it ---- */

static json_t *findings_json(const struct schema_findings *findings, bool warnings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < findings->count; i++) {
        const struct schema_finding *one = &findings->list[i];
        if (one->warning == warnings)
            json_array_append_new(
                list, json_pack("{s:I, s:I, s:o, s:o}", "line", (json_int_t)one->line, "column",
                                (json_int_t)one->column, "path", json_of_text(one->path), "message",
                                json_of_text(one->message)));
    }
    return list;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* What the channel asks of it besides. */
static void judge_for(const json_t *configuration, const struct schema_file *file, json_t *errors)
{
    uint8_t *image = NULL;
    size_t image_bytes;
    const json_t *decimated = json_object_get(configuration, "decimated");
    const char *algorithm = text_of(decimated, "algorithm");
    struct schema_use use = {.time = text_of(configuration, "time"),
                             .sequence = text_of(configuration, "sequence"),
                             .averages = decimated != NULL && strcmp(algorithm, "downsample") != 0};
    struct schema_refusal refusal = {0};
    if (schema_compile_for(file, &use, &image, &image_bytes, &refusal) < 0)
        json_array_append_new(errors,
                              json_pack("{s:I, s:I, s:s, s:o}", "line", (json_int_t)refusal.line,
                                        "column", (json_int_t)refusal.column, "path", "", "message",
                                        json_of_text(refusal.message)));
    free(image);
}

static void add_comparison(json_t *answer, const struct schema_file *file, struct span text)
{
    char difference[512] = "", error[512];
    struct schema_file *now = schema_parse(text, error, sizeof(error));
    int differs = now != NULL ? schema_compare(file, now, difference, sizeof(difference)) : -EINVAL;
    uint64_t fingerprint;
    char number[20];
    json_object_set_new(answer, "same", json_boolean(differs == 0));
    if (difference[0] != '\0')
        json_object_set_new(answer, "difference", json_of_text(difference));
    if (schema_fingerprint(file, &fingerprint) == 0) {
        snprintf(number, sizeof(number), "%016" PRIx64, fingerprint);
        json_object_set_new(answer, "fingerprint", json_string(number));
    }
    schema_free(now);
}

void rest_validate(const struct request *request, struct reply *reply)
{
    json_t *description = describe(request, reply);
    if (description == NULL)
        return;
    struct schema_findings findings = {0};
    struct span text = {(const uint8_t *)request->body.at, request->body.bytes};
    if (text.at == NULL)
        text.at = (const uint8_t *)"";
    struct schema_file *file = schema_read(text, &findings);
    json_t *errors = findings_json(&findings, false);
    if (file != NULL)
        judge_for(json_object_get(description, "configuration"), file, errors);
    json_t *answer =
        json_pack("{s:b, s:o, s:o, s:b}", "valid", file != NULL && json_array_size(errors) == 0,
                  "errors", errors, "warnings", findings_json(&findings, true), "same", 0);
    struct reply unread = {.file = DESCRIPTOR_NONE};
    uint8_t *image = NULL;
    struct span now = {(const uint8_t *)"", 0};
    read_schema(request, &unread, &image, &now);
    if (file != NULL)
        add_comparison(answer, file, now);
    free(image);
    text_free(&unread.body);
    reply_json(reply, 200, answer);
    schema_free(file);
    schema_findings_free(&findings);
    json_decref(description);
}
