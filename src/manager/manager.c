/* SPDX-License-Identifier: MIT
 * The manager's duties in order: be the only one, end what an earlier one left, start the fleet,
 * then serve events. From there on nothing that goes wrong may end it: it is told and lived with.
 * Relies on everything in this folder; no known faults. */
#include "manager/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "manager/config.h"
#include "manager/control.h"
#include "manager/fleet.h"
#include "manager/report.h"
#include "manager/retention.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/process.h"

#define EXIT_CODE_FAILED 1
#define EXIT_CODE_USAGE  2
#define EXIT_CODE_CONFIG 78

/* A predecessor that is just ending, or a client that looks whether it has, may hold the lock. */
#define LOCK_TRIES    10
#define LOCK_PAUSE_NS (30 * NS_PER_MS)

struct manager {
    const char *path; /* of the configuration */
    struct config *config;
    int folder, lock; /* the runtime folder */
    struct loop *loop;
    struct fleet *fleet;
    struct control *control;
    struct retention *retention;
    uint64_t started_ns;
    bool stopping;
};

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

/* Reads and checks the configuration. NULL with the messages in `*text` if it is not valid or
 * cannot take the place of the one in force; else with the warnings. `*text` is the caller's. */
static struct config *read_configuration(const struct manager *manager, char **text)
{
    struct config *config = NULL;
    size_t text_bytes;
    FILE *errors = open_memstream(text, &text_bytes);
    if (!errors)
        return NULL;
    if (config_read(manager->path, &config, errors) < 0)
        config = NULL;
    else if (strcmp(config->runtime, manager->config->runtime) != 0) {
        fprintf(errors,
                "%s: the runtime folder cannot change while the manager runs (%s is in use, %s is "
                "wanted): stop it and start it again\n",
                manager->path, manager->config->runtime, config->runtime);
        config_free(config);
        config = NULL;
    }
    if (fclose(errors) != 0) {
        config_free(config);
        config = NULL;
    }
    return config;
}

static json_t *refuse_reload(const struct manager *manager, const char *text)
{
    log_line("reload refused, nothing was changed: %s is not valid", manager->path);
    fputs(text, stderr);
    return json_pack("{s:s+, s:i}", "error", text,
                     text[0] ? "nothing was changed" : "out of memory; nothing was changed", "exit",
                     EXIT_CODE_CONFIG);
}

static json_t *reload(struct manager *manager)
{
    char *text = NULL;
    struct config *config = read_configuration(manager, &text);
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
    if (text && text[0]) {
        fputs(text, stderr);
        json_object_set_new(changes.lists, "warnings", json_string(text));
    }
    free(text);
    log_line("reloaded %s: %u added, %u changed, %u removed, %u unchanged", manager->path,
             changes.counts[FLEET_ADDED], changes.counts[FLEET_CHANGED],
             changes.counts[FLEET_REMOVED], changes.counts[FLEET_UNCHANGED]);
    return changes.lists;
}

/* ---- what comes in ---- */

static void stop(struct manager *manager, const char *by)
{
    if (manager->stopping)
        return;
    manager->stopping = true;
    log_line("stopping (%s)", by);
    /* Whoever waits for a change to be through waits no longer; from here on only those are held
     * that wait for the end. */
    control_release(manager->control, NULL);
    fleet_stop(manager->fleet);
}

static json_t *restart(struct manager *manager, const json_t *request)
{
    const char *channel = json_string_value(json_object_get(request, "channel"));
    if (!channel)
        return control_refusal(EXIT_CODE_USAGE, "restart needs a channel");
    if (fleet_restart(manager->fleet, channel) < 0)
        return control_refusal(EXIT_CODE_FAILED, "no channel is called \"%.100s\"", channel);
    log_line("%s: restart asked for", channel);
    return json_pack("{s:s}", "restarted", channel);
}

static json_t *answer(void *context, const json_t *request, bool *hold)
{
    struct manager *manager = context;
    const char *verb = json_string_value(json_object_get(request, "verb"));
    json_t *reply;
    if (!verb)
        return control_refusal(EXIT_CODE_USAGE, "the request names no verb");
    if (strcmp(verb, "status") == 0)
        return report_fleet(manager->fleet, manager->started_ns);
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
    *hold = !json_object_get(reply, "error") && !fleet_settled(manager->fleet);
    return reply;
}

/* Nothing is being replaced any more: whoever waits for that learns it. */
static void settled(void *context)
{
    struct manager *manager = context;
    if (manager->stopping)
        loop_end(manager->loop);
    else
        control_release(manager->control, NULL);
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
    else if (!manager->stopping)
        json_decref(reload(manager));
}

/* ---- beginning and end ---- */

static long read_process_file(const char *runtime)
{
    char path[CHANNEL_PATH_BYTES_MAX + 32];
    uint8_t *text = NULL;
    size_t text_bytes;
    snprintf(path, sizeof path, "%s/%s", runtime, CONTROL_PROCESS_FILE);
    if (file_read_whole(path, 64, &text, &text_bytes) < 0)
        return 0;
    long id = strtol((const char *)text, NULL, 10);
    free(text);
    return id;
}

