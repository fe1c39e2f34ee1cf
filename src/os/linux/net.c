/* SPDX-License-Identifier: MIT
 * UDP sockets and batches on Linux. Relies on recvmmsg(2) and sendmmsg(2), called directly: musl
 * sends one by one instead. Constants the C library may lack are given with the kernel's values.
 * Known: a process killed in net_coalesce_not may leave one coalesced message queued that the next
 * reader gets without the size of its datagrams. */
#define _GNU_SOURCE
#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/units.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/linux/route.h"
#include "os/linux/rtnetlink.h"
#include "os/memory.h"

enum {
    NET_SO_MEMINFO = 55,
    NET_SO_COOKIE = 57,
    NET_MEMINFO_DROPS = 8,
    NET_MEMINFO_COUNT = 9,
    NET_IP_MULTICAST_ALL = 49,
    NET_IP_UNICAST_IF = 50,
    NET_IPV6_MULTICAST_ALL = 29,
    NET_IPV6_UNICAST_IF = 76,
    NET_UDP_SEGMENT = 103,
    NET_UDP_GRO = 104,
    NET_BINDTOIFINDEX = 62,
    NET_NEWLINK = 16,
    NET_GETLINK = 18,
    NET_ALT_IFNAME = 53,
    SEND_QUEUE_BYTES = 4 << 20,
    CONTROL_BYTES = 128,
    /* Buffers begin an odd number of cache lines apart. With 64 KiB between them, the first lines
     * of all messages would fall into one set of the cache. */
    BUFFER_STEP_BYTES = NET_DATAGRAM_BYTES_MAX + 17 * 64,
    /* Kernels before 5.16 count headers as well, and fail at exactly 64. */
    SEGMENTS_MAX = 60,
    SEGMENTED_BYTES_MAX = 65507,
    /* Two are enough to gain: 0.48 to 0.83 of the time of two sends, and 0.04 to 0.5 for 50,
     * measured on loopback and veth, to receivers that coalesce and that do not. */
    RUN_MIN = 2,
    REFUSALS_MAX = 8, /* then it is not a matter of size */
    /* Of one message, for what the network tells of those before it: each try takes such news
     * away, and little comes between two. */
    RETRIES_MAX = 16,
    REPORTS_MAX = 8, /* of the network, in one call */
    REPORT_ICMP = 2, /* sock_extended_err.ee_origin */
    REPORT_ICMP6 = 3,
    DISCARD_PORT = 9, /* RFC 863: takes, and never sends */
};
#define MESSAGE_NOT_TAKEN 0xffffffffu
#define COLD              __attribute__((cold)) /* small rather than fast */

/* A question to the kernel and what begins its answer. */
struct link_message {
    struct rtnetlink_header header;
    struct {
        uint16_t family, device;
        int32_t index;
        uint32_t flags, change;
    } link;
    struct {
        uint16_t bytes, type;
    } attribute;
    char name[NET_INTERFACE_BYTES];
};

static int take_index(void *context, const void *answer)
{
    const struct link_message *message = answer;
    (void)context;
    return message->header.type == NET_NEWLINK ? message->link.index : 0;
}

/* Alternative names may be longer than the older calls take. */
static int long_name_index(const char *name)
{
    struct link_message message = {.header = {.type = NET_GETLINK, .flags = RTNETLINK_REQUEST}};
    size_t bytes = strlen(name) + 1, front = offsetof(struct link_message, name);
    if (bytes > sizeof(message.name))
        return -ENODEV;
    message.attribute.bytes = (uint16_t)(sizeof(message.attribute) + bytes);
    message.attribute.type = NET_ALT_IFNAME;
    message.header.bytes = (uint32_t)(front + (bytes + 3) / 4 * 4);
    memcpy(message.name, name, bytes);
    int index = rtnetlink_ask(&message, take_index, NULL);
    return index == 0 || index == -EINVAL ? -ENODEV : index; /* older than such names */
}

int net_interface_index(const char *name)
{
    if (strlen(name) >= IF_NAMESIZE)
        return long_name_index(name);
    unsigned index = if_nametoindex(name);
    return index == 0 ? -errno : (int)index; /* asking takes a descriptor: there may be none left */
}

const char *net_loopback_name(void)
{
    return "lo";
}

