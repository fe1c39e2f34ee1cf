/* SPDX-License-Identifier: MIT
 * flotilla.live.v1: clients, their messages, and the tick, 20 times a second on one grid for all,
 * in which what has gathered is sent. docs/internals/live.md is the protocol. */
#include "gateway/live.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/json_text.h"
#include "gateway/live_parts.h"
#include "os/clock.h"

#define TICK_NS       (50 * NS_PER_MS)
#define PART_CHANNELS 100u /* of a fleet, in a message */

/* What was sent of the fleet last, to whomever: made once for all. */
static struct {
    json_t *status; /* NULL: no manager answers */
    bool known;
    char *text;             /* messages, one behind the other ... */
    size_t *ends, end_room; /* ... which end here */
    unsigned parts;
    uint64_t version, at_ns;
} fleet;

/* ---- sending ---- */

static bool is_sent(struct client *client, int status)
{
    if (status == -ENOBUFS || status == -ENOMEM)
        socket_close(client->socket, 1008, "the client does not take what it asked for");
    return status == 0;
}

bool live_send_text(struct client *client, const struct text *text)
{
    if (text->failed || text->at == NULL)
        return is_sent(client, -ENOMEM);
    return is_sent(client, socket_send(client->socket, true, text->at, text->bytes));
}

bool live_send_json(struct client *client, json_t *object)
{
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    int status = text != NULL ? socket_send(client->socket, true, text, strlen(text)) : -ENOMEM;
    json_decref(object);
    free(text);
    return is_sent(client, status);
}

void live_send_error(struct client *client, uint32_t id, const char *text)
{
    live_send_json(client, json_pack("{s:s, s:o, s:o}", "op", "error", "id",
                                     id > 0 ? json_integer((json_int_t)id) : json_null(), "text",
                                     json_of_text(text)));
}

void live_send_ended(struct client *client, uint32_t id, const char *reason)
{
    live_send_json(client, json_pack("{s:s, s:I, s:o}", "op", "ended", "id", (json_int_t)id,
                                     "reason", json_of_text(reason)));
}

bool live_has_room(const struct client *client)
{
    return socket_queued(client->socket) < LIVE_QUEUE_BYTES / 2;
}

/* ---- the fleet ---- */

static const json_t *status_of(const char *channel)
{
    size_t index;
    json_t *one;
    json_array_foreach(json_object_get(fleet.status, "channels"), index, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name != NULL && strcmp(name, channel) == 0)
            return one;
    }
    return NULL;
}

double live_status_number(const char *channel, const char *key)
{
    const json_t *value = json_object_get(status_of(channel), key);
    if (json_is_boolean(value))
        return json_is_true(value);
    return json_is_number(value) ? json_number_value(value) : -1;
}

uint64_t live_status_ns(void)
{
    return fleet.at_ns;
}

/* The messages of a fleet, each of at most so many channels; the text is its end's. */
static char *write_fleet(const json_t *status, const char *reason, unsigned *parts)
{
    struct text text = {0};
    const json_t *channels = json_object_get(status, "channels");
    size_t count = json_array_size(channels);
    *parts = (unsigned)((count + PART_CHANNELS - 1) / PART_CHANNELS);
    *parts = *parts > 0 ? *parts : 1;
    for (unsigned part = 0; part < *parts; part++) {
        json_t *some = json_array();
        for (size_t i = 0; i < PART_CHANNELS && part * PART_CHANNELS + i < count; i++)
            json_array_append(some, json_array_get(channels, part * PART_CHANNELS + i));
        json_t *object = json_pack("{s:s, s:o}", "op", "channels", "channels",
                                   status != NULL ? some : json_null());
        if (status == NULL) {
            json_decref(some);
            json_object_set_new(object, "reason", json_of_text(reason));
        } else if (*parts > 1) {
            json_object_set_new(object, "part", json_integer((json_int_t)part));
            json_object_set_new(object, "parts", json_integer((json_int_t)*parts));
        }
        char *one = json_dumps(object, JSON_COMPACT);
        text_add_string(&text, one != NULL ? one : "");
        text.failed = text.failed || one == NULL;
        size_t *ends = room_grow(fleet.ends, &fleet.end_room, part + 1, sizeof(*ends));
        if (ends != NULL)
            (fleet.ends = ends)[part] = text.bytes;
        text.failed = text.failed || ends == NULL;
        json_decref(object);
        free(one);
    }
    if (!text.failed)
        return text_take(&text);
    text_free(&text);
    return NULL;
}

static void take_status(const json_t *status, const char *reason)
{
    if (fleet.known && status == fleet.status && status != NULL)
        return;
    unsigned parts;
    char *text = write_fleet(status, reason, &parts);
    json_decref(fleet.status);
    fleet.status = json_incref((json_t *)(uintptr_t)status);
    fleet.known = true;
    fleet.at_ns = clock_realtime_ns();
    if (text != NULL && fleet.text != NULL && strcmp(text, fleet.text) == 0) {
        free(text);
        return;
    }
    free(fleet.text);
    fleet.text = text;
    fleet.parts = text != NULL ? parts : 0;
    fleet.version++;
}

