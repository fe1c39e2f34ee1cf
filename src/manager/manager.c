/* SPDX-License-Identifier: MIT
 * The manager's duties in order: be the only one, end what an earlier one left, start the fleet,
 * then serve events. From there on nothing that goes wrong may end it: it is told and lived with.
 * Relies on everything in this folder; no known faults. */
#include "manager/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/text.h"
#include "config/config.h"
#include "control/client.h"
#include "control/server.h"
#include "manager/fleet.h"
#include "manager/report.h"
#include "manager/retention.h"
#include "manager/runtime.h"
#include "manager/supervisor.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/output.h"
#include "os/path.h"
#include "os/process.h"

#define EXIT_CODE_FAILED 1
#define EXIT_CODE_USAGE  2
#define EXIT_CODE_CONFIG 78

/* What a reload or restart has started is given this long to come up or to fail, before whoever
 * asked for it is answered; looked at so often meanwhile, because readiness is told in memory. */
#define PROOF_NS        (500 * NS_PER_MS)
#define TRY_PATIENCE_MS 20000u /* for a new program to show that it works */
#define PROOF_PAUSE_NS  (10 * NS_PER_MS)

#define RUNTIME_LOOK_NS (1000 * NS_PER_MS) /* how often it is looked whether it is still there */

struct manager {
    const char *path;                                                   /* of the configuration */
    char relay[CHANNEL_PATH_BYTES_MAX], keeper[CHANNEL_PATH_BYTES_MAX]; /* the programs */
    char self[CHANNEL_PATH_BYTES_MAX]; /* the program this is, or was until it was replaced */
    bool renewing;                     /* to become that program anew */
    struct config *config;
    struct runtime runtime;
    struct loop_timer runtime_look;
    int runtime_error; /* told of already */
    int socket_error;  /* the same */
    bool runtime_bare; /* it was made again, and is to be furnished */
    bool superseded;   /* another manager has the runtime folder, and so the fleet */
    struct loop *loop;
    struct fleet *fleet;
    struct control *control;
    struct retention *retention;
    struct supervisor supervisor;
    struct loop_timer proof; /* armed while requests wait for what they have started */
    uint64_t proof_end_ns;
    uint64_t descriptor_limit;
    uint64_t started_ns;
    bool stopping;
};

/* Reads and checks the configuration. NULL with the messages in `*text` if it is not valid, else
 * with the warnings. `*text` is the caller's; NULL when out of memory. */
static struct config *read_configuration(const char *path, char **text)
{
    struct config *config = NULL;
    struct text messages = {0};
    size_t byte_count;
    uint8_t *bytes = NULL;
    /* Only to be sure that no pipe is waited for, which config_read would do for a command. */
    int status = file_read_whole(path, 0, &bytes, &byte_count);
    free(bytes);
    if (status == -ESPIPE || status == -EISDIR)
        text_add(&messages, "%s: %s; it is read again at every reload\n", path,
                 file_error_text(status));
    else if (config_read(path, &config, &messages) < 0)
        config = NULL;
    *text = text_take(&messages);
    if (!*text) {
        config_free(config);
        config = NULL;
    }
    return config;
}

/* Tells once, before it hurts, that there are not descriptors enough for all channels. */
static void check_descriptors(const struct manager *manager)
{
    uint64_t needed = fleet_descriptors(manager->config);
    if (manager->descriptor_limit && needed > manager->descriptor_limit)
        log_line("%llu open files are allowed, this fleet needs about %llu; raise the limit "
                 "(%s)",
                 (unsigned long long)manager->descriptor_limit, (unsigned long long)needed,
                 process_descriptor_limit_words());
}

/* ---- reload ---- */

struct changes {
    json_t *lists; /* one array of names for each kind of change, under its word */
    uint32_t counts[FLEET_CHANGES];
};

static const char *const change_words[FLEET_CHANGES] = {
    [FLEET_ADDED] = "added",
    [FLEET_CHANGED] = "changed",
    [FLEET_REMOVED] = "removed",
    [FLEET_UNCHANGED] = "unchanged",
};