static socklen_t to_system(const struct address *address, unsigned scope,
                           struct sockaddr_storage *out)
{
    memset(out, 0, sizeof(*out));
    if (address->family == 4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(address->port);
        memcpy(&in->sin_addr, address->bytes, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(address->port);
    in6->sin6_scope_id = scope;
    memcpy(&in6->sin6_addr, address->bytes, 16);
    return sizeof(*in6);
}

static void from_system(const struct sockaddr_in6 *in6, struct address *address)
{
    memset(address, 0, offsetof(struct address, zone) + 1);
    if (in6->sin6_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)in6;
        address->family = 4;
        address->port = ntohs(in->sin_port);
        memcpy(address->bytes, &in->sin_addr, 4);
    } else if (in6->sin6_family == AF_INET6) {
        address->family = 6;
        address->port = ntohs(in6->sin6_port);
        memcpy(address->bytes, &in6->sin6_addr, 16);
    }
}

/* ---- opening ---- */

/* The relay is to be small: only what is done for each batch is made to be fast. */
#if defined __GNUC__ && !defined __clang__
#pragma GCC push_options
#pragma GCC optimize("Os")
#endif

static int set_option(descriptor_t descriptor, int level, int option, int value)
{
    return setsockopt(descriptor, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int open_socket(uint8_t family)
{
    int descriptor =
        socket(family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;
    if (family == 6)
        set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    return descriptor;
}

static int join(descriptor_t descriptor, const struct address *group, unsigned interface,
                const struct address *source)
{
    int level = group->family == 4 ? IPPROTO_IP : IPPROTO_IPV6;
    struct address bare = *group;
    bare.port = 0;
    if (source != NULL) {
        struct group_source_req request = {.gsr_interface = interface};
        to_system(&bare, 0, &request.gsr_group);
        to_system(source, 0, &request.gsr_source);
        return setsockopt(descriptor, level, MCAST_JOIN_SOURCE_GROUP, &request, sizeof(request)) < 0
                   ? -errno
                   : 0;
    }
    struct group_req request = {.gr_interface = interface};
    to_system(&bare, 0, &request.gr_group);
    return setsockopt(descriptor, level, MCAST_JOIN_GROUP, &request, sizeof(request)) < 0 ? -errno
                                                                                          : 0;
}

/* Whether a group is joined for whoever sends; else for single senders. */
bool net_joins_everybody(const struct prefix *sources, uint32_t source_count)
{
    bool everybody = source_count == 0 || source_count > NET_JOINED_SOURCES_MAX;
    for (uint32_t i = 0; i < source_count; i++)
        everybody = everybody || !prefix_is_single(&sources[i]);
    return everybody;
}

/* 0 for none. */
static int find_interface(const char *name, unsigned *index)
{
    *index = 0;
    if (name == NULL || name[0] == '\0')
        return 0;
    int found = net_interface_index(name);
    *index = found < 0 ? 0 : (unsigned)found;
    return found < 0 ? found : 0;
}

/* What the socket is bound to but for the address: an interface's index, 0: none. */
static unsigned bound_interface(descriptor_t descriptor)
{
    int index = 0;
    socklen_t bytes = sizeof(index);
    return getsockopt(descriptor, SOL_SOCKET, NET_BINDTOIFINDEX, &index, &bytes) < 0 || index < 0
               ? 0
               : (unsigned)index;
}

/* The index of the interface that is listened on; 0: of any, or, for an IPv4 group, of the one that
 * the kernel chooses and holds to. For an IPv6 group it is chosen here (see binds_interface): the
 * one that `chosen` is bound to, if that is a socket for which it was done before. 0 or a negative
 * errno. */
static int receive_interface(descriptor_t chosen, const struct net_receive_options *options,
                             unsigned *index)
{
    char name[IF_NAMESIZE];
    int status = find_interface(options->interface, index);
    if (status < 0 || *index != 0 || options->listen.family == 4 ||
        !address_is_multicast(&options->listen))
        return status;
    *index = bound_interface(chosen);
    if (*index == 0 || if_indextoname(*index, name) == NULL)
        *index = route_interface(&options->listen);
    return 0;
}

/* Whether a receiver has to be bound to its interface, lest it gets other networks' datagrams. An
 * IPv4 group's does not: without IP_MULTICAST_ALL Linux compares the interface of a membership
 * (ip_mc_sf_allow). For IPv6 it does not (inet6_mc_check), and nothing else but the binding asks
 * where a datagram to all addresses, or a broadcast one, came in. A single address is not bound: it
 * is one interface's anyway, and what this host sends to itself comes by the loopback interface. */
static bool binds_interface(const struct address *listen, unsigned interface)
{
    return interface != 0 && ((listen->family == 6 && address_is_multicast(listen)) ||
                              address_is_link_local(listen) || address_is_wildcard(listen) ||
                              route_is_broadcast(listen));
}

static bool is_connected(descriptor_t descriptor)
{
    struct sockaddr_storage peer;
    socklen_t bytes = sizeof(peer);
    return getpeername(descriptor, (struct sockaddr *)&peer, &bytes) == 0;
}

/* Binds to an interface in place of the one before, if it was another: also where one of the same
 * name was made anew, which has another index. What is queued stays. Everybody may do so once
 * (Linux 5.7), and is free to again when a connect to nobody has undone it (__udp_disconnect);
 * between the two, which takes a microsecond, the socket is nobody's. Where it is forbidden, the
 * receiver does without: see docs/internals/limits.md. */
static void bind_interface(descriptor_t descriptor, unsigned index)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    unsigned bound = bound_interface(descriptor);
    if (bound == index)
        return;
    int status = set_option(descriptor, SOL_SOCKET, NET_BINDTOIFINDEX, (int)index);
    if (status == -EPERM && bound != 0 && !is_connected(descriptor) &&
        connect(descriptor, &nobody, sizeof(nobody)) == 0)
        set_option(descriptor, SOL_SOCKET, NET_BINDTOIFINDEX, (int)index);
}

static int join_all(descriptor_t descriptor, const struct net_receive_options *options,
                    unsigned interface)
{
    if (net_joins_everybody(options->sources, options->source_count))
        return join(descriptor, &options->listen, interface, NULL);
    int status = 0;
    for (uint32_t i = 0; i < options->source_count && status == 0; i++)
        status = join(descriptor, &options->listen, interface, &options->sources[i].address);
    return status;
}

/* Sets for whom a group that is joined on an interface is joined, all at once. */
static int set_sources(descriptor_t descriptor, const struct net_receive_options *options,
                       unsigned interface)
{
    _Alignas(struct group_filter) uint8_t room[GROUP_FILTER_SIZE(NET_JOINED_SOURCES_MAX)];
    struct group_filter *filter = (struct group_filter *)(void *)room;
    struct address bare = options->listen;
    bare.port = 0;
    memset(room, 0, sizeof(room));
    filter->gf_interface = interface;
    to_system(&bare, 0, &filter->gf_group);
    filter->gf_fmode = MCAST_EXCLUDE;
    if (!net_joins_everybody(options->sources, options->source_count)) {
        filter->gf_fmode = MCAST_INCLUDE;
        filter->gf_numsrc = options->source_count;
        for (uint32_t i = 0; i < options->source_count; i++)
            to_system(&options->sources[i].address, 0, &filter->gf_slist[i]);
    }
    return setsockopt(descriptor, bare.family == 4 ? IPPROTO_IP : IPPROTO_IPV6, MCAST_MSFILTER,
                      filter, (socklen_t)GROUP_FILTER_SIZE(filter->gf_numsrc)) < 0
               ? -errno
               : 0;
}

bool net_listens_by_interface(const struct address *listen, const char *interface)
{
    return address_is_multicast(listen) || address_is_link_local(listen) ||
           (interface[0] != '\0' && (address_is_wildcard(listen) || route_is_broadcast(listen)));
}

static bool is_named(const struct net_receive_options *options)
{
    return options->interface != NULL && options->interface[0] != '\0';
}

/* One that has gone has left its membership with the socket. */
static int leave(descriptor_t descriptor, const struct address *group, unsigned interface)
{
    struct group_req request = {.gr_interface = interface};
    struct address bare = *group;
    bare.port = 0;
    to_system(&bare, 0, &request.gr_group);
    return setsockopt(descriptor, bare.family == 4 ? IPPROTO_IP : IPPROTO_IPV6, MCAST_LEAVE_GROUP,
                      &request, sizeof(request)) < 0
               ? -errno
               : 0;
}

/* Joined already, it is joined as the options say all the same. */
static int join_once(descriptor_t descriptor, const struct net_receive_options *options,
                     unsigned interface)
{
    int status = join_all(descriptor, options, interface);
    /* Refused where it is joined already: for everybody, or for such a sender. */
    if (status == -EADDRINUSE || status == -EADDRNOTAVAIL || status == -EINVAL)
        status = set_sources(descriptor, options, interface);
    return status;
}

int net_rejoin(descriptor_t descriptor, const struct net_receive_options *was,
               const struct net_receive_options *is)
{
    unsigned from, to;
    /* One that has gone took its memberships with it. */
    bool gone = receive_interface(descriptor, was, &from) < 0;
    int status = receive_interface(is_named(was) ? DESCRIPTOR_NONE : descriptor, is, &to);
    bool none = status == -ENODEV;
    if (status < 0 && !none)
        return status;
    bool binds = !none && binds_interface(&is->listen, to);
    if (!address_is_multicast(&is->listen)) {
        if (!none)
            bind_interface(descriptor, binds ? to : 0);
        return 0;
    }
    if (!gone && !none && from == to)
        return set_sources(descriptor, is, to);
    status = none ? 0 : join_once(descriptor, is, to);
    if (status == 0 && binds)
        bind_interface(descriptor, to);
    return status == 0 && !gone ? leave(descriptor, &is->listen, from) : status;
}

int net_follow(descriptor_t descriptor, const struct net_receive_options *options, unsigned was,
               unsigned is)
{
    const struct address *listen = &options->listen;
    bool group = address_is_multicast(listen);
    int status = 0;
    if (group && was == is && was != 0)
        leave(descriptor, listen, was);
    if (group && is != 0)
        status = join_once(descriptor, options, is);
    if (status == 0 && binds_interface(listen, is))
        bind_interface(descriptor, is);
    if (group && status == 0 && was != 0 && was != is)
        leave(descriptor, listen, was);
    return status;
}

/* What a receiver needs besides its queue, its address and its groups. */
static void set_receiver_options(descriptor_t descriptor, const struct address *listen)
{
    set_option(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set_option(descriptor, SOL_SOCKET, SO_RXQ_OVFL, 1);
    /* A unicast address is ours alone: where the option stayed on, the next to bind it would get
     * all datagrams. */
    set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, address_is_multicast(listen));
    /* Two groups on one port: bound to the group's address, and told not to deliver what others
     * on this host have joined (ip(7), IP_MULTICAST_ALL); also to who listens at all addresses. */
    if (listen->family == 4)
        set_option(descriptor, IPPROTO_IP, NET_IP_MULTICAST_ALL, 0);
    else
        set_option(descriptor, IPPROTO_IPV6, NET_IPV6_MULTICAST_ALL, 0);
}

/* Options and binding, without joining. 0 or a negative errno, and the interface. */
static int bind_receiver(descriptor_t descriptor, const struct net_receive_options *options,
                         bool shares, unsigned *interface)
{
    const struct address *listen = &options->listen;
    int status = receive_interface(DESCRIPTOR_NONE, options, interface);
    bool needed = net_listens_by_interface(listen, options->interface);
    if (status < 0 && (status != -ENODEV || needed))
        return status;
    net_set_queue(descriptor, options->queue_bytes);
    set_receiver_options(descriptor, listen);
    if (binds_interface(listen, *interface))
        bind_interface(descriptor, *interface);
    if (shares)
        set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    struct sockaddr_storage address;
    socklen_t bytes = to_system(listen, *interface, &address);
    return bind(descriptor, (struct sockaddr *)&address, bytes) < 0 ? -errno : 0;
}

static int configure_receiver(descriptor_t descriptor, const struct net_receive_options *options,
                              bool shares)
{
    unsigned interface;
    int status = bind_receiver(descriptor, options, shares, &interface);
    return status == 0 && address_is_multicast(&options->listen)
               ? join_all(descriptor, options, interface)
               : status;
}

int net_try_receiver(const struct net_receive_options *options)
{
    unsigned interface;
    int descriptor = open_socket(options->listen.family);
    if (descriptor < 0)
        return descriptor;
    int status = bind_receiver(descriptor, options, false, &interface);
    close(descriptor);
    return status;
}

/* What the socket is bound to; family 0: nothing of IP. 0 or a negative errno. */
static int read_bound(descriptor_t descriptor, struct address *bound)
{
    struct sockaddr_storage name = {0};
    socklen_t bytes = sizeof(name);
    if (getsockname(descriptor, (struct sockaddr *)&name, &bytes) < 0)
        return -errno;
    from_system((const struct sockaddr_in6 *)(const void *)&name, bound);
    return 0;
}

/* Whether the socket is UDP and bound to that address: 0 or a negative errno. One that was bound to
 * all addresses is bound to one once it is connected (net_quiesce). */
static int check_bound(descriptor_t descriptor, const struct address *listen)
{
    static const uint8_t all[sizeof(listen->bytes)];
    int type = 0;
    socklen_t bytes = sizeof(type);
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &bytes) < 0)
        return -errno;
    struct address bound;
    int status = read_bound(descriptor, &bound);
    if (status < 0)
        return status;
    if (type != SOCK_DGRAM || bound.family == 0)
        return -EPROTOTYPE;
    if (address_equal(&bound, listen))
        return 0;
    bool was_all = memcmp(listen->bytes, all, sizeof(all)) == 0 && is_connected(descriptor);
    return was_all && bound.family == listen->family && bound.port == listen->port ? 0
                                                                                   : -EADDRNOTAVAIL;
}

int net_check_receiver(descriptor_t descriptor, const struct address *listen)
{
    int status = check_bound(descriptor, listen);
    return status == 0 && is_connected(descriptor) ? -EISCONN : status;
}

int net_adopt_receiver(descriptor_t descriptor, const struct net_receive_options *options)
{
    unsigned interface = 0;
    int status = check_bound(descriptor, &options->listen);
    if (status < 0)
        return status;
    status = receive_interface(descriptor, options, &interface);
    bool away = status == -ENODEV; /* joined by whoever follows it, once it is there */
    if (status < 0 && !away)
        return status;
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0 || fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    /* Never shorter than it is: whoever opened it may be allowed more than we are. The kernel
     * doubles what it is asked for. */
    uint64_t queue_bytes = net_queue_bytes(descriptor);
    if (queue_bytes < 2 * options->queue_bytes &&
        queue_bytes < net_queue_grant(options->queue_bytes))
        net_set_queue(descriptor, options->queue_bytes);
    set_receiver_options(descriptor, &options->listen);
    if (binds_interface(&options->listen, interface))
        bind_interface(descriptor, interface);
    if (away || !address_is_multicast(&options->listen))
        return 0;
    status = join_all(descriptor, options, interface);
    /* Refused where it is joined already: for everybody, or for such a sender. Taken, it may be
     * joined for others beside. */
    if (status != 0 && status != -EADDRINUSE && status != -EADDRNOTAVAIL && status != -EINVAL)
        return status == -ENODEV ? 0 : status; /* no interface leads there for now */
    if (options->listen.family == 6 && interface == 0)
        return 0; /* the kernel compares with the interface that it chose, which is not known */
    return set_sources(descriptor, options, interface);
}

static int open_receiver(const struct net_receive_options *options, bool shares)
{
    int descriptor = open_socket(options->listen.family);
    if (descriptor < 0)
        return descriptor;
    if (options->made != NULL)
        options->made(options->context, descriptor);
    int status = configure_receiver(descriptor, options, shares);
    if (status < 0) {
        close(descriptor);
        return status;
    }
    return descriptor;
}

descriptor_t net_open_receiver(const struct net_receive_options *options)
{
    return open_receiver(options, false);
}

/* Only groups are shared. */
static bool is_shared(descriptor_t descriptor)
{
    int shared = 0;
    socklen_t bytes = sizeof(shared);
    return getsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &shared, &bytes) < 0 || shared != 0;
}

