/* SPDX-License-Identifier: MIT
 * The control socket RUNTIME/control.sock (mode 0660): one JSON object on a line asks, one answers,
 * then the connection is closed. Requests: {"verb": "status" | "reload" | "stop"}, and
 * {"verb": "restart", "channel": NAME}. A refusal is {"error": TEXT, "exit": EXIT CODE}.
 * More clients at once than CONTROL_CLIENTS_MAX are refused with the error "busy: ...".
 * Relies on os/local and jansson. A client that is slow to ask or to listen delays nobody: it has
 * CONTROL_PATIENCE_MS, and its own buffers. */
#ifndef FLOTILLA_MANAGER_CONTROL_H
#define FLOTILLA_MANAGER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "channel/settings.h"
#include "os/loop.h"

#define CONTROL_SOCKET            "control.sock"
#define CONTROL_LOCK              "manager.lock" /* held by a manager while it lives */
#define CONTROL_PROCESS_FILE      "manager.pid"
#define CONTROL_REQUEST_BYTES_MAX 4096u
#define CONTROL_REPLY_BYTES_MAX   (64u << 20)
#define CONTROL_CLIENTS_MAX       64u
#define CONTROL_PATIENCE_MS       10000u
#define CONTROL_CROWDED_MS        60000u

/* ---- the manager's side ---- */

struct control; /* opaque; from control_open, freed by control_close */

struct control_calls {
    /* Answers a request: returns a new reply. With `*hold` set, it is sent at control_release. */
    json_t *(*answer)(void *context, const json_t *request, bool *hold);
    /* Adds to a reply that was held what has come of the request, before it is sent. */
    void (*complete)(void *context, json_t *reply);
    /* A client cannot be taken in for now, with this errno (EMFILE, ENFILE ...). At most once in
     * CONTROL_CROWDED_MS; it is tried again every second, and whenever another client has gone. */
    void (*crowded)(void *context, int error);
    void *context;
};

/* Listens in the folder `runtime` and answers in the loop's callbacks. 0 or a negative errno. */
int control_open(struct control **control, struct loop *loop, const char *runtime,
                 const struct control_calls *calls);
/* Makes the socket again if somebody has removed it, or put something else in its place. 1 if it
 * did, 0 if it is there, or a negative errno. */
int control_mend(struct control *control);
/* Sends the replies that were held; with `instead` not NULL, that in place of each. */
void control_release(struct control *control, const json_t *instead);
/* Sends what the clients take at once, closes all, removes the socket. */
void control_close(struct control *control);

/* A refusal to answer with. */
json_t *control_refusal(int exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- the client's side ---- */

/* Finds the runtime folder of the configuration that config_find(given) finds: reads no more of it
 * than that key, so that an otherwise broken file does not come between a user and a manager that
 * runs. A file that is empty, cut off or no fleet's, and does not name the folder, is refused
 * rather than taken for the default: another fleet may be there. 0, or -EINVAL with a message for
 * people. */
int control_find_runtime(const char *given, char runtime[CHANNEL_PATH_BYTES_MAX], char *error,
                         size_t error_bytes);

/* The number of the process that says it manages `runtime`; 0 if none does. */
long control_process(const char *runtime);
/* The same in words: "process 123", or "another process" where it does not say. Returns `text`. */
#define CONTROL_MANAGER_TEXT_BYTES 32
const char *control_manager(const char *runtime, char text[CONTROL_MANAGER_TEXT_BYTES]);

/* Whether a manager holds the folder `runtime`: 1, 0, or the negative errno (-EACCES) for which
 * that cannot be told. Makes no folder and no lock that is not there. */
int control_managed(const char *runtime);
/* The same, but where the folder or its lock is gone and a fleet is left, a manager that has yet to
 * notice is given the moment it needs to take it again. */
int control_managed_again(const char *runtime);

/* Asks the manager of `runtime`, waiting at most `timeout_ms` for its answer, and then, if
 * `until_gone`, for its end. Returns the reply (a new object), or NULL with a message for people.
 */
json_t *control_ask(const char *runtime, const json_t *request, uint64_t timeout_ms,
                    bool until_gone, char *error, size_t error_bytes);

#endif
