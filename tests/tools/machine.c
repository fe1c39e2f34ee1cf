/* SPDX-License-Identifier: MIT
 * For LD_PRELOAD: a program's machine is another one. FLOTILLA_TEST_MACHINE names a folder, and
 * each file of it says what that machine's kernel answers:
 * - clock: what adjtimex returns, 0, or 5 where nobody keeps the clock;
 * - rmem_max: the bytes of the longest receive queue, without CAP_NET_ADMIN;
 * - card: packets that cards had no room for since boot, how many they have room for, could have;
 * - nofile: the limit of open files, which prlimit(2) sets;
 * - softnet_stat: what /proc has there;
 * - calloc: of how many items at once there is no memory.
 * Where there is no such file, it is the machine at hand. */
#undef _FILE_OFFSET_BITS /* both names of what has two */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

/* How many of the file's numbers there are; 0: the machine at hand. */
static int read_file(const char *name, unsigned long long numbers[3])
{
    char path[4096];
    const char *folder = getenv("FLOTILLA_TEST_MACHINE");
    snprintf(path, sizeof path, "%s/%s", folder != NULL ? folder : "/nowhere", name);
    FILE *file = fopen(path, "re");
    int count =
        file == NULL ? 0 : fscanf(file, "%llu %llu %llu", &numbers[0], &numbers[1], &numbers[2]);
    if (file != NULL)
        fclose(file);
    return count < 0 ? 0 : count;
}

int adjtimex(struct timex *about)
{
    unsigned long long state[3];
    if (read_file("clock", state) == 0)
        return (int)syscall(SYS_adjtimex, about);
    memset(about, 0, sizeof *about);
    about->status = state[0] == TIME_ERROR ? STA_UNSYNC : 0;
    return (int)state[0];
}

int setsockopt(int descriptor, int level, int name, const void *value, socklen_t bytes)
{
    unsigned long long most[3];
    int queue;
    bool forced = level == SOL_SOCKET && name == SO_RCVBUFFORCE;
    if ((forced || (level == SOL_SOCKET && name == SO_RCVBUF)) && read_file("rmem_max", most) > 0) {
        if (forced) {
            errno = EPERM;
            return -1;
        }
        memcpy(&queue, value, sizeof queue);
        queue = queue > (int)most[0] ? (int)most[0] : queue;
        return (int)syscall(SYS_setsockopt, descriptor, level, SO_RCVBUFFORCE, &queue,
                            sizeof queue);
    }
    return (int)syscall(SYS_setsockopt, descriptor, level, name, value, bytes);
}

static FILE *open_stream(const char *path, const char *how)
{
    static const char shown[] = "/proc/net/softnet_stat";
    static FILE *(*real)(const char *, const char *);
    const char *folder = getenv("FLOTILLA_TEST_MACHINE");
    char other[4096] = "";
    if (real == NULL)
        *(void **)&real = dlsym(RTLD_NEXT, "fopen");
    if (folder != NULL && strcmp(path, shown) == 0)
        snprintf(other, sizeof other, "%s%s", folder, strrchr(shown, '/'));
    return real(other[0] != '\0' && access(other, R_OK) == 0 ? other : path, how);
}

FILE *fopen(const char *path, const char *how)
{
    return open_stream(path, how);
}

FILE *fopen64(const char *path, const char *how)
{
    return open_stream(path, how);
}

static void note_missed(struct nlmsghdr *message, unsigned long long missed)
{
    struct ifinfomsg *link = NLMSG_DATA(message);
    int left = (int)IFLA_PAYLOAD(message);
    for (struct rtattr *at = IFLA_RTA(link); RTA_OK(at, left); at = RTA_NEXT(at, left))
        if (at->rta_type == IFLA_STATS64)
            memcpy((char *)RTA_DATA(at) + offsetof(struct rtnl_link_stats64, rx_missed_errors),
                   &missed, sizeof missed);
}

ssize_t recv(int descriptor, void *buffer, size_t bytes, int flags)
{
    unsigned long long card[3];
    ssize_t got = syscall(SYS_recvfrom, descriptor, buffer, bytes, flags, NULL, NULL);
    int family;
    socklen_t size = sizeof family;
    if (got <= 0 || (size_t)got > bytes || read_file("card", card) == 0 ||
        getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size) < 0 || family != AF_NETLINK)
        return got;
    unsigned left = (unsigned)got;
    for (struct nlmsghdr *at = buffer; NLMSG_OK(at, left); at = NLMSG_NEXT(at, left))
        if (at->nlmsg_type == RTM_NEWLINK)
            note_missed(at, card[0]);
    return got;
}

int ioctl(int descriptor, unsigned long request, ...)
{
    unsigned long long card[3];
    va_list rest;
    va_start(rest, request);
    void *about = va_arg(rest, void *);
    va_end(rest);
    struct ethtool_ringparam *ring =
        request == SIOCETHTOOL ? (void *)((struct ifreq *)about)->ifr_data : NULL;
    if (ring != NULL && ring->cmd == ETHTOOL_GRINGPARAM && read_file("card", card) == 3) {
        ring->rx_pending = (unsigned)card[1];
        ring->rx_max_pending = (unsigned)card[2];
        return 0;
    }
    return (int)syscall(SYS_ioctl, descriptor, request, about);
}

static void write_nofile(unsigned long long limit)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/nofile", getenv("FLOTILLA_TEST_MACHINE"));
    FILE *file = fopen(path, "we");
    if (file == NULL)
        abort();
    fprintf(file, "%llu\n", limit);
    fclose(file);
}

int prlimit64(pid_t id, enum __rlimit_resource what, const struct rlimit64 *new,
              struct rlimit64 *old)
{
    unsigned long long limit[3];
    if (what != RLIMIT_NOFILE || read_file("nofile", limit) == 0)
        return (int)syscall(SYS_prlimit64, id, what, new, old);
    if (old != NULL)
        *old = (struct rlimit64){limit[0], limit[0]};
    if (new != NULL)
        write_nofile(new->rlim_max);
    return 0;
}

int prlimit(pid_t id, enum __rlimit_resource what, const struct rlimit *new, struct rlimit *old)
{
    return prlimit64(id, what, (const struct rlimit64 *)(const void *)new,
                     (struct rlimit64 *)(void *)old);
}

int getrlimit64(__rlimit_resource_t what, struct rlimit64 *limit)
{
    return prlimit64(0, what, NULL, limit);
}

int getrlimit(__rlimit_resource_t what, struct rlimit *limit)
{
    return prlimit(0, what, NULL, limit);
}

void *calloc(size_t count, size_t bytes)
{
    static void *(*real)(size_t, size_t);
    static char first[256]; /* what dlsym itself asks for */
    static bool looking;
    unsigned long long none[3];
    if (looking)
        return count * bytes <= sizeof first ? first : NULL;
    if (real == NULL) {
        looking = true;
        *(void **)&real = dlsym(RTLD_NEXT, "calloc");
        looking = false;
    }
    if (count > 1 && getenv("FLOTILLA_TEST_MACHINE") != NULL && read_file("calloc", none) > 0 &&
        count == none[0]) {
        errno = ENOMEM;
        return NULL;
    }
    return real(count, bytes);
}