void net_set_exclusive(descriptor_t descriptor)
{
    struct address bound;
    if (read_bound(descriptor, &bound) == 0 && bound.family != 0 && !address_is_multicast(&bound))
        set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 0);
}

descriptor_t net_open_receiver_overlapping(const struct net_receive_options *options,
                                           descriptor_t other)
{
    int descriptor = open_receiver(options, false);
    if (descriptor != -EADDRINUSE || other < 0 || address_is_multicast(&options->listen) ||
        is_shared(other))
        return descriptor;
    set_option(other, SOL_SOCKET, SO_REUSEADDR, 1);
    descriptor = open_receiver(options, true);
    net_set_exclusive(other);
    if (descriptor >= 0)
        net_set_exclusive(descriptor);
    return descriptor;
}

int net_turn_sender(descriptor_t descriptor, const struct address *to, unsigned index)
{
    int status;
    bool unicast = !address_is_multicast(to);
    if (to->family == 4) {
        struct ip_mreqn request = {.imr_ifindex = (int)index};
        status = setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request)) < 0
                     ? -errno
                     : 0;
        if (status == 0 && unicast)
            status = set_option(descriptor, IPPROTO_IP, NET_IP_UNICAST_IF, (int)htonl(index));
        return status;
    }
    status = set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)index);
    if (status == 0 && unicast)
        status = set_option(descriptor, IPPROTO_IPV6, NET_IPV6_UNICAST_IF, (int)htonl(index));
    return status;
}

