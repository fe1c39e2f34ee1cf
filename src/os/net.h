/* SPDX-License-Identifier: MIT
 * UDP as Flotilla needs it: opening receivers and senders on a chosen interface, and moving
 * batches. One file per system implements it. Relies on the kernel only: no resolver, numeric
 * addresses. Sources: ip(7), ipv6(7), udp(7), recvmmsg(2), RFC 3678 (source-specific joins). */
#ifndef FLOTILLA_OS_NET_H
#define FLOTILLA_OS_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/span.h"
#include "os/descriptor.h"

#define NET_INTERFACE_BYTES    ADDRESS_ZONE_BYTES
#define NET_ADDRESS_TEXT_BYTES (56 + ADDRESS_ZONE_BYTES)
#define NET_DATAGRAM_BYTES_MAX 65536 /* a receive buffer; a UDP payload is at most 65,507 */

/* "239.10.0.1:26000", "[ff15::1]:6000", "[fe80::1%eth0]:6000". 0 or -EINVAL. The port is 1 to
 * 65535. Whether there is such an interface is not looked at. */
int net_read_address(const char *text, struct address *address);
/* "10.0.0.7", "10.0.0.0/24", "fd00::/8", "fe80::%eth0/10". 0 or -EINVAL (also for bits set behind
 * the prefix). */
int net_read_prefix(const char *text, struct prefix *prefix);
/* What the readers read; returns `text`. */
char *net_write_address(char text[NET_ADDRESS_TEXT_BYTES], const struct address *address);
char *net_write_prefix(char text[NET_ADDRESS_TEXT_BYTES], const struct prefix *prefix);
/* The interface's index, or a negative errno: -ENODEV if there is none of that name, which may be
 * one of its alternative ones. An interface that is made anew has another index. */
int net_interface_index(const char *name);
/* The name of the interface to this host itself. */
const char *net_loopback_name(void);

/* Single senders that a group is joined for; with more it is joined for all, as the kernel's limit
 * (net.ipv4.igmp_max_msf) is 10. Who may send is checked again for every datagram. */
#define NET_JOINED_SOURCES_MAX 10
/* Whether a group is joined for whoever sends; else for each of these single senders. */
bool net_joins_everybody(const struct prefix *sources, uint32_t source_count);

struct net_receive_options {
    struct address listen;
    const char *interface;        /* "" lets the routing table choose; see net_open_receiver */
    const struct prefix *sources; /* single addresses are joined source-specifically on a group */
    uint32_t source_count;
    uint64_t queue_bytes; /* SO_RCVBUF to ask for; forced past the system's limit where allowed */
    /* Called with each socket that is made, before anything can come to it, for whoever is to hold
     * a copy from its first datagram on; where it cannot be bound, it is closed. May be NULL. */
    void (*made)(void *context, descriptor_t descriptor);
    void *context;
};

/* Opens a non-blocking receiver bound to exactly `listen` (a group is bound to the group's address,
 * with delivery of other groups off), joined, with drop counts and arrival times switched on.
 * Returns the descriptor, which the caller closes, or a negative errno.
 *
 * What came in by another interface than the one named is not received, whoever else has joined
 * there, but at a single address: that is one interface's, and is received at whichever way it
 * comes. A group without a name for it is of the interface that the routing table chose when the
 * receiver was opened. What holds a receiver to its interface (for IPv4 groups the membership
 * itself, else SO_BINDTOIFINDEX, which unlike a filter drops nothing that would count as lost) can
 * be set again without privileges on a socket that is at work: net_adopt_receiver and net_rejoin
 * do, for an interface that was made anew. */
descriptor_t net_open_receiver(const struct net_receive_options *options);
/* Whether its address and port could be had now, without joining a group, so that nothing is sent.
 * 0 or a negative errno: -EADDRINUSE where another program has them. */
int net_try_receiver(const struct net_receive_options *options);
/* The same where `other`, of this process, may hold the port for the address or for all: both are
 * bound then, and what comes goes to the one with the single address, until that hears nobody.
 * It is for single addresses, not for groups. Source: socket(7), SO_REUSEADDR, which is set for
 * this call only: who else has the port with that option is not noticed. */
