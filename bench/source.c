/* SPDX-License-Identifier: MIT
 * An open-loop source: sends on an absolute schedule and never waits for anybody; what is late is
 * sent at once and keeps the time it was meant for, so that a stall shows as latency and not as
 * fewer samples. Every payload is a valid datum of a record of fixed size, all little-endian:
 *   [head]  intended, sent: fixed 8 (ns since 1970)  sequence: fixed 8  [doubles]  rest: fixed N
 * `--way one` sends each alone, `batch` what is due with sendmmsg, `segment` trains with
 * UDP_SEGMENT; `--train N` makes N datagrams due at once. Prints one JSON object at the end, with
 * how late it was itself. Linux only, IPv4 only. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/check.h"
#include "base/units.h"
#include "histogram.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/net.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { BATCH_MAX = 64, HEAD_MAX = 64, FRONT_BYTES = 24, PAYLOAD_MAX = 65507 };

enum way { WAY_ONE, WAY_BATCH, WAY_SEGMENT };

struct source {
    int descriptor;
    enum way way;
    struct sockaddr_in to;
    uint8_t head[HEAD_MAX];
    size_t head_bytes, size, doubles;
    uint32_t train;
    double rate; /* 0: as fast as it goes */
    uint64_t count, sent, errors, begun_ns;
    struct histogram late;
};

static uint8_t bytes[BATCH_MAX * PAYLOAD_MAX];

/* What does not change from datum to datum. */
static void fill(const struct source *source, uint8_t *at)
{
    memset(at, 'r', source->size);
    memcpy(at, source->head, source->head_bytes);
}

static void number(const struct source *source, uint8_t *at, uint64_t sequence,
                   uint64_t intended_ns, uint64_t now_ns)
{
    at += source->head_bytes;
    memcpy(at, &intended_ns, sizeof(intended_ns));
    memcpy(at + 8, &now_ns, sizeof(now_ns));
    memcpy(at + 16, &sequence, sizeof(sequence));
    for (size_t i = 0; i < source->doubles; i++) {
        double value = (double)(sequence * (i + 1) % 1000) / 8;
        memcpy(at + FRONT_BYTES + 8 * i, &value, sizeof(value));
    }
}

static uint64_t intended_ns(const struct source *source, uint64_t sequence, uint64_t now_ns)
{
    if (source->rate <= 0)
        return now_ns;
    uint64_t first = sequence / source->train * source->train;
    return source->begun_ns + (uint64_t)((double)first / source->rate * 1e9);
}

/* How many are due now, at most `most`; sleeps until one is. */
static uint32_t due(struct source *source, uint32_t most, uint64_t *now_ns)
{
    uint64_t done = source->sent + source->errors, left = source->count - done;
    *now_ns = clock_realtime_ns();
    most = left < most ? (uint32_t)left : most;
    if (source->rate <= 0)
        return most;
    uint64_t next_ns = intended_ns(source, done, 0);
    while (*now_ns < next_ns && !interrupt_seen()) {
        struct timespec until = {.tv_sec = (time_t)(next_ns / 1000000000u),
                                 .tv_nsec = (long)(next_ns % 1000000000u)};
        clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
        *now_ns = clock_realtime_ns();
    }
    histogram_add(&source->late, *now_ns > next_ns ? *now_ns - next_ns : 0);
    double seconds = (double)(*now_ns - source->begun_ns) / 1e9;
    uint64_t until = ((uint64_t)(seconds * source->rate / source->train) + 1) * source->train;
    uint64_t count = until > done ? until - done : source->train;
    return count < most ? (uint32_t)count : most;
}