static int configure_sender(descriptor_t descriptor, const struct address *to, unsigned interface,
                            uint32_t ttl)
{
    int status = 0, hops = (int)ttl;
    bool ipv4 = to->family == 4;
    int level = ipv4 ? IPPROTO_IP : IPPROTO_IPV6;
    /* Past the system's limit where allowed: what does not fit is lost, and a segmented message
     * takes 64 KiB of it at once. */
    if (set_option(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, SEND_QUEUE_BYTES) < 0)
        set_option(descriptor, SOL_SOCKET, SO_SNDBUF, SEND_QUEUE_BYTES);
    if (ipv4)
        set_option(descriptor, SOL_SOCKET, SO_BROADCAST, 1); /* refused without; else no effect */
    status = set_option(descriptor, level, ipv4 ? IP_MULTICAST_TTL : IPV6_MULTICAST_HOPS, hops);
    if (status == 0 && hops > 0)
        status = set_option(descriptor, level, ipv4 ? IP_TTL : IPV6_UNICAST_HOPS, hops);
    if (status == 0)
        status = set_option(descriptor, level, ipv4 ? IP_MULTICAST_LOOP : IPV6_MULTICAST_LOOP, 1);
    if (status == 0 && interface != 0)
        status = net_turn_sender(descriptor, to, interface);
    return status;
}

/* The index of the interface that what is sent leaves by; 0: not known. */
static unsigned send_interface(const struct address *to, unsigned named)
{
    unsigned routed = named != 0 && address_is_multicast(to) ? 0 : route_interface(to);
    /* To an own address it goes by the loopback interface, whatever is named. */
    return named != 0 &&
                   (routed == 0 || routed != (unsigned)net_interface_index(net_loopback_name()))
               ? named
               : routed;
}

descriptor_t net_open_sender(const struct address *to, const char *interface, uint32_t ttl)
{
    unsigned index;
    int status = find_interface(interface, &index);
    if (status < 0)
        return status;
    int descriptor = open_socket(to->family);
    if (descriptor < 0)
        return descriptor;
    status = configure_sender(descriptor, to, index, ttl);
    if (status < 0) {
        close(descriptor);
        return status;
    }
    /* Without, Linux tells nobody of what an interface's queue drops. The loopback interface has
     * none, and where nobody listens it tells of each datagram: a call each to hear that. */
    if (send_interface(to, index) != (unsigned)net_interface_index(net_loopback_name()))
        set_option(descriptor, to->family == 4 ? IPPROTO_IP : IPPROTO_IPV6,
                   to->family == 4 ? IP_RECVERR : IPV6_RECVERR, 1);
    return descriptor;
}

bool net_queue_splits(const struct address *to, const char *interface)
{
    unsigned index;
    if (find_interface(interface, &index) < 0)
        return false;
    return route_splits(send_interface(to, index));
}

uint64_t net_queue_bytes(descriptor_t descriptor)
{
    int bytes = 0;
    socklen_t size = sizeof(bytes);
    return getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, &size) < 0 || bytes < 0
               ? 0
               : (uint64_t)bytes;
}

void net_set_queue(descriptor_t descriptor, uint64_t bytes)
{
    int queue = bytes > INT32_MAX ? INT32_MAX : (int)bytes;
    if (queue > 0 && set_option(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, queue) < 0)
        set_option(descriptor, SOL_SOCKET, SO_RCVBUF, queue);
}

uint64_t net_queue_grant(uint64_t bytes)
{
    int descriptor = open_socket(4);
    if (descriptor < 0)
        return 0;
    net_set_queue(descriptor, bytes);
    uint64_t granted = net_queue_bytes(descriptor);
    close(descriptor);
    return granted;
}

double net_queue_seconds(uint64_t granted_bytes)
{
    /* Measured: a queued datagram of 1,400 bytes is charged with 2,305. */
    return (double)granted_bytes / 2305.0 * 1400.0 * 8.0 / 100e6;
}

uint64_t net_cookie(descriptor_t descriptor)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    return getsockopt(descriptor, SOL_SOCKET, NET_SO_COOKIE, &cookie, &size) < 0 ? 0 : cookie;
}

/* 0 or a negative errno. */
static int read_drops(int descriptor, uint32_t *dropped)
{
    uint32_t info[NET_MEMINFO_COUNT] = {0};
    socklen_t size = sizeof(info);
    int status = getsockopt(descriptor, SOL_SOCKET, NET_SO_MEMINFO, info, &size) < 0 ? -errno : 0;
    *dropped = info[NET_MEMINFO_DROPS];
    return status;
}

bool net_counts_drops(descriptor_t descriptor)
{
    uint32_t dropped;
    return read_drops(descriptor, &dropped) == 0;
}

uint32_t net_dropped(descriptor_t descriptor)
{
    uint32_t dropped;
    return read_drops(descriptor, &dropped) < 0 ? 0 : dropped;
}

#if defined __GNUC__ && !defined __clang__
#pragma GCC pop_options
#endif

/* ---- receiving ---- */

struct net_batch {
    uint32_t messages;
    struct mmsghdr headers[]; /* then the rest, placed by net_batch_parts */
};

/* Where each part begins, in bytes from the batch. */
struct net_batch_parts {
    size_t vectors, names, control, buffers;
    size_t bytes; /* of all of it */
};

static struct net_batch_parts net_batch_parts(uint32_t messages)
{
    struct net_batch_parts parts;
    size_t at = sizeof(struct net_batch) + messages * sizeof(struct mmsghdr);
    at = (at + 63) / 64 * 64;
    parts.vectors = at;
    at += messages * sizeof(struct iovec);
    at = (at + 63) / 64 * 64;
    parts.names = at;
    at += messages * sizeof(struct sockaddr_in6);
    at = (at + 63) / 64 * 64;
    parts.control = at;
    at += messages * CONTROL_BYTES;
    at = (at + 4095) / 4096 * 4096;
    parts.buffers = at;
    parts.bytes = at + (size_t)messages * BUFFER_STEP_BYTES;
    return parts;
}

