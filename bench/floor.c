/* SPDX-License-Identifier: MIT
 * The floors that the relay is held against: receives from one address and sends to another, and
 * does nothing else. The sockets are the relay's own (os/net.h), so that arrival times, the count
 * of drops and the queue cost the same.
 *   one      recvfrom and sendto, a datagram at a time
 *   batch    recvmmsg and sendmmsg, up to 32 at a time
 *   offload  the same with UDP_GRO and UDP_SEGMENT: up to 32 trains of datagrams
 * With --record FILE the bytes are recorded as well, by the least that can do it (recorder.h).
 * Prints "ready" once it is bound and one JSON object when SIGTERM ends it. Linux only.
 * Known fault: with `offload` a train of more than 60 datagrams is sent in two. */
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
#include <sys/socket.h>

#include "base/check.h"
#include "base/units.h"
#include "os/interrupt.h"
#include "os/net.h"
#include "recorder.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { BATCH = 32, OUT_MAX = 2 * BATCH, SEGMENTS_MAX = 60 };
enum { BUFFER_BYTES = 65536, CONTROL_BYTES = 128 };

enum way { WAY_ONE, WAY_BATCH, WAY_OFFLOAD };

struct floor_state {
    int receiver, sender;
    bool records;
    struct sockaddr_in to;
    uint64_t received, sent, errors, calls;
    uint32_t dropped;
};

static uint8_t buffers[BATCH][BUFFER_BYTES];
static uint8_t controls[BATCH][CONTROL_BYTES];
static struct sockaddr_in6 names[BATCH];
static struct iovec vectors[BATCH], out_vectors[OUT_MAX];
static struct mmsghdr headers[BATCH], out_headers[OUT_MAX];
static struct {
    _Alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
} out_controls[OUT_MAX];

/* The size of the datagrams in a message: its own, or what GRO says it put together. */
static size_t read_control(struct floor_state *state, struct msghdr *header, size_t bytes)
{
    size_t size = bytes;
    for (struct cmsghdr *note = CMSG_FIRSTHDR(header); note; note = CMSG_NXTHDR(header, note)) {
        int segment;
        if (note->cmsg_level == SOL_SOCKET && note->cmsg_type == SO_RXQ_OVFL) {
            memcpy(&state->dropped, CMSG_DATA(note), sizeof(state->dropped));
        } else if (note->cmsg_level == SOL_UDP && note->cmsg_type == UDP_GRO) {
            memcpy(&segment, CMSG_DATA(note), sizeof(segment));
            if (segment > 0)
                size = (size_t)segment;
        }
    }
    return size;
}

/* One datagram; false if there was none. */
static bool pass_one(struct floor_state *state)
{
    struct sockaddr_in6 from;
    struct iovec vector = {buffers[0], BUFFER_BYTES};
    struct msghdr header = {.msg_name = &from,
                            .msg_namelen = sizeof(from),
                            .msg_iov = &vector,
                            .msg_iovlen = 1,
                            .msg_control = controls[0],
                            .msg_controllen = CONTROL_BYTES};
    ssize_t bytes = recvmsg(state->receiver, &header, MSG_DONTWAIT);
    state->calls++;
    if (bytes < 0)
        return false;
    read_control(state, &header, (size_t)bytes);
    state->received++;
    if (state->records)
        recorder_append(buffers[0], (size_t)bytes);
    state->calls++;
    if (sendto(state->sender, buffers[0], (size_t)bytes, MSG_DONTWAIT,
               (struct sockaddr *)&state->to, sizeof(state->to)) < 0)
        state->errors++;
    else
        state->sent++;
    return true;
}

/* Sends the first `count` of out_headers; `datagrams` are in them. */
static void send_batch(struct floor_state *state, unsigned count, uint64_t datagrams)
{
    for (unsigned first = 0; first < count;) {
        int sent = sendmmsg(state->sender, out_headers + first, count - first, MSG_DONTWAIT);
        state->calls++;
        if (sent <= 0 && errno != EINTR) {
            state->errors++;
            sent = 1;
        }
        first += sent > 0 ? (unsigned)sent : 0;
    }
    state->sent += datagrams;
}

static void note_segment(struct msghdr *header, unsigned index, size_t size)
{
    uint16_t segment = (uint16_t)size;
    header->msg_control = out_controls[index].bytes;
    header->msg_controllen = sizeof(out_controls[index].bytes);
    struct cmsghdr *note = CMSG_FIRSTHDR(header);
    note->cmsg_level = SOL_UDP;
    note->cmsg_type = UDP_SEGMENT;
    note->cmsg_len = CMSG_LEN(sizeof(segment));
    memcpy(CMSG_DATA(note), &segment, sizeof(segment));
}

