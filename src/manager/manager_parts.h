/* SPDX-License-Identifier: MIT
 * What the files of the manager share. Nobody else includes this; its manual is manager/manager.h.
 */
#ifndef FLOTILLA_MANAGER_MANAGER_PARTS_H
#define FLOTILLA_MANAGER_MANAGER_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "config/config.h"
#include "control/server.h"
#include "manager/errand.h"
#include "manager/fleet.h"
#include "manager/retention.h"
#include "manager/runtime.h"
#include "manager/services.h"
#include "manager/supervisor.h"
#include "os/loop.h"

#define EXIT_CODE_FAILED 1
#define EXIT_CODE_USAGE  2
#define EXIT_CODE_CONFIG 78

struct manager {
    const char *path;                                                   /* of the configuration */
    char relay[CHANNEL_PATH_BYTES_MAX], keeper[CHANNEL_PATH_BYTES_MAX]; /* the programs */
    char self[CHANNEL_PATH_BYTES_MAX]; /* the program this is, or was until it was replaced */
    bool upgrading;                    /* to become the program that stands there now */
    struct config *config;
    struct runtime runtime;
    struct loop_timer runtime_look;
    int runtime_error;      /* told of already */
    int socket_error;       /* the same */
    bool runtime_recreated; /* it was made again, and is to be repopulated */
    bool superseded;        /* another manager has the runtime folder, and so the fleet */
    struct loop *loop;
    struct fleet *fleet;
    struct control *control;
    struct retention *retention;
    struct services services;
    struct errands errands;
    struct supervisor supervisor;
    struct loop_timer readiness; /* armed while requests wait for what they have started */
    uint64_t readiness_end_ns;
    uint64_t descriptor_limit;
    uint64_t started_ns;
    bool stopping;
};

/* ---- manager.c ---- */

/* The same, and NULL too if it cannot take the place of the current one. */
struct config *manager_read_successor(const struct manager *manager, char **text);
/* Tells once, before it hurts, that there are not descriptors enough for all channels. */
void manager_check_descriptors(const struct manager *manager);
void manager_stop(struct manager *manager, const char *by);

/* ---- requests.c ---- */

/* What fleet_apply has done to each channel, by kind. */
struct changes {
    json_t *lists; /* one array of names for each kind of change, under its word */
    uint32_t counts[FLEET_CHANGES];
};
void manager_note_change(void *context, enum fleet_change change, const char *channel);
/* Reads the configuration again and applies it. The reply, a new object. */
json_t *manager_reload(struct manager *manager);
/* The reply to a reload whose configuration is not valid: `text` says why. */
json_t *manager_refuse_reload(const struct manager *manager, const char *text);
/* Nothing is being replaced any more: whoever waits for that soon learns what has come of it. */
void manager_await_readiness(struct manager *manager);
void manager_look_for_readiness(void *context);
/* control_calls: `answer` and `complete`. */
json_t *manager_answer(void *context, const json_t *request, bool *hold);
void manager_complete(void *context, json_t *reply);
void manager_client_gone(void *context, uint64_t ticket);

/* ---- upgrade.c ---- */

/* Begins `restart --all`: this process becomes the program that now stands in its place, and that
 * replaces the relays. The reply, a new object. */
json_t *manager_upgrade(struct manager *manager);
/* Becomes that program, with the relays at work. Returns only if that failed. */
void manager_exec(struct manager *manager);

#endif
