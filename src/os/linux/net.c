/* SPDX-License-Identifier: MIT
 * UDP sockets and batches on Linux. Relies on recvmmsg(2) and sendmmsg(2), called directly: musl
 * sends one by one instead. Constants the C library may lack are given with the kernel's values. */
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
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

enum {
    NET_SO_MEMINFO = 55,
    NET_SO_COOKIE = 57,
    NET_MEMINFO_DROPS = 8,
    NET_MEMINFO_COUNT = 9,
    NET_IP_MULTICAST_ALL = 49,
    NET_IP_UNICAST_IF = 50,
    NET_IPV6_MULTICAST_ALL = 29,
    NET_IPV6_UNICAST_IF = 76,
    SEND_QUEUE_BYTES = 4 << 20,
    CONTROL_BYTES = 128,
};
#define MESSAGE_NOT_TAKEN 0xffffffffu

/* ---- addresses ---- */

static int read_host(const char *text, size_t bytes, struct address *address)
{
    char host[INET6_ADDRSTRLEN];
    if (bytes == 0 || bytes >= sizeof(host))
        return -EINVAL;
    memcpy(host, text, bytes);
    host[bytes] = '\0';
    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host, address->bytes) == 1)
        address->family = 4;
    else if (inet_pton(AF_INET6, host, address->bytes) == 1)
        address->family = 6;
    else
        return -EINVAL;
    return 0;
}

/* A whole number without sign or blanks, at most `high`. */
static int read_number(const char *text, unsigned long high, unsigned long *number)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits] != '\0')
        return -EINVAL;
    *number = strtoul(text, NULL, 10);
    return *number <= high ? 0 : -EINVAL;
}

int net_read_address(const char *text, struct address *address)
{
    const char *colon = strrchr(text, ':');
    unsigned long port;
    if (colon == NULL || read_number(colon + 1, 65535, &port) < 0 || port == 0)
        return -EINVAL;
    bool six = text[0] == '[';
    if (six && (colon == text + 1 || colon[-1] != ']'))
        return -EINVAL;
    size_t bytes = (size_t)(colon - text) - (six ? 2 : 0);
    int status = read_host(text + six, bytes, address);
    if (status < 0 || (address->family == 6) != six)
        return -EINVAL;
    address->port = (uint16_t)port;
    return 0;
}

int net_read_prefix(const char *text, struct prefix *prefix)
{
    size_t bytes = strcspn(text, "/");
    int status = read_host(text, bytes, &prefix->address);
    if (status < 0)
        return status;
    unsigned long high = prefix->address.family == 4 ? 32 : 128, bits = high;
    if (text[bytes] == '/' && read_number(text + bytes + 1, high, &bits) < 0)
        return -EINVAL;
    prefix->bits = (uint8_t)bits;
    for (unsigned long bit = bits; bit < high; bit++)
        if (prefix->address.bytes[bit / 8] & (0x80 >> bit % 8))
            return -EINVAL;
    return 0;
}

static void write_host(char text[INET6_ADDRSTRLEN], const struct address *address)
{
    text[0] = '\0';
    inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->bytes, text, INET6_ADDRSTRLEN);
}

char *net_write_address(char text[NET_ADDRESS_TEXT_BYTES], const struct address *address)
{
    char host[INET6_ADDRSTRLEN];
    if (address->family == 0) {
        text[0] = '\0';
        return text;
    }
    write_host(host, address);
    snprintf(text, NET_ADDRESS_TEXT_BYTES, address->family == 4 ? "%s:%u" : "[%s]:%u", host,
             address->port);
    return text;
}

char *net_write_prefix(char text[NET_ADDRESS_TEXT_BYTES], const struct prefix *prefix)
{
    char host[INET6_ADDRSTRLEN];
    write_host(host, &prefix->address);
    if (prefix->bits == (prefix->address.family == 4 ? 32 : 128))
        snprintf(text, NET_ADDRESS_TEXT_BYTES, "%s", host);
    else
        snprintf(text, NET_ADDRESS_TEXT_BYTES, "%s/%u", host, prefix->bits);
    return text;
}

bool net_is_multicast(const struct address *address)
{
    return (address->family == 4 && (address->bytes[0] & 0xf0) == 0xe0) ||
           (address->family == 6 && address->bytes[0] == 0xff);
}

