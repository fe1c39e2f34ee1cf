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
    prefix.address.zone[0] = '\0';
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

/* %i: the interface, %p: the path, %n: the number, %a: the port, %s: "sudo " where that is needed.
 */
static const char *const templates[] = {
    [HEALTH_LINK_UP] = "ip link set %i up",
    [HEALTH_LINK_MULTICAST] = "ip link set %i multicast on",
    [HEALTH_LINK_MTU] = "ip link set %i mtu %n",
    [HEALTH_LINK_RING] = "ethtool -G %i rx 4096",
    [HEALTH_LINK_LIST] = "ip -brief link",
    [HEALTH_PATH_FILTER] = "sysctl -w net.ipv4.conf.%i.rp_filter=2",
    [HEALTH_QUERIER] = "ip link set %i type bridge mcast_querier 1",
    [HEALTH_LISTENER] = "ss -ulnp 'sport = :%a'",
    [HEALTH_QUEUE_LIMIT] = "sysctl -w net.core.rmem_max=%n",
    [HEALTH_SOURCE_LIMIT] = "sysctl -w net.ipv4.igmp_max_msf=%n",
    [HEALTH_BACKLOG] = "sysctl -w net.core.netdev_max_backlog=10000",
    [HEALTH_CLOCK] = "timedatectl set-ntp true",
    [HEALTH_DESCRIPTORS] = "prlimit --pid $$ --nofile=%n:%n",
    [HEALTH_GROUPS] = "boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory",
    [HEALTH_GROUPS_OURS] = "set Delegate=memory cpu in the manager's systemd unit; its log says "
                           "more",
    [HEALTH_OTHER_NETWORK] = "nsenter --net=/proc/%n/ns/net flotilla doctor -c '%p'",
    /* To read and write it may be nobody's to allow. */
    [HEALTH_OWNER] = "%schown \"$(id -u)\" '%p' && chmod u+rwx '%p'",
    [HEALTH_FULL] = "du -xh '%p' | sort -h | tail",
    [HEALTH_READ_ONLY] = "mount -o remount,rw '%p'",
    [HEALTH_MEMORY] = "free -h",
    [HEALTH_PROCESSES] = "mount -t proc proc /proc",
};

static const char *value_of(char letter, const struct health_about *about, char number[24])
{
    switch (letter) {
    case 'i':
        return about->interface;
    case 'p':
        return about->path;
    case 's':
        return geteuid() == 0 ? "" : "sudo ";
    default:
        snprintf(number, 24, "%" PRIu64, letter == 'a' ? about->address->port : about->number);
        return number;
    }
}

void health_fix(char *text, size_t text_bytes, enum health_fix fix,
                const struct health_about *about)
{
    char number[24];
    size_t used = 0;
    text[0] = '\0';
    if (fix == HEALTH_LINK_ADDRESS) {
        write_address(text, text_bytes, about);
        return;
    }
    if (fix == HEALTH_ROUTE) {
        write_route(text, text_bytes, about);
        return;
    }
    for (const char *at = templates[fix]; *at != '\0' && used < text_bytes; at++)
        if (*at == '%')
            used += (size_t)snprintf(text + used, text_bytes - used, "%s",
                                     value_of(*++at, about, number));
        else
            used += (size_t)snprintf(text + used, text_bytes - used, "%c", *at);
}
