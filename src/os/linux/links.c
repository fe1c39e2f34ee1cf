/* SPDX-License-Identifier: MIT
 * Interfaces and addresses on Linux, as rtnetlink tells of them. Relies on nothing but what it is
 * told: a message lost for want of room is told as ENOBUFS. */
#define _GNU_SOURCE
#include "os/links.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/net.h"

#define NEWS_BYTES 32768

descriptor_t links_open(void)
{
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (descriptor < 0)
        return -errno;
    struct sockaddr_nl to = {.nl_family = AF_NETLINK,
                             .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (bind(descriptor, (struct sockaddr *)&to, sizeof(to)) < 0) {
        int error = -errno;
        close(descriptor);
        return error;
    }
    return descriptor;
}

bool links_read(descriptor_t links, void (*gone)(void *context, unsigned index), void *context)
{
    _Alignas(struct nlmsghdr) uint8_t news[NEWS_BYTES];
    bool told = false;
    for (;;) {
        ssize_t got = recv(links, news, sizeof(news), 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return told || (got < 0 && errno != EAGAIN);
        told = true;
        unsigned left = (unsigned)got;
        for (struct nlmsghdr *message = (struct nlmsghdr *)(void *)news; NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            const struct ifinfomsg *link = NLMSG_DATA(message);
            /* A bridge tells of a port that leaves it in the same words. */
            if (message->nlmsg_type == RTM_DELLINK && link->ifi_family == AF_UNSPEC)
                gone(context, (unsigned)link->ifi_index);
        }
    }
}

/* Tried with a socket of another port: the kernel binds to no address that is not there. */
int links_has_address(const struct address *address, const char *interface)
{
    if (address_is_multicast(address) || address_is_wildcard(address))
        return 0;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    const struct sockaddr *at = (const struct sockaddr *)(const void *)&in;
    if (address->family == 6) {
        int index = interface[0] != '\0' ? net_interface_index(interface) : 0;
        in6.sin6_scope_id = index > 0 ? (unsigned)index : 0;
        memcpy(&in6.sin6_addr, address->bytes, 16);
        at = (const struct sockaddr *)(const void *)&in6;
    } else {
        memcpy(&in.sin_addr, address->bytes, 4);
    }
    int descriptor =
        socket(address->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -errno;
    int status =
        bind(descriptor, at, address->family == 4 ? sizeof(in) : sizeof(in6)) < 0 ? -errno : 0;
    close(descriptor);
    return status == -ENODEV ? -EADDRNOTAVAIL : status;
}
