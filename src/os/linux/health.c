/* SPDX-License-Identifier: MIT
 * How a Linux machine stands, asked by rtnetlink and read in /proc.
 * Relies on /proc being that of our own namespaces. Known: IGMPv3 queriers leave no trace that a
 * user may read, except on a bridge; so they are reported for bridges only. */
#define _GNU_SOURCE
#include "os/health.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/ethtool.h>
#include <linux/gen_stats.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "base/units.h"
#include "os/linux/rtnetlink.h"
#include "os/linux/statx.h"

#define MAX_HARDWARE_BYTES 32

/* Of <linux/if_link.h> and <linux/if_bridge.h>; older headers do not have the last ones. */
enum {
    LINK_MTU_MAX = 51,
    BRIDGE_SNOOPING = 23,
    BRIDGE_QUERIES = 25,
    BRIDGE_QUERIER_STATE = 47,
    QUERIER_IPV4 = 1,
    QUERIER_IPV6 = 5
};

/* ---- rtnetlink ---- */

struct request {
    struct nlmsghdr header;
    union {
        struct ifinfomsg link;
        struct ifaddrmsg address;
        struct rtmsg route;
        struct tcmsg queue;
    };
    uint8_t attributes[128];
};

static void add_attribute(struct request *request, unsigned short type, const void *from,
                          size_t bytes)
{
    struct rtattr head = {.rta_len = (unsigned short)RTA_LENGTH(bytes), .rta_type = type};
    uint8_t *at = (uint8_t *)request + NLMSG_ALIGN(request->header.nlmsg_len);
    memcpy(at, &head, sizeof(head));
    memcpy(at + RTA_LENGTH(0), from, bytes);
    request->header.nlmsg_len =
        (unsigned)(NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(head.rta_len));
}

static struct rtattr *find_attribute(struct rtattr *at, int bytes, unsigned short type)
{
    for (; RTA_OK(at, bytes); at = RTA_NEXT(at, bytes))
        if ((at->rta_type & NLA_TYPE_MASK) == type)
            return at;
    return NULL;
}

static struct rtattr *find_inside(const struct rtattr *outer, unsigned short type)
{
    return outer == NULL ? NULL : find_attribute(RTA_DATA(outer), (int)RTA_PAYLOAD(outer), type);
}

static bool read_flag(const struct rtattr *attribute)
{
    return attribute != NULL && RTA_PAYLOAD(attribute) > 0 &&
           *(const uint8_t *)RTA_DATA(attribute) != 0;
}

/* ---- interfaces ---- */

static void note_bridge(struct health_interface *interface, const struct rtattr *info)
{
    const struct rtattr *kind = find_inside(info, IFLA_INFO_KIND);
    const struct rtattr *data = find_inside(info, IFLA_INFO_DATA);
    if (kind == NULL || data == NULL || strcmp(RTA_DATA(kind), "bridge") != 0)
        return;
    snprintf(interface->bridge, sizeof(interface->bridge), "%s", interface->name);
    interface->snooping = read_flag(find_inside(data, BRIDGE_SNOOPING));
    interface->queries = read_flag(find_inside(data, BRIDGE_QUERIES));
    const struct rtattr *state = find_inside(data, BRIDGE_QUERIER_STATE);
    interface->querier4 = find_inside(state, QUERIER_IPV4) != NULL;
    interface->querier6 = find_inside(state, QUERIER_IPV6) != NULL;
}

struct link_answer {
    struct health_interface *interface;
    unsigned master; /* index of what it is a port of; 0: nothing */
};

