/* SPDX-License-Identifier: MIT
 * Questions to the routing table and to the queues of interfaces. Part of the static relay: no
 * allocation, and the kernel's structures as they are in its ABI (rtnetlink(7)), as musl comes
 * without its headers. */
#include "os/linux/route.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    NETLINK_ROUTE = 0,
    NLMSG_ERROR = 2,
    NLMSG_DONE = 3,
    NLM_F_REQUEST = 1,
    NLM_F_DUMP = 0x300,
    RTM_NEWROUTE = 24,
    RTM_GETROUTE = 26,
    RTM_NEWQDISC = 36,
    RTM_GETQDISC = 38,
    RTA_DST = 1,
    RTA_OIF = 4,
    TCA_KIND = 1,
    RTN_BROADCAST = 3,
    REPLY_BYTES = 16384,
};
struct header {
    uint32_t bytes;
    uint16_t type, flags;
    uint32_t sequence, port;
};
struct route {
    uint8_t family, destination_bits, source_bits, tos, table, protocol, scope, type;
    uint32_t flags;
};
struct queue {
    uint8_t family, padding[3];
    int32_t interface;
    uint32_t handle, parent, info;
};
struct attribute {
    uint16_t bytes, type; /* its value stands behind it, and so do bytes up to a multiple of 4 */
};
_Static_assert(sizeof(struct header) == 16 && sizeof(struct route) == 12 &&
                   sizeof(struct queue) == 20,
               "as in the kernel's ABI");

/* A message's attribute of that type behind a body of `at` bytes. Its bytes, 0: there is none. */
static size_t find(const uint8_t *body, size_t at, size_t bytes, uint16_t type,
                   const uint8_t **value)
{
    struct attribute attribute;
    for (; at + sizeof(attribute) <= bytes; at += (attribute.bytes + 3u) / 4 * 4) {
        memcpy(&attribute, body + at, sizeof(attribute));
        if (attribute.bytes < sizeof(attribute) || at + attribute.bytes > bytes)
            return 0;
        *value = body + at + sizeof(attribute);
        if (attribute.type == type)
            return attribute.bytes - sizeof(attribute);
    }
    return 0;
}

/* Asks, and has `take` look at each message of the answer, without its header. */
static void ask(void *request, bool many,
                void (*take)(void *context, uint16_t type, const uint8_t *body, size_t bytes),
                void *context)
{
    uint8_t reply[REPLY_BYTES];
    struct header *header = request;
    header->flags = NLM_F_REQUEST | (many ? NLM_F_DUMP : 0);
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0)
        return;
    bool more = send(descriptor, request, header->bytes, 0) >= 0;
    while (more) {
        ssize_t got = recv(descriptor, reply, sizeof(reply), 0);
        size_t at = 0, bytes = got > 0 ? (size_t)got : 0;
        more = many && got > 0;
        while (at + sizeof(struct header) <= bytes) {
            struct header message;
            memcpy(&message, reply + at, sizeof(message));
            if (message.bytes < sizeof(message) || at + message.bytes > bytes)
                break;
            more = more && message.type != NLMSG_DONE && message.type != NLMSG_ERROR;
            take(context, message.type, reply + at + sizeof(message),
                 message.bytes - sizeof(message));
            at += (message.bytes + 3u) / 4 * 4;
        }
    }
    close(descriptor);
}

struct way {
    uint32_t index;
    uint8_t type; /* 0: no route, or no answer */
};

static void take_route(void *context, uint16_t type, const uint8_t *body, size_t bytes)
{
    struct way *way = context;
    struct route route;
    const uint8_t *value = NULL;
    if (type != RTM_NEWROUTE || bytes < sizeof(route))
        return;
    memcpy(&route, body, sizeof(route));
    way->type = route.type;
    if (find(body, sizeof(route), bytes, RTA_OIF, &value) == sizeof(way->index))
        memcpy(&way->index, value, sizeof(way->index));
}

static struct way ask_route(const struct address *to)
{
    struct way way = {0};
    size_t bytes = to->family == 4 ? 4 : 16;
    struct {
        struct header header;
        struct route route;
        struct attribute attribute;
        uint8_t destination[sizeof(to->bytes)];
    } request = {.header = {.type = RTM_GETROUTE}};
    request.header.bytes = (uint32_t)(sizeof(request) - sizeof(request.destination) + bytes);
    request.route.family = to->family == 4 ? AF_INET : AF_INET6;
    request.route.destination_bits = (uint8_t)(bytes * 8);
    request.attribute = (struct attribute){(uint16_t)(sizeof(request.attribute) + bytes), RTA_DST};
    memcpy(request.destination, to->bytes, bytes);
    ask(&request, false, take_route, &way);
    return way;
}

unsigned route_interface(const struct address *to)
{
    return ask_route(to).index;
}

bool route_is_broadcast(const struct address *to)
{
    return address_is_limited_broadcast(to) ||
           (to->family == 4 && !address_is_multicast(to) && ask_route(to).type == RTN_BROADCAST);
}

struct splitting {
    unsigned index;
    bool splits;
};

static void take_queue(void *context, uint16_t type, const uint8_t *body, size_t bytes)
{
    static const char kinds[][8] = {"tbf", "cake", "netem", "taprio"};
    struct splitting *search = context;
    struct queue queue;
    const uint8_t *kind = NULL;
    if (type != RTM_NEWQDISC || bytes < sizeof(queue))
        return;
    memcpy(&queue, body, sizeof(queue));
    size_t kind_bytes = find(body, sizeof(queue), bytes, TCA_KIND, &kind);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (queue.interface == (int32_t)search->index && kind_bytes == strlen(kinds[i]) + 1 &&
            memcmp(kind, kinds[i], kind_bytes) == 0)
            search->splits = true;
}

bool route_splits(unsigned index)
{
    struct splitting search = {.index = index};
    struct {
        struct header header;
        struct queue queue;
    } request = {.header = {.bytes = sizeof(request), .type = RTM_GETQDISC}};
    ask(&request, true, take_queue, &search);
    return search.splits;
}