static void note_change(void *context, enum fleet_change change, const char *channel)
{
    struct changes *changes = context;
    changes->counts[change]++;
    json_array_append_new(json_object_get(changes->lists, change_words[change]),
                          json_string(channel));
}

/* As read_configuration, and NULL too if it cannot take the place of the one in force. */
static struct config *read_successor(const struct manager *manager, char **text)
{
    struct config *config = read_configuration(manager->path, text);
    if (!config || strcmp(config->runtime, manager->config->runtime) == 0)
        return config;
    free(*text);
    struct text refusal = {0};
    text_add(&refusal,
             "%s: the runtime folder cannot change while the manager runs (%s is in use, %s is "
             "wanted): stop it and start it again\n",
             manager->path, manager->config->runtime, config->runtime);
    *text = text_take(&refusal);
    config_free(config);
    return NULL;
}

static json_t *refuse_reload(const struct manager *manager, const char *text)
{
    log_line("reload refused, nothing was changed: %s is not valid", manager->path);
    log_text(text);
    return json_pack("{s:s+, s:i}", "error", text,
                     text[0] ? "nothing was changed" : "out of memory; nothing was changed", "exit",
                     EXIT_CODE_CONFIG);
}

static json_t *put_in_force(struct manager *manager)
{
    char *text = NULL;
    struct config *config = read_successor(manager, &text);
    if (!config) {
        json_t *refusal = refuse_reload(manager, text ? text : "");
        free(text);
        return refusal;
    }
    struct changes changes = {.lists = json_object()};
    for (int change = 0; change < FLEET_CHANGES; change++)
        json_object_set_new(changes.lists, change_words[change], json_array());
    int error = fleet_apply(manager->fleet, config, note_change, &changes);
    if (error < 0) {
        config_free(config);
        free(text);
        json_decref(changes.lists);
        log_line("reload failed, nothing was changed: %s", strerror(-error));
        return control_refusal(EXIT_CODE_FAILED, "nothing was changed: %s", strerror(-error));
    }
    if (retention_set(manager->retention, config) < 0)
        log_line("out of memory: retention goes on with its old limits");
    config_free(manager->config);
    manager->config = config;
    check_descriptors(manager);
    if (text && text[0]) {
        log_text(text);
        json_object_set_new(changes.lists, "warnings", json_string(text));
    }
    free(text);
    log_line("reloaded %s: %u added, %u changed, %u removed, %u unchanged", manager->path,
             changes.counts[FLEET_ADDED], changes.counts[FLEET_CHANGED],
             changes.counts[FLEET_REMOVED], changes.counts[FLEET_UNCHANGED]);
    return changes.lists;
}

static json_t *reload(struct manager *manager)
{
    supervisor_reloading(&manager->supervisor);
    json_t *reply = put_in_force(manager);
    supervisor_reloaded(&manager->supervisor);
    return reply;
}

/* ---- the runtime folder ---- */

/* Tells once what keeps the folder from being as it is to be. */
static void tell_runtime(struct manager *manager, int error)
{
    if (error < 0 && error != manager->runtime_error)
        log_line("the runtime folder %s was removed, and cannot be made again in full: %s",
                 manager->config->runtime, strerror(-error));
    manager->runtime_error = error;
}

/* Makes again whatever belongs in the folder; what fails is tried again at the next look. */
static void furnish_runtime(struct manager *manager)
{
    int error = fleet_furnish(manager->fleet);
    int mended = control_mend(manager->control);
    if (error == 0 && mended < 0)
        error = mended;
    tell_runtime(manager, error);
    manager->runtime_bare = error < 0;
    if (error == 0)
        log_line("the runtime folder %s, or the lock in it, was removed; it is there again",
                 manager->config->runtime);
}

/* Whether the runtime folder is still ours. Where it was removed it is taken again, and furnished
 * in a moment; if another manager was faster, the fleet is left to that one. */
