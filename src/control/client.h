/* SPDX-License-Identifier: MIT
 * The client's side of the control socket: finding the manager, asking it one thing, waiting for
 * the answer. Waits, so it is for commands only. */
#ifndef FLOTILLA_CONTROL_CLIENT_H
#define FLOTILLA_CONTROL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/text.h"
#include "control/protocol.h"
#include "os/descriptor.h"

/* The number of the process that says it manages `runtime`; 0 if none does. */
long control_process(const char *runtime);
/* The same in words: "process 123", or "another process" where it does not say. Returns `text`. */
#define CONTROL_MANAGER_TEXT_BYTES 32
const char *control_manager(const char *runtime, char text[CONTROL_MANAGER_TEXT_BYTES]);

/* Whether a manager holds the folder `runtime`: 1, 0, or the negative errno (-EACCES) for which
 * that cannot be told. Makes no folder and no lock that is not there. */
int control_managed(const char *runtime);
/* Whether a relay or a keeper of that runtime folder runs, by their command lines. */
bool control_fleet_is_left(const char *runtime);
/* The same as control_managed, but where the folder or its lock is gone and a fleet is left, a
 * manager that has yet to notice is given the moment it needs to take it again. */
int control_managed_again(const char *runtime);

/* Asks the manager of `runtime`, waiting at most `timeout_ms` for its answer, and then, if
 * `until_gone`, for its end. Returns the reply (a new object), or NULL with a message for people.
 */
json_t *control_ask(const char *runtime, const json_t *request, uint64_t timeout_ms,
                    bool until_gone, char *error, size_t error_bytes);

/* Asking for what is answered in several lines, which may come with a descriptor. */
struct control_talk {
    descriptor_t connection;
    descriptor_t handed; /* the newest; DESCRIPTOR_NONE: none came. Whoever takes it puts that */
    struct text came;
};
/* Asks. 0, or a negative errno with a message for people. control_talk_end in any case. */
int control_talk_begin(struct control_talk *talk, const char *runtime, const json_t *request,
                       char *error, size_t error_bytes);
/* The next line, waited for at most `timeout_ms`. 0 and a new object; -ETIMEDOUT: none yet; -EPIPE:
 * no more will come; or another negative errno. */
int control_talk_next(struct control_talk *talk, uint64_t timeout_ms, json_t **line);
/* */
void control_talk_end(struct control_talk *talk);

#endif