static int take_link(void *context, const void *answered)
{
    const struct nlmsghdr *message = answered;
    struct link_answer *answer = context;
    struct health_interface *interface = answer->interface;
    const struct ifinfomsg *link = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWLINK)
        return 0;
    struct rtattr *first = IFLA_RTA(link);
    int bytes = (int)IFLA_PAYLOAD(message);
    interface->up = (link->ifi_flags & IFF_UP) != 0;
    interface->running = (link->ifi_flags & IFF_RUNNING) != 0;
    interface->multicast = (link->ifi_flags & IFF_MULTICAST) != 0;
    interface->loopback = (link->ifi_flags & IFF_LOOPBACK) != 0;
    const struct rtattr *found = find_attribute(first, bytes, IFLA_MTU);
    if (found != NULL)
        memcpy(&interface->mtu, RTA_DATA(found), sizeof(interface->mtu));
    found = find_attribute(first, bytes, LINK_MTU_MAX);
    if (found != NULL)
        memcpy(&interface->mtu_max, RTA_DATA(found), sizeof(interface->mtu_max));
    static const uint8_t zero[MAX_HARDWARE_BYTES];
    found = find_attribute(first, bytes, IFLA_ADDRESS);
    interface->real = found != NULL && RTA_PAYLOAD(found) <= sizeof(zero) &&
                      memcmp(RTA_DATA(found), zero, RTA_PAYLOAD(found)) != 0;
    found = find_attribute(first, bytes, IFLA_MASTER);
    if (found != NULL)
        memcpy(&answer->master, RTA_DATA(found), sizeof(answer->master));
    found = find_attribute(first, bytes, IFLA_STATS64);
    struct rtnl_link_stats64 counts;
    if (found != NULL && RTA_PAYLOAD(found) >= offsetof(struct rtnl_link_stats64, rx_compressed)) {
        memset(&counts, 0, sizeof(counts));
        memcpy(&counts, RTA_DATA(found), offsetof(struct rtnl_link_stats64, rx_compressed));
        interface->missed = counts.rx_missed_errors + counts.rx_fifo_errors;
    }
    note_bridge(interface, find_attribute(first, bytes, IFLA_LINKINFO));
    return 0;
}

static int ask_link(unsigned index, struct link_answer *answer)
{
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
                                         .nlmsg_type = RTM_GETLINK,
                                         .nlmsg_flags = NLM_F_REQUEST}};
    request.link.ifi_index = (int)index;
    return rtnetlink_ask(&request, take_link, answer);
}

struct address_search {
    unsigned index;                     /* of which interface; 0: of any */
    const struct address *wanted;       /* whose interface is looked for, or NULL */
    unsigned only;                      /* not on others; 0: wherever it is */
    struct health_doubt *doubt;         /* about `wanted` */
    struct health_interface *interface; /* what its addresses are noted in, or NULL */
};

/* An IPv6 address that the kernel does not send from, nor let anybody bind to. */
static bool is_doubtful(unsigned flags)
{
    return (flags & IFA_F_DADFAILED) != 0 ||
           ((flags & IFA_F_TENTATIVE) != 0 && (flags & IFA_F_OPTIMISTIC) == 0);
}

static int take_address(void *context, const void *answered)
{
    const struct nlmsghdr *message = answered;
    struct address_search *search = context;
    struct health_interface *interface = search->interface;
    const struct ifaddrmsg *head = NLMSG_DATA(message);
    struct address address = {.family = head->ifa_family == AF_INET ? 4 : 6};
    size_t bytes = address.family == 4 ? 4 : 16;
    int length = (int)IFA_PAYLOAD(message);
    unsigned flags = head->ifa_flags;
    if (message->nlmsg_type != RTM_NEWADDR ||
        (head->ifa_family != AF_INET && head->ifa_family != AF_INET6))
        return 0;
    /* The other is the far end's, where there are both. */
    const struct rtattr *own = find_attribute(IFA_RTA(head), length, IFA_LOCAL);
    if (own == NULL)
        own = find_attribute(IFA_RTA(head), length, IFA_ADDRESS);
    const struct rtattr *all = find_attribute(IFA_RTA(head), length, IFA_FLAGS);
    if (all != NULL)
        memcpy(&flags, RTA_DATA(all), sizeof(flags));
    if (own == NULL || RTA_PAYLOAD(own) < bytes)
        return 0;
    memcpy(address.bytes, RTA_DATA(own), bytes);
    struct health_doubt doubt = {.address = address,
                                 .bits = head->ifa_prefixlen,
                                 .duplicate = (flags & IFA_F_DADFAILED) != 0};
    bool doubtful = address.family == 6 && is_doubtful(flags);
    if (search->wanted != NULL && search->wanted->family == address.family &&
        (search->only == 0 || search->only == head->ifa_index) &&
        memcmp(search->wanted->bytes, address.bytes, bytes) == 0) {
        search->index = head->ifa_index;
        *search->doubt = doubtful ? doubt : (struct health_doubt){.bits = 0};
    }
    if (interface == NULL || head->ifa_index != search->index)
        return 0;
    if (doubtful)
        interface->doubt = doubt;
    interface->has_ipv4 |= address.family == 4;
    interface->has_ipv6 |= address.family == 6 && !doubtful;
    return 0;
}