bool net_same_address(const struct address *a, const struct address *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool net_prefix_covers(const struct prefix *prefix, const struct address *address)
{
    if (prefix->address.family != address->family)
        return false;
    unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
    if (memcmp(prefix->address.bytes, address->bytes, whole) != 0)
        return false;
    uint8_t mask = (uint8_t)(0xff00 >> rest);
    return rest == 0 || ((prefix->address.bytes[whole] ^ address->bytes[whole]) & mask) == 0;
}

unsigned net_interface_index(const char *name)
{
    return if_nametoindex(name);
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
    memset(address, 0, sizeof(*address));
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

static int set_option(int descriptor, int level, int option, int value)
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

static int join(int descriptor, const struct address *group, unsigned interface,
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
static bool joins_everybody(const struct net_receive_options *options)
{
    bool everybody = options->source_count == 0 || options->source_count > NET_JOINED_SOURCES_MAX;
    for (uint32_t i = 0; i < options->source_count; i++)
        if (options->sources[i].bits < (options->sources[i].address.family == 4 ? 32 : 128))
            everybody = true;
    return everybody;
}

static int join_all(int descriptor, const struct net_receive_options *options, unsigned interface)
{
    if (joins_everybody(options))
        return join(descriptor, &options->listen, interface, NULL);
    int status = 0;
    for (uint32_t i = 0; i < options->source_count && status == 0; i++)
        status = join(descriptor, &options->listen, interface, &options->sources[i].address);
    return status;
}

/* 0 for none. */
static int find_interface(const char *name, unsigned *index)
{
    *index = 0;
    if (name == NULL || name[0] == '\0')
        return 0;
    *index = net_interface_index(name);
    return *index == 0 ? -errno : 0; /* asking takes a descriptor: there may be none left */
}

/* Sets for whom a group that is joined on an interface is joined, all at once. */
static int set_sources(int descriptor, const struct net_receive_options *options,
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
    if (!joins_everybody(options)) {
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

int net_rejoin(int descriptor, const struct net_receive_options *was,
               const struct net_receive_options *is)
{
    unsigned from, to;
    int level = is->listen.family == 4 ? IPPROTO_IP : IPPROTO_IPV6;
    int status = find_interface(is->interface, &to);
    if (status < 0)
        return status;
    /* One that has gone took its memberships with it. */
    bool gone = find_interface(was->interface, &from) < 0;
    if (!gone && from == to)
        return set_sources(descriptor, is, to);
    status = join_all(descriptor, is, to);
    if (status == 0 && !gone) {
        struct group_req request = {.gr_interface = from};
        struct address bare = is->listen;
        bare.port = 0;
        to_system(&bare, 0, &request.gr_group);
        if (setsockopt(descriptor, level, MCAST_LEAVE_GROUP, &request, sizeof(request)) < 0)
            status = -errno;
    }
    return status;
}

/* What a receiver needs besides its queue, its address and its groups. */
static void set_receiver_options(int descriptor, const struct address *listen)
{
    set_option(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    set_option(descriptor, SOL_SOCKET, SO_RXQ_OVFL, 1);
    bool group = net_is_multicast(listen);
    /* Two groups on one port: bound to the group's address, and told not to deliver what others
     * on this host have joined (ip(7), IP_MULTICAST_ALL). A unicast address is ours alone: where
     * the option stayed on, the next to bind it would get all datagrams. */
    set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, group);
    if (!group)
        return;
    if (listen->family == 4)
        set_option(descriptor, IPPROTO_IP, NET_IP_MULTICAST_ALL, 0);
    else
        set_option(descriptor, IPPROTO_IPV6, NET_IPV6_MULTICAST_ALL, 0);
}

static int configure_receiver(int descriptor, const struct net_receive_options *options)
{
    const struct address *listen = &options->listen;
    unsigned interface;
    int status = find_interface(options->interface, &interface);
    if (status < 0)
        return status;
    net_set_queue(descriptor, options->queue_bytes);
    set_receiver_options(descriptor, listen);
    struct sockaddr_storage address;
    socklen_t bytes = to_system(listen, interface, &address);
    if (bind(descriptor, (struct sockaddr *)&address, bytes) < 0)
        return -errno;
    return net_is_multicast(listen) ? join_all(descriptor, options, interface) : 0;
}

/* Whether the socket is UDP and bound to what the options name. 0 or a negative errno. */
static int check_bound(int descriptor, const struct address *listen)
{
    int type = 0;
    socklen_t bytes = sizeof(type);
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &bytes) < 0)
        return -errno;
    struct sockaddr_storage name = {0};
    struct address bound;
    bytes = sizeof(name);
    if (getsockname(descriptor, (struct sockaddr *)&name, &bytes) < 0)
        return -errno;
    from_system((const struct sockaddr_in6 *)(const void *)&name, &bound);
    if (type != SOCK_DGRAM || bound.family == 0)
        return -EPROTOTYPE;
    return net_same_address(&bound, listen) ? 0 : -EADDRNOTAVAIL;
}

int net_adopt_receiver(int descriptor, const struct net_receive_options *options)
{
    unsigned interface;
    int status = check_bound(descriptor, &options->listen);
    if (status == 0)
        status = find_interface(options->interface, &interface);
    if (status < 0)
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
    if (!net_is_multicast(&options->listen))
        return 0;
    status = join_all(descriptor, options, interface);
    /* Refused where it is joined already: for everybody, or for such a sender. Taken, it may be
     * joined for others beside. */
    if (status != 0 && status != -EADDRINUSE && status != -EADDRNOTAVAIL && status != -EINVAL)
        return status;
    if (options->listen.family == 6 && interface == 0)
        return 0; /* the kernel compares with the interface that it chose, which we do not know */
    return set_sources(descriptor, options, interface);
}

int net_open_receiver(const struct net_receive_options *options)
{
    int descriptor = open_socket(options->listen.family);
    if (descriptor < 0)
        return descriptor;
    int status = configure_receiver(descriptor, options);
    if (status < 0) {
        close(descriptor);
        return status;
    }
    return descriptor;
}

static int configure_sender(int descriptor, const struct address *to, unsigned interface,
                            uint32_t ttl)
{
    int status = 0, hops = (int)ttl;
    set_option(descriptor, SOL_SOCKET, SO_SNDBUF, SEND_QUEUE_BYTES);
    if (to->family == 4) {
        status = set_option(descriptor, IPPROTO_IP, IP_MULTICAST_TTL, hops);
        if (status == 0 && hops > 0)
            status = set_option(descriptor, IPPROTO_IP, IP_TTL, hops);
        if (status == 0)
            status = set_option(descriptor, IPPROTO_IP, IP_MULTICAST_LOOP, 1);
        if (status == 0 && interface != 0) {
            struct ip_mreqn request = {.imr_ifindex = (int)interface};
            if (setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request)) < 0)
                status = -errno;
            else if (!net_is_multicast(to))
                status =
                    set_option(descriptor, IPPROTO_IP, NET_IP_UNICAST_IF, (int)htonl(interface));
        }
        return status;
    }
    status = set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, hops);
    if (status == 0 && hops > 0)
        status = set_option(descriptor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, hops);
    if (status == 0)
        status = set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1);
    if (status == 0 && interface != 0) {
        status = set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)interface);
        if (status == 0 && !net_is_multicast(to))
            status =
                set_option(descriptor, IPPROTO_IPV6, NET_IPV6_UNICAST_IF, (int)htonl(interface));
    }
    return status;
}