descriptor_t net_open_receiver_overlapping(const struct net_receive_options *options,
                                           descriptor_t other);
/* After a process that was killed in that: nobody else can be bound to what this socket is. */
void net_set_exclusive(descriptor_t descriptor);

/* Has a receiver of a group, opened with `was`, joined as `is` says: another interface, other
 * senders; one of all addresses or of broadcasts takes what comes in by the other interface. Where
 * there is no such interface, a group is joined on none, and that is no error. The address must be
 * the same. Who was joined for and still is misses nothing: the kernel exchanges the list as a
 * whole, an interface is joined before the other is left. But from single senders to everybody, or
 * back, it exchanges the list first and then what that means
 * (ip_mc_msfilter), and passes over what comes in between: 1 or 2 datagrams in 100 changes at
 * 300,000 a second. 0 or a negative errno, and then it may be joined for both. Source: RFC 3678,
 * 4.2 (full-state). */
int net_rejoin(descriptor_t descriptor, const struct net_receive_options *was,
               const struct net_receive_options *is);
/* Whether a receiver there listens on an interface, named or chosen by the routing table, and not
 * only at an address, which may be any interface's. `interface`: "" if none is named. */
bool net_listens_by_interface(const struct address *listen, const char *interface);
/* The interface that a receiver was opened on, `was`, is not the one of that name any more: it is
 * `is`, with another number (where it was made anew: the same), or none (0). A group is joined
 * there, and on the other no more; what waits in the socket stays. `was` 0: it is not known. 0 or a
 * negative errno; to be tried again then. */
int net_follow(descriptor_t descriptor, const struct net_receive_options *options, unsigned was,
               unsigned is);
/* Makes of a bound socket that was handed down what net_open_receiver would have opened: whatever
 * of it is missing is set, what is there already stays (a longer queue, what is queued). A group is
 * joined, if its interface is there, and for exactly the senders that the options name. To be
 * called as often as one likes; before any sandbox, as it may make a socket. 0, -EPROTOTYPE if it
 * is no UDP socket, -EADDRNOTAVAIL if it is bound to another address, or another negative errno. */
int net_adopt_receiver(descriptor_t descriptor, const struct net_receive_options *options);

/* Whether what comes to `listen` comes to that socket: 0; -EADDRNOTAVAIL if it is bound to another
 * address, -EISCONN if to that one, but after net_quiesce, or another negative errno. */
int net_check_receiver(descriptor_t descriptor, const struct address *listen);

/* Opens a non-blocking sender for `to`'s family, leaving by `interface` with `ttl`; multicast is
 * looped back to listeners on this host; broadcasts may be sent. Where what is sent leaves the
 * host, the system tells of what it dropped in front of the network (ip(7), IP_RECVERR). Returns
 * the descriptor or a negative errno. */
descriptor_t net_open_sender(const struct address *to, const char *interface, uint32_t ttl);

/* Has a sender leave by the interface `index` from now on. 0 or a negative errno. */
int net_turn_sender(descriptor_t descriptor, const struct address *to, unsigned index);

/* Whether what is sent there goes through a queue that takes segmented messages apart by itself,
 * and does not tell when it drops a part: for such, an outbox must not have `segments`. */
bool net_queue_splits(const struct address *to, const char *interface);

/* What the kernel granted for the receive queue, in bytes of its own accounting; 0 if unknown. */
uint64_t net_queue_bytes(descriptor_t descriptor);
/* What a socket that asks for `bytes` is granted, in the same bytes; found out with one. */
uint64_t net_queue_grant(uint64_t bytes);
/* How long a granted queue bridges when nobody reads: seconds of 100 Mbit/s in datagrams of 1,400
 * bytes, as the kernel charges them. */
double net_queue_seconds(uint64_t granted_bytes);
/* A number no other socket of this host's uptime has had; 0 if unknown. */
uint64_t net_cookie(descriptor_t descriptor);
/* Asks for another receive queue, as net_receive_options.queue_bytes. What is queued stays queued.
 */
void net_set_queue(descriptor_t descriptor, uint64_t bytes);
/* Whether the system counts what it drops of a socket. Where it does not, nobody knows whether
 * anything was lost before it got here: that is no 0. */
