/* SPDX-License-Identifier: MIT
 * One client that speaks Foxglove's protocol, whatever it is shown: topics advertised and
 * withdrawn, what it subscribes to, what it is told by status. Topics and statuses wait while its
 * socket's queue is full. In the hub's thread. Relies on gateway/socket. */
#ifndef FLOTILLA_GATEWAY_FOXGLOVE_CLIENT_H
#define FLOTILLA_GATEWAY_FOXGLOVE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gateway/foxglove_topic.h"
#include "gateway/foxglove_words.h"
#include "gateway/hub.h"
#include "gateway/socket.h"

/* Of a socket's queue; half of it holds the longest message. */
#define FOXGLOVE_QUEUE_BYTES       (2u << 20)
#define FOXGLOVE_SUBSCRIPTIONS_MAX 1024u
#define FOXGLOVE_STATUSES_MAX      64u /* that wait */

/* What a client may offer. */
extern const char *const foxglove_subprotocols[];

struct foxglove_topic {
    uint32_t id; /* never used again in a connection */
    char *name;  /* of the channel */
    struct topic_form *form;
    bool advertised;
    bool subscribed;
    uint32_t subscription;
    void *use; /* the owner's; NULL to begin with */
};

struct foxglove_client;

/* Calls of it; never from within one of the functions below but foxglove_client_message. */
struct foxglove_client_use {
    void (*subscribed)(void *context, struct foxglove_topic *topic);
    /* Also before a topic goes. */
    void (*unsubscribed)(void *context, struct foxglove_topic *topic);
    /* NULL: there is no playback. */
    void (*playback)(void *context, const struct foxglove_request *request);
};

/* The socket must outlive it. 0 or -ENOMEM. */
int foxglove_client_open(struct foxglove_client **client, struct socket *socket,
                         const struct foxglove_client_use *use, void *context);
/* Frees it with its topics; `unsubscribed` is called for those subscribed. */
void foxglove_client_close(struct foxglove_client *client);

/* Says who is there, first of all: with the span of the recordings that can be played, or without
 * (NULL) what is live. False without memory. */
struct foxglove_span {
    uint64_t from_ns, to_ns;
};
bool foxglove_client_greet(struct foxglove_client *client, const struct foxglove_span *span);

/* What the client has sent. */
void foxglove_client_message(struct foxglove_client *client, bool text, struct span message);

/* Advertises `form`, which is taken, under `name`. NULL without memory. */
struct foxglove_topic *foxglove_client_add(struct foxglove_client *client, const char *name,
                                           struct topic_form *form);
/* Withdraws and frees it. */
void foxglove_client_remove(struct foxglove_client *client, struct foxglove_topic *topic);
/* By name, or NULL. */
struct foxglove_topic *foxglove_client_find(const struct foxglove_client *client, const char *name);

/* Tells it something; `id` as of foxglove_write_status. Where too many wait, the oldest go. */
void foxglove_client_tell(struct foxglove_client *client, enum foxglove_level level, const char *id,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Whether its queue has room for any message that may be. */
bool foxglove_client_has_room(const struct foxglove_client *client);
/* Sends what waits of topics and statuses, as far as there is room; for the socket's `room`. */
void foxglove_client_fill(struct foxglove_client *client);
/* Sends a message as it is, if there is room. False: there is none, or the socket is closing. */
bool foxglove_client_send(struct foxglove_client *client, bool text, const char *bytes,
                          size_t count);

#endif
