/* SPDX-License-Identifier: MIT
 * Sockets of the network on Linux. A port of datagrams is free if it can be had at all addresses
 * at once: a socket that is bound to any of them stands in the way, whatever options it has. */
#define _GNU_SOURCE /* IPV6_V6ONLY, SOCK_CLOEXEC */
#include "os/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 64 };

/* A bound socket, or a negative errno. */
static int bound(const struct address *address, int type)
{
    char host[INET6_ADDRSTRLEN + ADDRESS_ZONE_BYTES + 2], port[8];
    int family = address->family == 4 ? AF_INET : AF_INET6, on = 1, result;
    struct addrinfo hints = {.ai_family = family,
                             .ai_socktype = type,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    if (inet_ntop(family, address->bytes, host, sizeof(host)) == NULL)
        return -errno;
    if (address->zone[0] != '\0')
        snprintf(host + strlen(host), sizeof(host) - strlen(host), "%%%s", address->zone);
    snprintf(port, sizeof(port), "%u", address->port);
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return -EADDRNOTAVAIL;
    int descriptor = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    result = descriptor < 0 ? -errno : descriptor;
    if (descriptor >= 0 && type == SOCK_STREAM)
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (descriptor >= 0 && family == AF_INET6)
        setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (descriptor >= 0 && bind(descriptor, found->ai_addr, found->ai_addrlen) < 0) {
        result = -errno;
        close(descriptor);
    }
    freeaddrinfo(found);
    return result;
}

descriptor_t stream_listen(const struct address *address)
{
    int descriptor = bound(address, SOCK_STREAM);
    if (descriptor >= 0 && listen(descriptor, LISTEN_BACKLOG) < 0) {
        int error = -errno;
        close(descriptor);
        return error;
    }
    return descriptor;
}

void stream_end(descriptor_t connection)
{
    shutdown(connection, SHUT_RDWR);
}

void stream_end_sending(descriptor_t connection)
{
    shutdown(connection, SHUT_WR);
}

void stream_set_prompt(descriptor_t connection, int waiting_bytes)
{
    int on = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &waiting_bytes, sizeof(waiting_bytes));
}

int stream_datagram_port(uint16_t port)
{
    for (uint8_t family = 4; family <= 6; family += 2) {
        int descriptor = bound(&(struct address){.family = family, .port = port}, SOCK_DGRAM);
        if (descriptor == -EAFNOSUPPORT || descriptor == -EADDRNOTAVAIL)
            continue; /* this system has no IPv6 */
        if (descriptor < 0)
            return descriptor;
        close(descriptor);
    }
    return 0;
}