static int ask_addresses(struct address_search *search)
{
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
                                         .nlmsg_type = RTM_GETADDR,
                                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    return rtnetlink_ask(&request, take_address, search);
}

int health_holder(const struct address *address, const char *interface,
                  char found[NET_INTERFACE_BYTES], struct health_doubt *doubt)
{
    int index = interface[0] != '\0' ? net_interface_index(interface) : 0;
    struct address_search search = {.wanted = address, .only = (unsigned)index, .doubt = doubt};
    char name[IF_NAMESIZE];
    if (index < 0)
        return index;
    int status = ask_addresses(&search);
    if (status < 0)
        return status;
    if (search.index == 0 || if_indextoname(search.index, name) == NULL)
        return -EADDRNOTAVAIL;
    snprintf(found, NET_INTERFACE_BYTES, "%s", name);
    return 0;
}

/* The version the host speaks there, of /proc/net/igmp: "2\teth0      :     1      V3". By the
 * number: an interface has alternative names, too. */
static unsigned igmp_version(unsigned interface)
{
    char line[256];
    unsigned index, version = 0, found = 0;
    FILE *file = fopen("/proc/self/net/igmp", "re");
    if (file == NULL)
        return 0;
    while (found == 0 && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%u %*[^:]: %*u V%u", &index, &version) == 2 && index == interface)
            found = version;
    fclose(file);
    return found;
}

struct queue_answer {
    unsigned index;
    uint64_t refused;
};

static int take_queue(void *context, const void *answered)
{
    const struct nlmsghdr *message = answered;
    struct queue_answer *answer = context;
    const struct tcmsg *queue = NLMSG_DATA(message);
    /* The root counts for all below it. */
    if (message->nlmsg_type != RTM_NEWQDISC || queue->tcm_ifindex != (int)answer->index ||
        queue->tcm_parent != TC_H_ROOT)
        return 0;
    const struct rtattr *counts = find_inside(
        find_attribute(TCA_RTA(queue), (int)TCA_PAYLOAD(message), TCA_STATS2), TCA_STATS_QUEUE);
    struct gnet_stats_queue found;
    if (counts != NULL && RTA_PAYLOAD(counts) >= sizeof(found)) {
        memcpy(&found, RTA_DATA(counts), sizeof(found));
        answer->refused = found.drops;
    }
    return 0;
}

/* What the queue in front of the interface has refused; its statistics know nothing of that. */
static void ask_queue(unsigned index, struct health_interface *interface)
{
    struct queue_answer answer = {.index = index};
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)),
                                         .nlmsg_type = RTM_GETQDISC,
                                         .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP}};
    request.queue.tcm_ifindex = (int)index;
    if (rtnetlink_ask(&request, take_queue, &answer) == 0)
        interface->refused = answer.refused;
}

/* How many packets the card has room for, by the driver. */
static void ask_ring(unsigned index, struct health_interface *interface)
{
    struct ethtool_ringparam ring = {.cmd = ETHTOOL_GRINGPARAM};
    struct ifreq about = {.ifr_data = (void *)&ring};
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor >= 0 && if_indextoname(index, about.ifr_name) != NULL &&
        ioctl(descriptor, SIOCETHTOOL, &about) == 0) {
        interface->ring = ring.rx_pending;
        interface->ring_max = ring.rx_max_pending;
    }
    if (descriptor >= 0)
        close(descriptor);
}

int health_interface(const char *name, struct health_interface *interface)
{
    struct link_answer answer = {.interface = interface};
    memset(interface, 0, sizeof(*interface));
    snprintf(interface->name, sizeof(interface->name), "%s", name);
    int index = net_interface_index(name);
    if (index < 0)
        return -ENODEV;
    int status = ask_link((unsigned)index, &answer);
    if (status == 0)
        status = ask_addresses(
            &(struct address_search){.index = (unsigned)index, .interface = interface});
    if (status < 0)
        return status;
    interface->igmp_version = igmp_version((unsigned)index);
    ask_queue((unsigned)index, interface);
    ask_ring((unsigned)index, interface);
    char master[IF_NAMESIZE];
    if (interface->bridge[0] == '\0' && answer.master != 0 &&
        if_indextoname(answer.master, master) != NULL) {
        struct health_interface above = {.mtu = 0};
        struct link_answer above_answer = {.interface = &above};
        snprintf(above.name, sizeof(above.name), "%s", master);
        if (ask_link(answer.master, &above_answer) == 0 && above.bridge[0] != '\0') {
            memcpy(interface->bridge, above.bridge, sizeof(interface->bridge));
            interface->snooping = above.snooping;
            interface->queries = above.queries;
            interface->querier4 = above.querier4;
            interface->querier6 = above.querier6;
        }
    }
    return 0;
}