int net_open_sender(const struct address *to, const char *interface, uint32_t ttl)
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
    return descriptor;
}

uint64_t net_queue_bytes(int descriptor)
{
    int bytes = 0;
    socklen_t size = sizeof(bytes);
    return getsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, &size) < 0 || bytes < 0
               ? 0
               : (uint64_t)bytes;
}

void net_set_queue(int descriptor, uint64_t bytes)
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

uint64_t net_cookie(int descriptor)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof(cookie);
    return getsockopt(descriptor, SOL_SOCKET, NET_SO_COOKIE, &cookie, &size) < 0 ? 0 : cookie;
}

uint32_t net_dropped(int descriptor)
{
    uint32_t info[NET_MEMINFO_COUNT] = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(descriptor, SOL_SOCKET, NET_SO_MEMINFO, info, &size) < 0)
        return 0;
    return info[NET_MEMINFO_DROPS];
}

/* ---- receiving ---- */

struct net_batch {
    uint32_t messages;
    struct mmsghdr headers[]; /* then the rest, placed by net_batch_parts */
};

struct net_batch_parts {
    struct iovec *vectors;
    struct sockaddr_in6 *names;
    uint8_t *control;
    uint8_t *buffers;
    size_t bytes;
};

static struct net_batch_parts net_batch_parts(void *memory, uint32_t messages)
{
    uint8_t *base = memory;
    size_t at = sizeof(struct net_batch) + messages * sizeof(struct mmsghdr);
    struct net_batch_parts parts;
    at = (at + 63) / 64 * 64;
    parts.vectors = (struct iovec *)(void *)(base + at);
    at += messages * sizeof(struct iovec);
    at = (at + 63) / 64 * 64;
    parts.names = (struct sockaddr_in6 *)(void *)(base + at);
    at += messages * sizeof(struct sockaddr_in6);
    at = (at + 63) / 64 * 64;
    parts.control = base + at;
    at += messages * CONTROL_BYTES;
    at = (at + 4095) / 4096 * 4096;
    parts.buffers = base + at;
    parts.bytes = at + (size_t)messages * NET_DATAGRAM_BYTES_MAX;
    return parts;
}

