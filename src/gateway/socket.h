/* SPDX-License-Identifier: MIT
 * One WebSocket, the server's side: frames over a connection that HTTP has handed over. Framing is
 * wslay's. One thread's: that of its loop; nothing of it may be called from another.
 * No extension. Fragments are put together, pings answered; a client that breaks the protocol,
 * sends text that is not UTF-8 or more than `message_bytes_max`, is closed with 1002, 1007, 1009;
 * who takes nothing of what waits for 30 s with 1008; from whom nothing comes for 60 s, not even
 * answers to pings, is taken for gone. Memory: at most twice `queue_bytes_max` and
 * `message_bytes_max`, 8 KiB, and what the kernel keeps (SOCKET_KERNEL_BYTES). Source: RFC 6455. */
#ifndef FLOTILLA_GATEWAY_SOCKET_H
#define FLOTILLA_GATEWAY_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "os/loop.h"

#define SOCKET_KERNEL_BYTES (256 << 10)

struct socket; /* opaque */

/* How it is used; constant. */
struct socket_use {
    size_t message_bytes_max; /* of a client's message */
    size_t queue_bytes_max;   /* of what waits to be sent, at most 10 bytes a message included */
    /* A whole message; its bytes until the call returns. */
    void (*message)(void *context, bool text, struct span message);
    /* What waits has become less than half of the queue, after a message made it more, or found no
     * room. */
    void (*room)(void *context);
    /* It is over, for whatever reason; called once, in a turn of the loop of its own, never from
     * within another call. The socket is freed when it returns. */
    void (*closed)(void *context);
};

/* Takes the connection, on which the answer 101 has been sent, and a copy of `early`, what had come
 * behind the request. `use` stays where it is. 0 or a negative errno; then the descriptor is
 * closed, and nothing is called. */
int socket_open(struct socket **socket, struct loop *loop, descriptor_t connection,
                struct span early, const struct socket_use *use, void *context);
/* Queues a copy of a message: of its parts, one behind the other. It leaves in the loop's next
 * turn, with all that is queued by then. 0; -ENOBUFS: the queue has no room for it, nothing was
 * queued; -ENOMEM; or -EPIPE: it is closing. For tests so far. */
int socket_send_parts(struct socket *socket, bool text, const struct span *parts, size_t count);
/* The same of a single part. */
int socket_send(struct socket *socket, bool text, const void *bytes, size_t count);
/* Bytes that wait to be sent. */
size_t socket_queued(const struct socket *socket);
/* Begins the closing handshake, behind what waits; after 5 s without an answer the connection is
 * closed anyhow. No message comes any more. `reason` has at most 123 bytes. */
void socket_close(struct socket *socket, uint16_t code, const char *reason);

#endif
