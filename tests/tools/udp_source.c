/* SPDX-License-Identifier: MIT
 * A paced sender for tests: sends the datagrams of a file to one address on an absolute schedule.
 * The load is open-loop: it never waits for a receiver, and what is late is sent at once, so that
 * the number sent is the number asked for. The file holds datagrams, each behind its length as a
 * 32-bit little-endian number. With --segment, runs of one size (the last may be shorter) go
 * coalesced (UDP_SEGMENT), as from a sender with segmentation offload. Prints one JSON object at
 * the end. Linux only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX     64
#define UDP_SEGMENT_  103
#define SEGMENTED_MAX 65507u

static volatile sig_atomic_t stop;

static void on_stop(int number)
{
    (void)number;
    stop = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "udp_source: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Reads "ADDRESS:PORT" or "[v6]:PORT"; a port of 0 is allowed (to bind to any). */
static socklen_t read_address(const char *text, struct sockaddr_storage *address)
{
    char host[INET6_ADDRSTRLEN] = "";
    const char *colon = strrchr(text, ':');
    size_t bytes = colon ? (size_t)(colon - text) : 0;
    bool six = bytes > 2 && text[0] == '[' && text[bytes - 1] == ']';
    if (six) {
        text++;
        bytes -= 2;
    }
    memset(address, 0, sizeof(*address));
    if (colon && bytes < sizeof(host)) {
        memcpy(host, text, bytes);
        uint16_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
        struct sockaddr_in *four = (struct sockaddr_in *)address;
        struct sockaddr_in6 *sixth = (struct sockaddr_in6 *)address;
        if (!six && inet_pton(AF_INET, host, &four->sin_addr) == 1) {
            four->sin_family = AF_INET;
            four->sin_port = port;
            return sizeof(*four);
        }
        if (six && inet_pton(AF_INET6, host, &sixth->sin6_addr) == 1) {
            sixth->sin6_family = AF_INET6;
            sixth->sin6_port = port;
            return sizeof(*sixth);
        }
    }
    fprintf(stderr, "udp_source: not an address: %s\n", text);
    exit(2);
}

