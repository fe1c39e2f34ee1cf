/* SPDX-License-Identifier: MIT
 * The fleet, live, in Foxglove's protocol: every channel a topic, each datum of its full stream a
 * message. A client that takes them more slowly than they come has a backlog of its own, of whose
 * fullest topic the oldest go; it is told how many. */
#include "gateway/foxglove.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "gateway/feed.h"
#include "gateway/foxglove_client.h"
#include "os/clock.h"
#include "os/host.h"
#include "os/loop.h"

#define BACKLOG_BYTES_MAX (1u << 20)
#define LOOK_NS           NS_PER_S
/* Between two words about the same: some tools show each in a window that wants to be closed. */
#define TELL_NS (60 * NS_PER_S)

/* A message that waits; its bytes stand behind it. */
struct waiting {
    struct waiting *next;          /* of all */
    struct waiting *next_of_topic; /* of the same topic */
    struct waiting *before;        /* of all */
    struct channel *channel;
    size_t bytes;
    char message[];
};

/* A topic that is subscribed to. */
struct channel {
    struct channel *next;
    struct visitor *visitor;
    struct foxglove_topic *topic;
    struct feed *feed; /* NULL: it has ended, and is to be tried again */
    bool fits;         /* what comes is of the topic's schema */
    struct waiting *first, *last;
    size_t bytes; /* that wait */
    uint64_t skipped, told_skipped, told_skipped_ns;
    uint64_t missing, told_missing, told_missing_ns;
    uint64_t gaps, told_gaps, told_gaps_ns; /* of which nobody knows how much is missing */
    uint64_t gap_from_ns, gap_count;        /* the last: one that goes on stands for it */
    char missing_why[200], gap_why[200];
};

struct visitor {
    struct hub *hub;
    struct foxglove_client *client;
    struct feed_fleet *fleet;
    struct loop_timer look;
    struct channel *channels;
    struct waiting *first, *last;
    size_t bytes;
    bool manager_missing;
    struct text out;
};

/* ---- the backlog ---- */

static void backlog_remove(struct channel *channel)
{
    struct visitor *visitor = channel->visitor;
    struct waiting *oldest = channel->first;
    channel->first = oldest->next_of_topic;
    if (channel->first == NULL)
        channel->last = NULL;
    *(oldest->before != NULL ? &oldest->before->next : &visitor->first) = oldest->next;
    *(oldest->next != NULL ? &oldest->next->before : &visitor->last) = oldest->before;
    channel->bytes -= oldest->bytes;
    visitor->bytes -= oldest->bytes;
    free(oldest);
}

/* Makes room for `bytes` more: of whoever has most, the oldest. */
static void backlog_make_room(struct visitor *visitor, size_t bytes)
{
    while (visitor->bytes + bytes > BACKLOG_BYTES_MAX && visitor->first != NULL) {
        struct channel *fullest = visitor->channels;
        for (struct channel *other = fullest; other != NULL; other = other->next)
            if (other->bytes > fullest->bytes)
                fullest = other;
        backlog_remove(fullest);
        fullest->skipped++;
    }
}

static void backlog_add(struct channel *channel, const char *message, size_t bytes)
{
    struct visitor *visitor = channel->visitor;
    backlog_make_room(visitor, bytes);
    struct waiting *waiting = malloc(sizeof(*waiting) + bytes);
    if (waiting == NULL) {
        channel->skipped++;
        return;
    }
    *waiting = (struct waiting){.before = visitor->last, .channel = channel, .bytes = bytes};
    memcpy(waiting->message, message, bytes);
    *(visitor->last != NULL ? &visitor->last->next : &visitor->first) = waiting;
    visitor->last = waiting;
    *(channel->last != NULL ? &channel->last->next_of_topic : &channel->first) = waiting;
    channel->last = waiting;
    channel->bytes += bytes;
    visitor->bytes += bytes;
}

static void room(void *context)
{
    struct visitor *visitor = context;
    foxglove_client_fill(visitor->client);
    while (visitor->first != NULL &&
           foxglove_client_send(visitor->client, false, visitor->first->message,
                                visitor->first->bytes))
        backlog_remove(visitor->first->channel);
}

/* ---- what comes ---- */

static bool is_of(const struct foxglove_topic *topic, const struct feed_subject *subject)
{
    return topic_form_is_of(topic->form, schema_text(subject->schema), subject->time);
}

static void begins(void *context, const struct feed_subject *subject)
{
    struct channel *channel = context;
    char id[96];
    channel->fits = is_of(channel->topic, subject); /* else the topic is about to be another */
    snprintf(id, sizeof(id), "source-%s", channel->topic->name);
    if (subject->source == FEED_RECORDING)
        foxglove_client_tell(channel->visitor->client, FOXGLOVE_INFO, id,
                             "%s: its full stream cannot be joined from here: what is recorded "
                             "comes, as it is synced",
                             channel->topic->name);
    else if (subject->source == FEED_DECIMATED)
        foxglove_client_tell(channel->visitor->client, FOXGLOVE_INFO, id,
                             "%s: its full stream cannot be joined from here: of %" PRIu32
                             " datums one comes, or two",
                             channel->topic->name, subject->factor);
}

