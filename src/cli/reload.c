/* SPDX-License-Identifier: MIT
 * flotilla reload: the manager reads its configuration again; all of it holds afterwards, or, if
 * anything in it is wrong, none. */
#include <stdio.h>

#include "cli/ask.h"
#include "cli/verb.h"

#define RELOAD_TIMEOUT_MS 60000u

const char verb_reload_help[] =
    "usage: flotilla reload [-c FILE] [--json]\n"
    "\n"
    "  flotilla reload\n"
    "  flotilla reload --json       {\"added\": [...], \"changed\": [...], \"removed\": [...], "
    "...}\n"
    "\n"
    "The manager reads its configuration again. If anything in it is wrong, nothing changes and "
    "the\n"
    "errors are shown. Else new channels are started, removed ones stopped, changed ones replaced\n"
    "on the same socket; unchanged ones are not touched. Returns when all that is done\n"
    "and every relay that was started has come up, or after half a second more. One that did not\n"
    "is told of as NAME: failed: REASON; the new configuration holds all the same, and it is "
    "tried\n"
    "again.\n"
    "\n"
    "  -c FILE   the configuration that names the manager's runtime folder\n"
    "  --json    what was changed, for machines\n"
    "\n"
    "Exit: 0 done, 1 failed or a channel did not come up, 2 usage, 78 bad configuration.\n";

static void print_names(const json_t *reply, const char *change, bool with_names)
{
    const json_t *names = json_object_get(reply, change);
    size_t index;
    json_t *name;
    if (!json_array_size(names))
        return;
    printf("%s %zu", change, json_array_size(names));
    if (with_names)
        json_array_foreach(names, index, name)
            printf("%s %s", index ? "," : ":", json_string_value(name));
    putchar('\n');
}

int verb_reload(int argc, char **argv)
{
    struct ask_options options;
    json_t *reply;
    int code = ask_read_options(argc, argv, ASK_JSON, &options);
    if (code == EXIT_OK)
        code = ask_manager(&options, json_pack("{s:s}", "verb", "reload"), RELOAD_TIMEOUT_MS, false,
                           &reply);
    if (code != EXIT_OK)
        return code;
    const char *warnings = json_string_value(json_object_get(reply, "warnings"));
    if (warnings)
        fputs(warnings, stderr);
    if (options.json) {
        code = ask_print_json(reply);
    } else {
        print_names(reply, "added", true);
        print_names(reply, "changed", true);
        print_names(reply, "removed", true);
        print_names(reply, "unchanged", false);
    }
    if (ask_tell_failed(reply) != EXIT_OK)
        code = EXIT_FAILED;
    json_decref(reply);
    return code;
}
