/* SPDX-License-Identifier: MIT
 * flotilla stop: everything is flushed and ended; returns when the manager has gone. */
#include <stdio.h>

#include "base/check.h"
#include "base/log.h"
#include "cli/ask.h"
#include "cli/verb.h"
#include "config/config.h"
#include "control/client.h"
#include "manager/manager.h"

#define STOP_TIMEOUT_MS 60000u

const char verb_stop_help[] =
    "usage: flotilla stop [-c FILE] [--json]\n"
    "\n"
    "  flotilla stop\n"
    "  flotilla stop --json | jq '.channels[] | [.name, .datums_recorded]'\n"
    "\n"
    "Ends the fleet: every relay flushes its recording and gives it its final name, then the "
    "manager\n"
    "ends. Returns when it has gone. A relay that takes longer than 15 s is killed; what it had\n"
    "received but not written is lost then. Where the manager was killed, what it left is ended.\n"
    "Prints what each channel has come to: datagrams\n"
    "received, rejected and dropped by the kernel; datums recorded and in no recording.\n"
    "\n"
    "  -c FILE   the configuration that names the manager's runtime folder\n"
    "  --json    the same for machines, as in 'flotilla status --json'\n"
    "\n"
    "Exit: 0 all ended cleanly, 1 not so or no manager runs, 2 usage, 78 no runtime folder can be\n"
    "found.\n";

static void print_channel(const json_t *channel)
{
    static const struct {
        const char *key, *word;
    } counts[] = {
        {"datagrams_received", "received"},  {"datagrams_rejected", "rejected"},
        {"datagrams_dropped", "dropped"},    {"datums_recorded", "recorded"},
        {"datums_unrecorded", "unrecorded"},
    };
    printf("%s:", json_string_value(json_object_get(channel, "name")));
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        const json_t *count = json_object_get(channel, counts[i].key);
        if (json_is_null(count))
            printf("%s ? %s", i ? "," : "", counts[i].word);
        else
            printf("%s %" JSON_INTEGER_FORMAT " %s", i ? "," : "", json_integer_value(count),
                   counts[i].word);
    }
    putchar('\n');
}

/* A manager that was killed has left its relays at work, and nobody to be asked. */
static json_t *end_left(const struct ask_options *options)
{
    char runtime[CHANNEL_PATH_BYTES_MAX], error[2048];
    if (config_find_runtime(options->config, runtime, error, sizeof error) < 0 ||
        control_managed_again(runtime) != 0)
        return NULL;
    log_start("flotilla", NULL);
    return manager_end_left(runtime, config_find(options->config));
}

int verb_stop(int argc, char **argv)
{
    struct ask_options options;
    json_t *reply;
    int code = ask_read_options(argc, argv, ASK_JSON, &options);
    if (code != EXIT_OK)
        return code;
    reply = end_left(&options);
    if (!reply)
        code = ask_manager(&options, json_pack("{s:s}", "verb", "stop"), STOP_TIMEOUT_MS, true,
                           &reply);
    if (code != EXIT_OK)
        return code;
    json_int_t unclean = json_integer_value(json_object_get(reply, "unclean"));
    size_t index;
    json_t *channel;
    if (options.json)
        code = ask_print_json(reply);
    else
        json_array_foreach(json_object_get(reply, "channels"), index, channel)
            print_channel(channel);
    if (unclean)
        fprintf(stderr,
                "flotilla stop: %lld of the relays did not end cleanly; the manager's log says "
                "which\n",
                (long long)unclean);
    json_decref(reply);
    return unclean ? EXIT_FAILED : code;
}