size_t net_batch_bytes(uint32_t messages)
{
    return net_batch_parts(messages).bytes;
}

COLD struct net_batch *net_batch_place(void *memory, uint32_t messages)
{
    struct net_batch *batch = memory;
    const struct net_batch_parts parts = net_batch_parts(messages);
    uint8_t *base = memory;
    struct iovec *vectors = (struct iovec *)(void *)(base + parts.vectors);
    struct sockaddr_in6 *names = (struct sockaddr_in6 *)(void *)(base + parts.names);
    /* What the kernel wrote into a header (msg_len, msg_namelen, msg_controllen, msg_flags) is left
     * as it is; the addresses in it are this process's own. */
    for (uint32_t i = 0; i < messages; i++) {
        struct msghdr *header = &batch->headers[i].msg_hdr;
        vectors[i] = (struct iovec){base + parts.buffers + (size_t)i * BUFFER_STEP_BYTES,
                                    NET_DATAGRAM_BYTES_MAX};
        struct msghdr kept = *header;
        memset(header, 0, sizeof(*header)); /* padding too, which the kernel reads as lengths */
        header->msg_namelen = kept.msg_namelen;
        header->msg_controllen = kept.msg_controllen;
        header->msg_flags = kept.msg_flags;
        header->msg_name = &names[i];
        header->msg_iov = &vectors[i];
        header->msg_iovlen = 1;
        header->msg_control = base + parts.control + (size_t)i * CONTROL_BYTES;
    }
    if (batch->messages != messages) { /* fresh memory */
        batch->messages = messages;
        net_batch_clear(batch);
    }
    return batch;
}

void net_batch_clear(struct net_batch *batch)
{
    for (uint32_t i = 0; i < batch->messages; i++) {
        struct mmsghdr *header = &batch->headers[i];
        header->msg_len = MESSAGE_NOT_TAKEN;
        header->msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        header->msg_hdr.msg_controllen = CONTROL_BYTES;
        header->msg_hdr.msg_flags = 0;
    }
}

int net_batch_receive(struct net_batch *batch, descriptor_t descriptor, uint32_t messages)
{
    CHECK(messages <= batch->messages);
    long taken = syscall(SYS_recvmmsg, descriptor, batch->headers, messages, MSG_DONTWAIT, NULL);
    if (taken >= 0)
        return (int)taken;
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

uint32_t net_batch_taken(const struct net_batch *batch)
{
    uint32_t taken = 0;
    while (taken < batch->messages && batch->headers[taken].msg_len != MESSAGE_NOT_TAKEN)
        taken++;
    return taken;
}

COLD void net_batch_release(struct net_batch *batch)
{
    net_batch_clear(batch);
    shared_memory_release((uint8_t *)batch + net_batch_parts(batch->messages).buffers,
                          (size_t)batch->messages * BUFFER_STEP_BYTES);
}

/* The size of the datagrams in a coalesced message; 0: the note says nothing of it. */
static uint32_t read_segment(const struct cmsghdr *note)
{
    int segment = 0;
    if (note->cmsg_level == IPPROTO_UDP && note->cmsg_type == NET_UDP_GRO &&
        note->cmsg_len >= CMSG_LEN(sizeof(int)))
        memcpy(&segment, CMSG_DATA(note), sizeof(segment));
    return segment > 0 ? (uint32_t)segment : 0;
}

/* Complete for every message that net_batch_taken counts: the kernel writes msg_len last, when the
 * bytes, the source and the control data of that message stand (do_recvmmsg). */
void net_batch_message(const struct net_batch *batch, uint32_t index, struct net_message *message)
{
    const struct mmsghdr *entry = &batch->headers[index];
    struct msghdr header = entry->msg_hdr;
    size_t bytes = entry->msg_len;
    CHECK(index < batch->messages);
    memset(message, 0, sizeof(*message));
    message->truncated = (header.msg_flags & MSG_TRUNC) != 0 || bytes > NET_DATAGRAM_BYTES_MAX;
    message->bytes = (struct span){header.msg_iov->iov_base,
                                   bytes > NET_DATAGRAM_BYTES_MAX ? NET_DATAGRAM_BYTES_MAX : bytes};
    message->name = header.msg_name;
    if (header.msg_controllen > CONTROL_BYTES)
        header.msg_controllen = 0;
    for (struct cmsghdr *note = CMSG_FIRSTHDR(&header); note != NULL;
         note = CMSG_NXTHDR(&header, note)) {
        if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_TIMESTAMPNS &&
            note->cmsg_len >= CMSG_LEN(sizeof(struct timespec))) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(note), sizeof(at));
            message->arrival_ns = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
        } else if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL &&
                   note->cmsg_len >= CMSG_LEN(sizeof(uint32_t))) {
            memcpy(&message->dropped, CMSG_DATA(note), sizeof(uint32_t));
            message->dropped_known = true;
        } else {
            uint32_t segment = read_segment(note);
            if (segment > 0 && segment < message->bytes.bytes)
                message->segment_bytes = segment;
        }
    }
}

void net_quiesce(descriptor_t descriptor)
{
    struct sockaddr_storage bound;
    socklen_t bytes = sizeof(bound);
    struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT)};
    struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(DISCARD_PORT)};
    to4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to6.sin6_addr = in6addr_loopback;
    if (getsockname(descriptor, (struct sockaddr *)&bound, &bytes) < 0)
        return;
    if (bound.ss_family == AF_INET) {
        connect(descriptor, (const struct sockaddr *)&to4, sizeof(to4));
    } else if (connect(descriptor, (const struct sockaddr *)&to6, sizeof(to6)) < 0) {
        /* It is bound to an interface by which no way leads there; nor does a group ever send. */
        to6.sin6_addr = (struct in6_addr)IN6ADDR_ANY_INIT;
        to6.sin6_addr.s6_addr[0] = 0xff;
        to6.sin6_addr.s6_addr[1] = 0x02;
        to6.sin6_addr.s6_addr[15] = 1;
        to6.sin6_scope_id = bound_interface(descriptor);
        connect(descriptor, (const struct sockaddr *)&to6, sizeof(to6));
    }
}

int net_resume(descriptor_t descriptor)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    unsigned interface = bound_interface(descriptor); /* the kernel forgets that, too */
    if (connect(descriptor, &nobody, sizeof(nobody)) < 0)
        return -errno;
    return interface == 0 ? 0
                          : set_option(descriptor, SOL_SOCKET, NET_BINDTOIFINDEX, (int)interface);
}