/* Up to 32 messages; how many there were. */
static unsigned pass_batch(struct floor_state *state, bool offload)
{
    for (unsigned i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){buffers[i], BUFFER_BYTES};
        headers[i].msg_hdr = (struct msghdr){.msg_name = &names[i],
                                             .msg_namelen = sizeof(names[i]),
                                             .msg_iov = &vectors[i],
                                             .msg_iovlen = 1,
                                             .msg_control = controls[i],
                                             .msg_controllen = CONTROL_BYTES};
    }
    int took = recvmmsg(state->receiver, headers, BATCH, MSG_DONTWAIT, NULL);
    state->calls++;
    unsigned out = 0;
    uint64_t datagrams = 0;
    for (int i = 0; i < took; i++) {
        size_t left = headers[i].msg_len, size = read_control(state, &headers[i].msg_hdr, left);
        uint8_t *at = buffers[i];
        do {
            size_t bytes = offload && left > size * SEGMENTS_MAX ? size * SEGMENTS_MAX : left;
            CHECK(out < OUT_MAX);
            out_vectors[out] = (struct iovec){at, bytes};
            out_headers[out].msg_hdr = (struct msghdr){.msg_name = &state->to,
                                                       .msg_namelen = sizeof(state->to),
                                                       .msg_iov = &out_vectors[out],
                                                       .msg_iovlen = 1};
            if (bytes > size)
                note_segment(&out_headers[out].msg_hdr, out, size);
            datagrams += bytes > size ? (bytes + size - 1) / size : 1;
            at += bytes;
            left -= bytes;
            out++;
        } while (left > 0);
    }
    state->received += datagrams;
    if (out > 0)
        send_batch(state, out, datagrams);
    for (int i = 0; i < took && state->records; i++)
        recorder_append(buffers[i], headers[i].msg_len);
    return took > 0 ? (unsigned)took : 0;
}

static void run(struct floor_state *state, enum way way)
{
    while (!interrupt_seen()) {
        state->calls++;
        if (net_wait(state->receiver, interrupt_descriptor(), -1) <= 0)
            continue;
        /* As the relay: while batches are full there is more, and no need to ask. */
        unsigned full = way == WAY_ONE ? 1 : BATCH, took = full;
        for (int round = 0; took == full && round < 16; round++)
            took = way == WAY_ONE ? pass_one(state) : pass_batch(state, way == WAY_OFFLOAD);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"to", required_argument, NULL, 't'},
        {"interface", required_argument, NULL, 'i'},
        {"way", required_argument, NULL, 'w'},
        {"queue", required_argument, NULL, 'q'},
        {"record", required_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    static const char *const ways[] = {"one", "batch", "offload"};
    struct address listen = {0}, to = {0};
    const char *interface = "lo", *record = NULL;
    uint64_t queue = 8 << 20;
    int way = -1, status = 0;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'l')
            status |= net_read_address(optarg, &listen);
        else if (option == 't')
            status |= net_read_address(optarg, &to);
        else if (option == 'i')
            interface = optarg;
        else if (option == 'q')
            status |= units_read_bytes(optarg, &queue);
        else if (option == 'r')
            record = optarg;
        else if (option == 'w')
            for (int i = 0; i < 3; i++)
                way = strcmp(optarg, ways[i]) == 0 ? i : way;
        else
            status = -EINVAL;
    }
    if (status < 0 || way < 0 || listen.family != 4 || to.family != 4 || optind < argc) {
        fprintf(stderr, "usage: bench_floor --listen ADDRESS:PORT --to ADDRESS:PORT\n"
                        "           --way one|batch|offload [--interface lo] [--queue 8MiB]\n"
                        "           [--record FILE]\n"
                        "  IPv4 only\n");
        return 2;
    }
    interrupt_install();
    static struct floor_state state;
    struct net_receive_options receive = {
        .listen = listen, .interface = interface, .queue_bytes = queue};
    state.receiver = net_open_receiver(&receive);
    state.sender = net_open_sender(&to, interface, 1);
    if (state.receiver < 0 || state.sender < 0) {
        int number = state.receiver < 0 ? state.receiver : state.sender;
        fprintf(stderr, "bench_floor: cannot open a socket: %s\n", strerror(-number));
        return 1;
    }
    int gro = way == WAY_OFFLOAD;
    if (setsockopt(state.receiver, IPPROTO_UDP, UDP_GRO, &gro, sizeof(gro)) && gro) {
        fprintf(stderr, "bench_floor: no UDP_GRO here: %s\n", strerror(errno));
        return 1;
    }
    state.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(to.port)};
    memcpy(&state.to.sin_addr, to.bytes, sizeof(state.to.sin_addr));
    state.records = record != NULL;
    if (state.records)
        recorder_open(record);
    printf("ready\n");
    fflush(stdout);
    run(&state, (enum way)way);
    if (state.records)
        recorder_close();
    printf("{\"received\": %" PRIu64 ", \"sent\": %" PRIu64 ", \"errors\": %" PRIu64
           ", \"calls\": %" PRIu64 ", \"dropped\": %" PRIu32 "}\n",
           state.received, state.sent, state.errors, state.calls, state.dropped);
    return 0;
}