static void datum(void *context, struct span bytes, uint64_t at_ns)
{
    struct channel *channel = context;
    struct visitor *visitor = channel->visitor;
    struct text *out = &visitor->out;
    text_clear(out);
    if (!channel->fits)
        return;
    if (!topic_form_write(channel->topic->form, bytes, at_ns, out)) {
        channel->skipped++;
        return;
    }
    foxglove_write_data_front(out->at, channel->topic->subscription, at_ns);
    if (visitor->first != NULL ||
        !foxglove_client_send(visitor->client, false, out->at, out->bytes))
        backlog_add(channel, out->at, out->bytes);
}

static void gap(void *context, uint64_t from_ns, uint64_t to_ns, uint64_t count, const char *why)
{
    struct channel *channel = context;
    (void)to_ns;
    bool goes_on = from_ns == channel->gap_from_ns && strcmp(channel->gap_why, why) == 0;
    bool known = count != UINT64_MAX;
    channel->gap_from_ns = from_ns;
    snprintf(channel->gap_why, sizeof(channel->gap_why), "%s", why);
    if (known) {
        channel->missing += goes_on ? count - channel->gap_count : count;
        snprintf(channel->missing_why, sizeof(channel->missing_why), "%s", why);
    } else {
        channel->gaps += !goes_on;
    }
    channel->gap_count = known ? count : 0;
}

static void ended(void *context, bool refused, const char *why)
{
    struct channel *channel = context;
    char id[96];
    feed_close(channel->feed);
    channel->feed = NULL;
    snprintf(id, sizeof(id), "ended-%s", channel->topic->name);
    foxglove_client_tell(channel->visitor->client, refused ? FOXGLOVE_ERROR : FOXGLOVE_WARNING, id,
                         "%s: %s", channel->topic->name, why);
}

static const struct feed_use feed_use = {
    .begins = begins, .datum = datum, .gap = gap, .ended = ended};

/* ---- subscriptions ---- */

static void open_feed(struct channel *channel)
{
    channel->fits = false;
    if (feed_open(&channel->feed, hub_feeds(channel->visitor->hub), channel->topic->name, true,
                  &feed_use, channel) < 0)
        channel->feed = NULL;
}

static void subscribed(void *context, struct foxglove_topic *topic)
{
    struct visitor *visitor = context;
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL)
        return;
    *channel = (struct channel){.next = visitor->channels, .visitor = visitor, .topic = topic};
    visitor->channels = channel;
    topic->use = channel;
    open_feed(channel);
}

static void unsubscribed(void *context, struct foxglove_topic *topic)
{
    struct visitor *visitor = context;
    struct channel *channel = topic->use, **at = &visitor->channels;
    topic->use = NULL;
    if (channel == NULL)
        return;
    while (channel->first != NULL)
        backlog_remove(channel);
    if (channel->feed != NULL)
        feed_close(channel->feed);
    while (*at != channel)
        at = &(*at)->next;
    *at = channel->next;
    free(channel);
}

static const struct foxglove_client_use client_use = {.subscribed = subscribed,
                                                      .unsubscribed = unsubscribed};

/* ---- the fleet ---- */

static void fleet_status(void *context, const json_t *status, const char *reason)
{
    struct visitor *visitor = context;
    if (status == NULL)
        foxglove_client_tell(visitor->client, FOXGLOVE_WARNING, "manager", "%s", reason);
    else if (visitor->manager_missing)
        foxglove_client_tell(visitor->client, FOXGLOVE_INFO, "manager", "the manager answers");
    visitor->manager_missing = status == NULL;
}

/* What of a channel no message has. */
static void tell_left_out(struct visitor *visitor, const char *name, const struct columns *columns)
{
    char id[96];
    snprintf(id, sizeof(id), "left-out-%s", name);
    if (columns->recursive_count > 0)
        foxglove_client_tell(visitor->client, FOXGLOVE_INFO, id,
                             "%s: %s%s left out, for it leads back into what contains it", name,
                             columns->recursive[0],
                             columns->recursive_count > 1 ? " and others are" : " is");
}

static void fleet_channel(void *context, const struct feed_subject *subject)
{
    struct visitor *visitor = context;
    struct foxglove_topic *topic = foxglove_client_find(visitor->client, subject->channel);
    struct topic_form *form;
    char error[512] = "out of memory", id[96];
    if (topic != NULL && is_of(topic, subject))
        return;
    if (topic != NULL)
        foxglove_client_remove(visitor->client, topic);
    int status = topic_form_make(&form, subject->channel, schema_text(subject->schema),
                                 subject->time, error, sizeof(error));
    if (status < 0) {
        topic_form_free(form);
        snprintf(id, sizeof(id), "left-out-%s", subject->channel);
        foxglove_client_tell(visitor->client, FOXGLOVE_INFO, id, "%s is left out: %s",
                             subject->channel, error);
        return;
    }
    tell_left_out(visitor, subject->channel, form->columns);
    foxglove_client_add(visitor->client, subject->channel, form);
}

