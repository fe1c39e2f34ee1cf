/* SPDX-License-Identifier: MIT
 * A receiver for tests: takes the datagrams of one address (a group is joined) with a queue big
 * enough for a stall, writes each behind its length (32-bit little-endian) to a file, and tells how
 * many the kernel dropped. --arrivals: a second file with the kernel's time of each arrival (64-bit
 * little-endian nanoseconds of the system's clock), which no delay of this program's own is part
 * of. Prints "ready" when it is bound, so that no test has to guess, and one
 * JSON object at the end (--count reached, or SIGTERM and the queue empty). Linux only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX     64
#define MESSAGE_BYTES 65536

static volatile sig_atomic_t stop;

static void on_stop(int number)
{
    (void)number;
    stop = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "udp_sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Binds to exactly the address, and joins it where it is a group. */
static int open_receiver(const char *text, const char *interface, bool stamped)
{
    char host[INET6_ADDRSTRLEN] = "";
    const char *colon = strrchr(text, ':');
    bool six = text[0] == '[';
    size_t bytes = colon ? (size_t)(colon - text) - (six ? 2 : 0) : sizeof(host);
    if (bytes >= sizeof(host)) {
        fprintf(stderr, "udp_sink: not an address: %s\n", text);
        exit(2);
    }
    memcpy(host, text + (six ? 1 : 0), bytes);
    uint16_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = port};
    struct sockaddr_in6 sixth = {.sin6_family = AF_INET6, .sin6_port = port};
    if (inet_pton(six ? AF_INET6 : AF_INET, host,
                  six ? (void *)&sixth.sin6_addr : (void *)&four.sin_addr) != 1) {
        fprintf(stderr, "udp_sink: not an address: %s\n", text);
        exit(2);
    }
    int descriptor = socket(six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        die("socket");
    int on = 1, off = 0, queue = 512 << 20, index = (int)if_nametoindex(interface);
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(descriptor, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof(queue)))
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &queue, sizeof(queue));
    if (stamped && setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)))
        die("arrival times");
    if (bind(descriptor, six ? (struct sockaddr *)&sixth : (struct sockaddr *)&four,
             six ? sizeof(sixth) : sizeof(four)))
        die(text);
    if (!six && IN_MULTICAST(ntohl(four.sin_addr.s_addr))) {
        struct ip_mreqn request = {.imr_multiaddr = four.sin_addr, .imr_ifindex = index};
        setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_ALL, &off, sizeof(off));
        if (setsockopt(descriptor, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof(request)))
            die("join");
    } else if (six && IN6_IS_ADDR_MULTICAST(&sixth.sin6_addr)) {
        struct ipv6_mreq request = {.ipv6mr_multiaddr = sixth.sin6_addr,
                                    .ipv6mr_interface = (unsigned)index};
        if (setsockopt(descriptor, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof(request)))
            die("join");
    }
    return descriptor;
}

static FILE *open_file(const char *path)
{
    FILE *file = path ? fopen(path, "wb") : NULL;
    if (path && !file)
        die(path);
    if (file)
        setvbuf(file, NULL, _IOFBF, 1 << 20);
    return file;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"file", required_argument, NULL, 'f'},
        {"arrivals", required_argument, NULL, 'a'},
        {"count", required_argument, NULL, 'c'},
        {"interface", required_argument, NULL, 'd'},
        {NULL, 0, NULL, 0},
    };
    const char *listen_text = NULL, *path = NULL, *arrivals_path = NULL, *interface = "lo";
    uint64_t count = UINT64_MAX;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l')
            listen_text = optarg;
        else if (option == 'f')
            path = optarg;
        else if (option == 'a')
            arrivals_path = optarg;
        else if (option == 'c')
            count = strtoull(optarg, NULL, 10);
        else if (option == 'd')
            interface = optarg;
        else
            listen_text = NULL, optind = argc;
    }
    if (!listen_text || optind < argc) {
        fprintf(stderr, "usage: udp_sink --listen ADDRESS:PORT [--file DATAGRAMS] [--count N]\n"
                        "           [--arrivals TIMES] [--interface lo]\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    FILE *out = open_file(path), *arrivals = open_file(arrivals_path);

    int descriptor = open_receiver(listen_text, interface, arrivals != NULL);
    static uint8_t bytes[BATCH_MAX][MESSAGE_BYTES];
    static uint8_t control[BATCH_MAX]
                          [CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(sizeof(struct timespec))];
    static struct mmsghdr messages[BATCH_MAX];
    static struct iovec parts[BATCH_MAX];
    printf("ready\n");
    fflush(stdout);

    uint64_t received = 0, payload = 0;
    uint32_t dropped = 0;
    while (received < count) {
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        int readable = poll(&wait, 1, stop ? 0 : 100);
        if (readable == 0 && stop)
            break;
        if (readable <= 0)
            continue;
        for (unsigned i = 0; i < BATCH_MAX; i++) {
            parts[i] = (struct iovec){.iov_base = bytes[i], .iov_len = MESSAGE_BYTES};
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = control[i],
                                                  .msg_controllen = sizeof(control[i])};
        }
        int took = recvmmsg(descriptor, messages, BATCH_MAX, MSG_DONTWAIT, NULL);
        for (int i = 0; i < took; i++) {
            uint32_t length = messages[i].msg_len;
            uint64_t arrival_ns = 0;
            struct msghdr *header = &messages[i].msg_hdr;
            for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
                    memcpy(&dropped, CMSG_DATA(c), sizeof(dropped));
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
                    struct timespec at;
                    memcpy(&at, CMSG_DATA(c), sizeof(at));
                    arrival_ns = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
                }
            }
            if (out && (fwrite(&length, sizeof(length), 1, out) != 1 ||
                        fwrite(bytes[i], 1, length, out) != length))
                die(path);
            if (arrivals && fwrite(&arrival_ns, sizeof(arrival_ns), 1, arrivals) != 1)
                die(arrivals_path);
            received++;
            payload += length;
        }
    }
    if (out && fclose(out))
        die(path);
    if (arrivals && fclose(arrivals))
        die(arrivals_path);
    printf("{\"received\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"dropped\": %" PRIu32 "}\n",
           received, payload, dropped);
    return 0;
}