uint64_t net_drain(descriptor_t descriptor)
{
    net_quiesce(descriptor);
    uint64_t datagrams = 0, end_ns = clock_monotonic_ns() + NS_PER_S;
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
    while (clock_monotonic_ns() < end_ns) {
        struct iovec nothing = {control, 0}; /* without any, some emulators take nothing */
        struct msghdr header = {.msg_iov = &nothing,
                                .msg_iovlen = 1,
                                .msg_control = control,
                                .msg_controllen = sizeof(control)};
        ssize_t bytes = recvmsg(descriptor, &header, MSG_DONTWAIT | MSG_TRUNC);
        if (bytes < 0 && errno == EINTR)
            continue;
        if (bytes < 0)
            break;
        uint64_t segment = 0;
        for (struct cmsghdr *note = CMSG_FIRSTHDR(&header); note != NULL && segment == 0;
             note = CMSG_NXTHDR(&header, note))
            segment = read_segment(note);
        datagrams += segment > 0 ? ((uint64_t)bytes + segment - 1) / segment : 1;
    }
    return datagrams;
}

void net_message_source(const struct net_message *message, struct address *source)
{
    from_system(message->name, source);
}

int net_wait(descriptor_t descriptor, bool or_interrupt, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    struct pollfd wanted[2] = {{.fd = descriptor, .events = POLLIN},
                               {.fd = or_interrupt ? interrupt_descriptor() : DESCRIPTOR_NONE,
                                .events = POLLIN}}; /* poll passes over none */
    int ready = ppoll(wanted, 2, timeout_ns < 0 ? NULL : &timeout, NULL);
    if (ready < 0)
        return -errno;
    return wanted[0].revents != 0; /* an error too is for the reader to find */
}

void net_look(const descriptor_t *descriptors, uint32_t count, bool *waiting)
{
    struct pollfd wanted[NET_LOOK_MAX];
    const struct timespec at_once = {0};
    CHECK(count <= NET_LOOK_MAX);
    for (uint32_t i = 0; i < count; i++)
        wanted[i] = (struct pollfd){.fd = descriptors[i], .events = POLLIN};
    int ready = ppoll(wanted, count, &at_once, NULL);
    for (uint32_t i = 0; i < count; i++)
        waiting[i] = ready > 0 && wanted[i].revents != 0;
}

/* ---- sending ---- */

#define OUTBOX_PARTS_MAX (sizeof(((struct net_outbox *)0)->parts) / sizeof(struct span))

/* Whether a run of this size may go as one message, for all that is known. */
static bool may_segment(const struct net_outbox *outbox, const struct net_outbox_run *run)
{
    return outbox->segments &&
           (outbox->refused_bytes == 0 || run->segment_bytes < outbox->refused_bytes);
}

/* Appends to the newest run, if it can take the datagram. */
static bool run_append(struct net_outbox *outbox, struct span datagram)
{
    if (!outbox->segments || outbox->count == 0 || datagram.bytes == 0)
        return false;
    struct net_outbox_run *run = &outbox->runs[outbox->count - 1];
    if (run->ended || datagram.bytes > run->segment_bytes || run->datagrams == SEGMENTS_MAX ||
        run->bytes + datagram.bytes > SEGMENTED_BYTES_MAX || !may_segment(outbox, run))
        return false;
    struct span *part = &outbox->parts[outbox->part_count - 1];
    if (part->at + part->bytes == datagram.at) {
        part->bytes += datagram.bytes;
    } else {
        if (outbox->part_count == OUTBOX_PARTS_MAX)
            return false;
        outbox->parts[outbox->part_count++] = datagram;
        run->parts++;
    }
    run->datagrams++;
    run->bytes += (uint32_t)datagram.bytes;
    run->ended = datagram.bytes < run->segment_bytes;
    return true;
}

void net_outbox_add(struct net_outbox *outbox, struct span datagram)
{
    if (run_append(outbox, datagram))
        return;
    if (outbox->count == NET_OUTBOX_MAX || outbox->part_count == OUTBOX_PARTS_MAX)
        net_outbox_flush(outbox);
    outbox->parts[outbox->part_count++] = datagram;
    outbox->runs[outbox->count++] =
        (struct net_outbox_run){.parts = 1,
                                .datagrams = 1,
                                .segment_bytes = (uint32_t)datagram.bytes,
                                .bytes = (uint32_t)datagram.bytes};
}

/* Messages on their way to one sendmmsg. */
struct outgoing {
    struct sockaddr_storage to;
    socklen_t to_bytes;
    uint32_t count, vector_count;
    struct mmsghdr headers[NET_OUTBOX_MAX];
    struct iovec vectors[OUTBOX_PARTS_MAX];
    const struct net_outbox_run *runs[NET_OUTBOX_MAX]; /* NULL: one datagram */
    const struct span *parts[NET_OUTBOX_MAX];          /* of the run */
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control[NET_OUTBOX_MAX];
};

static void outgoing_start(struct outgoing *outgoing, const struct net_outbox *outbox)
{
    outgoing->to_bytes = to_system(&outbox->to, 0, &outgoing->to);
    outgoing->count = 0;
    outgoing->vector_count = 0;
}

/* Adds a message of `part_count` parts; as a run, if `run` is not NULL. */
static void outgoing_add(struct outgoing *outgoing, const struct span *parts, uint32_t part_count,
                         const struct net_outbox_run *run)
{
    uint32_t index = outgoing->count++;
    struct msghdr *header = &outgoing->headers[index].msg_hdr;
    CHECK(index < NET_OUTBOX_MAX && outgoing->vector_count + part_count <= OUTBOX_PARTS_MAX);
    memset(header, 0, sizeof(*header));
    header->msg_name = &outgoing->to;
    header->msg_namelen = outgoing->to_bytes;
    header->msg_iov = &outgoing->vectors[outgoing->vector_count];
    header->msg_iovlen = part_count;
    for (uint32_t i = 0; i < part_count; i++)
        outgoing->vectors[outgoing->vector_count++] =
            (struct iovec){(void *)(uintptr_t)parts[i].at, parts[i].bytes};
    outgoing->runs[index] = run;
    outgoing->parts[index] = parts;
    if (run == NULL)
        return;
    uint16_t segment = (uint16_t)run->segment_bytes;
    header->msg_control = outgoing->control[index].bytes;
    header->msg_controllen = sizeof(outgoing->control[index].bytes);
    /* musl's length has padding behind it, which the kernel reads as its upper half. */
    memset(outgoing->control[index].bytes, 0, sizeof(outgoing->control[index].bytes));
    struct cmsghdr *note = CMSG_FIRSTHDR(header);
    note->cmsg_level = IPPROTO_UDP;
    note->cmsg_type = NET_UDP_SEGMENT;
    note->cmsg_len = CMSG_LEN(sizeof(segment));
    memcpy(CMSG_DATA(note), &segment, sizeof(segment));
}

static void outgoing_send(struct net_outbox *outbox, struct outgoing *outgoing);

/* Adds a run's datagrams one by one; sends whenever there is no more room. */
static void outgoing_add_plain(struct net_outbox *outbox, struct outgoing *outgoing,
                               const struct net_outbox_run *run, const struct span *parts)
{
    for (uint32_t i = 0; i < run->parts; i++) {
        struct span left = parts[i];
        do {
            struct span one = left;
            if (one.bytes > run->segment_bytes)
                one.bytes = run->segment_bytes;
            if (outgoing->count == NET_OUTBOX_MAX || outgoing->vector_count == OUTBOX_PARTS_MAX)
                outgoing_send(outbox, outgoing);
            outgoing_add(outgoing, &one, 1, NULL);
            left.at += one.bytes;
            left.bytes -= one.bytes;
        } while (left.bytes > 0);
    }
}

