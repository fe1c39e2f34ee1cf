/* SPDX-License-Identifier: MIT
 * os/net.h over one socket with a bounded queue. What the kernel notes of each datagram it hands
 * over stands in the batch, in memory that outlives the caller; a kill can come between any two of
 * them. A queued datagram is charged as measured (64 B: 832, 1,400 B: 2,305). */
#include "os/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "sim.h"
#include "world.h"

#define QUEUE_MAX 4096u
#define NOT_TAKEN 0xffffffffu

static struct {
    uint32_t numbers[QUEUE_MAX], first, count;
    uint64_t bytes, bytes_max, cookie;
    uint32_t drops;
} queue;
static struct traffic coming;
static uint64_t next_ns;
static bool receiving;

/* ---- the machine's side ---- */

static uint64_t charge(size_t bytes)
{
    return 766 + bytes + bytes / 10;
}

void net_socket_new(uint64_t queue_bytes)
{
    static uint64_t cookies;
    memset(&queue, 0, sizeof(queue));
    queue.bytes_max = queue_bytes;
    queue.cookie = ++cookies;
}

void net_traffic(const struct traffic *traffic)
{
    coming = *traffic;
    next_ns = machine.now_ns + traffic->interval_ns;
}

bool net_is_idle(void)
{
    return queue.count == 0;
}

uint32_t net_drops(void)
{
    return queue.drops;
}

bool net_is_receiving(void)
{
    return receiving;
}

void net_life_begins(void)
{
    receiving = false;
}

uint64_t world_next_ns(void)
{
    return coming.interval_ns == 0 || model_made() >= DATAGRAMS_MAX ? UINT64_MAX : next_ns;
}

static void arrive(void)
{
    if (queue.bytes > queue.bytes_max || queue.count == QUEUE_MAX) {
        queue.drops++;
        events.datagrams_dropped++;
        return;
    }
    uint32_t number = model_make(machine.now_ns + (uint64_t)machine.realtime_offset);
    struct datagram *datagram = model_at(number);
    datagram->dropped = queue.drops;
    queue.bytes += charge(datagram->bytes.bytes);
    queue.numbers[(queue.first + queue.count++) % QUEUE_MAX] = number;
    events.datagrams++;
}

void world_arrive(void)
{
    while (world_next_ns() <= machine.now_ns) {
        for (uint64_t left = random_between(1, coming.burst); left > 0; left--)
            if (model_made() < DATAGRAMS_MAX)
                arrive();
        next_ns += random_between(1, 2 * coming.interval_ns);
    }
}

/* ---- receiving ---- */

struct net_header {
    uint32_t bytes; /* the sentinel's place */
    uint32_t source, dropped, zero;
    uint64_t arrival_ns;
};
struct net_batch {
    uint32_t messages;
    struct net_header headers[];
};

static size_t buffers_at(uint32_t messages)
{
    size_t bytes = sizeof(struct net_batch) + messages * sizeof(struct net_header);
    return (bytes + 4095) / 4096 * 4096;
}

static uint8_t *buffer_of(const struct net_batch *batch, uint32_t index)
{
    return (uint8_t *)(uintptr_t)batch + buffers_at(STAGING_BATCH_MESSAGES) +
           (size_t)index * NET_DATAGRAM_BYTES_MAX;
}

size_t net_batch_bytes(uint32_t messages)
{
    return buffers_at(messages) + (size_t)messages * NET_DATAGRAM_BYTES_MAX;
}

struct net_batch *net_batch_place(void *memory, uint32_t messages)
{
    struct net_batch *batch = memory;
    seam("batch_place", 100);
    MUST(messages == STAGING_BATCH_MESSAGES);
    if (batch->messages != messages) {
        batch->messages = messages;
        net_batch_clear(batch);
    }
    return batch;
}

void net_batch_clear(struct net_batch *batch)
{
    seam("batch_clear", 50);
    for (uint32_t i = 0; i < STAGING_BATCH_MESSAGES; i++) {
        batch->headers[i].bytes = NOT_TAKEN;
        fiber_step(STEP_ACCESS);
    }
}

int net_batch_receive(struct net_batch *batch, int descriptor)
{
    seam("receive", 1000);
    MUST(descriptor == DESCRIPTOR_RECEIVE);
    world_call();
    if (fault(machine.faults.receive)) {
        static const int errors[] = {ENOMEM, ENOBUFS, ECONNREFUSED};
        events.receive_errors++;
        return -errors[random_below(3)];
    }
    uint32_t taken = 0;
    receiving = true;
    while (queue.count > 0 && taken < STAGING_BATCH_MESSAGES) {
        uint32_t number = queue.numbers[queue.first];
        const struct datagram *datagram = model_at(number);
        struct net_header *header = &batch->headers[taken];
        queue.first = (queue.first + 1) % QUEUE_MAX;
        queue.count--;
        queue.bytes -= charge(datagram->bytes.bytes);
        memcpy(buffer_of(batch, taken), datagram->bytes.at, datagram->bytes.bytes);
        header->source = datagram->source;
        header->dropped = datagram->dropped;
        header->arrival_ns = datagram->arrival_ns;
        header->bytes = (uint32_t)datagram->bytes.bytes;
        model_handed(number);
        taken++;
        clock_to(machine.now_ns + 300);
        fiber_step(STEP_SEAM);
    }
    receiving = false;
    note("received", taken, queue.count);
    return (int)taken;
}