bool health_is_down(const char *interface)
{
    struct health_interface found;
    return health_interface(interface, &found) == 0 && !found.up;
}

/* How likely an interface is the one that is meant; 0: it is not. One that is switched off has lost
 * its IPv6 addresses, and one that a driver keeps for itself has no hardware address. */
static unsigned likelihood(const struct health_interface *interface, uint8_t family)
{
    bool has = family == 4 ? interface->has_ipv4 : interface->has_ipv6;
    bool had = !interface->up && (family == 6 || has) && interface->real;
    if (interface->loopback)
        return interface->up && has ? 1 : 0;
    if (!interface->multicast || (!has && !had && !interface->real))
        return 0;
    return has && interface->up ? 4 : had ? 3 : 2;
}

int health_candidate(uint8_t family, char found[NET_INTERFACE_BYTES])
{
    struct if_nameindex *all = if_nameindex();
    unsigned best = 0;
    for (struct if_nameindex *one = all; one != NULL && one->if_index != 0; one++) {
        struct health_interface interface;
        if (health_interface(one->if_name, &interface) < 0)
            continue;
        unsigned now = likelihood(&interface, family);
        if (now <= best)
            continue;
        best = now;
        snprintf(found, NET_INTERFACE_BYTES, "%s", one->if_name);
    }
    if (all != NULL)
        if_freenameindex(all);
    return best > 0 ? 0 : -ENODEV;
}

/* ---- routes ---- */

struct route_answer {
    unsigned index;
    unsigned char type;
};

static int take_route(void *context, const void *answered)
{
    const struct nlmsghdr *message = answered;
    struct route_answer *answer = context;
    const struct rtmsg *route = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWROUTE)
        return 0;
    answer->type = route->rtm_type;
    const struct rtattr *out = find_attribute(RTM_RTA(route), (int)RTM_PAYLOAD(message), RTA_OIF);
    if (out != NULL)
        memcpy(&answer->index, RTA_DATA(out), sizeof(answer->index));
    return 0;
}

static int ask_route(const struct address *to, unsigned index, struct route_answer *answer)
{
    size_t bytes = to->family == 4 ? 4 : 16;
    struct request request = {.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtmsg)),
                                         .nlmsg_type = RTM_GETROUTE,
                                         .nlmsg_flags = NLM_F_REQUEST}};
    request.route.rtm_family = to->family == 4 ? AF_INET : AF_INET6;
    request.route.rtm_dst_len = (unsigned char)(bytes * 8);
    add_attribute(&request, RTA_DST, to->bytes, bytes);
    if (index != 0)
        add_attribute(&request, RTA_OIF, &index, sizeof(index));
    *answer = (struct route_answer){0};
    return rtnetlink_ask(&request, take_route, answer);
}

int health_route(const struct address *to, const char *interface, char found[NET_INTERFACE_BYTES])
{
    int index = interface[0] != '\0' ? net_interface_index(interface) : 0;
    struct route_answer answer;
    char name[IF_NAMESIZE];
    if (index < 0)
        return -ENODEV;
    int status = ask_route(to, (unsigned)index, &answer);
    if (status < 0)
        return status;
    bool leads = answer.type == RTN_UNICAST || answer.type == RTN_LOCAL ||
                 answer.type == RTN_MULTICAST || answer.type == RTN_BROADCAST ||
                 answer.type == RTN_ANYCAST;
    if (!leads || answer.index == 0 || if_indextoname(answer.index, name) == NULL)
        return -ENETUNREACH;
    snprintf(found, NET_INTERFACE_BYTES, "%s", name);
    return 0;
}

bool health_unreachable(int error)
{
    /* The last three are of routes that refuse: prohibit, blackhole, throw. */
    return error == -ENETUNREACH || error == -EHOSTUNREACH || error == -ENODEV ||
           error == -EACCES || error == -EINVAL || error == -EAGAIN;
}

int health_comes_back(const struct address *group)
{
    struct route_answer answer;
    int loopback = net_interface_index(net_loopback_name());
    int status = group->family == 4 ? 0
                 : loopback < 0     ? loopback
                                    : ask_route(group, (unsigned)loopback, &answer);
    return status < 0 || group->family == 4 || answer.type == RTN_LOCAL ? status : -ENETUNREACH;
}