/* Sends a run one by one; false if nothing of it could be sent so either. */
COLD static bool send_plain(struct net_outbox *outbox, const struct net_outbox_run *run,
                            const struct span *parts)
{
    struct outgoing outgoing;
    uint64_t sent = outbox->sent;
    outgoing_start(&outgoing, outbox);
    outgoing_add_plain(outbox, &outgoing, run, parts);
    outgoing_send(outbox, &outgoing);
    return outbox->sent > sent;
}

/* A segmented message that the system refused may still do as single datagrams: EMSGSIZE or EINVAL
 * with datagrams larger than the path lets through whole (plain ones are fragmented), EIO from a
 * device without checksum offload. With its queues full (EAGAIN, ENOBUFS) there is nothing to be
 * gained. What is remembered is what plain sending has shown to be segmentation's fault. */
COLD static void send_refused(struct net_outbox *outbox, const struct net_outbox_run *run,
                              const struct span *parts, int error)
{
    if (!send_plain(outbox, run, parts))
        return;
    bool by_size = error == EMSGSIZE || error == EINVAL;
    outbox->refused_bytes = run->segment_bytes;
    if (!by_size || ++outbox->refusals == REFUSALS_MAX)
        outbox->segments = false;
}

static enum net_send_cause cause_of(int error)
{
    static const struct {
        int error;
        enum net_send_cause cause;
    } known[] = {
        {ENOBUFS, NET_SEND_QUEUE_FULL},
        {EAGAIN, NET_SEND_SOCKET_FULL},
        {EMSGSIZE, NET_SEND_TOO_LARGE},
        {ENODEV, NET_SEND_NO_LINK},
        {ENXIO, NET_SEND_NO_LINK},
        {ENETDOWN, NET_SEND_NO_LINK},
        {ENETUNREACH, NET_SEND_UNREACHABLE},
        {EHOSTUNREACH, NET_SEND_UNREACHABLE},
        {EADDRNOTAVAIL, NET_SEND_UNREACHABLE},
        {EPERM, NET_SEND_FORBIDDEN},
        {EACCES, NET_SEND_FORBIDDEN},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (known[i].error == error)
            return known[i].cause;
    return NET_SEND_OTHER;
}

COLD static void fail_outgoing(struct net_outbox *outbox, int error, uint32_t datagrams)
{
    outbox->last_errno = error;
    net_outbox_fail(outbox, cause_of(error), datagrams);
}

/* What the network says of a datagram; <linux/errqueue.h>. */
struct report {
    uint32_t error;
    uint8_t origin, type, code, padding;
    uint32_t info, data;
};

/* Takes what was told of earlier datagrams. Whether there was something: then a pending error of
 * the socket was theirs, and is gone. */
COLD static bool take_reports(struct net_outbox *outbox)
{
    struct mmsghdr headers[REPORTS_MAX];
    union {
        char bytes[CONTROL_BYTES];
        struct cmsghdr align;
    } control[REPORTS_MAX];
    memset(headers, 0, sizeof(headers));
    for (int i = 0; i < REPORTS_MAX; i++) {
        headers[i].msg_hdr.msg_control = control[i].bytes;
        headers[i].msg_hdr.msg_controllen = sizeof(control[i].bytes);
    }
    long count = syscall(SYS_recvmmsg, outbox->descriptor, headers, REPORTS_MAX,
                         MSG_ERRQUEUE | MSG_DONTWAIT, NULL);
    bool told = false;
    for (long i = 0; i < count; i++) {
        struct cmsghdr *note = CMSG_FIRSTHDR(&headers[i].msg_hdr);
        struct report report = {0};
        if (note == NULL || note->cmsg_len < CMSG_LEN(sizeof(report)))
            continue;
        memcpy(&report, CMSG_DATA(note), sizeof(report));
        if (report.origin != REPORT_ICMP && report.origin != REPORT_ICMP6)
            continue;
        told = true;
        /* A port where nobody listens was reached. */
        if (report.error != EHOSTUNREACH && report.error != ENETUNREACH)
            continue;
        outbox->sent--;
        fail_outgoing(outbox, (int)report.error, 1);
    }
    return told;
}

void net_outbox_settle(struct net_outbox *outbox)
{
    for (int i = 0; i < RETRIES_MAX && outbox->descriptor >= 0 && take_reports(outbox); i++)
        ;
}

static void outgoing_send(struct net_outbox *outbox, struct outgoing *outgoing)
{
    uint32_t first = 0, count = outgoing->count, tries = 0;
    outgoing->count = 0;
    outgoing->vector_count = 0;
    while (first < count) {
        const struct net_outbox_run *run = outgoing->runs[first];
        if (run != NULL && !may_segment(outbox, run)) { /* known since a moment ago */
            send_plain(outbox, run, outgoing->parts[first++]);
            continue;
        }
        long sent = syscall(SYS_sendmmsg, outbox->descriptor, outgoing->headers + first,
                            count - first, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            for (; sent > 0; sent--, first++)
                outbox->sent += outgoing->runs[first] ? outgoing->runs[first]->datagrams : 1;
            tries = 0;
            continue;
        }
        int error = errno;
        if (error == EINTR)
            continue;
        bool full = error == EAGAIN || error == ENOBUFS;
        if (!full && tries++ < RETRIES_MAX && take_reports(outbox))
            continue;
        /* The error is of the first message; those behind it may fare better. */
        if (run != NULL && !full)
            send_refused(outbox, run, outgoing->parts[first], error);
        else
            fail_outgoing(outbox, error, run ? run->datagrams : 1);
        first++;
        tries = 0;
    }
}

void net_outbox_flush(struct net_outbox *outbox)
{
    uint32_t count = outbox->count;
    const struct span *parts = outbox->parts;
    outbox->count = 0;
    outbox->part_count = 0;
    if (count == 0 || outbox->descriptor < 0)
        return;
    if (outbox->away != 0) {
        for (uint32_t i = 0; i < count; i++)
            fail_outgoing(outbox, outbox->away, outbox->runs[i].datagrams);
        return;
    }
    struct outgoing outgoing;
    outgoing_start(&outgoing, outbox);
    for (uint32_t i = 0; i < count; i++) {
        const struct net_outbox_run *run = &outbox->runs[i];
        if (run->datagrams < RUN_MIN || !may_segment(outbox, run)) {
            outgoing_add_plain(outbox, &outgoing, run, parts);
        } else {
            if (outgoing.count == NET_OUTBOX_MAX ||
                outgoing.vector_count + run->parts > OUTBOX_PARTS_MAX)
                outgoing_send(outbox, &outgoing);
            outgoing_add(&outgoing, parts, run->parts, run);
        }
        parts += run->parts;
    }
    outgoing_send(outbox, &outgoing);
}

/* ---- offload ---- */

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("Os")
#endif

int net_coalesce(descriptor_t descriptor)
{
    return set_option(descriptor, IPPROTO_UDP, NET_UDP_GRO, 1);
}

int net_coalesce_not(descriptor_t descriptor)
{
    int status = set_option(descriptor, IPPROTO_UDP, NET_UDP_GRO, 0);
    if (status < 0 || net_wait(descriptor, false, 0) == 0)
        return status;
    status = net_coalesce(descriptor);
    return status < 0 ? status : -EAGAIN;
}

bool net_is_coalescing(descriptor_t descriptor)
{
    int on = 0;
    socklen_t size = sizeof(on);
    return getsockopt(descriptor, IPPROTO_UDP, NET_UDP_GRO, &on, &size) == 0 && on != 0;
}

/* What is sent to try it: three datagrams, the last one shorter. */
enum { PROBE_SEGMENT = 100, PROBE_BYTES = 240, PROBE_PATIENCE_MS = 20, PROBE_DROPS_MAX = 64 };

struct probe {
    int receiver, sender;
    uint8_t pattern[PROBE_BYTES];
    struct net_outbox outbox;
};

static void probe_send(struct probe *probe)
{
    struct net_outbox *outbox = &probe->outbox;
    for (size_t at = 0; at < PROBE_BYTES; at += PROBE_SEGMENT) {
        size_t left = PROBE_BYTES - at;
        struct span one = {probe->pattern + at, left < PROBE_SEGMENT ? left : PROBE_SEGMENT};
        net_outbox_add(outbox, one);
    }
    struct outgoing outgoing;
    outgoing_start(&outgoing, outbox);
    outgoing_add(&outgoing, outbox->parts, outbox->part_count, outbox->runs);
    outbox->count = outbox->part_count = 0;
    outgoing_send(outbox, &outgoing);
}

/* Whether the next message is what stands at `at` of the pattern, of `bytes`, in parts of
 * `segment_bytes` (0: in one). */
static bool probe_receives(const struct probe *probe, size_t at, size_t bytes, int segment_bytes)
{
    uint8_t got[PROBE_BYTES + 1];
    union {
        char bytes[CONTROL_BYTES];
        struct cmsghdr align;
    } control;
    struct iovec vector = {got, sizeof(got)};
    struct msghdr header = {.msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = control.bytes,
                            .msg_controllen = sizeof(control.bytes)};
    struct pollfd wanted = {.fd = probe->receiver, .events = POLLIN};
    ssize_t count = recvmsg(probe->receiver, &header, MSG_DONTWAIT);
    if (count < 0 && poll(&wanted, 1, PROBE_PATIENCE_MS) > 0)
        count = recvmsg(probe->receiver, &header, MSG_DONTWAIT);
    int segment = 0;
    for (struct cmsghdr *note = count < 0 ? NULL : CMSG_FIRSTHDR(&header); note != NULL;
         note = CMSG_NXTHDR(&header, note))
        if (note->cmsg_level == IPPROTO_UDP && note->cmsg_type == NET_UDP_GRO)
            memcpy(&segment, CMSG_DATA(note), sizeof(segment));
    return count == (ssize_t)bytes && memcmp(got, probe->pattern + at, bytes) == 0 &&
           segment == segment_bytes;
}

/* Opens both ends: the receiver on a port that the system chooses, so that no two probes meet. */
static bool probe_open(struct probe *probe, const struct address *at)
{
    struct sockaddr_storage to;
    socklen_t to_bytes = to_system(at, 0, &to);
    struct net_outbox *outbox = &probe->outbox;
    probe->receiver = open_socket(4);
    probe->sender = open_socket(4);
    outbox->descriptor = probe->sender;
    outbox->segments = true;
    outbox->to = *at;
    for (size_t i = 0; i < PROBE_BYTES; i++)
        probe->pattern[i] = (uint8_t)(i * 7 + 1);
    if (probe->receiver < 0 || probe->sender < 0 ||
        bind(probe->receiver, (struct sockaddr *)&to, to_bytes) < 0 ||
        getsockname(probe->receiver, (struct sockaddr *)&to, &to_bytes) < 0)
        return false;
    outbox->to.port = ntohs(((struct sockaddr_in *)(void *)&to)->sin_port);
    if (!address_is_multicast(at))
        return true;
    int loopback = net_interface_index(net_loopback_name());
    return loopback > 0 && set_option(probe->receiver, IPPROTO_IP, NET_IP_MULTICAST_ALL, 0) == 0 &&
           join(probe->receiver, at, (unsigned)loopback, NULL) == 0 &&
           configure_sender(probe->sender, at, (unsigned)loopback, 0) == 0;
}

static void probe_close(struct probe *probe)
{
    if (probe->receiver >= 0)
        close(probe->receiver);
    if (probe->sender >= 0)
        close(probe->sender);
}

/* Sends to a receiver with the smallest queue until it drops, and looks by how much it counts. */
static bool probe_drops_are_messages(struct probe *probe)
{
    set_option(probe->receiver, SOL_SOCKET, SO_RCVBUF, 1);
    for (int i = 0; i < PROBE_DROPS_MAX; i++) {
        probe_send(probe);
        uint32_t dropped = net_dropped(probe->receiver);
        if (dropped > 0)
            return dropped == 1;
    }
    return true;
}

/* Segmented arrives as single datagrams; and, once asked for, coalesced in one message. */
static void probe_at(const struct address *at, bool *send, bool *receive, bool *drops_are_messages)
{
    struct probe probe = {0};
    *send = *receive = false;
    if (probe_open(&probe, at)) {
        probe_send(&probe);
        *send = probe.outbox.segments && probe.outbox.refusals == 0 &&
                probe_receives(&probe, 0, PROBE_SEGMENT, 0) &&
                probe_receives(&probe, PROBE_SEGMENT, PROBE_SEGMENT, 0) &&
                probe_receives(&probe, 2 * PROBE_SEGMENT, PROBE_BYTES - 2 * PROBE_SEGMENT, 0);
        if (*send && net_coalesce(probe.receiver) == 0) {
            probe_send(&probe);
            *receive = probe_receives(&probe, 0, PROBE_BYTES, PROBE_SEGMENT);
            *drops_are_messages = probe_drops_are_messages(&probe);
        }
    }
    probe_close(&probe);
}

void net_probe_offload(struct net_offload *offload)
{
    struct address loopback = {.family = 4, .bytes = {127, 0, 0, 1}};
    struct address group = {.family = 4, .bytes = {239, 255, 70, 76}};
    bool receive_group;
    *offload = (struct net_offload){.drops_are_messages = true};
    probe_at(&loopback, &offload->send, &offload->receive, &offload->drops_are_messages);
    if (offload->send) {
        probe_at(&group, &offload->send_group, &receive_group, &offload->drops_are_messages);
        offload->receive = offload->receive && (receive_group || !offload->send_group);
    }
}
