/* SPDX-License-Identifier: MIT
 * What to do about it on Linux, in the words of iproute2, procps, util-linux and systemd. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "os/health.h"

#define QUOTED_BYTES (4 * 4096 + 3)

void health_quote(char *quoted, size_t quoted_bytes, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@%=";
    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        snprintf(quoted, quoted_bytes, "%s", word);
        return;
    }
    size_t used = (size_t)snprintf(quoted, quoted_bytes, "'");
    for (; *word != '\0' && used + 6 < quoted_bytes; word++)
        if (*word == '\'')
            used += (size_t)snprintf(quoted + used, quoted_bytes - used, "'\\''");
        else
            quoted[used++] = *word;
    snprintf(quoted + used, quoted_bytes - used, "'");
}

static const char *quote(const char *word, char quoted[QUOTED_BYTES])
{
    health_quote(quoted, QUOTED_BYTES, word);
    return quoted;
}

/* What begins with a dash would be an option. */
static const char *quote_path(const char *path, char quoted[QUOTED_BYTES])
{
    if (path[0] != '-')
        return quote(path, quoted);
    memcpy(quoted, "./", 2);
    health_quote(quoted + 2, QUOTED_BYTES - 2, path);
    return quoted;
}

/* The name that settings go by, which are not there by the others an interface has. */
static const char *quote_own_name(const char *interface, char quoted[QUOTED_BYTES])
{
    char own[IF_NAMESIZE];
    int index = net_interface_index(interface);
    return quote(index > 0 && if_indextoname((unsigned)index, own) != NULL ? own : interface,
                 quoted);
}

static const char *as_root(void)
{
    return geteuid() == 0 ? "" : "sudo ";
}

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

static bool is_loopback(const char *interface)
{
    return net_interface_index(interface) == net_interface_index(net_loopback_name());
}

/* Up, the loopback interface has its addresses and routes, too. */
static bool needs_loopback(const char *interface)
{
    return is_loopback(interface) && health_is_down(interface);
}

static void write_route(char *text, size_t bytes, const struct health_about *about)
{
    char address[NET_ADDRESS_TEXT_BYTES], quoted[QUOTED_BYTES];
    const char *interface = about->interface, *root = as_root();
    bool four = about->address->family == 4, group = address_is_multicast(about->address);
    size_t used = 0;
    if (address_is_loopback(about->address) && health_is_down(net_loopback_name()))
        interface = net_loopback_name();
    const char *shown = quote(interface, quoted);
    if (health_is_down(interface)) {
        health_fix(text, bytes, HEALTH_LINK_UP, &(struct health_about){.interface = interface});
        if (is_loopback(interface) || !four || !group)
            return; /* the routes of its own come with it */
        used = strlen(text);
        used += (size_t)snprintf(text + used, bytes - used, " && ");
    }
    /* Replaced, not added: there may be one that refuses. */
    if (!group)
        snprintf(text + used, bytes - used, "%sip %sroute replace %s dev %s", root,
                 four ? "" : "-6 ", bare_address(about->address, address), shown);
    else if (four)
        snprintf(text + used, bytes - used, "%sip route replace 224.0.0.0/4 dev %s", root, shown);
    else
        snprintf(text + used, bytes - used, "%sip -6 route replace %s ff00::/8 dev %s table local",
                 root, is_loopback(interface) ? "local" : "multicast", shown);
}

/* A broadcast address, as far as its last number tells, is never to become a host's own. */
static bool is_broadcast(const struct address *address)
{
    return address->family == 4 && address->bytes[3] == 255;
}

static void write_address(char *text, size_t bytes, const struct health_about *about)
{
    char address[NET_ADDRESS_TEXT_BYTES] = "ADDRESS", enable[256] = "";
    char quoted[QUOTED_BYTES], own[QUOTED_BYTES];
    bool four = about->address->family == 4, any = address_is_wildcard(about->address);
    const char *interface = about->interface, *root = as_root();
    if (any ? needs_loopback(interface) : address_is_loopback(about->address)) {
        snprintf(text, bytes, "%sip link set %s up", root, net_loopback_name());
        return;
    }
    const char *shown = quote(interface, quoted);
    if (!any)
        bare_address(about->address, address);
    else if (!four)
        snprintf(enable, sizeof enable, "%ssysctl -w net/ipv6/conf/%.120s/disable_ipv6=0; ", root,
                 quote_own_name(interface, own));
    if (is_loopback(interface) && any)
        snprintf(text, bytes, "%s%sip %saddress replace %s dev %s", enable, root, four ? "" : "-6 ",
                 four ? "127.0.0.1/8" : "::1/128", shown);
    else if (!any && is_broadcast(about->address))
        snprintf(text, bytes, "%sip address add ADDRESS/24 broadcast %s dev %s", root, address,
                 shown);
    else
        snprintf(text, bytes, "%s%sip %saddress add %s/%d dev %s", enable, root,
                 any && !four ? "-6 " : "", address, four ? 24 : 64, shown);
}

