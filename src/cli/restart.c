/* SPDX-License-Identifier: MIT
 * flotilla restart: a channel's relay ends and another takes its place, on the same socket; or all
 * do, one after the other, and the manager before them. */
#include <stdio.h>

#include "cli/ask.h"
#include "cli/verb.h"
#include "control/json_text.h"
#include "os/clock.h"

#define RESTART_TIMEOUT_MS 30000u
#define ANSWER_TIMEOUT_MS  5000u  /* of a manager that has just begun */
#define STALL_TIMEOUT_MS   30000u /* without another relay being replaced */
#define LOOK_PAUSE_MS      100u

const char verb_restart_help[] =
    "usage: flotilla restart CHANNEL [-c FILE] [--json]\n"
    "       flotilla restart --all [-c FILE] [--json]\n"
    "\n"
    "  flotilla restart engine\n"
    "  flotilla restart --all       after an upgrade: the new programs take over, nothing is lost\n"
    "\n"
    "Ends the channel's relay cleanly and starts another on the same socket and buffer: nothing "
    "is\n"
    "lost and the counters go on. A channel that failed or waits is started at once. Returns when "
    "the\n"
    "new relay has come up, or after half a second; one that did not is told of as\n"
    "NAME: failed: REASON.\n"
    "\n"
    "With --all, the manager becomes the program that is installed now, with all relays at work,\n"
    "and then replaces them one after the other. Returns when all have come up.\n"
    "\n"
    "  --all     the manager and every channel\n"
    "  -c FILE   the configuration that names the manager's runtime folder\n"
    "  --json    the answer, for machines\n"
    "\n"
    "Exit: 0 done, 1 failed or it did not come up, 2 usage, 78 no runtime folder can be found.\n";

static json_int_t manager_value(const json_t *status, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(status, "manager"), key));
}

/* Waits until the manager that took the place of `instance` has replaced every relay. An exit code,
 * and its last status. */
static int await_renewal(const struct ask_options *options, json_int_t instance, json_t **status)
{
    json_int_t left = -1, successor = 0;
    uint64_t now_ns = clock_monotonic_ns(), give_up_ns = now_ns + STALL_TIMEOUT_MS * NS_PER_MS;
    *status = NULL;
    for (; now_ns < give_up_ns; now_ns = clock_monotonic_ns()) {
        clock_sleep_until(now_ns + LOOK_PAUSE_MS * NS_PER_MS);
        json_decref(*status);
        *status = ask_quietly(options, json_pack("{s:s}", "verb", "status"), ANSWER_TIMEOUT_MS);
        if (!*status)
            continue; /* between the two */
        if (manager_value(*status, "instance") == instance) {
            fprintf(stderr,
                    "flotilla restart: the manager could not be replaced; its log says why. "
                    "The fleet goes on as it was\n");
            return EXIT_FAILED;
        }
        if (successor == 0)
            successor = manager_value(*status, "instance");
        if (manager_value(*status, "instance") != successor) {
            fprintf(stderr,
                    "flotilla restart: the new manager was replaced before all relays were; "
                    "do it again\n");
            return EXIT_FAILED;
        }
        json_int_t now_left = manager_value(*status, "restart_pending");
        if (now_left == 0)
            return EXIT_OK;
        if (now_left != left) {
            left = now_left;
            give_up_ns = clock_monotonic_ns() + STALL_TIMEOUT_MS * NS_PER_MS;
        }
    }
    fprintf(stderr, *status ? "flotilla restart: not all relays were replaced in time\n"
                            : "flotilla restart: the new manager does not answer; see its log\n");
    return EXIT_FAILED;
}

static int restart_all(const struct ask_options *options)
{
    json_t *reply, *status;
    int code = ask_manager(options, json_pack("{s:s, s:b}", "verb", "restart", "all", 1),
                           RESTART_TIMEOUT_MS, false, &reply);
    if (code != EXIT_OK)
        return code;
    code = await_renewal(options, json_integer_value(json_object_get(reply, "instance")), &status);
    json_decref(reply);
    const char *failed =
        json_string_value(json_object_get(json_object_get(status, "manager"), "restart_failed"));
    if (code == EXIT_OK && failed && failed[0]) {
        fprintf(stderr,
                "flotilla restart: %s did not come up anew, the manager's log says why; the relays "
                "that were not replaced yet go on as they were\n",
                failed);
        code = EXIT_FAILED;
    }
    if (code == EXIT_OK && options->json) {
        code = ask_print_json(status);
    } else if (code == EXIT_OK) {
        printf("restarted the manager (process %lld, version %s) and %zu channels\n",
               (long long)manager_value(status, "pid"),
               json_string_value(json_object_get(json_object_get(status, "manager"), "version")),
               json_array_size(json_object_get(status, "channels")));
    }
    json_decref(status);
    return code;
}

int verb_restart(int argc, char **argv)
{
    struct ask_options options;
    json_t *reply;
    int code = ask_read_options(argc, argv, ASK_JSON | ASK_CHANNEL | ASK_ALL, &options);
    if (code == EXIT_OK && options.all)
        return restart_all(&options);
    if (code == EXIT_OK)
        code = ask_manager(
            &options,
            json_pack("{s:s, s:o}", "verb", "restart", "channel", json_of_text(options.channel)),
            RESTART_TIMEOUT_MS, false, &reply);
    if (code != EXIT_OK)
        return code;
    if (options.json)
        code = ask_print_json(reply);
    else
        printf("restarted %s\n", options.channel);
    if (ask_tell_failed(reply) != EXIT_OK)
        code = EXIT_FAILED;
    json_decref(reply);
    return code;
}