static void send_all(struct source *source, uint32_t count)
{
    struct iovec vectors[BATCH_MAX];
    struct mmsghdr headers[BATCH_MAX];
    struct {
        _Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } control;
    uint32_t messages = source->way == WAY_SEGMENT ? 1 : count;
    memset(headers, 0, messages * sizeof(headers[0]));
    for (uint32_t i = 0; i < messages; i++) {
        size_t length = source->way == WAY_SEGMENT ? count * source->size : source->size;
        vectors[i] = (struct iovec){bytes + i * source->size, length};
        headers[i].msg_hdr.msg_iov = &vectors[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_name = &source->to;
        headers[i].msg_hdr.msg_namelen = sizeof(source->to);
    }
    if (source->way == WAY_SEGMENT) {
        uint16_t size = (uint16_t)source->size;
        struct msghdr *header = &headers[0].msg_hdr;
        header->msg_control = control.bytes;
        header->msg_controllen = sizeof(control.bytes);
        struct cmsghdr *note = CMSG_FIRSTHDR(header);
        note->cmsg_level = SOL_UDP;
        note->cmsg_type = UDP_SEGMENT;
        note->cmsg_len = CMSG_LEN(sizeof(size));
        memcpy(CMSG_DATA(note), &size, sizeof(size));
    }
    for (uint32_t gone = 0; gone < messages;) {
        int took = sendmmsg(source->descriptor, headers + gone, messages - gone, 0);
        uint32_t datagrams = source->way == WAY_SEGMENT ? count : 1;
        if (took > 0) {
            gone += (uint32_t)took;
            source->sent += (uint32_t)took * datagrams;
        } else if (errno == EAGAIN) {
            net_wait(source->descriptor, -1, 100000); /* the sender's own queue is full */
        } else if (errno != EINTR) {
            if (source->errors == 0)
                fprintf(stderr, "bench_source: cannot send: %s\n", strerror(errno));
            source->errors += datagrams;
            gone++;
        }
    }
}

static void run(struct source *source)
{
    uint32_t most = source->way == WAY_ONE ? 1 : BATCH_MAX;
    if (source->way == WAY_SEGMENT)
        most = source->train;
    for (uint32_t i = 0; i < most; i++)
        fill(source, bytes + i * source->size);
    source->begun_ns = clock_realtime_ns() + 1000000;
    while (source->sent + source->errors < source->count && !interrupt_seen()) {
        uint64_t now_ns, done = source->sent + source->errors;
        uint32_t count = due(source, most, &now_ns);
        for (uint32_t i = 0; i < count; i++)
            number(source, bytes + i * source->size, done + i,
                   intended_ns(source, done + i, now_ns), now_ns);
        send_all(source, count);
    }
}

static int read_head(const char *text, struct source *source)
{
    size_t digits = strlen(text);
    if (digits % 2 != 0 || digits / 2 > HEAD_MAX)
        return -EINVAL;
    for (source->head_bytes = 0; source->head_bytes < digits / 2; source->head_bytes++) {
        char pair[3] = {text[2 * source->head_bytes], text[2 * source->head_bytes + 1], '\0'};
        char *end;
        source->head[source->head_bytes] = (uint8_t)strtoul(pair, &end, 16);
        if (*end != '\0')
            return -EINVAL;
    }
    return 0;
}

static int read_count(const char *text, uint64_t low, uint64_t high, size_t *value)
{
    uint64_t count = 0;
    int status = units_read_count(text, low, high, &count);
    *value = count;
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", required_argument, NULL, 't'},     {"interface", required_argument, NULL, 'i'},
        {"size", required_argument, NULL, 's'},   {"doubles", required_argument, NULL, 'd'},
        {"rate", required_argument, NULL, 'r'},   {"count", required_argument, NULL, 'c'},
        {"way", required_argument, NULL, 'w'},    {"train", required_argument, NULL, 'n'},
        {"head", required_argument, NULL, 'h'},   {NULL, 0, NULL, 0},
    };
    static const char *const ways[] = {"one", "batch", "segment"};
    static struct source source = {.train = 1};
    struct address to = {0};
    const char *interface = "lo";
    int status = 0, way = WAY_BATCH;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        size_t value = 0;
        if (option == 't')
            status |= net_read_address(optarg, &to);
        else if (option == 'i')
            interface = optarg;
        else if (option == 's')
            status |= read_count(optarg, FRONT_BYTES, PAYLOAD_MAX, &source.size);
        else if (option == 'd')
            status |= read_count(optarg, 0, 1000, &source.doubles);
        else if (option == 'r')
            source.rate = strtod(optarg, NULL);
        else if (option == 'c')
            status |= units_read_count(optarg, 1, UINT64_MAX, &source.count);
        else if (option == 'n') {
            status |= read_count(optarg, 1, BATCH_MAX, &value);
            source.train = (uint32_t)value;
        } else if (option == 'h')
            status |= read_head(optarg, &source);
        else if (option == 'w') {
            way = -1;
            for (int i = 0; i < 3; i++)
                way = strcmp(optarg, ways[i]) == 0 ? i : way;
        } else
            status = -EINVAL;
    }
    size_t least = source.head_bytes + FRONT_BYTES + 8 * source.doubles;
    if (status < 0 || way < 0 || to.family != 4 || source.size < least || source.count == 0 ||
        source.rate < 0 || optind < argc ||
        (way == WAY_SEGMENT && source.train * source.size > PAYLOAD_MAX)) {
        fputs("usage: bench_source --to ADDRESS:PORT --size BYTES --count N [--rate HZ]\n"
              "           [--way one|batch|segment] [--train N] [--doubles N]\n"
              "           [--head HEX] [--interface lo]\n"
              "  --rate 0 (the default): as fast as it goes; a train is due at once and,\n"
              "  with segment, is one send of at most 65,507 bytes\n",
              stderr);
        return 2;
    }
    source.way = (enum way)way;
    interrupt_install();
    prctl(PR_SET_TIMERSLACK, 1ul); /* the default of 50 us would be in every latency */
    source.descriptor = net_open_sender(&to, interface, 1);
    if (source.descriptor < 0) {
        fprintf(stderr, "bench_source: cannot open a socket: %s\n", strerror(-source.descriptor));
        return 1;
    }
    source.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(to.port)};
    memcpy(&source.to.sin_addr, to.bytes, sizeof(source.to.sin_addr));
    uint64_t begun_ns = clock_monotonic_ns();
    run(&source);
    printf("{\"sent\": %" PRIu64 ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, ", source.sent,
           source.errors, (double)(clock_monotonic_ns() - begun_ns) / 1e9);
    histogram_print(&source.late, "late");
    printf("}\n");
    return 0;
}
