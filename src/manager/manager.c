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
#include "base/text.h"
#include "control/client.h"
#include "manager/manager_parts.h"
#include "manager/report.h"
#include "os/calls.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/health.h"
#include "os/output.h"
#include "os/path.h"
#include "os/process.h"

#define RUNTIME_LOOK_NS (1000 * NS_PER_MS) /* how often it is looked whether it is still there */

/* NULL with the messages in `*text` if it is not valid, else with the warnings. `*text` is the
 * caller's; NULL when out of memory. */
static struct config *read_configuration(const char *path, enum config_machine machine, char **text)
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
    else if (config_read(path, machine, &config, &messages) < 0)
        config = NULL;
    *text = text_take(&messages);
    if (!*text) {
        config_free(config);
        config = NULL;
    }
    return config;
}

struct config *manager_read_successor(const struct manager *manager, char **text)
{
    struct config *config = read_configuration(manager->path, CONFIG_RUNS_HERE, text);
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

void manager_check_descriptors(const struct manager *manager)
{
    uint64_t needed = fleet_descriptors(manager->config);
    if (manager->descriptor_limit && needed > manager->descriptor_limit)
        log_line("%llu open files are allowed, this fleet needs about %llu; raise the limit "
                 "(%s)",
                 (unsigned long long)manager->descriptor_limit, (unsigned long long)needed,
                 process_descriptor_limit_words());
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
static void repopulate_runtime(struct manager *manager)
{
    int error = fleet_repopulate(manager->fleet);
    int mended = control_mend(manager->control);
    if (error == 0 && mended < 0)
        error = mended;
    tell_runtime(manager, error);
    manager->runtime_recreated = error < 0;
    if (error == 0)
        log_line("the runtime folder %s, or the lock in it, was removed; it is there again",
                 manager->config->runtime);
}

/* Whether the runtime folder is still ours. Where it was removed it is taken again, and repopulated
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
    if (status < 0 || (status == 0 && !manager->runtime_recreated))
        tell_runtime(manager, status);
    if (status > 0) {
        folder_remove(manager->runtime.folder, CONTROL_SOCKET); /* of another one, that has died */
        manager->runtime_recreated = true;
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
    if (manager->runtime_recreated)
        repopulate_runtime(manager);
    else if (manager->runtime_error == 0)
        look_at_socket(manager);
    loop_arm(manager->loop, &manager->runtime_look, clock_monotonic_ns() + RUNTIME_LOOK_NS);
}

/* ---- what comes in ---- */

void manager_stop(struct manager *manager, const char *by)
{
    if (manager->stopping)
        return;
    manager->stopping = true;
    log_line("stopping (%s)", by);
    supervisor_stopping(&manager->supervisor);
    /* Whoever waits for a change to be through waits no longer; from here on only those are held
     * that wait for the end. */
    control_release(manager->control, NULL);
    if (services_apply(&manager->services, NULL) < 0)
        log_line("cannot ask the services to end: out of memory");
    fleet_stop(manager->fleet);
}

/* Nothing is being replaced any more: whoever waits for that soon learns what has come of it. */
static void settled(void *context)
{
    struct manager *manager = context;
    if (!manager->stopping)
        manager_await_readiness(manager);
    else if (services_are_over(&manager->services))
        loop_end(manager->loop);
}

static void service_ended(void *context)
{
    const struct manager *manager = context;
    if (manager->stopping && fleet_settled(manager->fleet) && services_are_over(&manager->services))
        loop_end(manager->loop);
}

static void out_of_descriptors(void *context, int error)
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
        manager_stop(manager, "signal");
    else if (!manager->stopping) {
        look_at_socket(manager);
        json_decref(manager_reload(manager));
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
    manager->readiness = (struct loop_timer){.due = manager_look_for_readiness, .context = manager};
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
        error = services_open(&manager->services, manager->config->runtime, manager->loop,
                              service_ended, manager);
    if (error < 0) {
        log_line("cannot start: %s", strerror(-error));
        return error;
    }
    loop_arm(manager->loop, &manager->runtime_look, clock_monotonic_ns() + RUNTIME_LOOK_NS);
    error = control_open(&manager->control, manager->loop, manager->config->runtime,
                         &(struct control_calls){.answer = manager_answer,
                                                 .complete = manager_complete,
                                                 .out_of_descriptors = out_of_descriptors,
                                                 .context = manager,
                                                 .gone = manager_client_gone});
    manager->errands = (struct errands){.loop = manager->loop,
                                        .control = manager->control,
                                        .program = manager->self,
                                        .path = manager->path};
    if (error < 0)
        log_line("cannot open the control socket in %s: %s", manager->config->runtime,
                 strerror(-error));
    return error;
}

static int serve(struct manager *manager, bool renew)
{
    struct changes changes = {.lists = json_object()};
    int taken = fleet_take_over(manager->fleet);
    if (taken > 0)
        log_line("took over %d channels from an earlier manager", taken);
    int error = taken < 0 ? taken : retention_set(manager->retention, manager->config);
    if (error == 0)
        error = fleet_apply(manager->fleet, manager->config, manager_note_change, &changes);
    json_decref(changes.lists);
    if (error == 0)
        error = services_apply(&manager->services, manager->config);
    if (error == 0) {
        log_line("managing %u channels of %s in %s", manager->config->channel_count, manager->path,
                 manager->config->runtime);
        if (renew) {
            process_reap_strays(); /* of the program this process was */
            fleet_restart_all(manager->fleet);
        }
        supervisor_ready(&manager->supervisor, manager->fleet);
        loop_guard(manager->loop, in_charge, manager);
        error = loop_run(manager->loop);
        while (error == 0 && manager->upgrading) {
            manager_exec(manager);
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
    loop_disarm(&manager->readiness);
    loop_disarm(&manager->runtime_look);
    supervisor_close(&manager->supervisor);
    if (manager->fleet)
        last = report_end(manager->fleet);
    fleet_close(manager->fleet);
    services_close(&manager->services);
    errands_close(&manager->errands);
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

/* Where this program is, which is also where the others are looked for. 0, or a negative errno
 * after telling. */
static int find_self(char path[CHANNEL_PATH_BYTES_MAX])
{
    char fix[64];
    int error = process_own_program(path, CHANNEL_PATH_BYTES_MAX);
    if (error == 0)
        return 0;
    health_fix(fix, sizeof fix, HEALTH_PROCESSES, &(struct health_about){.number = 0});
    if (process_visible())
        log_line("cannot tell which program this is: %s", strerror(-error));
    else
        log_line("the system does not show its processes, without which no fleet can be looked "
                 "after: %s",
                 fix);
    return error;
}

/* As process_find_program; what is missing is told. */
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
    struct config *config = read_configuration(path, CONFIG_TAKES_OVER, &text);
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

/* Whether relays of an earlier manager may be at work: a schema must not keep them from being
 * looked after. */
static bool fleet_is_left(const char *path)
{
    char runtime[CHANNEL_PATH_BYTES_MAX], error[512];
    return config_read_runtime(path, runtime, sizeof runtime, error, sizeof error) == 0 &&
           control_fleet_is_left(runtime);
}

int manager_run(const char *path, bool renew)
{
    struct manager manager = {
        .path = path, .runtime = RUNTIME_NONE, .started_ns = clock_realtime_ns()};
    output_start();
    log_use(output_line);
    log_start("flotilla", NULL);
    char refused[CALLS_TEXT_BYTES];
    if (calls_refused(true, refused) < 0) {
        log_line("cannot start: %s", refused);
        return EXIT_CODE_FAILED;
    }
    /* Relays at work want looking after, and a program that is missing may come: who needs it waits
     * for it at the place where it is to be. */
    if (find_self(manager.self) < 0 ||
        find_program("flotilla-relay", manager.relay) == -ENAMETOOLONG ||
        find_program("flotilla-keeper", manager.keeper) == -ENAMETOOLONG)
        return EXIT_CODE_FAILED;
    char *text = NULL;
    enum config_machine machine = fleet_is_left(path) ? CONFIG_TAKES_OVER : CONFIG_RUNS_HERE;
    manager.config = read_configuration(path, machine, &text);
    log_text(text ? text : "out of memory");
    free(text);
    if (!manager.config)
        return EXIT_CODE_CONFIG;
    manager.descriptor_limit = process_raise_descriptor_limit();
    manager_check_descriptors(&manager);
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