int health_owns(const struct address *address)
{
    static const uint8_t zero[16];
    struct route_answer answer;
    if (memcmp(address->bytes, zero, address->family == 4 ? 4 : 16) == 0)
        return 0;
    if (address_is_limited_broadcast(address))
        return 0;
    int status = ask_route(address, 0, &answer);
    bool answered = status == 0 || health_unreachable(status);
    bool owns = answer.type == RTN_LOCAL || answer.type == RTN_BROADCAST;
    return status == 0 && owns ? 0 : answered ? -EADDRNOTAVAIL : status;
}

/* ---- memberships ---- */

static int joined4(const struct address *group, unsigned interface)
{
    char line[256];
    unsigned word, index = 0, found;
    int joined = 0;
    FILE *file = fopen("/proc/self/net/igmp", "re");
    if (file == NULL)
        return -errno;
    while (joined == 0 && fgets(line, sizeof(line), file) != NULL)
        /* An interface's line, then a line for each of its groups, indented; the group is the
         * 32 bits as they are in memory, printed as a number. */
        if (line[0] != '\t')
            index = sscanf(line, "%u", &found) == 1 ? found : 0;
        else if (index == interface && sscanf(line, " %8x", &word) == 1)
            joined = memcmp(&word, group->bytes, 4) == 0;
    fclose(file);
    return joined;
}

static int joined6(const struct address *group, unsigned interface)
{
    char line[256], wanted[33], found[40];
    unsigned index;
    int joined = 0;
    for (int i = 0; i < 16; i++)
        snprintf(wanted + 2 * i, 3, "%02x", group->bytes[i]);
    FILE *file = fopen("/proc/self/net/igmp6", "re");
    if (file == NULL)
        return -errno;
    while (joined == 0 && fgets(line, sizeof(line), file) != NULL)
        joined = sscanf(line, "%u %*s %39s", &index, found) == 2 && index == interface &&
                 strcmp(found, wanted) == 0;
    fclose(file);
    return joined;
}

int health_joined(const struct address *group, const char *interface)
{
    int index = net_interface_index(interface);
    if (index < 0)
        return index;
    return group->family == 4 ? joined4(group, (unsigned)index) : joined6(group, (unsigned)index);
}

/* ---- settings of the kernel ---- */

static int read_number(const char *path, uint64_t *number)
{
    char text[64];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    bool read = fgets(text, sizeof(text), file) != NULL;
    fclose(file);
    text[read ? strcspn(text, "\n") : 0] = '\0';
    return units_read_count(text, 0, UINT64_MAX, number);
}

int health_path_filter(const char *interface)
{
    char own[IF_NAMESIZE]; /* not an alternative one */
    int index = net_interface_index(interface);
    if (index < 0 || if_indextoname((unsigned)index, own) == NULL)
        return index < 0 ? index : -errno;
    const char *const names[] = {"all", own};
    uint64_t worst = 0;
    for (int i = 0; i < 2; i++) {
        char path[128];
        uint64_t value;
        snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", names[i]);
        int status = read_number(path, &value);
        if (status < 0)
            return status;
        worst = value > worst ? value : worst; /* the greater one is in force */
    }
    return worst > 2 ? 2 : (int)worst;
}

uint64_t health_queue_limit(void)
{
    /* Asked of a socket: /proc/sys/net/core/rmem_max is not shown in every network namespace. */
    int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), all = INT32_MAX / 2;
    if (descriptor < 0)
        return 0;
    uint64_t granted = 0;
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &all, sizeof(all)) == 0)
        granted = net_queue_bytes(descriptor) / 2; /* the kernel doubles it */
    close(descriptor);
    return granted;
}

int health_source_limit(uint64_t *sources)
{
    return read_number("/proc/sys/net/ipv4/igmp_max_msf", sources);
}

