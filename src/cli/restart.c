/* SPDX-License-Identifier: MIT
 * flotilla restart: a channel's relay ends and another takes its place, on the same socket. */
#include <stdio.h>

#include "cli/ask.h"
#include "cli/verb.h"

#define RESTART_TIMEOUT_MS 30000u

const char verb_restart_help[] =
    "usage: flotilla restart CHANNEL [-c FILE] [--json]\n"
    "\n"
    "  flotilla restart engine\n"
    "\n"
    "Ends the channel's relay cleanly and starts another on the same socket and buffer: nothing "
    "is\n"
    "lost and the counters go on. A channel that failed or waits is started at once. Returns when "
    "the\n"
    "new relay has come up, or after half a second; one that did not is told of as\n"
    "NAME: failed: REASON.\n"
    "\n"
    "  -c FILE   the configuration that names the manager's runtime folder\n"
    "  --json    the answer, for machines\n"
    "\n"
    "Exit: 0 done, 1 failed or it did not come up, 2 usage, 78 no runtime folder can be found.\n";

int verb_restart(int argc, char **argv)
{
    struct ask_options options;
    json_t *reply;
    int code = ask_read_options(argc, argv, ASK_JSON | ASK_CHANNEL, &options);
    if (code == EXIT_OK)
        code = ask_manager(&options,
                           json_pack("{s:s, s:s}", "verb", "restart", "channel", options.channel),
                           RESTART_TIMEOUT_MS, false, &reply);
    if (code != EXIT_OK)
        return code;
    if (options.json)
        ask_print_json(reply);
    else
        printf("restarted %s\n", options.channel);
    code = ask_tell_failed(reply);
    json_decref(reply);
    return code;
}
