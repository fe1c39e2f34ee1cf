/* SPDX-License-Identifier: MIT
 * Errands: what a client of the control socket wants done that takes time, or writes, or reads what
 * is large. The manager has it done by another process and waits for nothing: `flotilla` itself
 * (doctor, channel, pin, unpin), and `flotilla-export`. Their words are made here of what the
 * request has, each checked, none a path of the client's.
 *
 *     {"verb": "doctor"}
 *     {"verb": "channel", "channel": NAME, "action": "show" | "add" | "change" | "remove",
 *      "if": ETAG, "body": {...}}                            without a channel: what there is
 *     {"verb": "pin", "name": NAME, "from": T, "to": T, "channels": [NAME, ...]}
 *     {"verb": "unpin", "name": NAME, "channels": [NAME, ...]}
 *     {"verb": "export", "format": NAME, "channels": [...], "fields": TEXT, "from": T, "to": T,
 *      "span_by": NAME, "every": TEXT, "decimate": TEXT, "gzip": TEXT}
 *
 * The answer is {"exit": CODE, "output": TEXT, "said": TEXT}, with what it printed. An export has
 * no output but a descriptor: of a pipe, in a line of its own as soon as it runs, or, where the
 * format is not written from front to back, of a file without a name in the recordings' folder,
 * with the answer. It gives way to all else, and ends when its client goes, or when the disk has
 * less room than is to be kept.
 * Relies on os/loop: everything in its thread. */
#ifndef FLOTILLA_MANAGER_ERRAND_H
#define FLOTILLA_MANAGER_ERRAND_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "config/config.h"
#include "control/server.h"
#include "os/loop.h"

#define ERRANDS_MAX        6u /* at once, of them ... */
#define ERRAND_EXPORTS_MAX 2u /* ... exports */

struct errand;

/* The caller's; the fields are this module's but for the first four. */
struct errands {
    struct loop *loop;
    struct control *control;
    const char *program; /* `flotilla` */
    const char *path;    /* of the configuration */
    struct errand *first;
    unsigned count, exports;
};

/* Whether a request of that verb is an errand. */
bool errand_is(const char *verb);
/* Begins one, for the client whose request is being answered. NULL, and the client is kept and told
 * later; or a refusal. */
json_t *errand_begin(struct errands *errands, const struct config *config, const json_t *request);
/* The client of one has gone: control_calls' `gone`. */
void errand_client_gone(struct errands *errands, uint64_t ticket);
/* Ends those that would take long, and forgets all: a change to a channel comes to its end. */
void errands_close(struct errands *errands);

#endif