size_t net_batch_bytes(uint32_t messages)
{
    return net_batch_parts(NULL, messages).bytes;
}

struct net_batch *net_batch_place(void *memory, uint32_t messages)
{
    struct net_batch *batch = memory;
    struct net_batch_parts parts = net_batch_parts(memory, messages);
    /* What the kernel wrote into a header (msg_len, msg_namelen, msg_controllen, msg_flags) is left
     * as it is; the addresses in it are this process's own. */
    for (uint32_t i = 0; i < messages; i++) {
        struct msghdr *header = &batch->headers[i].msg_hdr;
        parts.vectors[i] = (struct iovec){parts.buffers + (size_t)i * NET_DATAGRAM_BYTES_MAX,
                                          NET_DATAGRAM_BYTES_MAX};
        struct msghdr kept = *header;
        memset(header, 0, sizeof(*header)); /* padding too, which the kernel reads as lengths */
        header->msg_namelen = kept.msg_namelen;
        header->msg_controllen = kept.msg_controllen;
        header->msg_flags = kept.msg_flags;
        header->msg_name = &parts.names[i];
        header->msg_iov = &parts.vectors[i];
        header->msg_iovlen = 1;
        header->msg_control = parts.control + (size_t)i * CONTROL_BYTES;
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

int net_batch_receive(struct net_batch *batch, int descriptor)
{
    long taken =
        syscall(SYS_recvmmsg, descriptor, batch->headers, batch->messages, MSG_DONTWAIT, NULL);
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

void net_batch_release(struct net_batch *batch)
{
    struct net_batch_parts parts = net_batch_parts(batch, batch->messages);
    net_batch_clear(batch);
    madvise(parts.buffers, (size_t)batch->messages * NET_DATAGRAM_BYTES_MAX, MADV_REMOVE);
}

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
    from_system(header.msg_name, &message->source);
    if (header.msg_controllen > CONTROL_BYTES)
        header.msg_controllen = 0;
    for (struct cmsghdr *note = CMSG_FIRSTHDR(&header); note != NULL;
         note = CMSG_NXTHDR(&header, note)) {
        if (note->cmsg_level != SOL_SOCKET)
            continue;
        if (note->cmsg_type == SO_TIMESTAMPNS &&
            note->cmsg_len >= CMSG_LEN(sizeof(struct timespec))) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(note), sizeof(at));
            message->arrival_ns = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
        } else if (note->cmsg_type == SO_RXQ_OVFL && note->cmsg_len >= CMSG_LEN(sizeof(uint32_t))) {
            memcpy(&message->dropped, CMSG_DATA(note), sizeof(uint32_t));
            message->dropped_known = true;
        }
    }
}

int net_wait(int descriptor, int other, int64_t timeout_ns)
{
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    struct pollfd wanted[2] = {{.fd = descriptor, .events = POLLIN},
                               {.fd = other, .events = POLLIN}}; /* poll passes over -1 */
    int ready = ppoll(wanted, 2, timeout_ns < 0 ? NULL : &timeout, NULL);
    if (ready < 0)
        return -errno;
    return wanted[0].revents != 0; /* an error too is for the reader to find */
}

/* ---- sending ---- */

void net_outbox_add(struct net_outbox *outbox, struct span datagram)
{
    if (outbox->count == NET_OUTBOX_MAX)
        net_outbox_flush(outbox);
    outbox->datagrams[outbox->count++] = datagram;
}

void net_outbox_flush(struct net_outbox *outbox)
{
    uint32_t count = outbox->count, first = 0;
    outbox->count = 0;
    if (count == 0 || outbox->descriptor < 0)
        return;
    struct sockaddr_storage to;
    socklen_t to_bytes = to_system(&outbox->to, 0, &to);
    struct mmsghdr headers[NET_OUTBOX_MAX];
    struct iovec vectors[NET_OUTBOX_MAX];
    memset(headers, 0, count * sizeof(headers[0]));
    for (uint32_t i = 0; i < count; i++) {
        vectors[i] =
            (struct iovec){(void *)(uintptr_t)outbox->datagrams[i].at, outbox->datagrams[i].bytes};
        headers[i].msg_hdr.msg_name = &to;
        headers[i].msg_hdr.msg_namelen = to_bytes;
        headers[i].msg_hdr.msg_iov = &vectors[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    while (first < count) {
        long sent = syscall(SYS_sendmmsg, outbox->descriptor, headers + first, count - first,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            outbox->sent += (uint64_t)sent;
            first += (uint32_t)sent;
        } else if (errno != EINTR) {
            /* The error is of the first message; those behind it may fare better. */
            outbox->last_errno = errno;
            outbox->errors++;
            first++;
        }
    }
}
