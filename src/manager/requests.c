/* SPDX-License-Identifier: MIT
 * What the manager is asked for, by `flotilla` or a signal, and what it answers: once what it has
 * started is ready or has failed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "control/json_text.h"
#include "manager/describe.h"
#include "manager/manager_parts.h"
#include "manager/report.h"
#include "os/clock.h"

/* What a reload or restart has started is given this long to come up or to fail, before whoever
 * asked for it is answered; looked at so often meanwhile, because readiness is told in memory. */
#define READINESS_NS       (500 * NS_PER_MS)
#define READINESS_PAUSE_NS (10 * NS_PER_MS)

/* ---- reload ---- */

static const char *const change_words[FLEET_CHANGES] = {
    [FLEET_ADDED] = "added",
    [FLEET_CHANGED] = "changed",
    [FLEET_REMOVED] = "removed",
    [FLEET_UNCHANGED] = "unchanged",
};

void manager_note_change(void *context, enum fleet_change change, const char *channel)
{
    struct changes *changes = context;
    changes->counts[change]++;
    json_array_append_new(json_object_get(changes->lists, change_words[change]),
                          json_string(channel));
}

json_t *manager_refuse_reload(const struct manager *manager, const char *text)
{
    log_line("reload refused, nothing was changed: %s is not valid", manager->path);
    log_text(text);
    struct text all = {0};
    text_add(&all, "%s%s", text,
             text[0] ? "nothing was changed" : "out of memory; nothing was changed");
    char *taken = text_take(&all);
    json_t *refusal = json_pack("{s:o, s:i}", "error",
                                json_of_text(taken ? taken : "out of memory; nothing was changed"),
                                "exit", EXIT_CODE_CONFIG);
    free(taken);
    return refusal;
}

static json_t *apply_configuration(struct manager *manager)
{
    char *text = NULL;
    struct config *config = manager_read_successor(manager, &text);
    if (!config) {
        json_t *refusal = manager_refuse_reload(manager, text ? text : "");
        free(text);
        return refusal;
    }
    struct changes changes = {.lists = json_object()};
    for (int change = 0; change < FLEET_CHANGES; change++)
        json_object_set_new(changes.lists, change_words[change], json_array());
    int error = fleet_apply(manager->fleet, config, manager_note_change, &changes);
    if (error < 0) {
        config_free(config);
        free(text);
        json_decref(changes.lists);
        log_line("reload failed, nothing was changed: %s", strerror(-error));
        return control_refusal(EXIT_CODE_FAILED, "nothing was changed: %s", strerror(-error));
    }
    if (retention_set(manager->retention, config) < 0)
        log_line("out of memory: retention goes on with its old limits");
    if (services_apply(&manager->services, config) < 0)
        log_line("out of memory: services go on as before");
    config_free(manager->config);
    manager->config = config;
    manager_check_descriptors(manager);
    if (text && text[0]) {
        log_text(text);
        json_object_set_new(changes.lists, "warnings", json_of_text(text));
    }
    free(text);
    log_line("reloaded %s: %u added, %u changed, %u removed, %u unchanged", manager->path,
             changes.counts[FLEET_ADDED], changes.counts[FLEET_CHANGED],
             changes.counts[FLEET_REMOVED], changes.counts[FLEET_UNCHANGED]);
    return changes.lists;
}

json_t *manager_reload(struct manager *manager)
{
    supervisor_reloading(&manager->supervisor);
    json_t *reply = apply_configuration(manager);
    supervisor_reloaded(&manager->supervisor);
    return reply;
}

/* ---- restart ---- */

static json_t *restart(struct manager *manager, const json_t *request)
{
    if (json_is_true(json_object_get(request, "all")))
        return manager_upgrade(manager);
    const char *channel = json_string_value(json_object_get(request, "channel"));
    if (!channel)
        return control_refusal(EXIT_CODE_USAGE, "restart needs a channel");
    if (fleet_restart(manager->fleet, channel) < 0) {
        char near[CHANNEL_NAME_BYTES_MAX + 40];
        return control_refusal(EXIT_CODE_FAILED, "no channel is called \"%.100s\"; %s%u %s",
                               channel, config_nearest(manager->config, channel, near, sizeof near),
                               manager->config->channel_count,
                               manager->config->channel_count == 1 ? "channel is there"
                                                                   : "channels are there");
    }
    log_line("%s: restart asked for", channel);
    return json_pack("{s:s}", "restarted", channel);
}