/* As far as there is room; who does not keep up gets a later one. */
static void send_fleet(struct client *client)
{
    if (client->status_sent != fleet.version)
        client->parts_sent = 0;
    client->status_sent = fleet.version;
    while (client->parts_sent < fleet.parts && live_has_room(client)) {
        size_t from = client->parts_sent > 0 ? fleet.ends[client->parts_sent - 1] : 0;
        if (socket_send(client->socket, true, fleet.text + from,
                        fleet.ends[client->parts_sent] - from) < 0)
            return;
        client->parts_sent++;
    }
}

static void take_fleet(void *context, const json_t *status, const char *reason)
{
    struct client *client = context;
    take_status(status, reason);
    send_fleet(client);
    for (struct sub *sub = client->subs; sub != NULL; sub = sub->next)
        sub_reconsider(sub);
}

/* ---- the tick ---- */

static void flush_all(struct client *client)
{
    uint64_t now_ns = clock_monotonic_ns();
    struct sub *next;
    for (struct query *query = client->queries, *after; query != NULL; query = after) {
        after = query_next(query);
        query_flush(query);
    }
    for (struct sub *sub = client->subs; sub != NULL; sub = next) {
        next = sub->next;
        if (sub->ends)
            sub_end(sub);
        else
            sub_flush(sub, now_ns);
    }
    for (struct sub *sub = client->subs; sub != NULL; sub = sub->next)
        if (sub_waits(sub))
            live_wake(client);
}

static void tick(void *context)
{
    flush_all(context);
}

void live_wake(struct client *client)
{
    uint64_t now_ns = clock_monotonic_ns();
    if (client->tick.link_from == NULL)
        loop_arm(hub_loop(client->hub), &client->tick, (now_ns / TICK_NS + 1) * TICK_NS);
}

static void room(void *context)
{
    send_fleet(context);
    flush_all(context);
}

/* ---- messages ---- */

static void unsubscribe(struct client *client, uint32_t id)
{
    struct sub *sub = sub_find(client, id);
    if (sub == NULL) {
        live_send_error(client, id, "nothing is subscribed to by that id");
        return;
    }
    sub_end(sub);
    live_send_ended(client, id, "unsubscribed");
}

static void cancel(struct client *client, uint32_t id)
{
    struct query *query = query_find(client, id);
    if (query != NULL)
        query_end(query);
    live_send_ended(client, id, "cancelled");
}

static void message(void *context, bool text, struct span bytes)
{
    struct client *client = context;
    struct live_request request = {0};
    char error[600];
    if (!text) {
        live_send_error(client, 0, "binary messages are not taken");
        return;
    }
    if (!live_read(&request, bytes, error, sizeof(error))) {
        live_send_error(client, request.id, error);
    } else {
        switch (request.op) {
        case LIVE_SUBSCRIBE:
            sub_begin(client, &request);
            break;
        case LIVE_UNSUBSCRIBE:
            unsubscribe(client, request.id);
            break;
        case LIVE_HISTORY:
            query_begin(client, &request);
            break;
        case LIVE_CANCEL:
            cancel(client, request.id);
            break;
        }
    }
    json_decref(request.message);
}

/* ---- clients ---- */

static void closed(void *context)
{
    struct client *client = context;
    while (client->subs != NULL)
        sub_end(client->subs);
    while (client->queries != NULL)
        query_end(client->queries);
    feed_unfollow(client->fleet);
    loop_disarm(&client->tick);
    free(client);
}

static void *opened(struct hub *hub, struct socket *socket)
{
    static const struct feed_fleet_use use = {.status = take_fleet};
    struct client *client = calloc(1, sizeof(*client));
    char now[24];
    if (client == NULL)
        return NULL;
    client->hub = hub;
    client->socket = socket;
    client->tick = (struct loop_timer){.due = tick, .context = client};
    if (feed_follow(&client->fleet, hub_feeds(hub), &use, client) < 0) {
        free(client);
        return NULL;
    }
    snprintf(now, sizeof(now), "%" PRIu64, clock_realtime_ns());
    live_send_json(client, json_pack("{s:s, s:s, s:s}", "op", "hello", "version", FLOTILLA_VERSION,
                                     "now", now));
    return client;
}

static const char *const subprotocols[] = {"flotilla.live.v1", NULL};

const struct dialect live_dialect = {
    .path = "/api/v1/live",
    .subprotocols = subprotocols,
    .use = {.message_bytes_max = LIVE_MESSAGE_BYTES,
            .queue_bytes_max = LIVE_QUEUE_BYTES,
            .message = message,
            .room = room,
            .closed = closed},
    .opened = opened,
};