static int write_process_file(const char *runtime)
{
    char path[CHANNEL_PATH_BYTES_MAX + 32], text[32];
    int used = snprintf(text, sizeof text, "%ld\n", process_self());
    snprintf(path, sizeof path, "%s/%s", runtime, CONTROL_PROCESS_FILE);
    return file_write_whole(path,
                            (struct span){.at = (const uint8_t *)text, .bytes = (size_t)used});
}

/* Becomes the manager of the runtime folder. 0, or a negative errno after telling why not. */
static int take_runtime(struct manager *manager)
{
    const char *runtime = manager->config->runtime;
    manager->folder = folder_open(runtime);
    if (manager->folder < 0) {
        log_line("cannot open the runtime folder %s: %s", runtime, strerror(-manager->folder));
        return manager->folder;
    }
    for (int try = 0; try < LOCK_TRIES; try++) {
        manager->lock = folder_lock(manager->folder, CONTROL_LOCK);
        if (manager->lock != -EWOULDBLOCK)
            break;
        clock_sleep_until(clock_monotonic_ns() + LOCK_PAUSE_NS);
    }
    int error = manager->lock;
    if (error == -EWOULDBLOCK)
        log_line("a manager already runs in %s: process %ld", runtime, read_process_file(runtime));
    else if (error < 0)
        log_line("cannot lock %s/%s: %s", runtime, CONTROL_LOCK, strerror(-error));
    else
        error = write_process_file(runtime);
    return error < 0 ? error : 0;
}

/* Opens everything there is one of. 0, or a negative errno after telling. */
static int open_parts(struct manager *manager, const char *relay)
{
    struct fleet_options options = {.runtime = manager->config->runtime,
                                    .relay = relay,
                                    .settled = settled,
                                    .rotated = rotated,
                                    .context = manager};
    int error = loop_open(&manager->loop);
    if (error == 0)
        error = loop_signals(manager->loop, caught, manager);
    options.loop = manager->loop;
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
    error =
        control_open(&manager->control, manager->loop, manager->config->runtime, answer, manager);
    if (error < 0)
        log_line("cannot open the control socket in %s: %s", manager->config->runtime,
                 strerror(-error));
    return error;
}

static int serve(struct manager *manager)
{
    struct changes changes = {.lists = json_object()};
    fleet_end_orphans(manager->fleet);
    int error = fleet_apply(manager->fleet, manager->config, note_change, &changes);
    json_decref(changes.lists);
    if (error == 0) {
        log_line("managing %u channels of %s in %s", manager->config->channel_count, manager->path,
                 manager->config->runtime);
        error = loop_run(manager->loop);
    }
    if (error < 0) {
        log_line("cannot go on: %s", strerror(-error));
        return EXIT_CODE_FAILED;
    }
    uint32_t unclean = fleet_unclean_ends(manager->fleet);
    if (unclean)
        log_line("stopped; %u of the relays did not end cleanly", unclean);
    else
        log_line("stopped");
    return unclean ? EXIT_CODE_FAILED : 0;
}

static void close_parts(struct manager *manager)
{
    json_t *last = NULL;
    if (manager->fleet)
        last = json_pack("{s:I, s:I}", "stopped", (json_int_t)process_self(), "unclean",
                         (json_int_t)fleet_unclean_ends(manager->fleet));
    fleet_close(manager->fleet);
    retention_stop(manager->retention);
    /* The socket's clients learn of the end only now that all else is done. */
    if (manager->control)
        control_release(manager->control, last);
    json_decref(last);
    control_close(manager->control);
    loop_close(manager->loop);
    if (manager->lock >= 0) {
        folder_remove(manager->folder, CONTROL_PROCESS_FILE);
        descriptor_close(manager->lock);
    }
    if (manager->folder >= 0)
        descriptor_close(manager->folder);
    config_free(manager->config);
}

int manager_run(const char *path)
{
    char relay[CHANNEL_PATH_BYTES_MAX];
    struct manager manager = {
        .path = path, .folder = -1, .lock = -1, .started_ns = clock_realtime_ns()};
    log_start("flotilla", NULL);
    if (process_find_program("flotilla-relay", relay, sizeof relay) < 0) {
        log_line("flotilla-relay is neither beside this program, nor in ../libexec/flotilla from "
                 "there, nor in PATH");
        return EXIT_CODE_FAILED;
    }
    if (config_read(path, &manager.config, stderr) < 0)
        return EXIT_CODE_CONFIG;
    process_raise_descriptor_limit();
    int code = EXIT_CODE_FAILED;
    if (take_runtime(&manager) == 0 && open_parts(&manager, relay) == 0)
        code = serve(&manager);
    close_parts(&manager);
    return code;
}
