/* SPDX-License-Identifier: MIT
 * Clients of Foxglove's protocol. Topics are in the order of their ids, subscriptions in that of
 * theirs, so that a message with thousands of either is soon looked up. */
#include "gateway/foxglove_client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "os/host.h"

struct status {
    enum foxglove_level level;
    char id[96]; /* "": none */
    char text[512];
};

struct foxglove_client {
    struct socket *socket;
    const struct foxglove_client_use *use;
    void *context;
    struct foxglove_topic **topics, **subscribed;
    size_t topic_count, topic_room, subscribed_count, subscribed_room;
    uint32_t last_id;
    uint32_t *withdrawn; /* ids that are still to be withdrawn */
    size_t withdrawn_count, withdrawn_room;
    struct status *statuses; /* FOXGLOVE_STATUSES_MAX, in their order */
    size_t status_count;
    struct text out;
};

/* ---- what is where ---- */

static uint32_t id_of(const struct foxglove_topic *topic)
{
    return topic->id;
}

static uint32_t subscription_of(const struct foxglove_topic *topic)
{
    return topic->subscription;
}

/* The place of the first in `list` whose number is not below `number`. */
static size_t place_of(struct foxglove_topic *const *list, size_t count, uint32_t number,
                       uint32_t (*number_of)(const struct foxglove_topic *))
{
    size_t first = 0, end = count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (number_of(list[middle]) < number)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static struct foxglove_topic *find_by(struct foxglove_topic *const *list, size_t count,
                                      uint32_t number,
                                      uint32_t (*number_of)(const struct foxglove_topic *))
{
    size_t place = place_of(list, count, number, number_of);
    return place < count && number_of(list[place]) == number ? list[place] : NULL;
}

static void take_out(struct foxglove_topic **list, size_t *count, size_t place)
{
    memmove(list + place, list + place + 1, (*count - place - 1) * sizeof(struct foxglove_topic *));
    (*count)--;
}

struct foxglove_topic *foxglove_client_find(const struct foxglove_client *client, const char *name)
{
    for (size_t i = 0; i < client->topic_count; i++)
        if (strcmp(client->topics[i]->name, name) == 0)
            return client->topics[i];
    return NULL;
}

/* ---- sending ---- */

bool foxglove_client_has_room(const struct foxglove_client *client)
{
    return socket_queued(client->socket) < FOXGLOVE_QUEUE_BYTES / 2;
}

bool foxglove_client_send(struct foxglove_client *client, bool text, const char *bytes,
                          size_t count)
{
    return foxglove_client_has_room(client) && socket_send(client->socket, text, bytes, count) == 0;
}

/* Sends what was written to `out`. */
static bool send_out(struct foxglove_client *client)
{
    struct text *out = &client->out;
    bool sent = !out->failed && foxglove_client_send(client, true, out->at, out->bytes);
    out->failed = false;
    text_clear(out);
    return sent;
}

static bool send_withdrawn(struct foxglove_client *client)
{
    while (client->withdrawn_count > 0) {
        foxglove_write_unadvertise(&client->out, client->withdrawn[0]);
        if (!send_out(client))
            return false;
        memmove(client->withdrawn, client->withdrawn + 1,
                --client->withdrawn_count * sizeof(*client->withdrawn));
    }
    return true;
}

static bool send_topics(struct foxglove_client *client)
{
    for (size_t i = 0; i < client->topic_count; i++) {
        struct foxglove_topic *topic = client->topics[i];
        struct text name = {0};
        if (topic->advertised)
            continue;
        text_add(&name, "/%s", topic->name);
        struct foxglove_channel channel = {.id = topic->id,
                                           .topic = name.failed ? "" : name.at,
                                           .schema_name = topic->form->message.name,
                                           .schema = topic->form->message.text};
        foxglove_write_advertise(&client->out, &channel);
        text_free(&name);
        if (!send_out(client))
            return false;
        topic->advertised = true;
    }
    return true;
}

void foxglove_client_fill(struct foxglove_client *client)
{
    size_t sent = 0;
    if (!send_withdrawn(client) || !send_topics(client))
        return;
    while (sent < client->status_count) {
        const struct status *status = &client->statuses[sent];
        foxglove_write_status(&client->out, status->level,
                              status->id[0] != '\0' ? status->id : NULL, status->text);
        if (!send_out(client))
            break;
        sent++;
    }
    client->status_count -= sent;
    memmove(client->statuses, client->statuses + sent,
            client->status_count * sizeof(*client->statuses));
}

void foxglove_client_tell(struct foxglove_client *client, enum foxglove_level level, const char *id,
                          const char *format, ...)
{
    size_t place = 0;
    va_list arguments;
    while (place < client->status_count &&
           (id == NULL || strcmp(client->statuses[place].id, id) != 0))
        place++;
    if (place == FOXGLOVE_STATUSES_MAX) {
        memmove(client->statuses, client->statuses + 1, --place * sizeof(*client->statuses));
        client->status_count--;
    }
    struct status *status = &client->statuses[place];
    status->level = level;
    snprintf(status->id, sizeof(status->id), "%s", id != NULL ? id : "");
    va_start(arguments, format);
    vsnprintf(status->text, sizeof(status->text), format, arguments);
    va_end(arguments);
    if (place == client->status_count)
        client->status_count++;
    foxglove_client_fill(client);
}

/* ---- topics ---- */

struct foxglove_topic *foxglove_client_add(struct foxglove_client *client, const char *name,
                                           struct topic_form *form)
{
    struct foxglove_topic **grown =
        room_grow(client->topics, &client->topic_room, client->topic_count + 1, sizeof(*grown));
    if (grown != NULL)
        client->topics = grown;
    struct foxglove_topic *topic = calloc(1, sizeof(*topic));
    char *copy = text_copy(name);
    if (grown == NULL || topic == NULL || copy == NULL) {
        free(topic);
        free(copy);
        topic_form_free(form);
        return NULL;
    }
    *topic = (struct foxglove_topic){.id = ++client->last_id, .name = copy, .form = form};
    client->topics[client->topic_count++] = topic;
    foxglove_client_fill(client);
    return topic;
}

static void unsubscribe(struct foxglove_client *client, struct foxglove_topic *topic)
{
    client->use->unsubscribed(client->context, topic);
    topic->subscribed = false;
    take_out(client->subscribed, &client->subscribed_count,
             place_of(client->subscribed, client->subscribed_count, topic->subscription,
                      subscription_of));
}

static void free_topic(struct foxglove_topic *topic)
{
    topic_form_free(topic->form);
    free(topic->name);
    free(topic);
}

void foxglove_client_remove(struct foxglove_client *client, struct foxglove_topic *topic)
{
    if (topic->subscribed)
        unsubscribe(client, topic);
    take_out(client->topics, &client->topic_count,
             place_of(client->topics, client->topic_count, topic->id, id_of));
    if (topic->advertised) {
        uint32_t *grown = room_grow(client->withdrawn, &client->withdrawn_room,
                                    client->withdrawn_count + 1, sizeof(*grown));
        if (grown != NULL) {
            client->withdrawn = grown;
            client->withdrawn[client->withdrawn_count++] = topic->id;
        }
    }
    free_topic(topic);
    foxglove_client_fill(client);
}

/* ---- what the client says ---- */

/* Why not, or NULL. */
static const char *subscribe(struct foxglove_client *client, const struct foxglove_pair *pair)
{
    struct foxglove_topic *topic =
        find_by(client->topics, client->topic_count, pair->channel, id_of);
    size_t place =
        place_of(client->subscribed, client->subscribed_count, pair->subscription, subscription_of);
    if (topic == NULL || !topic->advertised)
        return "there is no such channel";
    if (topic->subscribed)
        return "it is subscribed to already";
    if (place < client->subscribed_count &&
        client->subscribed[place]->subscription == pair->subscription)
        return "another subscription has this id";
    if (client->subscribed_count == FOXGLOVE_SUBSCRIPTIONS_MAX)
        return "there are too many subscriptions";
    struct foxglove_topic **grown = room_grow(client->subscribed, &client->subscribed_room,
                                              client->subscribed_count + 1, sizeof(*grown));
    if (grown == NULL)
        return "out of memory";
    client->subscribed = grown;
    memmove(grown + place + 1, grown + place,
            (client->subscribed_count - place) * sizeof(struct foxglove_topic *));
    grown[place] = topic;
    client->subscribed_count++;
    topic->subscribed = true;
    topic->subscription = pair->subscription;
    client->use->subscribed(client->context, topic);
    return NULL;
}

/* All of a message, with one status however many are refused. */
static void take_pairs(struct foxglove_client *client, const struct foxglove_request *request)
{
    size_t refused = 0;
    const char *first_why = NULL;
    uint32_t first = 0;
    for (size_t i = 0; i < request->pair_count; i++) {
        const struct foxglove_pair *pair = &request->pairs[i];
        const char *why = NULL;
        if (request->word == FOXGLOVE_SUBSCRIBE) {
            why = subscribe(client, pair);
        } else {
            struct foxglove_topic *topic = find_by(client->subscribed, client->subscribed_count,
                                                   pair->subscription, subscription_of);
            if (topic != NULL)
                unsubscribe(client, topic);
            else
                why = "there is no such subscription";
        }
        if (why != NULL && refused++ == 0) {
            first_why = why;
            first = request->word == FOXGLOVE_SUBSCRIBE ? pair->channel : pair->subscription;
        }
    }
    if (refused == 1)
        foxglove_client_tell(client, FOXGLOVE_WARNING, NULL, "%" PRIu32 ": %s", first, first_why);
    else if (refused > 1)
        foxglove_client_tell(client, FOXGLOVE_WARNING, NULL,
                             "%" PRIu32 ": %s; %zu others are refused as well", first, first_why,
                             refused - 1);
}

void foxglove_client_message(struct foxglove_client *client, bool text, struct span message)
{
    struct foxglove_request request;
    if (foxglove_read(&request, text, message) < 0)
        foxglove_client_tell(client, FOXGLOVE_ERROR, NULL, "out of memory");
    else if (request.word == FOXGLOVE_SUBSCRIBE || request.word == FOXGLOVE_UNSUBSCRIBE)
        take_pairs(client, &request);
    else if (request.word == FOXGLOVE_PLAYBACK && client->use->playback != NULL)
        client->use->playback(client->context, &request);
    else if (request.word == FOXGLOVE_PLAYBACK)
        foxglove_client_tell(client, FOXGLOVE_WARNING, NULL,
                             "what is live is not played back: see /foxglove/recordings");
    else
        foxglove_client_tell(client,
                             request.word == FOXGLOVE_WRONG ? FOXGLOVE_ERROR : FOXGLOVE_WARNING,
                             NULL, "%s", request.why);
    free(request.pairs);
}

/* ---- begin and end ---- */

const char *const foxglove_subprotocols[] = {"foxglove.sdk.v1", "foxglove.websocket.v1", NULL};

bool foxglove_client_greet(struct foxglove_client *client, const struct foxglove_span *span)
{
    static char session[24]; /* of this process: by another one clients know that all is new */
    char host[128];
    struct text name = {0};
    host_name(host, sizeof(host));
    text_add(&name, "Flotilla on %s%s", host, span != NULL ? ": recordings" : "");
    if (session[0] == '\0')
        snprintf(session, sizeof(session), "%016" PRIx64, clock_realtime_ns());
    struct foxglove_server server = {.name = name.failed ? "Flotilla" : name.at,
                                     .session = session,
                                     .plays = span != NULL,
                                     .from_ns = span != NULL ? span->from_ns : 0,
                                     .to_ns = span != NULL ? span->to_ns : 0};
    foxglove_write_server_info(&client->out, &server);
    text_free(&name);
    return send_out(client);
}

int foxglove_client_open(struct foxglove_client **made, struct socket *socket,
                         const struct foxglove_client_use *use, void *context)
{
    struct foxglove_client *client = calloc(1, sizeof(*client));
    struct status *statuses = calloc(FOXGLOVE_STATUSES_MAX, sizeof(*statuses));
    *made = client;
    if (client == NULL || statuses == NULL) {
        free(client);
        free(statuses);
        return -ENOMEM;
    }
    *client = (struct foxglove_client){
        .socket = socket, .use = use, .context = context, .statuses = statuses};
    return 0;
}

void foxglove_client_close(struct foxglove_client *client)
{
    while (client->subscribed_count > 0)
        unsubscribe(client, client->subscribed[client->subscribed_count - 1]);
    for (size_t i = 0; i < client->topic_count; i++)
        free_topic(client->topics[i]);
    free(client->topics);
    free(client->subscribed);
    free(client->withdrawn);
    free(client->statuses);
    text_free(&client->out);
    free(client);
}