static bool in_charge(void *context)
{
    struct manager *manager = context;
    if (manager->superseded)
        return false;
    int status = runtime_look(&manager->runtime);
    if (status == -EWOULDBLOCK) {
        char other[CONTROL_MANAGER_TEXT_BYTES];
        log_line("the runtime folder %s was removed, and %s manages it now: leaving the fleet to "
                 "it",
                 manager->config->runtime, control_manager(manager->config->runtime, other));
        manager->superseded = true;
        json_t *refusal = control_refusal(EXIT_CODE_FAILED, "another manager has the fleet");
        control_turn_away(manager->control, refusal);
        json_decref(refusal);
        return false;
    }
    if (status < 0 || (status == 0 && !manager->runtime_bare))
        tell_runtime(manager, status);
    if (status > 0) {
        folder_remove(manager->runtime.folder, CONTROL_SOCKET); /* of another one, that has died */
        manager->runtime_bare = true;
        loop_arm(manager->loop, &manager->runtime_look, clock_monotonic_ns());
    }
    return true;
}

/* Somebody may have removed the control socket alone. What keeps it from being made again is told
 * once. */
static void look_at_socket(struct manager *manager)
{
    int mended = control_mend(manager->control);
    if (mended > 0)
        log_line("the control socket was gone; it is there again");
    else if (mended < 0 && mended != manager->socket_error)
        log_line("cannot look after the control socket in %s: %s", manager->config->runtime,
                 strerror(-mended));
    manager->socket_error = mended;
}

static void look_at_runtime(void *context)
{
    struct manager *manager = context;
    if (manager->runtime_bare)
        furnish_runtime(manager);
    else if (manager->runtime_error == 0)
        look_at_socket(manager);
    loop_arm(manager->loop, &manager->runtime_look, clock_monotonic_ns() + RUNTIME_LOOK_NS);
}

/* ---- what comes in ---- */

static void stop(struct manager *manager, const char *by)
{
    if (manager->stopping)
        return;
    manager->stopping = true;
    log_line("stopping (%s)", by);
    supervisor_stopping(&manager->supervisor);
    /* Whoever waits for a change to be through waits no longer; from here on only those are held
     * that wait for the end. */
    control_release(manager->control, NULL);
    fleet_stop(manager->fleet);
}

/* Whether the programs, as they are now, can take the place of this one and the relays: tried, not
 * only looked at, as a library may be missing. NULL if they can. */