/* ---- waiting for what was started ---- */

void manager_look_for_readiness(void *context)
{
    struct manager *manager = context;
    if (manager->stopping || !fleet_settled(manager->fleet))
        return; /* `settled` begins again */
    uint64_t now_ns = clock_monotonic_ns();
    if (fleet_ready(manager->fleet) || now_ns >= manager->readiness_end_ns)
        control_release(manager->control, NULL);
    else
        loop_arm(manager->loop, &manager->readiness, now_ns + READINESS_PAUSE_NS);
}

/* From the loop, not at once: the reply that is to be completed has not been made yet. */
void manager_await_readiness(struct manager *manager)
{
    manager->readiness_end_ns = clock_monotonic_ns() + READINESS_NS;
    loop_arm(manager->loop, &manager->readiness, clock_monotonic_ns());
}

/* ---- requests ---- */

static json_t *report_state(const struct manager *manager)
{
    json_t *reply = report_fleet(manager->fleet, manager->started_ns, manager->config->directory,
                                 retention_doubt(manager->retention));
    json_object_set_new(reply, "services", services_report(&manager->services));
    return reply;
}

json_t *manager_answer(void *context, const json_t *request, bool *hold)
{
    struct manager *manager = context;
    const char *verb = json_string_value(json_object_get(request, "verb"));
    json_t *reply;
    if (!verb)
        return control_refusal(EXIT_CODE_USAGE, "the request names no verb");
    if (strcmp(verb, "status") == 0)
        return report_state(manager);
    if (strcmp(verb, "describe") == 0)
        return describe(manager->config,
                        json_string_value(json_object_get(request, "channel")));
    if (strcmp(verb, "stop") == 0) {
        *hold = true; /* to the end; the answer is made then, in close_parts */
        manager_stop(manager, "flotilla stop");
        return json_object();
    }
    if (manager->stopping)
        return control_refusal(EXIT_CODE_FAILED, "the manager is stopping");
    if (errand_is(verb))
        return errand_begin(&manager->errands, manager->config, request);
    if (strcmp(verb, "reload") == 0)
        reply = manager_reload(manager);
    else if (strcmp(verb, "restart") == 0)
        reply = restart(manager, request);
    else
        return control_refusal(EXIT_CODE_USAGE, "there is no request \"%.100s\"", verb);
    *hold = !json_object_get(reply, "error") && !manager->upgrading;
    if (*hold && fleet_settled(manager->fleet))
        manager_await_readiness(manager);
    return reply;
}

static void note_failures(json_t *reply, const struct fleet *fleet, const char *name)
{
    const char *reason = name ? fleet_trouble(fleet, name) : NULL;
    if (!reason)
        return;
    if (!json_object_get(reply, "failed"))
        json_object_set_new(reply, "failed", json_array());
    json_array_append_new(json_object_get(reply, "failed"),
                          json_pack("{s:s, s:o}", "channel", name, "reason", json_of_text(reason)));
}

void manager_client_gone(void *context, uint64_t ticket)
{
    struct manager *manager = context;
    errand_client_gone(&manager->errands, ticket);
}

/* What has become of the relays that a request has started. */
void manager_complete(void *context, json_t *reply)
{
    const struct manager *manager = context;
    static const char *const lists[] = {"added", "changed", "unchanged", "removed"};
    size_t index;
    json_t *name;
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        json_array_foreach(json_object_get(reply, lists[i]), index, name)
            note_failures(reply, manager->fleet, json_string_value(name));
    note_failures(reply, manager->fleet, json_string_value(json_object_get(reply, "restarted")));
}
