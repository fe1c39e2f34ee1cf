/* SPDX-License-Identifier: MIT
 * Dialects for the scenarios, in place of the gateway's own: what a client sends comes back, at the
 * library's pace or by the threads beside the hub, or datums without end come. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "gateway/dialects.h"
#include "os/clock.h"

#define FLOOD_BYTES 4096u
#define FLOOD_COUNT 8u
#define FLOOD_NS    (50 * NS_PER_MS)

static const char *const subprotocols[] = {"echo", "echo.2", NULL};

/* ---- echo, and closing when told to ---- */

struct echo {
    struct hub *hub;
    struct socket *socket;
    struct loop_timer timer;
    uint64_t number; /* of the next message of a flood */
    unsigned at_work;
    bool closed;
};

static void *opened(struct hub *hub, struct socket *socket)
{
    struct echo *echo = calloc(1, sizeof(*echo));
    if (echo != NULL)
        *echo = (struct echo){.hub = hub, .socket = socket};
    return echo;
}

static void closed(void *context)
{
    free(context);
}

static void send_back(void *context, bool text, struct span message)
{
    struct echo *echo = context;
    /* In two parts, of which either may be empty. */
    size_t front = message.bytes > 100 ? message.bytes / 3 : message.bytes % 2 * message.bytes;
    struct span parts[2] = {
        {message.at, front},
        {message.at != NULL ? message.at + front : NULL, message.bytes - front}};
    if (socket_send_parts(echo->socket, text, parts, 2) < 0)
        socket_close(echo->socket, 1013, "the queue is full");
}

static void close_as_told(void *context, bool text, struct span message)
{
    struct echo *echo = context;
    char word[8] = "";
    uint64_t code = 1000;
    (void)text;
    memcpy(word, message.at, message.bytes < 7 ? message.bytes : 7);
    units_read_count(word, 0, 65535, &code);
    socket_send(echo->socket, true, "before", 6);
    socket_close(echo->socket, (uint16_t)code, "as told");
    socket_close(echo->socket, 1011, "and again");
    if (socket_send(echo->socket, true, "after", 5) == 0)
        abort();
}

/* ---- work in other threads ---- */

struct errand {
    struct echo *echo;
    uint64_t wait_ms;
    size_t bytes;
    char words[];
};

static void run(void *work)
{
    struct errand *errand = work;
    clock_sleep_until(clock_monotonic_ns() + errand->wait_ms * NS_PER_MS);
}

static void done(void *work)
{
    struct errand *errand = work;
    struct echo *echo = errand->echo;
    echo->at_work--;
    if (!echo->closed)
        socket_send(echo->socket, true, errand->words, errand->bytes);
    else if (echo->at_work == 0)
        free(echo);
    free(errand);
}

static void give_to_others(void *context, bool text, struct span message)
{
    struct echo *echo = context;
    struct errand *errand = calloc(1, sizeof(*errand) + message.bytes + 1);
    (void)text;
    if (errand == NULL)
        abort();
    errand->echo = echo;
    errand->bytes = message.bytes;
    memcpy(errand->words, message.at, message.bytes);
    units_read_count(errand->words, 0, 10000, &errand->wait_ms);
    if (hub_work(echo->hub, run, done, errand)) {
        echo->at_work++;
        return;
    }
    socket_send(echo->socket, true, "busy", 4);
    free(errand);
}

static void closed_at_work(void *context)
{
    struct echo *echo = context;
    echo->closed = true;
    if (echo->at_work == 0)
        free(echo);
}

/* ---- a flood ---- */

static void pour(void *context)
{
    struct echo *echo = context;
    uint64_t words[FLOOD_BYTES / sizeof(uint64_t)] = {0};
    for (unsigned i = 0; i < FLOOD_COUNT; i++) {
        words[0] = echo->number++;
        words[1] = clock_realtime_ns();
        words[2] = socket_queued(echo->socket);
        (void)socket_send(echo->socket, false, words, sizeof(words));
    }
    loop_arm(hub_loop(echo->hub), &echo->timer, clock_monotonic_ns() + FLOOD_NS);
}

static void *opened_to_flood(struct hub *hub, struct socket *socket)
{
    struct echo *echo = opened(hub, socket);
    if (echo == NULL || hub_gateway(hub)->directory[0] == '\0')
        return echo;
    echo->timer = (struct loop_timer){.due = pour, .context = echo};
    pour(echo);
    return echo;
}

static void told_of_room(void *context)
{
    struct echo *echo = context;
    struct span mark = {(const uint8_t *)"room", 4};
    (void)socket_send_parts(echo->socket, true, &mark, 1);
}

static void flood_closed(void *context)
{
    struct echo *echo = context;
    loop_disarm(&echo->timer);
    free(echo);
}

static void send_back_or_nothing(void *context, bool text, struct span message)
{
    struct echo *echo = context;
    (void)socket_send(echo->socket, text, message.at, message.bytes);
}

/* As flotilla.live.v1 has it. */
#define LIMITS .message_bytes_max = 64u << 10, .queue_bytes_max = 1u << 20

static const struct dialect all[] = {
    {"/echo",
     subprotocols,
     {.message_bytes_max = 17u << 20,
      .queue_bytes_max = 64u << 20,
      .message = send_back,
      .closed = closed},
     opened},
    {"/live", subprotocols, {LIMITS, .message = send_back, .closed = closed}, opened},
    {"/", subprotocols, {LIMITS, .message = send_back, .closed = closed}, opened},
    {"/close", subprotocols, {LIMITS, .message = close_as_told, .closed = closed}, opened},
    {"/work", subprotocols, {LIMITS, .message = give_to_others, .closed = closed_at_work}, opened},
    {"/flood",
     subprotocols,
     {LIMITS, .message = send_back_or_nothing, .room = told_of_room, .closed = flood_closed},
     opened_to_flood},
};

const struct dialect *const dialects[] = {&all[0], &all[1], &all[2], &all[3],
                                          &all[4], &all[5], NULL};
