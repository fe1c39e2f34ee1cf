/* SPDX-License-Identifier: MIT
 * The end of a measurement: receives what bench_source sent and somebody relayed, checks that the
 * sequence is complete and takes two times, both until the kernel had the datagram here (so this
 * program's own delay is not in them): `latency` from when it was meant to be sent, and `passage`
 * from when it was, which leaves the source's own delay out. `--gro` takes trains with UDP_GRO,
 * so that the sink is not what is measured. Prints "ready" once it is bound and one JSON object
 * when SIGTERM ends it and its queue is empty. Linux only, IPv4 only.
 * Known fault: one source and sequence; a step of the realtime clock shows as latency. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/units.h"
#include "histogram.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/net.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { BATCH = 64, BUFFER_BYTES = 65536, CONTROL_BYTES = 128, FRONT_BYTES = 24 };
enum { QUEUE_BYTES = 256 << 20 };

struct sink {
    size_t head_bytes;
    uint64_t received, bytes, missing, late, foreign, next, first_ns, last_ns;
    uint32_t dropped;
    struct histogram latency, passage;
};

static uint8_t buffers[BATCH][BUFFER_BYTES];
static uint8_t controls[BATCH][CONTROL_BYTES];

static void take(struct sink *sink, const uint8_t *at, size_t bytes, uint64_t arrival_ns)
{
    uint64_t intended_ns, sent_ns, sequence;
    if (bytes < sink->head_bytes + FRONT_BYTES) {
        sink->foreign++;
        return;
    }
    memcpy(&intended_ns, at + sink->head_bytes, sizeof(intended_ns));
    memcpy(&sent_ns, at + sink->head_bytes + 8, sizeof(sent_ns));
    memcpy(&sequence, at + sink->head_bytes + 16, sizeof(sequence));
    sink->received++;
    sink->bytes += bytes;
    if (sequence >= sink->next) {
        sink->missing += sequence - sink->next;
        sink->next = sequence + 1;
    } else {
        sink->late++;
    }
    if (sink->first_ns == 0)
        sink->first_ns = arrival_ns;
    sink->last_ns = arrival_ns;
    histogram_add(&sink->latency, arrival_ns > intended_ns ? arrival_ns - intended_ns : 0);
    histogram_add(&sink->passage, arrival_ns > sent_ns ? arrival_ns - sent_ns : 0);
}

static void take_message(struct sink *sink, struct mmsghdr *message, const uint8_t *at)
{
    size_t left = message->msg_len, size = left;
    uint64_t arrival_ns = 0;
    struct msghdr *header = &message->msg_hdr;
    for (struct cmsghdr *note = CMSG_FIRSTHDR(header); note; note = CMSG_NXTHDR(header, note)) {
        struct timespec time;
        int segment;
        if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_TIMESTAMPNS) {
            memcpy(&time, CMSG_DATA(note), sizeof(time));
            arrival_ns = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
        } else if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&sink->dropped, CMSG_DATA(note), sizeof(sink->dropped));
        } else if (note->cmsg_level == SOL_UDP && note->cmsg_type == UDP_GRO) {
            memcpy(&segment, CMSG_DATA(note), sizeof(segment));
            size = segment > 0 ? (size_t)segment : left;
        }
    }
    if (arrival_ns == 0)
        arrival_ns = clock_realtime_ns();
    while (left > 0) {
        size_t bytes = size < left ? size : left;
        take(sink, at, bytes, arrival_ns);
        at += bytes;
        left -= bytes;
    }
}

static int take_batch(struct sink *sink, int descriptor)
{
    static struct mmsghdr messages[BATCH];
    static struct iovec vectors[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){buffers[i], BUFFER_BYTES};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i],
                                              .msg_iovlen = 1,
                                              .msg_control = controls[i],
                                              .msg_controllen = CONTROL_BYTES};
    }
    int took = recvmmsg(descriptor, messages, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < took; i++)
        take_message(sink, &messages[i], buffers[i]);
    return took;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'}, {"interface", required_argument, NULL, 'i'},
        {"head-bytes", required_argument, NULL, 'h'}, {"gro", no_argument, NULL, 'g'},
        {NULL, 0, NULL, 0},
    };
    static struct sink sink;
    struct net_receive_options receive = {.interface = "lo", .queue_bytes = QUEUE_BYTES};
    int gro = 0, status = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        uint64_t value = 0;
        if (option == 'l') {
            status |= net_read_address(optarg, &receive.listen);
        } else if (option == 'i') {
            receive.interface = optarg;
        } else if (option == 'h') {
            status |= units_read_count(optarg, 0, 1000, &value);
            sink.head_bytes = value;
        } else if (option == 'g') {
            gro = 1;
        } else {
            status = -EINVAL;
        }
    }
    if (status < 0 || receive.listen.family != 4 || optind < argc) {
        fprintf(stderr, "usage: bench_sink --listen ADDRESS:PORT [--interface lo] [--gro]\n"
                        "           [--head-bytes N]\n");
        return 2;
    }
    interrupt_install();
    int descriptor = net_open_receiver(&receive);
    if (descriptor < 0) {
        fprintf(stderr, "bench_sink: cannot open a socket: %s\n", strerror(-descriptor));
        return 1;
    }
    if (setsockopt(descriptor, IPPROTO_UDP, UDP_GRO, &gro, sizeof(gro)) && gro) {
        fprintf(stderr, "bench_sink: no UDP_GRO here: %s\n", strerror(errno));
        return 1;
    }
    printf("ready\n");
    fflush(stdout);
    while (!interrupt_seen())
        if (net_wait(descriptor, interrupt_descriptor(), -1) > 0)
            take_batch(&sink, descriptor);
    while (take_batch(&sink, descriptor) > 0)
        continue;
    printf("{\"received\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"missing\": %" PRIu64
           ", \"late\": %" PRIu64 ", \"foreign\": %" PRIu64 ", \"next\": %" PRIu64
           ", \"dropped\": %" PRIu32 ", \"seconds\": %.6f, ",
           sink.received, sink.bytes, sink.missing, sink.late, sink.foreign, sink.next,
           sink.dropped, (double)(sink.last_ns - sink.first_ns) / 1e9);
    histogram_print(&sink.latency, "latency");
    printf(", ");
    histogram_print(&sink.passage, "passage");
    printf("}\n");
    return 0;
}
