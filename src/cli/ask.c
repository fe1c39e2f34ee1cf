/* SPDX-License-Identifier: MIT
 * Asking the manager, for the verbs status, reload, stop and restart. No known faults. */
#include "cli/ask.h"

#include <stdio.h>
#include <string.h>

#include "cli/verb.h"
#include "command/options.h"
#include "config/config.h"
#include "control/client.h"

int ask_read_options(int argc, char **argv, unsigned accepts, struct ask_options *options)
{
    memset(options, 0, sizeof *options);
    struct option_rule rules[5] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &options->config}};
    size_t rule_count = 1;
    if (accepts & ASK_JSON)
        rules[rule_count++] =
            (struct option_rule){.name = "json", .kind = OPTION_FLAG, .into = &options->json};
    if (accepts & ASK_WATCH)
        rules[rule_count++] =
            (struct option_rule){.name = "watch", .kind = OPTION_FLAG, .into = &options->watch};
    if (accepts & ASK_ALL)
        rules[rule_count++] =
            (struct option_rule){.name = "all", .kind = OPTION_FLAG, .into = &options->all};
    if (accepts & ASK_RENEW)
        rules[rule_count++] =
            (struct option_rule){.name = "renew", .kind = OPTION_FLAG, .into = &options->renew};
    int words = options_read(rules, rule_count, argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (options->all) {
        if (words)
            return verb_usage(argv[0], "--all, or a CHANNEL: not both");
    } else if (accepts & ASK_CHANNEL) {
        if (words != 1)
            return verb_usage(argv[0], words ? "one CHANNEL at a time" : "which CHANNEL?");
        options->channel = argv[1];
    } else if (words) {
        return verb_usage(argv[0], "unexpected \"%s\"", argv[1]);
    }
    return EXIT_OK;
}

/* Quotes a refusal: text that is lines already (of a bad configuration) as it is. */
static int tell_refusal(const char *verb, const json_t *reply)
{
    const char *text = json_string_value(json_object_get(reply, "error"));
    json_int_t code = json_integer_value(json_object_get(reply, "exit"));
    if (text && strchr(text, '\n'))
        fprintf(stderr, "%s%s", text, text[strlen(text) - 1] == '\n' ? "" : "\n");
    else
        fprintf(stderr, "flotilla %s: %s\n", verb, text ? text : "refused");
    return code > 0 && code < 126 ? (int)code : EXIT_FAILED;
}

int ask_manager(const struct ask_options *options, json_t *request, uint64_t timeout_ms,
                bool until_gone, json_t **reply)
{
    char runtime[CHANNEL_PATH_BYTES_MAX], error[2048];
    const char *verb = json_string_value(json_object_get(request, "verb"));
    int code = EXIT_OK;
    *reply = NULL;
    if (!verb) {
        fprintf(stderr, "flotilla: out of memory\n");
        code = EXIT_FAILED;
    } else if (config_find_runtime(options->config, runtime, error, sizeof error) < 0) {
        fprintf(stderr, "flotilla %s: %s\n", verb, error);
        code = EXIT_CONFIG;
    } else {
        *reply = control_ask(runtime, request, timeout_ms, until_gone, error, sizeof error);
        if (!*reply) {
            fprintf(stderr, "flotilla %s: %s\n", verb, error);
            code = EXIT_FAILED;
        } else if (json_object_get(*reply, "error")) {
            code = tell_refusal(verb, *reply);
            json_decref(*reply);
            *reply = NULL;
        }
    }
    json_decref(request);
    return code;
}

json_t *ask_quietly(const struct ask_options *options, json_t *request, uint64_t timeout_ms)
{
    char runtime[CHANNEL_PATH_BYTES_MAX], error[2048];
    json_t *reply = NULL;
    if (request && config_find_runtime(options->config, runtime, error, sizeof error) == 0)
        reply = control_ask(runtime, request, timeout_ms, false, error, sizeof error);
    json_decref(request);
    return reply;
}

int ask_tell_failed(const json_t *reply)
{
    const json_t *failed = json_object_get(reply, "failed");
    size_t index;
    json_t *one;
    fflush(stdout); /* what was done stands before what came of it */
    json_array_foreach(failed, index, one)
    {
        const char *channel = json_string_value(json_object_get(one, "channel"));
        const char *reason = json_string_value(json_object_get(one, "reason"));
        fprintf(stderr, "%s: failed: %s\n", channel ? channel : "?",
                reason && reason[0] ? reason : "it did not come up");
    }
    return json_array_size(failed) ? EXIT_FAILED : EXIT_OK;
}

int ask_print_json(const json_t *reply)
{
    bool good = json_dumpf(reply, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) == 0;
    putchar('\n');
    if (!good && !ferror(stdout))
        fprintf(stderr, "flotilla: no memory for the answer\n");
    return good ? EXIT_OK : EXIT_FAILED;
}