static uint64_t backlog_drops(void)
{
    char line[512];
    unsigned count;
    uint64_t dropped = 0;
    FILE *file = fopen("/proc/net/softnet_stat", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%*x %x", &count) == 1) /* a line a processor, hexadecimal */
            dropped += count;
    if (file != NULL)
        fclose(file);
    return dropped;
}

uint64_t health_backlog(void)
{
    uint64_t packets;
    return read_number("/proc/sys/net/core/netdev_max_backlog", &packets) == 0 ? packets : 0;
}

/* A line of names and below it one of numbers: "Udp: InDatagrams NoPorts ...", "Udp: 12 0 ...". */
static void add_ipv4_losses(const char *names, const char *numbers, struct health_losses *losses)
{
    char name[64], number[32];
    int names_used, numbers_used;
    while (sscanf(names, " %63s%n", name, &names_used) == 1 &&
           sscanf(numbers, " %31s%n", number, &numbers_used) == 1) {
        uint64_t value = strtoull(number, NULL, 10);
        losses->queue_full += strcmp(name, "RcvbufErrors") == 0 ? value : 0;
        losses->checksum += strcmp(name, "InCsumErrors") == 0 ? value : 0;
        names += names_used;
        numbers += numbers_used;
    }
}

int health_losses(struct health_losses *losses)
{
    char names[1024] = "", line[1024], name[64];
    unsigned long long value;
    *losses = (struct health_losses){.backlog = backlog_drops()};
    FILE *file = fopen("/proc/self/net/snmp", "re");
    if (file == NULL)
        return -errno;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "Udp:", 4) == 0 && strncmp(names, "Udp:", 4) == 0)
            add_ipv4_losses(names, line, losses);
        memcpy(names, line, sizeof(names));
    }
    fclose(file);
    file = fopen("/proc/self/net/snmp6", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "%63s %llu", name, &value) == 2) {
            losses->queue_full += strcmp(name, "Udp6RcvbufErrors") == 0 ? value : 0;
            losses->checksum += strcmp(name, "Udp6InCsumErrors") == 0 ? value : 0;
        }
    if (file != NULL)
        fclose(file);
    return 0;
}

uint64_t health_file_limit(long id)
{
    struct rlimit limit;
    if (prlimit((pid_t)id, RLIMIT_FSIZE, NULL, &limit) < 0)
        return 0;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}

int health_same_network(long id)
{
    struct stat ours, theirs;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/ns/net", id);
    if (stat("/proc/self/ns/net", &ours) < 0 || stat(path, &theirs) < 0)
        return -errno;
    return ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

int health_clock(bool *synchronised, uint64_t *error_us)
{
    struct timex about = {.modes = 0};
    int state = adjtimex(&about);
    if (state < 0)
        return -errno;
    *synchronised = state != TIME_ERROR && (about.status & STA_UNSYNC) == 0;
    *error_us = about.maxerror < 0 ? 0 : (uint64_t)about.maxerror;
    return 0;
}

/* ---- file systems ---- */

static bool is_one_of(const char *const *names, const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

/* Undoes mountinfo's escapes of blanks: "\040". */
static void unescape(char *text)
{
    char *to = text;
    for (; *text != '\0'; to++) {
        if (text[0] == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] != '\0' &&
            text[3] != '\0') {
            *to = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
            text += 4;
        } else {
            *to = *text++;
        }
    }
    *to = '\0';
}

int health_filesystem(descriptor_t folder, struct health_filesystem *filesystem)
{
    static const char *const memory[] = {"tmpfs", "ramfs", "devtmpfs", NULL};
    static const char *const remote[] = {"nfs",  "nfs4", "cifs",  "smb3",       "9p",
                                         "ceph", "afs",  "ncpfs", "fuse.sshfs", NULL};
    struct statvfs room;
    struct statx_answer about;
    char line[4096];
    *filesystem = (struct health_filesystem){.type = "unknown"};
    if (fstatvfs(folder, &room) < 0)
        return -errno;
    filesystem->read_only = (room.f_flag & ST_RDONLY) != 0;
    if (statx_ask(folder, STATX_ANSWER_MOUNT, &about) < 0)
        return -errno;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return filesystem->read_only ? 0 : -errno;
    while (fgets(line, sizeof(line), file) != NULL) {
        unsigned long long id;
        if (sscanf(line, "%llu %*u %*s %*s %511s", &id, filesystem->mount) != 2 ||
            id != about.mount)
            continue;
        const char *behind = strstr(line, " - ");
        if (behind != NULL)
            sscanf(behind, " - %31s", filesystem->type);
        break;
    }
    fclose(file);
    unescape(filesystem->mount);
    filesystem->in_memory = is_one_of(memory, filesystem->type);
    filesystem->remote = is_one_of(remote, filesystem->type);
    return 0;
}

/* ---- limits ---- */

uint64_t health_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    return limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_max;
}

uint32_t health_page_bytes(void)
{
    long bytes = sysconf(_SC_PAGESIZE);
    return bytes > 0 ? (uint32_t)bytes : 0;
}
