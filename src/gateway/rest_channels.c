/* SPDX-License-Identifier: MIT
 * The routes that read and change the configuration of channels. The manager has it done by
 * `flotilla channel` (cli/channel.c); its
 * answers are these, but for what a refusal is in HTTP. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "channel/recording_name.h"
#include "control/json_text.h"
#include "control/protocol.h"
#include "gateway/errands.h"
#include "gateway/router.h"

/* What JSON makes of a text at most. */
#define REQUEST_BYTES_MAX (CONTROL_REQUEST_BYTES_MAX - 4096u)

/* ---- asking ---- */

static void answer_refusal(const json_t *answer, struct reply *reply)
{
    static const struct {
        const char *word;
        unsigned status;
    } words[] = {{"absent", 404},  {"exists", 409}, {"elsewhere", 409}, {"broken", 409},
                 {"changed", 412}, {"busy", 503},   {"invalid", 400},   {"failed", 500}};
    const char *word = json_string_value(json_object_get(answer, "refused"));
    const char *text = json_string_value(json_object_get(answer, "text"));
    unsigned status = 500;
    for (size_t i = 0; i < ARRAY_COUNT(words) && word != NULL; i++)
        if (strcmp(word, words[i].word) == 0)
            status = words[i].status;
    reply_problem_at(reply, status, json_object_get(answer, "errors"),
                     text != NULL ? text : "refused");
}

/* Has `request` done and answers with `status`, if it was. */
static void answer_with(const struct request *request, json_t *question, unsigned status,
                        struct reply *reply)
{
    struct errand_end end;
    json_t *answer = NULL;
    if (errands_run(request->gateway, question, &end, reply)) {
        answer = json_loads(end.output, 0, NULL);
        const char *tag = json_string_value(json_object_get(answer, "etag"));
        if (answer == NULL) {
            reply_problem(reply, 500, "%s", end.said[0] != '\0' ? end.said : "no answer");
        } else if (json_object_get(answer, "refused") != NULL) {
            answer_refusal(answer, reply);
        } else {
            if (tag != NULL)
                snprintf(reply->etag, sizeof(reply->etag), "%.60s", tag);
            reply_json(reply, status, json_incref(answer));
        }
    }
    json_decref(answer);
    errands_free(&end);
}

static json_t *question(const char *action, const char *name)
{
    json_t *object = json_pack("{s:s, s:s}", "verb", "channel", "action", action);
    if (name != NULL)
        json_object_set_new(object, "channel", json_of_text(name));
    return object;
}

/* ---- what is in a request ---- */

static void refuse_body(struct reply *reply, const char *pointer, const char *detail)
{
    json_t *errors = json_pack("[{s:s, s:s, s:b}]", "pointer", pointer, "detail", detail, "warning",
                               0);
    reply_problem_at(reply, 400, errors, detail);
    json_decref(errors);
}

/* Whether each member of the body is one of these. */
static bool is_known(const json_t *body, struct reply *reply)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, key, value)
    {
        const char *wrong = NULL;
        if (strcmp(key, "name") == 0)
            wrong = json_is_string(value) ? NULL : "name: a text";
        else if (strcmp(key, "configuration") == 0)
            wrong = json_is_object(value) ? NULL : "configuration: an object of the channel's keys";
        else if (strcmp(key, "schema") == 0)
            wrong = json_is_boolean(value) || json_is_number(value)
                        ? "schema: the text of an Avro schema"
                        : NULL;
        else
            wrong = "there is no such member here: name, configuration, schema";
        if (wrong != NULL) {
            char pointer[80];
            snprintf(pointer, sizeof(pointer), "/%.60s", strpbrk(key, "~/") == NULL ? key : "");
            refuse_body(reply, pointer, wrong);
            return false;
        }
    }
    return true;
}

