/* SPDX-License-Identifier: MIT
 * Where `flotilla replay` sends a channel's datums: their form on the wire, a socket, and what was
 * gathered to be sent together. Relies on os/net's outbox. */
#ifndef FLOTILLA_CLI_REPLAY_TARGET_H
#define FLOTILLA_CLI_REPLAY_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "avro/framing.h"
#include "channel/latency.h"
#include "os/net.h"

#define REPLAY_GATHER_MAX 4096u /* datagrams */

struct replay_target {
    const char *name; /* a channel's, or the address as it was given */
    struct framing framing;
    char interface[NET_INTERFACE_BYTES]; /* "": the routing table's choice */
    struct net_outbox outbox;
    uint8_t *room; /* the datagrams that are gathered */
    size_t used;
    uint32_t gathered;
    uint64_t due_ns[REPLAY_GATHER_MAX];
    uint64_t waiting_bytes; /* sent since the receiver was looked at, as a system charges them */
    uint64_t alone_ns;      /* when there was none on this host */
    uint64_t datums, bytes;
    bool any_sent;
    int64_t late_ns;         /* of the datagram sent last */
    struct latency *spacing; /* all targets' errors of spacing, and ... */
    struct latency *late;    /* ... how late datagrams left */
};

/* Opens the socket; `target->outbox.to` says where to. EXIT_OK, or EXIT_FAILED after telling. */
int replay_target_open(struct replay_target *target, uint32_t ttl);

/* Gathers a datum as a datagram of its own, due at a monotonic instant (0: whenever). Sends what
 * was gathered before if there is no more room. */
void replay_target_add(struct replay_target *target, struct span datum, uint64_t due_ns);
/* Sends what was gathered. */
void replay_target_flush(struct replay_target *target);
/* Waits until the receivers of this host have taken most of what was sent to them, and the socket
 * takes more. */
void replay_target_yield(struct replay_target *target);

void replay_target_close(struct replay_target *target);

#endif
