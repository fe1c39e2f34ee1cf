/* SPDX-License-Identifier: MIT
 * Interfaces, addresses and routes on Linux, as rtnetlink tells of them: a message lost for want of
 * room is told as ENOBUFS. Relies on /proc/net/igmp and igmp6 for what groups an interface is in.
 */
#define _GNU_SOURCE
#include "os/links.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/net.h"

#define NEWS_BYTES       32768
#define NEWS_QUEUE_BYTES (1 << 20) /* taken only while news wait: about 2,500 messages */

descriptor_t links_open(void)
{
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (descriptor < 0)
        return -errno;
    int bytes = NEWS_QUEUE_BYTES; /* past the system's limit where allowed */
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    struct sockaddr_nl to = {.nl_family = AF_NETLINK,
                             .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                          RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_RULE |
                                          1u << (RTNLGRP_IPV6_RULE - 1)};
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
    bool told = false, lost = false;
    for (;;) {
        ssize_t got = recv(links, news, sizeof(news), 0);
        if (got < 0 && errno == EINTR)
            continue;
        told = told || got >= 0 || errno != EAGAIN;
        if (got < 0 && errno == ENOBUFS) {
            lost = true; /* and what was told before that still waits */
            continue;
        }
        if (got <= 0)
            break;
        unsigned left = (unsigned)got;
        for (struct nlmsghdr *message = (struct nlmsghdr *)(void *)news; NLMSG_OK(message, left);
             message = NLMSG_NEXT(message, left)) {
            const struct ifinfomsg *link = NLMSG_DATA(message);
            /* A bridge tells of a port that leaves it in the same words. */
            if (message->nlmsg_type == RTM_DELLINK && link->ifi_family == AF_UNSPEC)
                gone(context, (unsigned)link->ifi_index);
        }
    }
    if (lost)
        gone(context, 0);
    return told;
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

/* A line of igmp has a group alone, as a number as it is in memory, and is of the interface whose
 * line was last: "2\teth0      :     1      V3", "\t\t\t\tFB0000E0     1 0:00000000\t\t0". One of
 * igmp6 has all: "2    eth0            ff020000000000000000000000000001     1 0000000C 0". */
static bool names_group(const char *line, const struct address *group, unsigned wanted,
                        unsigned *index)
{
    char text[2 * sizeof(group->bytes) + 1], digits[sizeof(text)];
    if (group->family == 4) {
        unsigned number, own;
        memcpy(&own, group->bytes, sizeof(own));
        if (line[0] != '\t') {
            sscanf(line, "%u", index);
            return false;
        }
        return *index == wanted && sscanf(line, "%x", &number) == 1 && number == own;
    }
    for (size_t i = 0; i < sizeof(group->bytes); i++)
        snprintf(text + 2 * i, 3, "%02x", group->bytes[i]);
    return sscanf(line, "%u %*s %32s", index, digits) == 2 && *index == wanted &&
           strcmp(digits, text) == 0;
}

int links_has_group(const struct address *group, unsigned index)
{
    char line[256];
    unsigned at = 0;
    bool found = false;
    FILE *file = fopen(group->family == 4 ? "/proc/self/net/igmp" : "/proc/self/net/igmp6", "re");
    if (file == NULL)
        return -errno;
    while (!found && fgets(line, sizeof(line), file) != NULL)
        found = names_group(line, group, index, &at);
    fclose(file);
    return found;
}

const char *links_fault(unsigned index)
{
    struct ifreq about = {.ifr_flags = 0};
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool known = descriptor >= 0 && if_indextoname(index, about.ifr_name) != NULL &&
                 ioctl(descriptor, SIOCGIFFLAGS, &about) == 0;
    if (descriptor >= 0)
        close(descriptor);
    return !known                                 ? NULL
           : (about.ifr_flags & IFF_UP) == 0      ? "is down"
           : (about.ifr_flags & IFF_RUNNING) == 0 ? "has no carrier"
                                                  : NULL;
}
