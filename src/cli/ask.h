/* SPDX-License-Identifier: MIT
 * What the verbs that talk to a running manager share: their options, and asking. */
#ifndef FLOTILLA_CLI_ASK_H
#define FLOTILLA_CLI_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

/* What a verb takes beside -c FILE. */
enum ask_accepts { ASK_JSON = 1, ASK_WATCH = 2, ASK_CHANNEL = 4, ASK_ALL = 8, ASK_RENEW = 16 };

struct ask_options {
    const char *config; /* of -c, or NULL */
    bool json, watch, all, renew;
    const char *channel; /* NULL with `all` */
};

/* Reads the options. EXIT_OK, or EXIT_USAGE after telling what is wrong. */
int ask_read_options(int argc, char **argv, unsigned accepts, struct ask_options *options);

/* Sends `request` (taken over, freed) to the manager that the options lead to. EXIT_OK and the
 * reply, which the caller frees; or another exit code after telling on stderr why. */
int ask_manager(const struct ask_options *options, json_t *request, uint64_t timeout_ms,
                bool until_gone, json_t **reply);

/* As ask_manager, but says nothing: the reply, or NULL. */
json_t *ask_quietly(const struct ask_options *options, json_t *request, uint64_t timeout_ms);

/* Tells which channels of a reload or restart did not come up, "NAME: failed: REASON" on stderr.
 * EXIT_OK if all did, else EXIT_FAILED. */
int ask_tell_failed(const json_t *reply);

/* Prints a reply as JSON on standard output. EXIT_OK, or EXIT_FAILED after telling why not. */
int ask_print_json(const json_t *reply);

#endif
