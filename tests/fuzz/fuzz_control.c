/* SPDX-License-Identifier: MIT
 * Fuzzes the control socket: the input is a play of up to 80 clients at the real socket, which send
 * whole, partial, wrong and endless requests, close early, listen slowly or not at all, while
 * replies are held, released, and the socket is removed. What is judged: each client gets exactly
 * the reply its bytes deserve, or none; memory stays within its bounds and all is given back.
 * Relies on libFuzzer, on jansson to know a request, and on a folder of its own in TMPDIR. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <sanitizer/allocator_interface.h>

#include "base/check.h"
#include "control/server.h"
#include "os/local.h"
#include "os/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define CLIENTS_MAX    80u
#define SENT_BYTES_MAX (64u << 10) /* less than a request may have */
#define PAD_BYTES_MAX  (300u << 10) /* more than a socket's buffer takes */
#define QUIET_TURNS    40u          /* a client is taken in, read and answered in a turn each */

struct client {
    int socket; /* -1: closed */
    bool used, ended, crowded, may_be_gone;
    char sent[SENT_BYTES_MAX]; /* no more is sent */
    size_t sent_bytes;
    char *got;
    size_t got_bytes, got_room;
};

static struct play {
    struct loop *loop;
    struct control *control;
    struct loop_watch turn; /* always readable: calls us between all other events */
    const uint8_t *at, *end;
    struct client clients[CLIENTS_MAX];
    unsigned connected, quiet_turns;
    size_t memory; /* in use before it began */
} play;

static char folder[500];

/* ---- the manager ---- */

/* What a request is answered with: itself, and as much more as it asks for. */
static json_t *make_reply(const json_t *request, bool *hold)
{
    json_t *pad = json_object_get(request, "pad");
    json_int_t bytes = json_is_integer(pad) ? json_integer_value(pad) : 0;
    char *text = calloc(1, PAD_BYTES_MAX + 1);
    CHECK(text != NULL);
    memset(text, 'x', bytes > 0 && bytes < PAD_BYTES_MAX ? (size_t)bytes : 0);
    *hold = json_is_true(json_object_get(request, "hold"));
    json_t *reply = json_pack("{s:O, s:s}", "echo", request, "pad", text);
    free(text);
    return reply;
}

static json_t *answer(void *context, const json_t *request, bool *hold)
{
    CHECK(context == &play && json_is_object(request));
    return make_reply(request, hold);
}

static void complete(void *context, json_t *reply)
{
    CHECK(context == &play);
    CHECK(json_object_set_new(reply, "complete", json_true()) == 0);
}

static void crowded(void *context, int error)
{
    (void)context;
    CHECK(error == 0); /* there are descriptors enough */
}

/* ---- the clients ---- */

static void client_connect(struct client *client)
{
    if (client->used)
        return;
    client->socket = local_connect(folder, CONTROL_SOCKET);
    client->used = client->socket >= 0;
    CHECK(client->used || client->socket == -ENOENT || client->socket == -ECONNREFUSED);
    play.connected += client->used;
    client->crowded = play.connected >= CONTROL_CLIENTS_MAX;
}

static void client_close(struct client *client)
{
    if (!client->used || client->socket < 0)
        return;
    close(client->socket);
    client->socket = -1;
    play.connected--;
}

