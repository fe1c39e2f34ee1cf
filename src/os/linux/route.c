/* SPDX-License-Identifier: MIT
 * One question to the routing table, one answer. Part of the static relay: no allocation, and the
 * kernel's structures as they are in its ABI (rtnetlink(7)), as musl comes without its headers. */
#include "os/linux/route.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    NETLINK_ROUTE = 0,
    RTM_NEWROUTE = 24,
    RTM_GETROUTE = 26,
    NLM_F_REQUEST = 1,
    RTA_DST = 1,
    RTA_OIF = 4,
    RTN_BROADCAST = 3,
    REPLY_BYTES = 2048,
};
struct message {
    uint32_t bytes;
    uint16_t type, flags;
    uint32_t sequence, port;
    struct {
        uint8_t family, destination_bits, source_bits, tos, table, protocol, scope, type;
        uint32_t flags;
    } route;
};
struct attribute {
    uint16_t bytes, type; /* its value stands behind it, and so do bytes up to a multiple of 4 */
};
_Static_assert(sizeof(struct message) == 28, "as in the kernel's ABI");

struct answer {
    uint32_t index;
    uint8_t type; /* 0: no route, or no answer */
};

static void read_answer(const uint8_t *from, size_t bytes, struct answer *answer)
{
    struct message message;
    struct attribute attribute;
    size_t at = sizeof(message);
    if (bytes < at)
        return;
    memcpy(&message, from, sizeof(message));
    if (message.type != RTM_NEWROUTE)
        return;
    answer->type = message.route.type;
    for (; at + sizeof(attribute) <= bytes; at += (attribute.bytes + 3u) / 4 * 4) {
        memcpy(&attribute, from + at, sizeof(attribute));
        size_t value = at + sizeof(attribute);
        if (attribute.bytes < sizeof(attribute))
            return;
        if (attribute.type == RTA_OIF && value + sizeof(answer->index) <= bytes)
            memcpy(&answer->index, from + value, sizeof(answer->index));
    }
}

static struct answer ask(const struct address *to)
{
    struct answer answer = {0};
    size_t bytes = to->family == 4 ? 4 : 16;
    struct {
        struct message message;
        struct attribute attribute;
        uint8_t destination[sizeof(to->bytes)];
    } request = {.message = {.type = RTM_GETROUTE, .flags = NLM_F_REQUEST}};
    uint8_t reply[REPLY_BYTES];
    request.message.bytes = (uint32_t)(sizeof(request) - sizeof(request.destination) + bytes);
    request.message.route.family = to->family == 4 ? AF_INET : AF_INET6;
    request.message.route.destination_bits = (uint8_t)(bytes * 8);
    request.attribute = (struct attribute){(uint16_t)(sizeof(request.attribute) + bytes), RTA_DST};
    memcpy(request.destination, to->bytes, bytes);
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0)
        return answer;
    if (send(descriptor, &request, request.message.bytes, 0) >= 0) {
        ssize_t got = recv(descriptor, reply, sizeof(reply), 0);
        read_answer(reply, got > 0 ? (size_t)got : 0, &answer);
    }
    close(descriptor);
    return answer;
}

unsigned route_interface(const struct address *to)
{
    return ask(to).index;
}

bool route_is_broadcast(const struct address *to)
{
    return address_is_limited_broadcast(to) ||
           (to->family == 4 && !address_is_multicast(to) && ask(to).type == RTN_BROADCAST);
}
