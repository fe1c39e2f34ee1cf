/* SPDX-License-Identifier: MIT
 * Questions about the past, a slice at a time: some slices are made at once, of all clients, and
 * the others wait their turn, so that no client's question holds up all threads. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/live_parts.h"
#include "os/clock.h"

#define SLICES_MAX 3u  /* at a time: the other threads are for what must not wait */
#define OPEN_MAX   16u /* of a client that have begun; the others wait, and take no memory */
#define AGAIN_NS   (200 * NS_PER_MS)
#define SYNC_NS    (60 * NS_PER_S) /* no longer is waited for what is to be synced */
#define SETTLED_NS (1500 * NS_PER_MS)

struct query {
    struct client *client; /* NULL: nobody wants it any more */
    struct sub *sub;       /* whose past it is; NULL: it is a client's own */
    struct query *next;    /* of the client */
    uint32_t id;
    struct past *past;
    bool begun;
    bool under_way, has_told; /* a slice is being made; one was */
    size_t sent;              /* of its messages */
    struct query *behind;     /* of those that wait for their turn */
    bool waits;

    /* Of a subscription's. */
    bool announced;
    uint64_t since_ns, end_ns; /* realtime; monotonic */
    uint64_t began_ns;         /* realtime; the pass at hand */
    struct loop_timer again;
};

static struct {
    unsigned running;
    struct query *first, *last;
} turns;

static void made(void *work);

static void make(void *work)
{
    struct query *query = work;
    past_go_on(query->past);
}

static void free_query(struct query *query)
{
    past_close(query->past);
    free(query);
}

static bool start(struct query *query)
{
    if (turns.running >= SLICES_MAX || !hub_work(query->client->hub, make, made, query))
        return false;
    turns.running++;
    query->under_way = true;
    query->has_told = false;
    return true;
}

static void start_in_turn(struct query *query)
{
    struct client *client = query->client;
    if (!query->begun && client->open_count == OPEN_MAX)
        return; /* until another has ended */
    client->open_count += !query->begun;
    query->begun = true;
    if (turns.first == NULL && start(query))
        return;
    if (turns.running == 0) { /* nobody's end brings it its turn */
        loop_arm(hub_loop(client->hub), &query->again, clock_monotonic_ns() + AGAIN_NS);
        return;
    }
    query->waits = true;
    query->behind = NULL;
    if (turns.first == NULL)
        turns.first = query;
    else
        turns.last->behind = query;
    turns.last = query;
}

static void start_next(void)
{
    while (turns.first != NULL && start(turns.first)) {
        turns.first->waits = false;
        turns.first = turns.first->behind;
    }
}

static void leave_turns(struct query *query)
{
    struct query **link = &turns.first, *before = NULL;
    while (*link != NULL && *link != query) {
        before = *link;
        link = &(*link)->behind;
    }
    if (*link == query) {
        *link = query->behind;
        if (turns.last == query)
            turns.last = before;
    }
    query->waits = false;
}

/* ---- ends ---- */

void query_end(struct query *query)
{
    struct client *client = query->client;
    struct query **link = &client->queries;
    while (*link != query)
        link = &(*link)->next;
    *link = query->next;
    if (query->sub == NULL)
        client->query_count--;
    else
        query->sub->back = NULL;
    query->client = NULL;
    query->sub = NULL;
    loop_disarm(&query->again);
    client->open_count -= query->begun;
    for (struct query *held = query->begun ? client->queries : NULL; held != NULL;
         held = held->next)
        if (!held->begun) {
            start_in_turn(held);
            break;
        }
    if (query->waits)
        leave_turns(query);
    if (!query->under_way)
        free_query(query);
}

static void tell_end(struct query *query)
{
    struct past_told *told = past_told(query->past);
    char width[24];
    snprintf(width, sizeof(width), "%" PRIu64, told->width_ns);
    live_send_json(query->client,
                   json_pack("{s:s, s:I, s:b, s:s, s:s, s:I, s:I, s:I, s:O}", "op", "history_end",
                             "id", (json_int_t)query->id, "exact", told->exact || !told->recorded,
                             "bin_ns", width, "clock", told->own ? "own" : "arrival", "level",
                             (json_int_t)told->level, "rows_read", (json_int_t)told->rows_read,
                             "bytes_read", (json_int_t)told->bytes_read, "gaps", told->gaps));
}

static void end_back(struct query *query)
{
    struct sub *sub = query->sub;
    bool announced = query->announced;
    query_end(query);
    sub_past_over(sub, announced);
}