/* %i: the interface, %l: as ip(8) takes it, %k: its own name, %p: the path, each as a word of
 * sh(1); %n: the number; %a: the port; %b: the address without; %s: "sudo " where that is needed.
 * Settings are named by their paths: an interface "eth0.7" has a dot. */
static const char *const templates[] = {
    [HEALTH_LINK_UP] = "%sip link set %l up",
    [HEALTH_LINK_MULTICAST] = "%sip link set %l multicast on",
    [HEALTH_LINK_MTU] = "%sip link set %l mtu %n",
    [HEALTH_LINK_RING] = "%sethtool -G %i rx %n",
    [HEALTH_LINK_LIST] = "ip -brief link",
    [HEALTH_TENTATIVE] = "%sip address del %b/%n dev %i && %sip address add %b/%n dev %i nodad",
    [HEALTH_DUPLICATE] = "%sip address del %b/%n dev %i && %sip address add ADDRESS/%n dev %i",
    [HEALTH_LINK_SLOW] = "tc -s qdisc show dev %i # then send less by it, or more slowly",
    [HEALTH_PATH_FILTER] = "%ssysctl -w net/ipv4/conf/%k/rp_filter=2",
    [HEALTH_QUERIER] = "%sip link set %l type bridge mcast_querier 1",
    [HEALTH_LISTENER] = "%sss -ulnp 'sport = :%a' # shows which; end it",
    [HEALTH_QUEUE_LIMIT] = "%ssysctl -w net.core.rmem_max=%n",
    [HEALTH_SOURCE_LIMIT] = "%ssysctl -w net.ipv4.igmp_max_msf=%n",
    [HEALTH_FORBIDDEN] = "%snft list ruleset # allow what is sent",
    [HEALTH_BACKLOG] = "%ssysctl -w net.core.netdev_max_backlog=%n",
    [HEALTH_CHECKSUM] = "%stcpdump -vvn -i any -c 20 udp # mend what sends 'bad udp cksum'",
    [HEALTH_CLOCK] = "%stimedatectl set-ntp true",
    [HEALTH_DESCRIPTORS] = "%sprlimit --pid $$ --nofile=%n:%n",
    [HEALTH_FILE_LIMIT] = "%sprlimit --pid $$ --fsize=unlimited:unlimited",
    [HEALTH_GROUPS] = "boot with systemd.unified_cgroup_hierarchy=1 cgroup_enable=memory",
    [HEALTH_GROUPS_OURS] = "set Delegate=memory cpu in the manager's systemd unit; its log says "
                           "more",
    [HEALTH_OTHER_NETWORK] = "%snsenter --net=/proc/%n/ns/net flotilla doctor -c %p",
    /* To read and write it may be nobody's to allow. */
    [HEALTH_OWNER] = "%schown \"$(id -u)\" %p && chmod u+rwx %p",
    [HEALTH_MUTABLE] = "%schattr -i -a %p",
    [HEALTH_FULL] = "du -xh %p | sort -h | tail # remove what is not needed",
    [HEALTH_QUOTA] = "quota -s # of the user who records; remove what is not needed, or raise it",
    [HEALTH_QUOTA_BTRFS] = "%sbtrfs qgroup show -re %p # remove what is not needed, or raise it",
    [HEALTH_READ_ONLY] = "%smount -o remount,rw %p",
    [HEALTH_MOUNT] = "%smount %p",
    [HEALTH_IN_THE_WAY] = "mv %p %p.old",
    [HEALTH_MEMORY] = "free -h",
    [HEALTH_PROCESSES] = "%smount -t proc proc /proc",
};

static const char *value_of(char letter, const struct health_about *about, char text[QUOTED_BYTES])
{
    switch (letter) {
    case 'i':
        return quote(about->interface, text);
    case 'p':
        return quote_path(about->path, text);
    case 'l': /* what ip(8) would take for an option */
        snprintf(text, QUOTED_BYTES, "%s", about->interface[0] == '-' ? "dev " : "");
        health_quote(text + strlen(text), QUOTED_BYTES - strlen(text), about->interface);
        return text;
    case 'k':
        return quote_own_name(about->interface, text);
    case 'b':
        return bare_address(about->address, text);
    case 's':
        return as_root();
    default:
        snprintf(text, QUOTED_BYTES, "%" PRIu64,
                 letter == 'a' ? about->address->port : about->number);
        return text;
    }
}

void health_fix(char *text, size_t text_bytes, enum health_fix fix,
                const struct health_about *about)
{
    char value[QUOTED_BYTES];
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
                                     value_of(*++at, about, value));
        else
            used += (size_t)snprintf(text + used, text_bytes - used, "%c", *at);
}
