/* SPDX-License-Identifier: MIT
 * Questions to the routing table and to the queues of interfaces, with the kernel's structures as
 * they are in its ABI (rtnetlink(7)). */
#include "os/linux/route.h"

#include <string.h>
#include <sys/socket.h>

#include "os/linux/rtnetlink.h"

enum {
    RTM_NEWROUTE = 24,
    RTM_GETROUTE = 26,
    RTM_NEWQDISC = 36,
    RTM_GETQDISC = 38,
    RTA_DST = 1,
    RTA_OIF = 4,
    TCA_KIND = 1,
    RTN_BROADCAST = 3,
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
_Static_assert(sizeof(struct route) == 12 && sizeof(struct queue) == 20, "as in the kernel's ABI");

/* A message's attribute of that type behind its first `at` bytes. Its bytes, 0: there is none. */
static size_t find(const void *message, size_t at, uint16_t type, const uint8_t **value)
{
    struct attribute attribute;
    const uint8_t *body = message;
    size_t bytes = ((const struct rtnetlink_header *)message)->bytes;
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

struct route_message {
    struct rtnetlink_header header;
    struct route route;
};
struct queue_message {
    struct rtnetlink_header header;
    struct queue queue;
};

struct way {
    uint32_t index;
    uint8_t type; /* 0: no route, or no answer */
};

static int take_route(void *context, const void *message)
{
    struct way *way = context;
    const struct route_message *route = message;
    const uint8_t *value = NULL;
    if (route->header.type != RTM_NEWROUTE || route->header.bytes < sizeof(*route))
        return 0;
    way->type = route->route.type;
    if (find(message, sizeof(*route), RTA_OIF, &value) == sizeof(way->index))
        memcpy(&way->index, value, sizeof(way->index));
    return 0;
}

static struct way ask_route(const struct address *to)
{
    struct way way = {0};
    size_t bytes = to->family == 4 ? 4 : 16;
    struct {
        struct route_message question;
        struct attribute attribute;
        uint8_t destination[sizeof(to->bytes)];
    } request = {.question.header = {.type = RTM_GETROUTE, .flags = RTNETLINK_REQUEST}};
    request.question.header.bytes =
        (uint32_t)(sizeof(request) - sizeof(request.destination) + bytes);
    request.question.route.family = to->family == 4 ? AF_INET : AF_INET6;
    request.question.route.destination_bits = (uint8_t)(bytes * 8);
    request.attribute = (struct attribute){(uint16_t)(sizeof(request.attribute) + bytes), RTA_DST};
    memcpy(request.destination, to->bytes, bytes);
    rtnetlink_ask(&request, take_route, &way);
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

static int take_queue(void *context, const void *message)
{
    static const char kinds[][8] = {"tbf", "cake", "netem", "taprio"};
    struct splitting *search = context;
    const struct queue_message *queue = message;
    const uint8_t *kind = NULL;
    if (queue->header.type != RTM_NEWQDISC || queue->header.bytes < sizeof(*queue))
        return 0;
    size_t kind_bytes = find(message, sizeof(*queue), TCA_KIND, &kind);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (queue->queue.interface == (int32_t)search->index &&
            kind_bytes == strlen(kinds[i]) + 1 && memcmp(kind, kinds[i], kind_bytes) == 0)
            search->splits = true;
    return 0;
}

bool route_splits(unsigned index)
{
    struct splitting search = {.index = index};
    const struct queue_message request = {.header = {.bytes = sizeof(request),
                                                     .type = RTM_GETQDISC,
                                                     .flags = RTNETLINK_REQUEST | RTNETLINK_DUMP}};
    rtnetlink_ask(&request, take_queue, &search);
    return search.splits;
}
