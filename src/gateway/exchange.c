/* SPDX-License-Identifier: MIT
 * Answers as JSON, and what is asked of the manager. */
#include "gateway/exchange.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "control/client.h"
#include "control/json_text.h"

/* Longer than the manager takes to see a restarted relay come up. */
#define MANAGER_TIMEOUT_MS 5000u

static const struct {
    unsigned status;
    const char *title;
} titles[] = {
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {421, "Misdirected Request"},
    {426, "Upgrade Required"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
    {507, "Insufficient Storage"},
};

const char *reply_title(unsigned status)
{
    for (size_t i = 0; i < ARRAY_COUNT(titles); i++)
        if (titles[i].status == status)
            return titles[i].title;
    return "OK";
}

void reply_json(struct reply *reply, unsigned status, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    text_clear(&reply->body);
    reply->status = text != NULL ? status : 500;
    reply->type = status >= 400 ? "application/problem+json" : "application/json";
    text_add_string(&reply->body, text != NULL ? text : "{\"status\": 500}");
    free(text);
}

void reply_problem_at(struct reply *reply, unsigned status, const json_t *errors,
                      const char *detail)
{
    json_t *problem =
        json_pack("{s:s, s:s, s:i, s:o}", "type", "about:blank", "title", reply_title(status),
                  "status", (int)status, "detail", json_of_text(detail));
    if (errors != NULL)
        json_object_set(problem, "errors", (json_t *)(uintptr_t)errors);
    reply_json(reply, status, problem);
    reply->type = "application/problem+json";
}

void reply_problem(struct reply *reply, unsigned status, const char *detail, ...)
{
    char text[1200];
    va_list arguments;
    va_start(arguments, detail);
    vsnprintf(text, sizeof(text), detail, arguments);
    va_end(arguments);
    size_t bytes = strlen(text);
    if (bytes > 0 && text[bytes - 1] == '\n') /* of what a program has said */
        text[bytes - 1] = '\0';
    reply_problem_at(reply, status, NULL, text);
}

json_t *ask_manager(const struct gateway *gateway, json_t *request, struct reply *reply)
{
    char error[1200] = "out of memory";
    json_t *answer = request == NULL ? NULL
                                     : control_ask(gateway->runtime, request, MANAGER_TIMEOUT_MS,
                                                   false, error, sizeof(error));
    json_decref(request);
    if (answer == NULL) {
        reply_problem(reply, 503, "%s", error);
        return NULL;
    }
    const char *refusal = json_string_value(json_object_get(answer, "error"));
    if (refusal != NULL) {
        reply_problem(reply, 409, "%s", refusal);
        json_decref(answer);
        return NULL;
    }
    return answer;
}

json_t *ask_status(const struct gateway *gateway, struct reply *reply)
{
    return ask_manager(gateway, json_pack("{s:s}", "verb", "status"), reply);
}

json_t *find_channel(const json_t *status, const char *name, struct reply *reply)
{
    size_t index;
    json_t *channel;
    json_array_foreach(json_object_get(status, "channels"), index, channel)
    {
        const char *one = json_string_value(json_object_get(channel, "name"));
        if (one != NULL && strcmp(one, name) == 0)
            return channel;
    }
    reply_problem(reply, 404, "no channel is called \"%.100s\"", name);
    return NULL;
}
