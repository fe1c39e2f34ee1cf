/* SPDX-License-Identifier: MIT
 * What live.c, live_sub.c and live_query.c share: a client of flotilla.live.v1. All in the hub's
 * thread, but for the slices of a past. */
#ifndef FLOTILLA_GATEWAY_LIVE_PARTS_H
#define FLOTILLA_GATEWAY_LIVE_PARTS_H

#include "base/text.h"
#include "gateway/bins.h"
#include "gateway/feed.h"
#include "gateway/frame.h"
#include "gateway/hub.h"
#include "gateway/live_words.h"
#include "gateway/past.h"
#include "gateway/picks.h"
#include "gateway/socket.h"

#define LIVE_QUEUE_BYTES   (1u << 20)
#define LIVE_MESSAGE_BYTES (64u << 10)
#define LIVE_SUBS_MAX      256u
#define LIVE_QUERIES_MAX   32u
#define LIVE_GAPS_WAIT     8u

struct query;

struct live_gap {
    uint64_t from_ns, to_ns, count;
    char why[200];
};

/* What is subscribed to. */
struct sub {
    struct client *client;
    struct sub *next;
    uint32_t id, field_count;
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    json_t *message; /* that asked for it; the fields are its strings */
    const char **fields;
    uint64_t bin_ns, back_ns;
    bool latest;

    struct feed *feed;
    bool begun, ends; /* told so; to be taken away at the end of the turn */
    bool full;        /* what the feed was asked for */
    uint32_t checksum, factor;
    struct picks *picks;
    double *values;
    int64_t shift_ns; /* how much later than it came in the newest datum says it is */
    uint64_t last_ns; /* when it came in; 0: none has */

    struct bins *bins; /* NULL: single datums, as follows */
    int64_t *times;
    double *samples;
    uint32_t sample_count, sample_room;
    uint64_t skipped;

    struct text newest; /* the newest datum, for `latest` */
    int64_t newest_ns;
    bool newest_waits;
    uint64_t latest_ns; /* monotonic: when it was told last */

    struct live_gap gaps[LIVE_GAPS_WAIT]; /* that the queue had no room for */
    unsigned gap_count;
    struct query *back; /* what is read of the past */
    uint64_t refill_ns; /* what came in from then on is to be read again; 0: nothing is */
};

struct client {
    struct hub *hub;
    struct socket *socket;
    struct feed_fleet *fleet;
    struct loop_timer tick;
    struct sub *subs;
    struct query *queries;
    uint32_t sub_count, field_count;
    uint32_t query_count; /* of its own */
    uint32_t open_count;  /* those and subscriptions' that have begun */
    uint64_t status_sent; /* version of what was sent of the fleet, and how many parts of it */
    unsigned parts_sent;
};

/* ---- live.c ---- */

/* Sends an object, whose reference is taken. False: the client is on its way out. */
bool live_send_json(struct client *client, json_t *object);
bool live_send_text(struct client *client, const struct text *text);
void live_send_error(struct client *client, uint32_t id, const char *text);
void live_send_ended(struct client *client, uint32_t id, const char *reason);
/* Whether bins and the like may be queued: less than half of the queue waits. */
bool live_has_room(const struct client *client);
/* Has the tick come, when all that waits is sent. */
void live_wake(struct client *client);
/* What the newest status says of a channel: a number, or 0 or 1 for false and true; -1: nothing. */
double live_status_number(const char *channel, const char *key);
/* Realtime; when that status came. */
uint64_t live_status_ns(void);

/* ---- live_sub.c ---- */

void sub_begin(struct client *client, struct live_request *request);
/* Takes it away; nothing is told. */
void sub_end(struct sub *sub);
struct sub *sub_find(const struct client *client, uint32_t id);
/* Sends what it has, as far as there is room. */
void sub_flush(struct sub *sub, uint64_t now_ns);
/* Whether more waits than could be sent. */
bool sub_waits(const struct sub *sub);
/* Once a second: whether another stream would do better. */
void sub_reconsider(struct sub *sub);
/* The past that it asked for is over. */
void sub_past_over(struct sub *sub, bool announced);

/* ---- live_query.c ---- */

/* A client's question about history. */
void query_begin(struct client *client, struct live_request *request);
/* What came in from `from_ns` on is read for a subscription, and what is not synced yet, up to
 * `since_ns`, when it is. `announced`: the client is told of its end. */
void query_begin_back(struct sub *sub, uint64_t from_ns, uint64_t since_ns, bool announced);
void query_end(struct query *query);
struct query *query_find(const struct client *client, uint32_t id);
/* Sends what it has, as far as there is room. */
void query_flush(struct query *query);
struct query *query_next(const struct query *query);

#endif
