/* SPDX-License-Identifier: MIT
 * What the parts of `flotilla doctor` share: the findings, and what is examined. */
#ifndef FLOTILLA_CLI_DOCTOR_H
#define FLOTILLA_CLI_DOCTOR_H

#include <stdbool.h>

#include <jansson.h>

#include "config/config.h"

enum doctor_level {
    DOCTOR_OK,
    DOCTOR_UNKNOWN, /* cannot be known from here; the text says why */
    DOCTOR_WARNING, /* works, but not as well as it should, or not for long */
    DOCTOR_PROBLEM, /* something that is configured cannot work */
    DOCTOR_LEVELS
};

/* What counts only upwards is looked at twice, so far apart. */
#define DOCTOR_LOOK_NS (1000 * NS_PER_MS)

struct doctor {
    const struct config *config;
    const char *given; /* of -c, or NULL */
    json_t *fleet;     /* the reply of status, or NULL where none answers */
    json_t *later;     /* the same a second later, where that was looked at */
    bool idle;         /* no manager runs here, so that nobody ought to be at its addresses */
    bool same_network; /* the fleet's network is ours, so that its memberships can be seen */
    json_t *findings;  /* objects: level, about, name, check, text, fix */
    unsigned counts[DOCTOR_LEVELS];
    const char *about, *name; /* of what is examined: "host", "storage", "interface", "channel" */
};

/* What is examined from here on. */
void doctor_examine(struct doctor *doctor, const char *about, const char *name);
/* Notes a finding about it; `fix` is the command that mends it, NULL for DOCTOR_OK. */
void doctor_find(struct doctor *doctor, enum doctor_level level, const char *check, const char *fix,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Writes "flotilla WORDS" with the configuration that was given, as a command of sh(1). */
#define DOCTOR_COMMAND_BYTES 8192
void doctor_command(const struct doctor *doctor, char text[DOCTOR_COMMAND_BYTES],
                    const char *words);
/* The channel's part of the status, or NULL where no manager runs or it does not know it. */
const json_t *doctor_status(const struct doctor *doctor, const char *channel);

/* The same a second later, asked for once. */
const json_t *doctor_status_later(struct doctor *doctor, const char *channel);

/* Whether the channel's relay runs within its limits; whether it could, where none runs. */
void doctor_limits(struct doctor *doctor, const struct config_channel *channel);

/* Interfaces, addresses, routes, memberships, queues: doctor_network.c. */
void doctor_network(struct doctor *doctor);

#endif