bool net_counts_drops(descriptor_t descriptor);
/* Drops on this socket since it was opened, modulo 2^32; 0 where they are not counted. Of
 * datagrams, or, where they are coalesced, of messages (see net_offload.drops_are_messages). */
uint32_t net_dropped(descriptor_t descriptor);

/* Has nothing more come to a receiver; what waits in it stays. A socket that is connected takes
 * from that one sender only; where there is no way from it to one who never sends, it goes on as
 * before. Source: connect(2) on datagrams. */
void net_quiesce(descriptor_t descriptor);
/* Takes net_quiesce back. 0 or a negative errno. Source: connect(2), AF_UNSPEC. */
int net_resume(descriptor_t descriptor);
/* Before a receiver is closed: net_quiesce, takes out what waits in it, for at most a second,
 * and throws it away. How many datagrams that were. */
uint64_t net_drain(descriptor_t descriptor);

/* What of segmentation offload works here. Found out by doing it, never by version: kernels,
 * drivers and containers differ. */
struct net_offload {
    bool receive;            /* a receiver may ask for coalesced datagrams */
    bool send, send_group;   /* a run of datagrams may go as one message: unicast, multicast */
    bool drops_are_messages; /* a coalesced message that is dropped counts once */
};
/* Tries it on the loopback interface over IPv4 with sockets of its own, in far less than a
 * millisecond; what cannot be tried does not work. Leaves nothing behind. */
void net_probe_offload(struct net_offload *offload);

/* Has a receiver take coalesced datagrams (UDP_GRO). 0 or a negative errno. */
int net_coalesce(descriptor_t descriptor);
/* Has it take them one by one again. Call it when the queue is empty: what is queued coalesced
 * would come without the size of its datagrams. -EAGAIN if something came in between: it coalesces
 * still; receive and try again. */
int net_coalesce_not(descriptor_t descriptor);
bool net_is_coalescing(descriptor_t descriptor);

/* A batch of receive buffers that lives in memory the caller provides, page aligned, so that it
 * can be shared and outlive the process: what was received can be told after a SIGKILL. */
struct net_batch;
size_t net_batch_bytes(uint32_t messages);
/* Lays the batch out in `memory` of net_batch_bytes(messages). Does not clear what was received. */
struct net_batch *net_batch_place(void *memory, uint32_t messages);
/* Marks all messages as empty. To be called before net_batch_receive, behind the caller's own note
 * that a batch is in flight. */
void net_batch_clear(struct net_batch *batch);
/* Takes up to `messages` (at most what it was placed with) that are queued, without waiting.
 * Returns how many, 0 if none, or a negative errno. */
int net_batch_receive(struct net_batch *batch, descriptor_t descriptor, uint32_t messages);
/* How many messages the last net_batch_receive took, also if it never returned: the system notes
 * each as it hands it over, so that of those nobody was told of none is lost. Where one can note
 * only a call as a whole, it takes one message a call. */
uint32_t net_batch_taken(const struct net_batch *batch);

/* Gives the memory of the buffers back; what was received is gone. */
void net_batch_release(struct net_batch *batch);

struct net_message {
    struct span bytes;
    /* 0: one datagram. Else several of this size, back to back; the last may be shorter. */
    uint32_t segment_bytes;
    uint64_t arrival_ns; /* realtime, by the kernel; 0 if it gave none */
    uint32_t dropped;    /* net_dropped as of this message */
    bool dropped_known;
    bool truncated;   /* it was longer than the buffer */
    const void *name; /* the system's form of the source */
};
/* Describes message `index` < net_batch_taken. The bytes stay valid until the next clear. */
void net_batch_message(const struct net_batch *batch, uint32_t index, struct net_message *message);
/* Who sent it. */
void net_message_source(const struct net_message *message, struct address *source);

/* The datagram that begins at `offset` of a message; the next one is behind it. */
static inline struct span net_message_datagram(const struct net_message *message, size_t offset)
{
    size_t left = message->bytes.bytes - offset;
    return (struct span){message->bytes.at + offset,
                         message->segment_bytes == 0 || left < message->segment_bytes
                             ? left
                             : message->segment_bytes};
}
static inline uint32_t net_message_count(const struct net_message *message)
{
    return message->segment_bytes == 0
               ? 1
               : (uint32_t)((message->bytes.bytes + message->segment_bytes - 1) /
                            message->segment_bytes);
}