static json_t *refuse_renewal(const struct manager *manager)
{
    char *text = NULL;
    struct config *config = read_successor(manager, &text);
    json_t *refusal = config ? NULL : refuse_reload(manager, text ? text : "");
    config_free(config);
    free(text);
    if (!refusal && manager->runtime_error < 0) /* the new one would not come up either */
        refusal = control_refusal(EXIT_CODE_FAILED,
                                  "nothing was restarted: the runtime folder %s is not whole: %s",
                                  manager->config->runtime, strerror(-manager->runtime_error));
    char name[] = "flotilla", version[] = "--version", check[] = "check", option[] = "-c";
    char *of_version[] = {name, version, NULL};
    char *of_check[] = {name, check, option, (char *)(uintptr_t)manager->path, NULL};
    const struct {
        const char *program;
        char **words;
    } tries[] = {
        {manager->relay, of_version}, {manager->keeper, of_version}, {manager->self, of_check}};
    for (size_t i = 0; i < ARRAY_COUNT(tries) && !refusal; i++) {
        int code = process_try(tries[i].program, tries[i].words, TRY_PATIENCE_MS);
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
static json_t *restart_all(struct manager *manager)
{
    json_t *refusal = refuse_renewal(manager);
    if (refusal)
        return refusal;
    int error = fleet_bridge(manager->fleet);
    if (error < 0)
        return control_refusal(EXIT_CODE_FAILED, "nothing was restarted: %s", strerror(-error));
    log_line("restart of all asked for: becoming %s anew", manager->self);
    manager->renewing = true;
    loop_end(manager->loop);
    return json_pack("{s:I}", "instance", (json_int_t)manager->started_ns);
}

static json_t *restart(struct manager *manager, const json_t *request)
{
    if (json_is_true(json_object_get(request, "all")))
        return restart_all(manager);
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

static void look_for_proof(void *context)
{
    struct manager *manager = context;
    if (manager->stopping || !fleet_settled(manager->fleet))
        return; /* `settled` begins anew */
    uint64_t now_ns = clock_monotonic_ns();
    if (fleet_proven(manager->fleet) || now_ns >= manager->proof_end_ns)
        control_release(manager->control, NULL);
    else
        loop_arm(manager->loop, &manager->proof, now_ns + PROOF_PAUSE_NS);
}

/* From the loop, not at once: the reply that is to be completed has not been made yet. */
static void await_proof(struct manager *manager)
{
    manager->proof_end_ns = clock_monotonic_ns() + PROOF_NS;
    loop_arm(manager->loop, &manager->proof, clock_monotonic_ns());
}

/* ---- requests ---- */

static json_t *answer(void *context, const json_t *request, bool *hold)
{
    struct manager *manager = context;
    const char *verb = json_string_value(json_object_get(request, "verb"));
    json_t *reply;
    if (!verb)
        return control_refusal(EXIT_CODE_USAGE, "the request names no verb");
    if (strcmp(verb, "status") == 0)
        return report_fleet(manager->fleet, manager->started_ns, manager->config->directory);
    if (strcmp(verb, "stop") == 0) {
        *hold = true; /* to the end; the answer is made then, in close_parts */
        stop(manager, "flotilla stop");
        return json_object();
    }
    if (manager->stopping)
        return control_refusal(EXIT_CODE_FAILED, "the manager is stopping");
    if (strcmp(verb, "reload") == 0)
        reply = reload(manager);
    else if (strcmp(verb, "restart") == 0)
        reply = restart(manager, request);
    else
        return control_refusal(EXIT_CODE_USAGE, "there is no request \"%.100s\"", verb);
    *hold = !json_object_get(reply, "error") && !manager->renewing;
    if (*hold && fleet_settled(manager->fleet))
        await_proof(manager);
    return reply;
}

/* Nothing is being replaced any more: whoever waits for that soon learns what has come of it. */
static void settled(void *context)
{
    struct manager *manager = context;
    if (manager->stopping)
        loop_end(manager->loop);
    else
        await_proof(manager);
}

static void note_failures(json_t *reply, const struct fleet *fleet, const char *name)
{
    const char *reason = name ? fleet_trouble(fleet, name) : NULL;
    if (!reason)
        return;
    if (!json_object_get(reply, "failed"))
        json_object_set_new(reply, "failed", json_array());
    json_array_append_new(json_object_get(reply, "failed"),
                          json_pack("{s:s, s:s}", "channel", name, "reason", reason));
}

/* What has become of the relays that a request has started. */
static void complete(void *context, json_t *reply)
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

static void crowded(void *context, int error)
{
    const struct manager *manager = context;
    if (error == EMFILE)
        log_line("too many open files: the limit is %llu, this fleet needs about %llu; raise it "
                 "(%s)",
                 (unsigned long long)manager->descriptor_limit,
                 (unsigned long long)fleet_descriptors(manager->config),
                 process_descriptor_limit_words());
    else
        log_line("cannot answer on the control socket for now: %s", strerror(error));
}

static void rotated(void *context)
{
    struct manager *manager = context;
    retention_look(manager->retention);
}

static void caught(void *context, enum loop_signal signal)
{
    struct manager *manager = context;
    if (signal == LOOP_STOP)
        stop(manager, "signal");
    else if (!manager->stopping) {
        look_at_socket(manager);
        json_decref(reload(manager));
    }
}

/* ---- beginning and end ---- */

/* Opens everything there is one of. 0, or a negative errno after telling. */
static int open_parts(struct manager *manager)
{
    struct fleet_options options = {.runtime = manager->config->runtime,
                                    .relay = manager->relay,
                                    .keeper = manager->keeper,
                                    .settled = settled,
                                    .rotated = rotated,
                                    .in_charge = in_charge,
                                    .context = manager};
    manager->proof = (struct loop_timer){.due = look_for_proof, .context = manager};
    manager->runtime_look = (struct loop_timer){.due = look_at_runtime, .context = manager};
    int error = loop_open(&manager->loop);
    if (error == 0)
        error = loop_signals(manager->loop, caught, manager);
    options.loop = manager->loop;
    if (error == 0) {
        int unheard = supervisor_open(&manager->supervisor, manager->loop);
        if (unheard < 0)
            log_line("cannot talk to $NOTIFY_SOCKET: %s", strerror(-unheard));
    }
    if (error == 0)
        error = fleet_open(&manager->fleet, &options);
    if (error == 0)
        error = retention_start(&manager->retention);
    if (error == 0)
        error = retention_set(manager->retention, manager->config);
    if (error < 0) {
        log_line("cannot start: %s", strerror(-error));
        return error;
    }
    loop_arm(manager->loop, &manager->runtime_look, clock_monotonic_ns() + RUNTIME_LOOK_NS);
    error = control_open(
        &manager->control, manager->loop, manager->config->runtime,
        &(struct control_calls){
            .answer = answer, .complete = complete, .crowded = crowded, .context = manager});
    if (error < 0)
        log_line("cannot open the control socket in %s: %s", manager->config->runtime,
                 strerror(-error));
    return error;
}

/* Becomes the program anew, with the relays at work. Returns only if that failed. */
static void become(struct manager *manager)
{
    char name[] = "flotilla", verb[] = "run", option[] = "-c", renew[] = "--renew";
    char *words[] = {name, verb, option, (char *)(uintptr_t)manager->path, renew, NULL};
    manager->renewing = false;
    int error = process_become(manager->self, words, manager->runtime.lock);
    fleet_unbridge(manager->fleet);
    log_line("cannot run %s: %s; going on as before", manager->self, strerror(-error));
}

static int serve(struct manager *manager, bool renew)
{
    struct changes changes = {.lists = json_object()};
    int taken = fleet_take_over(manager->fleet);
    if (taken > 0)
        log_line("took over %d channels from an earlier manager", taken);
    int error =
        taken < 0 ? taken : fleet_apply(manager->fleet, manager->config, note_change, &changes);
    json_decref(changes.lists);
    if (error == 0) {
        log_line("managing %u channels of %s in %s", manager->config->channel_count, manager->path,
                 manager->config->runtime);
        if (renew) {
            process_reap_strays(); /* of the program this process was */
            fleet_renew(manager->fleet);
        }
        supervisor_ready(&manager->supervisor, manager->fleet);
        loop_guard(manager->loop, in_charge, manager);
        error = loop_run(manager->loop);
        while (error == 0 && manager->renewing) {
            become(manager);
            error = loop_run(manager->loop);
        }
    }
    if (error < 0) {
        log_line("cannot go on: %s", strerror(-error));
        return EXIT_CODE_FAILED;
    }
    if (manager->superseded) /* what is about to be closed and removed is not ours any more */
        return EXIT_CODE_FAILED;
    uint32_t unclean = fleet_unclean_ends(manager->fleet);
    if (unclean)
        log_line("stopped; %u of the relays did not end cleanly", unclean);
    else
        log_line("stopped");
    return unclean ? EXIT_CODE_FAILED : 0;
}

/* What `flotilla stop` is answered once all relays have ended. */
static json_t *report_end(const struct fleet *fleet)
{
    return json_pack("{s:I, s:I, s:o}", "stopped", (json_int_t)process_self(), "unclean",
                     (json_int_t)fleet_unclean_ends(fleet), "channels", report_channels(fleet));
}

static void close_parts(struct manager *manager)
{
    json_t *last = NULL;
    loop_disarm(&manager->proof);
    loop_disarm(&manager->runtime_look);
    supervisor_close(&manager->supervisor);
    if (manager->fleet)
        last = report_end(manager->fleet);
    fleet_close(manager->fleet);
    retention_stop(manager->retention);
    /* The socket's clients learn of the end only now that all else is done. */
    if (manager->control)
        control_release(manager->control, last);
    json_decref(last);
    control_close(manager->control);
    loop_close(manager->loop);
    runtime_release(&manager->runtime);
    config_free(manager->config);
}

/* 0, or -ENOENT after telling. */
static int find_program(const char *name, char path[CHANNEL_PATH_BYTES_MAX])
{
    int error = process_find_program(name, path, CHANNEL_PATH_BYTES_MAX);
    if (error < 0)
        log_line("%s is neither beside this program, nor in ../libexec/flotilla from there, nor in "
                 "PATH",
                 name);
    return error;
}

static void nothing_runs(void *context)
{
    loop_end(context);
}

static void nothing_rotates(void *context)
{
    (void)context;
}

static bool always(void *context)
{
    (void)context;
    return true;
}

/* What is left is finished with the layouts in the runtime folder; where those have gone, the
 * configuration may still have them. */
static void recall_layouts(struct fleet *fleet, const char *path)
{
    char *text = NULL;
    struct config *config = read_configuration(path, &text);
    if (config)
        fleet_recall(fleet, config);
    config_free(config);
    free(text);
}

json_t *manager_end_left(const char *runtime, const char *path)
{
    char keeper[CHANNEL_PATH_BYTES_MAX], relay[CHANNEL_PATH_BYTES_MAX];
    struct loop *loop = NULL;
    struct fleet *fleet = NULL;
    json_t *reply = NULL;
    if (!control_fleet_is_left(runtime) || find_program("flotilla-keeper", keeper) < 0 ||
        find_program("flotilla-relay", relay) < 0)
        return NULL;
    int folder = folder_open(runtime);
    int lock = folder < 0 ? folder : folder_lock(folder, CONTROL_LOCK);
    int error = lock < 0 ? lock : loop_open(&loop);
    struct fleet_options options = {.loop = loop,
                                    .runtime = runtime,
                                    .relay = relay,
                                    .keeper = keeper,
                                    .settled = nothing_runs,
                                    .rotated = nothing_rotates,
                                    .in_charge = always,
                                    .context = loop};
    if (error == 0)
        error = fleet_open(&fleet, &options);
    int taken = error == 0 ? fleet_take_over(fleet) : 0;
    error = taken < 0 ? taken : error;
    if (error == 0)
        fleet_release_left(fleet);
    if (error == 0 && taken > 0) {
        recall_layouts(fleet, path);
        fleet_stop(fleet);
        if (!fleet_settled(fleet))
            error = loop_run(loop);
        reply = report_end(fleet);
    }
    if (error < 0 && error != -EWOULDBLOCK)
        log_line("cannot end what is left in %s: %s", runtime, strerror(-error));
    fleet_close(fleet);
    loop_close(loop);
    if (lock >= 0)
        descriptor_close(lock);
    if (folder >= 0)
        descriptor_close(folder);
    return reply;
}

int manager_run(const char *path, bool renew)
{
    struct manager manager = {
        .path = path, .runtime = RUNTIME_NONE, .started_ns = clock_realtime_ns()};
    output_start();
    log_use(output_line);
    log_start("flotilla", NULL);
    if (find_program("flotilla-relay", manager.relay) < 0 ||
        find_program("flotilla-keeper", manager.keeper) < 0 ||
        process_own_program(manager.self, sizeof manager.self) < 0)
        return EXIT_CODE_FAILED;
    char *text = NULL;
    manager.config = read_configuration(path, &text);
    log_text(text ? text : "out of memory");
    free(text);
    if (!manager.config)
        return EXIT_CODE_CONFIG;
    manager.descriptor_limit = process_raise_descriptor_limit();
    check_descriptors(&manager);
    int code = EXIT_CODE_FAILED;
    /* The lock is held without a gap, if this process was a manager already. */
    if (runtime_take(&manager.runtime, manager.config->runtime, process_kept()) == 0 &&
        open_parts(&manager) == 0)
        code = serve(&manager, renew);
    if (manager.superseded)
        _Exit(code); /* what would be closed and removed is the other manager's now */
    close_parts(&manager);
    return code;
}
