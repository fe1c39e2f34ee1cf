/* SPDX-License-Identifier: MIT
 * One question, one answer, which takes as long as it takes. */
#include "gateway/errands.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "control/client.h"

#define ERRAND_TIMEOUT_MS 130000u /* longer than the manager lets one run */

void errands_refused(const json_t *answer, struct reply *reply)
{
    static const struct {
        const char *word;
        unsigned status;
    } words[] = {{"busy", 503}, {"full", 507}, {"invalid", 400}, {"failed", 500}};
    const char *word = json_string_value(json_object_get(answer, "refused"));
    const char *text = json_string_value(json_object_get(answer, "error"));
    unsigned status = 503;
    for (size_t i = 0; i < ARRAY_COUNT(words) && word != NULL; i++)
        if (strcmp(word, words[i].word) == 0)
            status = words[i].status;
    reply_problem(reply, status, "%s", text != NULL ? text : "refused");
}

bool errands_run(const struct gateway *gateway, json_t *request, struct errand_end *end,
                 struct reply *reply)
{
    char error[1200] = "out of memory";
    *end = (struct errand_end){.code = 1};
    if (request != NULL)
        end->answer = control_ask(gateway->runtime, request, ERRAND_TIMEOUT_MS, false, error,
                                  sizeof(error));
    json_decref(request);
    if (end->answer == NULL) {
        reply_problem(reply, 503, "%s", error);
        return false;
    }
    const char *output = json_string_value(json_object_get(end->answer, "output"));
    const char *said = json_string_value(json_object_get(end->answer, "said"));
    if (output == NULL || said == NULL) {
        errands_refused(end->answer, reply);
        return false;
    }
    end->code = (int)json_integer_value(json_object_get(end->answer, "exit"));
    end->output = output;
    end->said = said;
    return true;
}

void errands_free(struct errand_end *end)
{
    json_decref(end->answer);
    end->answer = NULL;
}
