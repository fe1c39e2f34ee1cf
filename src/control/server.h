/* SPDX-License-Identifier: MIT
 * The manager's side of the control socket. Relies on os/local, os/loop and jansson. More clients
 * at once than CONTROL_CLIENTS_MAX are refused with the error "busy: ...". A client that is slow to
 * ask or to listen delays nobody: it has CONTROL_TIMEOUT_MS, and its own buffers. */
#ifndef FLOTILLA_CONTROL_SERVER_H
#define FLOTILLA_CONTROL_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "control/protocol.h"
#include "os/loop.h"

#define CONTROL_CLIENTS_MAX           64u
#define CONTROL_LARGE_BYTES_MAX       (16u << 20) /* of all requests beyond their first 4 KiB */
#define CONTROL_TIMEOUT_MS            10000u
#define CONTROL_OUT_OF_DESCRIPTORS_MS 60000u

struct control; /* opaque; from control_open, freed by control_close */

struct control_calls {
    /* Answers a request: returns a new reply. With `*hold` set, it is sent at control_release. */
    json_t *(*answer)(void *context, const json_t *request, bool *hold);
    /* Adds to a reply that was held what has come of the request, before it is sent. */
    void (*complete)(void *context, json_t *reply);
    /* A client cannot be taken in for now, with this errno (EMFILE, ENFILE ...). At most once in
     * CONTROL_OUT_OF_DESCRIPTORS_MS; it is tried again every second, and whenever another client
     * has gone. */
    void (*out_of_descriptors)(void *context, int error);
    void *context;
    /* A client that was kept has gone before it was told the last. NULL: none is ever kept. */
    void (*gone)(void *context, uint64_t ticket);
};

/* Listens in the folder `runtime` and answers in the loop's callbacks. 0 or a negative errno. */
int control_open(struct control **control, struct loop *loop, const char *runtime,
                 const struct control_calls *calls);
/* Makes the socket again if somebody has removed it, or put something else in its place. 1 if it
 * did, 0 if it is there, or a negative errno. */
int control_mend(struct control *control);
/* For `answer`, which then returns NULL: this client is told later, by control_tell with the number
 * that is returned, never 0. */
uint64_t control_keep(struct control *control);
/* Tells a client that was kept, in a line, which `handed` goes with (DESCRIPTOR_NONE: none; such a
 * line is short). With `last` the connection ends. Nothing happens if it has gone. */
void control_tell(struct control *control, uint64_t ticket, const json_t *line,
                  descriptor_t handed, bool last);
/* Sends the replies that were held; with `instead` not NULL, that in place of each. */
void control_release(struct control *control, const json_t *instead);
/* Sends what the clients take at once, closes all, removes the socket. */
/* Answers every client with `refusal`, whatever it has asked or is about to. NULL: nothing. */
void control_turn_away(struct control *control, const json_t *refusal);
void control_close(struct control *control);

/* A refusal to answer with. */
json_t *control_refusal(int exit_code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
