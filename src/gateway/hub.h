/* SPDX-License-Identifier: MIT
 * The hub: a thread of its own with a loop of its own, which has all WebSockets, the groups that
 * are joined for them, and what is made of them. The thread of HTTP hands it connections; history
 * is read by a few threads beside it, whose answers come back by a bell. */
#ifndef FLOTILLA_GATEWAY_HUB_H
#define FLOTILLA_GATEWAY_HUB_H

#include "gateway/exchange.h"
#include "gateway/socket.h"

#define HUB_SOCKETS_MAX 256u

struct hub; /* opaque */

/* One kind of visitor: what is spoken with it. Constant; it is listed in dialects.c. */
struct dialect {
    const char *path;                /* "/api/v1/live" */
    const char *const *subprotocols; /* NULL at their end; the client must offer one of them */
    struct socket_use use;
    /* A socket of it has opened: what `use`'s calls are given as context; NULL: no memory, it is
     * closed. In the hub's thread. Messages come later. */
    void *(*opened)(struct hub *hub, struct socket *socket);
};

/* Starts its thread, and those beside it. There is no end to them but the process's. 0 or a
 * negative errno. */
int hub_start(struct hub **hub, const struct gateway *gateway);

/* For the thread of HTTP. Whether there is room for one more socket: HUB_SOCKETS_MAX. */
bool hub_has_room(struct hub *hub);
/* Hands a connection over, on which the answer 101 has been sent, and `early`, what had come behind
 * the request. It is closed if there is no room for it after all. */
void hub_take(struct hub *hub, const struct dialect *dialect, descriptor_t connection,
              struct span early);

/* For dialects, in the hub's thread. */
struct loop *hub_loop(struct hub *hub);
const struct gateway *hub_gateway(const struct hub *hub);
struct feeds *hub_feeds(struct hub *hub);
/* Has `run` called with `work` in one of a few threads, then `done` in the hub's. False, and
 * neither is called: there are too many already, or there is no memory. */
bool hub_work(struct hub *hub, void (*run)(void *work), void (*done)(void *work), void *work);

#endif
