/* SPDX-License-Identifier: MIT
 * What to do about it on Linux, in the words of iproute2, procps, util-linux and systemd. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "os/health.h"

/* An address without its port, as other programs want it. */
static char *bare_address(const struct address *address, char text[NET_ADDRESS_TEXT_BYTES])
{
    struct prefix prefix = {.address = *address, .bits = address->family == 4 ? 32 : 128};
    prefix.address.port = 0;
    net_write_prefix(text, &prefix);
    text[strcspn(text, "/")] = '\0';
    return text;
}

static bool is_down(const char *interface)
{
    struct health_interface found;
    return health_interface(interface, &found) == 0 && !found.up;
}

/* Up, the loopback interface has its addresses and routes, too. */
static bool needs_loopback(const char *interface)
{
    return strcmp(interface, net_loopback_name()) == 0 && is_down(interface);
}

static void write_route(char *text, size_t bytes, const struct health_about *about)
{
    char address[NET_ADDRESS_TEXT_BYTES];
    const char *interface = about->interface;
    bool four = about->address->family == 4;
    if (address_is_loopback(about->address) && is_down(net_loopback_name()))
        interface = net_loopback_name();
    if (needs_loopback(interface))
        snprintf(text, bytes, "ip link set %s up", interface);
    else if (!address_is_multicast(about->address))
        snprintf(text, bytes, "ip %sroute add %s dev %s", four ? "" : "-6 ",
                 bare_address(about->address, address), interface);
    else if (four)
        snprintf(text, bytes, "ip route add 224.0.0.0/4 dev %s", interface);
    else
        snprintf(text, bytes, "ip -6 route add %s ff00::/8 dev %s table local",
                 strcmp(interface, net_loopback_name()) == 0 ? "local" : "multicast", interface);
}

static void write_address(char *text, size_t bytes, const struct health_about *about)
{
    char address[NET_ADDRESS_TEXT_BYTES] = "ADDRESS", enable[96] = "";
    bool four = about->address->family == 4, any = address_is_wildcard(about->address);
    const char *interface = about->interface;
    bool loopback = strcmp(interface, net_loopback_name()) == 0;
    if (any ? needs_loopback(interface) : address_is_loopback(about->address)) {
        snprintf(text, bytes, "ip link set %s up", net_loopback_name());
        return;
    }
    if (!any)
        bare_address(about->address, address);
    else if (!four)
        snprintf(enable, sizeof enable, "sysctl -w net.ipv6.conf.%s.disable_ipv6=0; ", interface);
    if (loopback && any)
        snprintf(text, bytes, "%sip %saddress replace %s dev %s", enable, four ? "" : "-6 ",
                 four ? "127.0.0.1/8" : "::1/128", interface);
    else
        snprintf(text, bytes, "%sip %saddress add %s/%d dev %s", enable, any && !four ? "-6 " : "",
                 address, four ? 24 : 64, interface);
}

/* Of the interfaces. */
static bool fix_link(char *text, size_t bytes, enum health_fix fix,
                     const struct health_about *about)
{
    const char *interface = about->interface;
    switch ((int)fix) {
    case HEALTH_LINK_UP:
        snprintf(text, bytes, "ip link set %s up", interface);
        return true;
    case HEALTH_LINK_MULTICAST:
        snprintf(text, bytes, "ip link set %s multicast on", interface);
        return true;
    case HEALTH_LINK_MTU:
        snprintf(text, bytes, "ip link set %s mtu %" PRIu64, interface, about->number);
        return true;
    case HEALTH_LINK_RING:
        snprintf(text, bytes, "ethtool -G %s rx 4096", interface);
        return true;
    case HEALTH_LINK_ADDRESS:
        write_address(text, bytes, about);
        return true;
    case HEALTH_LINK_LIST:
        snprintf(text, bytes, "ip -brief link");
        return true;
    case HEALTH_ROUTE:
        write_route(text, bytes, about);
        return true;
    case HEALTH_PATH_FILTER:
        snprintf(text, bytes, "sysctl -w net.ipv4.conf.%s.rp_filter=2", interface);
        return true;
    case HEALTH_QUERIER:
        snprintf(text, bytes, "ip link set %s type bridge mcast_querier 1", interface);
        return true;
    }
    return false;
}

void health_fix(char *text, size_t text_bytes, enum health_fix fix,
                const struct health_about *about)
{
    text[0] = '\0';
    if (fix_link(text, text_bytes, fix, about))
        return;
    switch ((int)fix) {
    case HEALTH_LISTENER:
        snprintf(text, text_bytes, "ss -ulnp 'sport = :%u'", (unsigned)about->address->port);
        break;
    case HEALTH_QUEUE_LIMIT:
        snprintf(text, text_bytes, "sysctl -w net.core.rmem_max=%" PRIu64, about->number);
        break;
    case HEALTH_SOURCE_LIMIT:
        snprintf(text, text_bytes, "sysctl -w net.ipv4.igmp_max_msf=%" PRIu64, about->number);
        break;
    case HEALTH_BACKLOG:
        snprintf(text, text_bytes, "sysctl -w net.core.netdev_max_backlog=10000");
        break;
    case HEALTH_CLOCK:
        snprintf(text, text_bytes, "timedatectl set-ntp true");
        break;
    case HEALTH_DESCRIPTORS:
        snprintf(text, text_bytes, "prlimit --pid $$ --nofile=%" PRIu64 ":%" PRIu64, about->number,
                 about->number);
        break;
    case HEALTH_GROUPS:
        snprintf(text, text_bytes,
                 "boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory");
        break;
    case HEALTH_GROUPS_OURS:
        snprintf(text, text_bytes,
                 "set Delegate=memory cpu in the manager's systemd unit; its log says more");
        break;
    case HEALTH_OTHER_NETWORK:
        snprintf(text, text_bytes, "nsenter --net=/proc/%" PRIu64 "/ns/net flotilla doctor -c '%s'",
                 about->number, about->path);
        break;
    case HEALTH_OWNER:
        /* To read and write it may be nobody's to allow. */
        snprintf(text, text_bytes, "%schown \"$(id -u)\" '%s' && chmod u+rwx '%s'",
                 geteuid() == 0 ? "" : "sudo ", about->path, about->path);
        break;
    case HEALTH_FULL:
        snprintf(text, text_bytes, "du -xh '%s' | sort -h | tail", about->path);
        break;
    case HEALTH_READ_ONLY:
        snprintf(text, text_bytes, "mount -o remount,rw '%s'", about->path);
        break;
    case HEALTH_MEMORY:
        snprintf(text, text_bytes, "free -h");
        break;
    }
}
