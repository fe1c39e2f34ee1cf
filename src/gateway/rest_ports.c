/* SPDX-License-Identifier: MIT
 * The routes about ports of datagrams: asked of the system, by taking each for a moment. */
#include <errno.h>
#include <string.h>

#include "base/units.h"
#include "gateway/router.h"
#include "os/stream.h"

#define PORTS_MAX 4096u

enum ports_value { PORTS_START, PORTS_END };

void rest_ports_available(const struct request *request, struct reply *reply)
{
    uint64_t start = request->values[PORTS_START].number, end = request->values[PORTS_END].number;
    json_t *free_ones;
    if (end < start || end - start >= PORTS_MAX) {
        reply_problem(reply, 400,
                      "start is to be no more than end, and at most %u ports are asked "
                      "for at once",
                      PORTS_MAX);
        return;
    }
    free_ones = json_array();
    for (uint64_t port = start; port <= end; port++) {
        int status = stream_datagram_port((uint16_t)port);
        if (status == 0)
            json_array_append_new(free_ones, json_integer((json_int_t)port));
        else if (status != -EADDRINUSE && status != -EACCES) {
            json_decref(free_ones);
            reply_problem(reply, 500, "port %u: %s", (unsigned)port, strerror(-status));
            return;
        }
    }
    reply_json(reply, 200,
               json_pack("{s:I, s:I, s:o}", "start", (json_int_t)start, "end", (json_int_t)end,
                         "available", free_ones));
}

/* The port of ADDRESS:PORT; 0: there is none. */
static uint64_t port_of(const char *address)
{
    uint64_t port = 0;
    const char *colon = address != NULL ? strrchr(address, ':') : NULL;
    return colon != NULL && units_read_count(colon + 1, 1, 65535, &port) == 0 ? port : 0;
}

static void add_users(json_t *users, const json_t *channel, uint64_t port)
{
    static const char *const keys[] = {"listen", "full"};
    const json_t *configuration = json_object_get(channel, "configuration");
    for (size_t i = 0; i < 3; i++) {
        const json_t *address =
            i < 2 ? json_object_get(configuration, keys[i])
                  : json_object_get(json_object_get(configuration, "decimated"), "to");
        if (port_of(json_string_value(address)) == port)
            json_array_append_new(
                users, json_pack("{s:O, s:s, s:O}", "name", json_object_get(channel, "name"), "as",
                                 i < 2 ? keys[i] : "decimated", "address", address));
    }
}

void rest_port(const struct request *request, struct reply *reply)
{
    uint64_t port;
    if (units_read_count(request->name, 1, 65535, &port) < 0) {
        reply_problem(reply, 404, "a port is a number from 1 to 65535");
        return;
    }
    json_t *answer = ask_manager(request->gateway, json_pack("{s:s}", "verb", "describe"), reply);
    json_t *users = json_array(), *channel;
    size_t index;
    int status = stream_datagram_port((uint16_t)port);
    if (answer == NULL) {
        json_decref(users);
        return;
    }
    json_array_foreach(json_object_get(answer, "channels"), index, channel)
        add_users(users, channel, port);
    reply_json(reply, 200,
               json_pack("{s:I, s:b, s:o}", "port", (json_int_t)port, "available", status == 0,
                         "channels", users));
    json_decref(answer);
}