uint32_t net_batch_taken(const struct net_batch *batch)
{
    seam("batch_taken", 50);
    uint32_t taken = 0;
    while (taken < STAGING_BATCH_MESSAGES && batch->headers[taken].bytes != NOT_TAKEN)
        taken++;
    events.datagrams_in_flight += taken;
    return taken;
}

void net_batch_release(struct net_batch *batch)
{
    seam("batch_release", 2000);
    net_batch_clear(batch);
    for (uint32_t i = 0; i < STAGING_BATCH_MESSAGES; i++)
        memset(buffer_of(batch, i), 0, 4096); /* enough to show who still reads it */
}

void net_batch_message(const struct net_batch *batch, uint32_t index, struct net_message *message)
{
    const struct net_header *header = &batch->headers[index];
    MUST(index < STAGING_BATCH_MESSAGES);
    memset(message, 0, sizeof(*message));
    uint32_t bytes = header->bytes;
    message->truncated = bytes > NET_DATAGRAM_BYTES_MAX;
    message->bytes =
        (struct span){buffer_of(batch, index), message->truncated ? NET_DATAGRAM_BYTES_MAX : bytes};
    message->source =
        (struct address){.family = 4, .port = 5000, .bytes = {10, 0, 0, (uint8_t)header->source}};
    message->arrival_ns = header->arrival_ns;
    message->dropped = header->dropped;
    message->dropped_known = header->dropped != 0; /* the kernel tells of none otherwise */
}

static bool has_data(const void *context)
{
    (void)context;
    return queue.count > 0 || machine.interrupted;
}

int net_wait(int descriptor, int other, int64_t timeout_ns)
{
    seam("net_wait", 500);
    MUST(descriptor == DESCRIPTOR_RECEIVE && other == DESCRIPTOR_INTERRUPT);
    if (fault(machine.faults.wait)) {
        events.waits_interrupted++;
        return -EINTR;
    }
    if (!has_data(NULL) && timeout_ns != 0)
        fiber_wait(timeout_ns < 0 ? UINT64_MAX : machine.now_ns + (uint64_t)timeout_ns, has_data,
                   NULL);
    return queue.count > 0;
}

uint64_t net_queue_bytes(int descriptor)
{
    (void)descriptor;
    seam("queue_bytes", 200);
    return queue.bytes_max;
}

uint64_t net_cookie(int descriptor)
{
    (void)descriptor;
    seam("cookie", 200);
    return queue.cookie;
}

uint32_t net_dropped(int descriptor)
{
    (void)descriptor;
    seam("dropped", 200);
    return queue.drops;
}

int net_open_receiver(const struct net_receive_options *options)
{
    (void)options;
    fail("a relay opens a socket though it was given one");
}

int net_open_sender(const struct address *to, const char *interface, uint32_t ttl)
{
    (void)to, (void)interface, (void)ttl;
    fail("a relay opens a socket though it was given one");
}

/* ---- sending ---- */

void net_outbox_add(struct net_outbox *outbox, struct span datagram)
{
    if (outbox->count == NET_OUTBOX_MAX)
        net_outbox_flush(outbox);
    outbox->datagrams[outbox->count++] = datagram;
}

void net_outbox_flush(struct net_outbox *outbox)
{
    uint32_t count = outbox->count;
    outbox->count = 0;
    if (count == 0 || outbox->descriptor < 0)
        return;
    seam("send", 1000);
    for (uint32_t i = 0; i < count; i++) {
        bool fails = fault(machine.faults.send);
        model_sent(outbox->descriptor == DESCRIPTOR_FULL ? STREAM_FULL : STREAM_DECIMATED,
                   outbox->datagrams[i], !fails);
        if (fails) {
            outbox->errors++;
            outbox->last_errno = ENOBUFS;
            events.send_errors++;
        } else {
            outbox->sent++;
        }
        clock_to(machine.now_ns + 500);
        fiber_step(STEP_SEAM);
    }
}

/* ---- addresses: the simulation has IPv4 only ---- */

char *net_write_address(char text[NET_ADDRESS_TEXT_BYTES], const struct address *address)
{
    const uint8_t *bytes = address->bytes;
    snprintf(text, NET_ADDRESS_TEXT_BYTES, "%u.%u.%u.%u:%u", bytes[0], bytes[1], bytes[2], bytes[3],
             address->port);
    return text;
}

bool net_same_address(const struct address *a, const struct address *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->bytes, b->bytes, 4) == 0;
}

bool net_prefix_covers(const struct prefix *prefix, const struct address *address)
{
    return memcmp(prefix->address.bytes, address->bytes, 4) == 0;
}