static int open_sender(int family, const char *interface)
{
    int descriptor = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        die("socket");
    int index = (int)if_nametoindex(interface);
    if (!index)
        die(interface);
    int queue = 4 << 20, hops = 1;
    setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &queue, sizeof(queue));
    struct ip_mreqn request = {.imr_ifindex = index};
    if (family == AF_INET
            ? setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof(request)) ||
                  setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof(hops))
            : setsockopt(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof(index)) ||
                  setsockopt(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)))
        die("multicast interface");
    return descriptor;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", required_argument, NULL, 't'},      {"from", required_argument, NULL, 'f'},
        {"file", required_argument, NULL, 'i'},    {"rate", required_argument, NULL, 'r'},
        {"count", required_argument, NULL, 'c'},   {"interface", required_argument, NULL, 'd'},
        {"segment", required_argument, NULL, 's'}, {NULL, 0, NULL, 0},
    };
    const char *to_text = NULL, *from_text = NULL, *path = NULL, *interface = "lo";
    double rate = 0;
    uint64_t count = 0, segment = 1;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 't')
            to_text = optarg;
        else if (option == 'f')
            from_text = optarg;
        else if (option == 'i')
            path = optarg;
        else if (option == 'r')
            rate = strtod(optarg, NULL);
        else if (option == 'c')
            count = strtoull(optarg, NULL, 10);
        else if (option == 'd')
            interface = optarg;
        else if (option == 's')
            segment = strtoull(optarg, NULL, 10);
        else
            to_text = path = NULL, optind = argc;
    }
    if (!to_text || !path || optind < argc || rate < 0 || segment < 1 || segment > BATCH_MAX) {
        fprintf(stderr, "usage: udp_source --to ADDRESS:PORT --file DATAGRAMS [--rate HZ]\n"
                        "           [--count N] [--interface lo] [--from ADDRESS:0]\n"
                        "           [--segment N]\n"
                        "  --rate 0 (the default) is as fast as it goes;\n"
                        "  --count beyond the file's begins it again; default: the file once;\n"
                        "  --segment N sends up to N (at most 64) of one size as one message\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);

    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (file < 0 || fstat(file, &status))
        die(path);
    size_t bytes = (size_t)status.st_size;
    const uint8_t *data =
        bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0) : NULL;
    if (data == MAP_FAILED)
        die(path);
    uint64_t in_file = 0;
    for (size_t at = 0; at < bytes; in_file++) {
        uint32_t length = 0;
        if (bytes - at >= sizeof(length))
            memcpy(&length, data + at, sizeof(length));
        if (bytes - at < sizeof(length) || length > bytes - at - sizeof(length)) {
            fprintf(stderr, "udp_source: %s is cut short at %zu\n", path, at);
            return 1;
        }
        at += sizeof(length) + length;
    }
    if (!count || !in_file)
        count = in_file;

    struct sockaddr_storage to, from;
    socklen_t to_bytes = read_address(to_text, &to);
    int descriptor = open_sender(to.ss_family, interface);
    if (from_text) {
        socklen_t from_bytes = read_address(from_text, &from);
        if (bind(descriptor, (struct sockaddr *)&from, from_bytes))
            die(from_text);
    }
    if (connect(descriptor, (struct sockaddr *)&to, to_bytes))
        die(to_text);

    struct iovec parts[BATCH_MAX];
    struct mmsghdr messages[BATCH_MAX];
    unsigned datagrams[BATCH_MAX]; /* in each message */
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control[BATCH_MAX];
    uint64_t sent = 0, errors = 0, payload = 0, late_ns = 0, begun = now_ns();
    size_t at = 0;
    while (sent + errors < count && !stop) {
        uint64_t due = count, done = sent + errors;
        if (rate > 0) {
            uint64_t now = now_ns(), next = begun + (uint64_t)((double)done / rate * 1e9);
            if (now < next) {
                struct timespec until = {.tv_sec = (time_t)(next / 1000000000u),
                                         .tv_nsec = (long)(next % 1000000000u)};
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
                continue;
            }
            if (now - next > late_ns)
                late_ns = now - next;
            due = (uint64_t)((double)(now - begun) / 1e9 * rate) + 1;
        }
        if (due > count)
            due = count;
        unsigned batch = 0, most = BATCH_MAX - BATCH_MAX % (unsigned)segment;
        for (; batch < most && done + batch < due; batch++) {
            uint32_t length;
            if (at == bytes)
                at = 0;
            memcpy(&length, data + at, sizeof(length));
            at += sizeof(length);
            parts[batch] =
                (struct iovec){.iov_base = (void *)(uintptr_t)(data + at), .iov_len = length};
            at += length;
            payload += length;
        }
        unsigned count_of = 0; /* messages */
        for (unsigned first = 0; first < batch; count_of++) {
            size_t size = parts[first].iov_len, whole = size;
            unsigned n = 1;
            while (size > 0 && n < segment && first + n < batch &&
                   parts[first + n - 1].iov_len == size && parts[first + n].iov_len <= size &&
                   parts[first + n].iov_len > 0 &&
                   whole + parts[first + n].iov_len <= SEGMENTED_MAX)
                whole += parts[first + n++].iov_len;
            struct msghdr *header = &messages[count_of].msg_hdr;
            *header = (struct msghdr){.msg_iov = &parts[first], .msg_iovlen = n};
            if (n > 1) {
                header->msg_control = control[count_of].bytes;
                header->msg_controllen = sizeof(control[count_of].bytes);
                struct cmsghdr *note = CMSG_FIRSTHDR(header);
                *note = (struct cmsghdr){.cmsg_level = IPPROTO_UDP,
                                         .cmsg_type = UDP_SEGMENT_,
                                         .cmsg_len = CMSG_LEN(sizeof(uint16_t))};
                memcpy(CMSG_DATA(note), &(uint16_t){(uint16_t)size}, sizeof(uint16_t));
            }
            datagrams[count_of] = n;
            first += n;
        }
        for (unsigned gone = 0; gone < count_of;) {
            int took = sendmmsg(descriptor, messages + gone, count_of - gone, 0);
            if (took > 0) {
                for (; took > 0; took--)
                    sent += datagrams[gone++];
            } else if (errno != EINTR && errno != ECONNREFUSED) {
                /* A refusal is news of an earlier datagram: nobody listened. Send this one. */
                errors += datagrams[gone++];
            }
        }
    }
    double seconds = (double)(now_ns() - begun) / 1e9;
    printf("{\"sent\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"bytes\": %" PRIu64
           ", \"seconds\": %.6f, \"late_ms\": %.3f}\n",
           sent, errors, payload, seconds, (double)late_ns / 1e6);
    return errors ? 1 : 0;
}