/* The body; NULL with a problem. A new object. */
static json_t *read_body(const struct request *request, struct reply *reply)
{
    json_error_t fault;
    json_t *body =
        json_loadb(request->body.at != NULL ? request->body.at : "", request->body.bytes,
                   JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(body)) {
        char text[JSON_ERROR_TEXT_LENGTH + 60];
        snprintf(text, sizeof(text), "the body is no JSON object%s%s", body == NULL ? ": " : "",
                 body == NULL ? fault.text : "");
        refuse_body(reply, "", text);
    } else if (is_known(body, reply)) {
        if (json_object_get(body, "configuration") != NULL)
            return body;
        refuse_body(reply, "/configuration", "configuration is missing: the channel's keys");
    }
    json_decref(body);
    return NULL;
}

/* The tag that is asked for. False with a problem. */
static bool read_tag(const struct request *request, const char **tag, struct reply *reply)
{
    const char *given = request->if_match;
    size_t bytes = strlen(given);
    *tag = NULL;
    if (bytes == 0 || strcmp(given, "*") == 0)
        return true;
    *tag = given;
    if (bytes > 2 && given[0] == '"' && strcspn(given + 1, "\"") == bytes - 2)
        return true;
    reply_problem(reply, 412, "If-Match: one etag, as the configuration came with");
    return false;
}

/* ---- the routes ---- */

void rest_configuration(const struct request *request, struct reply *reply)
{
    answer_with(request, question("show", NULL), 200, reply);
}

static bool is_name(const char *name, struct reply *reply)
{
    if (channel_name_is_valid(name))
        return true;
    reply_problem(reply, 404, "no channel can be called \"%.100s\"", name);
    return false;
}

void rest_channel_configuration(const struct request *request, struct reply *reply)
{
    if (is_name(request->name, reply))
        answer_with(request, question("show", request->name), 200, reply);
}

/* Has the body written as the channel `name`. */
static void write_channel(const struct request *request, const char *action, const char *name,
                          json_t *body, const char *tag, struct reply *reply)
{
    unsigned status = strcmp(action, "add") == 0 ? 201 : 200;
    json_t *asked = question(action, name);
    json_object_set(asked, "body", body);
    if (tag != NULL)
        json_object_set_new(asked, "if", json_of_text(tag));
    if (json_dumpb(asked, NULL, 0, JSON_COMPACT) > REQUEST_BYTES_MAX) {
        json_decref(asked);
        reply_problem(reply, 413, "the channel is too large");
        return;
    }
    answer_with(request, asked, status, reply);
    if (reply->status == 201)
        snprintf(reply->location, sizeof(reply->location), "/api/v1/channels/%.64s", name);
}

void rest_add(const struct request *request, struct reply *reply)
{
    json_t *body = read_body(request, reply);
    if (body == NULL)
        return;
    const json_t *given = json_object_get(body, "name");
    const char *name = json_string_value(given);
    if (name == NULL)
        refuse_body(reply, "/name", "name is missing: what the channel is called");
    else if (!channel_name_is_valid(name) || strlen(name) != json_string_length(given))
        refuse_body(reply, "/name",
                    "name: 1 to 64 of a-z 0-9 _ . -, a letter or digit in front");
    else
        write_channel(request, "add", name, body, NULL, reply);
    json_decref(body);
}

void rest_change(const struct request *request, struct reply *reply)
{
    const char *tag;
    if (!is_name(request->name, reply) || !read_tag(request, &tag, reply))
        return;
    json_t *body = read_body(request, reply);
    if (body == NULL)
        return;
    const char *name = json_string_value(json_object_get(body, "name"));
    if (name != NULL && strcmp(name, request->name) != 0)
        refuse_body(reply, "/name", "name: a channel keeps its name; add another, remove this one");
    else
        write_channel(request, "change", request->name, body, tag, reply);
    json_decref(body);
}

void rest_remove(const struct request *request, struct reply *reply)
{
    const char *tag;
    if (!is_name(request->name, reply) || !read_tag(request, &tag, reply))
        return;
    json_t *asked = question("remove", request->name);
    if (tag != NULL)
        json_object_set_new(asked, "if", json_of_text(tag));
    answer_with(request, asked, 200, reply);
}