/* Whether what came in before the stream was joined is synced, or will not be. */
static bool has_met_now(const struct query *query)
{
    const struct past_told *told = past_told(query->past);
    bool recorded = told->recorded || live_status_number(query->sub->channel, "recording") != 0;
    if (told->state == PAST_REFUSED || !recorded || query->since_ns == 0 ||
        told->reached_ns >= query->since_ns || clock_monotonic_ns() > query->end_ns)
        return true;
    uint64_t settled_ns = live_status_ns();
    return settled_ns > query->since_ns + SETTLED_NS && query->began_ns > settled_ns &&
           live_status_number(query->sub->channel, "unsynced_datums") == 0;
}

static void look_again(void *context)
{
    struct query *query = context;
    query->began_ns = clock_realtime_ns();
    start_in_turn(query);
}

/* All messages are sent. */
static void go_on(struct query *query)
{
    struct past_told *told = past_told(query->past);
    query->has_told = false;
    if (told->state == PAST_MORE) {
        start_in_turn(query);
    } else if (query->sub == NULL) {
        struct client *client = query->client;
        if (told->state == PAST_DONE)
            tell_end(query);
        else
            live_send_error(client, query->id, told->error);
        query_end(query);
    } else if (has_met_now(query)) {
        end_back(query);
    } else {
        if (told->reached_ns > 0)
            past_again(query->past, (int64_t)told->reached_ns);
        else
            past_again(query->past, (int64_t)query->since_ns - (int64_t)(2 * NS_PER_S));
        loop_arm(hub_loop(query->client->hub), &query->again, clock_monotonic_ns() + AGAIN_NS);
    }
}

void query_flush(struct query *query)
{
    struct past_told *told = past_told(query->past);
    if (query->under_way || !query->has_told)
        return;
    while (query->sent < told->end_count && live_has_room(query->client)) {
        size_t from = query->sent > 0 ? told->ends[query->sent - 1] : 0;
        if (socket_send(query->client->socket, false, told->bytes.at + from,
                        told->ends[query->sent] - from) < 0)
            return;
        query->sent++;
    }
    if (query->sent == told->end_count)
        go_on(query);
}

static void made(void *work)
{
    struct query *query = work;
    turns.running--;
    query->under_way = false;
    query->has_told = true;
    query->sent = 0;
    if (query->client == NULL)
        free_query(query);
    else
        query_flush(query);
    start_next();
}

/* ---- begins ---- */

static struct query *add_query(struct client *client, const struct past_request *request)
{
    struct query *query = calloc(1, sizeof(*query));
    if (query == NULL || (query->past = past_open(request)) == NULL) {
        free(query);
        return NULL;
    }
    query->client = client;
    query->id = request->id;
    query->again = (struct loop_timer){.due = look_again, .context = query};
    query->next = client->queries;
    client->queries = query;
    query->began_ns = clock_realtime_ns();
    return query;
}

struct query *query_next(const struct query *query)
{
    return query->next;
}

struct query *query_find(const struct client *client, uint32_t id)
{
    for (struct query *query = client->queries; query != NULL; query = query->next)
        if (query->id == id && query->sub == NULL)
            return query;
    return NULL;
}

void query_begin(struct client *client, struct live_request *request)
{
    struct query *old = query_find(client, request->id);
    const struct past_request wanted = {.directory = hub_gateway(client->hub)->directory,
                                        .channel = request->channel,
                                        .names = request->fields,
                                        .name_count = request->field_count,
                                        .id = request->id,
                                        .from_ns = request->from_ns,
                                        .to_ns = request->to_ns,
                                        .points = request->points};
    if (old != NULL)
        query_end(old);
    if (sub_find(client, request->id) != NULL) {
        live_send_error(client, request->id, "the id is that of a subscription");
        return;
    }
    if (client->query_count >= LIVE_QUERIES_MAX) {
        live_send_error(client, request->id, "a client has at most 32 questions at a time");
        return;
    }
    struct query *query = add_query(client, &wanted);
    if (query == NULL) {
        live_send_error(client, request->id, strerror(ENOMEM));
        return;
    }
    client->query_count++;
    start_in_turn(query);
}

void query_begin_back(struct sub *sub, uint64_t from_ns, uint64_t since_ns, bool announced)
{
    const struct past_request wanted = {.directory = hub_gateway(sub->client->hub)->directory,
                                        .channel = sub->channel,
                                        .names = sub->fields,
                                        .name_count = sub->field_count,
                                        .id = sub->id,
                                        .from_ns = (int64_t)from_ns,
                                        .since_arrival = true,
                                        .width_ns = sub->bin_ns};
    struct query *query = add_query(sub->client, &wanted);
    if (query == NULL) {
        sub_past_over(sub, announced);
        return;
    }
    query->sub = sub;
    query->since_ns = since_ns;
    query->announced = announced;
    query->end_ns = clock_monotonic_ns() + SYNC_NS;
    sub->back = query;
    start_in_turn(query);
}