static void client_send(struct client *client, const void *bytes, size_t count)
{
    size_t room = sizeof client->sent - client->sent_bytes;
    if (count > room)
        count = room;
    if (!client->used || client->socket < 0 || count == 0)
        return;
    ssize_t took = send(client->socket, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT);
    CHECK(took >= 0 || errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
    size_t kept = took < 0 ? 0 : (size_t)took;
    memcpy(client->sent + client->sent_bytes, bytes, kept);
    client->sent_bytes += kept;
}

static void client_read(struct client *client, size_t most)
{
    static char buffer[1u << 16];
    if (!client->used || client->socket < 0 || client->ended)
        return;
    ssize_t got =
        recv(client->socket, buffer, most < sizeof buffer ? most : sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    client->ended = got <= 0; /* a reset, too, for those whose bytes were not all read */
    CHECK(got >= 0 || errno == ECONNRESET);
    if (got <= 0)
        return;
    if (client->got_room - client->got_bytes < (size_t)got) {
        client->got_room = 2 * client->got_bytes + (size_t)got;
        client->got = realloc(client->got, client->got_room);
        CHECK(client->got != NULL);
    }
    memcpy(client->got + client->got_bytes, buffer, (size_t)got);
    client->got_bytes += (size_t)got;
    play.quiet_turns = 0;
}

/* Whether the bytes sent are to be answered. */
static bool client_asked(const struct client *client, size_t *line_bytes)
{
    const char *end =
        client->sent_bytes > 0 ? memchr(client->sent, '\n', client->sent_bytes) : NULL;
    *line_bytes = end != NULL ? (size_t)(end - client->sent) : 0;
    return end != NULL;
}

static void check_refusal(const char *text, size_t bytes, int exit_code)
{
    json_error_t fault;
    json_t *reply = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &fault);
    CHECK(json_is_string(json_object_get(reply, "error")));
    CHECK(json_integer_value(json_object_get(reply, "exit")) == exit_code);
    json_decref(reply);
}

static bool is_same(const struct client *client, json_t *reply)
{
    char *text = json_dumps(reply, JSON_COMPACT | JSON_REAL_PRECISION(6));
    CHECK(text != NULL);
    bool same = strlen(text) == client->got_bytes - 1 &&
                memcmp(text, client->got, client->got_bytes - 1) == 0;
    free(text);
    return same;
}

/* A client that stayed to the end. */
static void client_judge(const struct client *client)
{
    size_t line_bytes;
    json_error_t fault;
    bool asked = client_asked(client, &line_bytes), hold = false;
    if (client->got_bytes > 0) {
        CHECK(client->got[client->got_bytes - 1] == '\n');
        CHECK(memchr(client->got, '\n', client->got_bytes) == client->got + client->got_bytes - 1);
        CHECK(client->ended);
        if (client->crowded && client->got_bytes > 16 &&
            memcmp(client->got, "{\"error\": \"busy:", 16) == 0) {
            check_refusal(client->got, client->got_bytes, 1);
            return;
        }
    }
    if (!asked) {
        CHECK(client->got_bytes == 0);
        return;
    }
    if (client->may_be_gone && client->got_bytes == 0)
        return; /* it came to a socket that nobody listens at any more */
    CHECK(client->ended && client->got_bytes > 0);
    json_t *request = json_loadb(client->sent, line_bytes, JSON_REJECT_DUPLICATES, &fault);
    if (!json_is_object(request)) {
        check_refusal(client->got, client->got_bytes, 2);
    } else {
        json_t *reply = make_reply(request, &hold);
        CHECK(reply != NULL);
        if (!hold) {
            CHECK(is_same(client, reply));
        } else {
            CHECK(json_object_set_new(reply, "complete", json_true()) == 0);
            if (!is_same(client, reply))
                check_refusal(client->got, client->got_bytes, 7);
        }
        json_decref(reply);
    }
    json_decref(request);
}

/* ---- the play ---- */

static uint8_t take(void)
{
    return play.at < play.end ? *play.at++ : 0;
}

static void remove_socket(void)
{
    char path[sizeof folder + 32];
    snprintf(path, sizeof path, "%s/%s", folder, CONTROL_SOCKET);
    CHECK(unlink(path) == 0);
    /* Whoever waits at the old one is lost with it. */
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        play.clients[i].may_be_gone |= play.clients[i].used;
    CHECK(control_mend(play.control) == 1);
    CHECK(control_mend(play.control) == 0);
}

static void release_instead(void)
{
    json_t *instead = control_refusal(7, "not now");
    CHECK(instead != NULL);
    control_release(play.control, instead);
    json_decref(instead);
}

static void act(void)
{
    static const char *const requests[] = {
        "{\"verb\":\"status\"}\n",
        "{\"verb\":\"reload\",\"hold\":true}\n",
        "{\"verb\":\"status\",\"pad\":250000}\n",
        "{\"verb\":\"stop\",\"hold\":true,\"pad\":200000}\n",
        "[1,2,3]\n",
        "{\"a\":1,\"a\":2}\n",
    };
    static char endless[6000];
    uint8_t action = take();
    struct client *client = &play.clients[take() % CLIENTS_MAX];
    size_t bytes = take();
    switch (action % 12) {
    case 0:
    case 1:
        client_connect(client);
        break;
    case 2: /* bytes of the input */
    case 3:
        if (bytes > (size_t)(play.end - play.at))
            bytes = (size_t)(play.end - play.at);
        client_send(client, play.at, bytes);
        play.at += bytes;
        break;
    case 4:
        client_send(client, requests[bytes % ARRAY_COUNT(requests)],
                    strlen(requests[bytes % ARRAY_COUNT(requests)]));
        break;
    case 5: /* a front of one */
        client_send(client, requests[3], bytes % strlen(requests[3]));
        break;
    case 6:
        memset(endless, action & 16 ? ' ' : '[', sizeof endless);
        client_send(client, endless, bytes * 24 % sizeof endless);
        break;
    case 7:
        client_close(client);
        break;
    case 8:
        if (client->used && client->socket >= 0)
            shutdown(client->socket, SHUT_WR);
        break;
    case 9:
        client_read(client, 1 + bytes * 64);
        break;
    case 10:
        if (bytes % 4 == 0)
            release_instead();
        else
            control_release(play.control, NULL);
        break;
    default:
        if (bytes % 16 == 0)
            remove_socket();
        else /* a crowd */
            for (unsigned i = 0; i < bytes % 8; i++)
                client_connect(&play.clients[(bytes * 7 + i) % CLIENTS_MAX]);
        break;
    }
}

static void take_turn(void *context, unsigned events)
{
    (void)context;
    (void)events;
    /* Held replies, as values and as text, and what the clients here have read of them. */
    CHECK(__sanitizer_get_current_allocated_bytes() <
          play.memory + (1u << 20) + CLIENTS_MAX * 4u * PAD_BYTES_MAX);
    if (play.at < play.end) {
        act();
        return;
    }
    control_release(play.control, NULL);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        client_read(&play.clients[i], SIZE_MAX);
    if (++play.quiet_turns > QUIET_TURNS)
        loop_end(play.loop);
}

static void run_play(const uint8_t *data, size_t size)
{
    const struct control_calls calls = {answer, complete, crowded, &play, NULL};
    play = (struct play){
        .at = data, .end = data + size, .memory = __sanitizer_get_current_allocated_bytes()};
    CHECK(loop_open(&play.loop) == 0);
    CHECK(control_open(&play.control, play.loop, folder, &calls) == 0);
    play.turn = (struct loop_watch){.descriptor = eventfd(1, EFD_NONBLOCK), .ready = take_turn};
    CHECK(play.turn.descriptor >= 0 && loop_watch(play.loop, &play.turn, LOOP_READ) == 0);
    CHECK(loop_run(play.loop) == 0);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        struct client *client = &play.clients[i];
        if (client->used && client->socket >= 0)
            client_judge(client);
        client_close(client);
        free(client->got);
    }
    control_close(play.control);
    loop_unwatch(play.loop, &play.turn);
    close(play.turn.descriptor);
    loop_close(play.loop);
}

static void clean_up(void)
{
    rmdir(folder); /* the socket has gone with its control */
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *temporary = getenv("TMPDIR");
    static const uint8_t warm[] = {0, 1, 0, 4, 1, 0, 0, 2, 0, 4, 2, 4};
    (void)argc;
    (void)argv;
    int used = snprintf(folder, sizeof folder, "%s/fuzz_control.XXXXXX",
                        temporary != NULL ? temporary : "/tmp");
    CHECK(used > 0 && (size_t)used < sizeof folder && mkdtemp(folder) != NULL);
    CHECK(atexit(clean_up) == 0);
    run_play(warm, sizeof warm); /* what libraries make once is made now */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t before = __sanitizer_get_current_allocated_bytes();
    int first = dup(2);
    CHECK(first >= 0 && close(first) == 0);
    run_play(data, size < 2000 ? size : 2000);
    int again = dup(2);
    CHECK(again == first && close(again) == 0); /* no descriptor stays open */
    CHECK(__sanitizer_get_current_allocated_bytes() <= before);
    return 0;
}
