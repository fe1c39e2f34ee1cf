/* SPDX-License-Identifier: MIT
 * `restart --all`: the manager tries the programs that stand in the places of this one and of the
 * relays, becomes the first, and that one replaces the relays (fleet_restart.c). */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "manager/manager_parts.h"
#include "os/process.h"

#define TRY_TIMEOUT_MS 20000u /* for a new program to show that it works */

/* Whether the programs, as they are now, can take the place of this one and the relays: tried, not
 * only looked at, as a library may be missing. NULL if they can. */
static json_t *refuse_upgrade(const struct manager *manager)
{
    char *text = NULL;
    struct config *config = manager_read_successor(manager, &text);
    json_t *refusal = config ? NULL : manager_refuse_reload(manager, text ? text : "");
    config_free(config);
    free(text);
    if (!refusal && manager->runtime_error < 0) /* the new one would not come up either */
        refusal = control_refusal(EXIT_CODE_FAILED,
                                  "nothing was restarted: the runtime folder %s is not whole: %s",
                                  manager->config->runtime, strerror(-manager->runtime_error));
    char name[] = "flotilla", version[] = "--version", option[] = "-c";
    char check[] = "check", start[] = "--start"; /* what is missing stops its channel alone */
    char *of_version[] = {name, version, NULL};
    char *of_check[] = {name, check, start, option, (char *)(uintptr_t)manager->path, NULL};
    const struct {
        const char *program;
        char **words;
    } tries[] = {
        {manager->relay, of_version}, {manager->keeper, of_version}, {manager->self, of_check}};
    for (size_t i = 0; i < ARRAY_COUNT(tries) && !refusal; i++) {
        int code = process_try(tries[i].program, tries[i].words, TRY_TIMEOUT_MS);
        if (code < 0)
            refusal =
                control_refusal(EXIT_CODE_FAILED, "nothing was restarted: %s cannot be run: %s",
                                tries[i].program, strerror(-code));
        else if (code > 0)
            refusal = control_refusal(EXIT_CODE_FAILED,
                                      "nothing was restarted: %s %s ended with exit code %d; the "
                                      "manager's log has what it said",
                                      tries[i].program, tries[i].words[1], code);
    }
    return refusal;
}

/* All relays, one after the other, and before them the manager itself: each by the program that
 * now stands in its place. */
json_t *manager_upgrade(struct manager *manager)
{
    json_t *refusal = refuse_upgrade(manager);
    if (refusal)
        return refusal;
    int error = fleet_bridge(manager->fleet);
    if (error < 0)
        return control_refusal(EXIT_CODE_FAILED, "nothing was restarted: %s", strerror(-error));
    log_line("restart of all asked for: becoming %s as it is now", manager->self);
    manager->upgrading = true;
    loop_end(manager->loop);
    return json_pack("{s:I}", "instance", (json_int_t)manager->started_ns);
}

/* Becomes that program, with the relays at work. Returns only if that failed. */
void manager_exec(struct manager *manager)
{
    char name[] = "flotilla", verb[] = "run", option[] = "-c", renew[] = "--renew";
    char *words[] = {name, verb, option, (char *)(uintptr_t)manager->path, renew, NULL};
    manager->upgrading = false;
    int error = process_become(manager->self, words, manager->runtime.lock);
    fleet_unbridge(manager->fleet);
    log_line("cannot run %s: %s; going on as before", manager->self, strerror(-error));
}