/* Datagrams gathered for one destination and sent together. With `segments`, a run of equal-sized
 * ones (the last may be shorter) goes as one message that the system takes apart; where it refuses,
 * the same datagrams go one by one at once, and it is not asked again for such. */
enum net_send_cause {
    NET_SEND_QUEUE_FULL,  /* the interface's queue dropped it: the link is slower */
    NET_SEND_SOCKET_FULL, /* the socket's own: nothing leaves, or the queue is longer than it */
    NET_SEND_TOO_LARGE,   /* for a datagram */
    NET_SEND_NO_LINK,     /* the interface is down, or there is none */
    NET_SEND_UNREACHABLE, /* no route, or no neighbour answers for the address */
    NET_SEND_FORBIDDEN,   /* by a packet filter, or a broadcast address without leave */
    NET_SEND_OTHER,
    NET_SEND_CAUSES
};
#define NET_OUTBOX_MAX 64 /* runs; without `segments` a run is one datagram */
struct net_outbox_run {
    uint32_t parts; /* of memory */
    uint32_t datagrams;
    uint32_t segment_bytes; /* of each datagram but the last */
    uint32_t bytes;
    bool ended; /* by a shorter datagram */
};
struct net_outbox {
    descriptor_t descriptor; /* -1: nothing is ever sent */
    struct address to;
    int away; /* positive errno: there is no interface to send by, which is an error each; else 0 */
    bool segments;
    uint32_t count, part_count;
    struct net_outbox_run runs[NET_OUTBOX_MAX];
    struct span parts[2 * NET_OUTBOX_MAX];
    /* Datagrams; the owner reads and keeps them. What was sent and then did not leave the host
     * moves from the one to the other (net_outbox_settle). */
    uint64_t sent, errors;
    uint64_t errors_by[NET_SEND_CAUSES];
    int last_errno;    /* positive errno of the newest error */
    uint32_t refusals; /* of segmented messages */
    uint32_t
        refused_bytes; /* 0, or datagrams of this size and more do not go segmented: path MTU */
};
/* Adds a datagram (its bytes stay the caller's until the flush); flushes when full. */
void net_outbox_add(struct net_outbox *outbox, struct span datagram);
/* Sends what was gathered, never waiting: what the kernel does not take at once is an error. So is
 * what its queues drop, as far as they tell: see docs/internals/limits.md. What a network tells of
 * a datagram sent earlier (that nobody listens at its port, say) is no error of this one. */
void net_outbox_flush(struct net_outbox *outbox);
/* Looks what the system has told of datagrams sent earlier: one for which no neighbour was found
 * (which takes it some seconds) was not sent. Also done by a flush that something was told in. */
void net_outbox_settle(struct net_outbox *outbox);
/* Counts datagrams that are not sent for a reason of the owner's. */
static inline void net_outbox_fail(struct net_outbox *outbox, enum net_send_cause cause,
                                   uint32_t datagrams)
{
    outbox->errors += datagrams;
    outbox->errors_by[cause] += datagrams;
}

/* What waits for the receivers of this host that are bound to the address (or to all addresses) and
 * its port, in bytes of the system's own accounting: of the one with the most; -1 where there is
 * none, or that cannot be told. Source: proc(5), /proc/net/udp. */
int64_t net_receivers_waiting(const struct address *to);
/* Waits until the socket takes another datagram, or `timeout_ns` has passed. */
void net_wait_to_send(descriptor_t descriptor, int64_t timeout_ns);

/* Waits until the socket is readable, or, with `or_interrupt`, this process has been asked to end
 * (os/interrupt.h), or `timeout_ns` has passed (-1: for ever). 1 if the socket is readable, 0 if
 * not, or a negative errno (-EINTR after a signal). */
int net_wait(descriptor_t descriptor, bool or_interrupt, int64_t timeout_ns);
/* Which of `count` sockets (at most NET_LOOK_MAX) have something to be received, all in one call.
 * Never waits. */
#define NET_LOOK_MAX 64u
void net_look(const descriptor_t *descriptors, uint32_t count, bool *waiting);

#endif