static void fleet_gone(void *context, const char *name)
{
    struct visitor *visitor = context;
    struct foxglove_topic *topic = foxglove_client_find(visitor->client, name);
    if (topic != NULL)
        foxglove_client_remove(visitor->client, topic);
}

static const struct feed_fleet_use fleet_use = {
    .status = fleet_status, .channel = fleet_channel, .gone = fleet_gone};

/* ---- once a second ---- */

static bool is_due(uint64_t count, uint64_t told, uint64_t told_ns, uint64_t now_ns)
{
    return count != told && (told_ns == 0 || now_ns - told_ns >= TELL_NS);
}

static void tell_losses(struct channel *channel, uint64_t now_ns)
{
    struct foxglove_client *client = channel->visitor->client;
    char id[96];
    if (is_due(channel->skipped, channel->told_skipped, channel->told_skipped_ns, now_ns)) {
        snprintf(id, sizeof(id), "slow-%s", channel->topic->name);
        foxglove_client_tell(client, FOXGLOVE_WARNING, id,
                             "%s: %" PRIu64 " datums were left out, since this client takes them "
                             "more slowly than they come",
                             channel->topic->name, channel->skipped);
        channel->told_skipped = channel->skipped;
        channel->told_skipped_ns = now_ns;
    }
    if (is_due(channel->missing, channel->told_missing, channel->told_missing_ns, now_ns)) {
        snprintf(id, sizeof(id), "missing-%s", channel->topic->name);
        foxglove_client_tell(client, FOXGLOVE_WARNING, id,
                             "%s: %" PRIu64 " datums are missing%s: %s", channel->topic->name,
                             channel->missing, channel->gaps > 0 ? ", or more" : "",
                             channel->missing_why);
        channel->told_missing = channel->missing;
        channel->told_missing_ns = now_ns;
    }
    if (is_due(channel->gaps, channel->told_gaps, channel->told_gaps_ns, now_ns)) {
        snprintf(id, sizeof(id), "gap-%s", channel->topic->name);
        foxglove_client_tell(client, FOXGLOVE_INFO, id, "%s: a gap of unknown size: %s",
                             channel->topic->name, channel->gap_why);
        channel->told_gaps = channel->gaps;
        channel->told_gaps_ns = now_ns;
    }
}

static void look(void *context)
{
    struct visitor *visitor = context;
    uint64_t now_ns = clock_monotonic_ns();
    for (struct channel *channel = visitor->channels; channel != NULL; channel = channel->next) {
        if (channel->feed == NULL)
            open_feed(channel);
        tell_losses(channel, now_ns);
    }
    loop_arm(hub_loop(visitor->hub), &visitor->look, now_ns + LOOK_NS);
}

/* ---- visitors ---- */

static void message(void *context, bool text, struct span bytes)
{
    struct visitor *visitor = context;
    foxglove_client_message(visitor->client, text, bytes);
}

static void closed(void *context)
{
    struct visitor *visitor = context;
    loop_disarm(&visitor->look);
    if (visitor->fleet != NULL)
        feed_unfollow(visitor->fleet);
    if (visitor->client != NULL)
        foxglove_client_close(visitor->client);
    CHECK(visitor->channels == NULL && visitor->first == NULL);
    text_free(&visitor->out);
    free(visitor);
}

static void *opened(struct hub *hub, struct socket *socket)
{
    struct visitor *visitor = calloc(1, sizeof(*visitor));
    if (visitor == NULL)
        return NULL;
    visitor->hub = hub;
    visitor->look = (struct loop_timer){.due = look, .context = visitor};
    if (foxglove_client_open(&visitor->client, socket, &client_use, visitor) < 0 ||
        !foxglove_client_greet(visitor->client, NULL) ||
        feed_follow(&visitor->fleet, hub_feeds(hub), &fleet_use, visitor) < 0) {
        visitor->fleet = NULL;
        closed(visitor);
        return NULL;
    }
    loop_arm(hub_loop(hub), &visitor->look, clock_monotonic_ns() + LOOK_NS);
    return visitor;
}

#define LIVE(at)                                                                                   \
    {                                                                                              \
        .path = at, .subprotocols = foxglove_subprotocols, .opened = opened, .use = {              \
            .message_bytes_max = FOXGLOVE_MESSAGE_BYTES_MAX,                                       \
            .queue_bytes_max = FOXGLOVE_QUEUE_BYTES,                                               \
            .message = message,                                                                    \
            .room = room,                                                                          \
            .closed = closed                                                                       \
        }                                                                                          \
    }

const struct dialect foxglove_live = LIVE("/foxglove");
/* Some tools let people say only a host and a port. */
const struct dialect foxglove_live_at_root = LIVE("/");
