/* SPDX-License-Identifier: MIT
 * os/net.h over a socket with a bounded queue, and one before it to which nothing comes any more.
 * What the kernel notes of each datagram it hands over stands in the batch, in memory that outlives
 * the caller; a kill can come between any two of them. A queued datagram is charged as measured (64
 * B: 832, 1,400 B: 2,305).
 *
 * A socket that coalesces gets runs of datagrams as one message: equal ones from one sender, the
 * last perhaps shorter. Such a message is queued, handed over and dropped as a whole; taken from a
 * socket that no longer coalesces it would come without the size of its datagrams. */
#include "os/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "sim.h"
#include "world.h"

#define QUEUE_MAX 4096u
#define NOT_TAKEN 0xffffffffu

struct queued {
    uint32_t number, count; /* of datagrams */
    size_t bytes, segment_bytes;
    bool ended; /* by a shorter one */
};
struct queue {
    struct queued items[QUEUE_MAX];
    uint32_t first, count;
    uint64_t bytes, bytes_max, cookie;
    uint32_t drops;               /* as the kernel counts them */
    uint64_t messages, datagrams; /* dropped */
    bool coalesces;
};
static struct queue queue, old;
static bool is_old_open; /* by the manager; what a relay was given stays with it */
/* What this life's relay has: the old one beside the new one, or, as it had been started before
 * that came, the old one only. */
static bool has_both, has_only_old;
static struct net_kernel kernel;
static struct traffic coming;
static uint64_t next_ns;
static bool receiving;

/* ---- the machine's side ---- */

static uint64_t charge(size_t bytes)
{
    return 766 + bytes + bytes / 10;
}

static void tell_drops(const struct queue *of, struct net_drops *drops)
{
    *drops = (struct net_drops){.socket = of->cookie,
                                .counted = of->drops,
                                .messages = of->messages,
                                .datagrams = of->datagrams};
}

void net_socket_new(uint64_t queue_bytes)
{
    static uint64_t cookies;
    memset(&queue, 0, sizeof(queue));
    queue.bytes_max = queue_bytes;
    queue.cookie = ++cookies;
    queue.coalesces = kernel.from_birth;
}

void net_socket_changes(uint64_t queue_bytes)
{
    MUST(!is_old_open && !has_both);
    is_old_open = true;
    old = queue;
    net_socket_new(queue_bytes);
    has_only_old = true;
}

bool net_old_socket(struct net_drops *drops, uint32_t *waiting)
{
    *waiting = old.count;
    tell_drops(&old, drops);
    return is_old_open;
}

void net_old_socket_closed(void)
{
    is_old_open = false;
}

bool net_is_given_old(void)
{
    return has_both;
}

void net_close(int descriptor)
{
    MUST(descriptor != DESCRIPTOR_DRAINING || has_both);
    if (descriptor == DESCRIPTOR_DRAINING)
        has_both = false;
}

static struct queue *queue_of(int descriptor)
{
    MUST(descriptor == DESCRIPTOR_RECEIVE || (descriptor == DESCRIPTOR_DRAINING && has_both));
    return descriptor == DESCRIPTOR_DRAINING || has_only_old ? &old : &queue;
}

void net_kernel(const struct net_kernel *is)
{
    kernel = *is;
}

void net_traffic(const struct traffic *traffic)
{
    coming = *traffic;
    next_ns = machine.now_ns + traffic->interval_ns;
}

bool net_is_idle(void)
{
    return queue.count == 0 && (!is_old_open || old.count == 0);
}

void net_drops(struct net_drops *drops)
{
    tell_drops(&queue, drops);
}

bool net_is_receiving(void)
{
    return receiving;
}

void net_life_begins(void)
{
    receiving = has_only_old = false;
    has_both = is_old_open;
}

uint64_t world_next_ns(void)
{
    return coming.interval_ns == 0 || model_is_full() ? UINT64_MAX : next_ns;
}

static bool is_dropping(void)
{
    return queue.bytes > queue.bytes_max || queue.count + NET_SEGMENTS_MAX > QUEUE_MAX;
}

/* One message of `count` datagrams does not get in. */
static void drop(uint32_t count)
{
    queue.messages++;
    queue.datagrams += count;
    queue.drops += kernel.drops_are_messages ? 1 : count;
    events.datagrams_dropped += count;
}

/* Whether the kernel would put the datagram into the message that came before it. */
static bool joins(const struct queued *last, const struct datagram *datagram)
{
    const struct datagram *first = model_at(last->number);
    return !last->ended && last->bytes > 0 && datagram->bytes.bytes > 0 &&
           datagram->bytes.bytes <= last->segment_bytes &&
           last->bytes + datagram->bytes.bytes < 65536 - 28 && last->count < NET_SEGMENTS_MAX &&
           datagram->source == first->source;
}

/* A run of `count` datagrams that one sender sends at once, alike where they are to be coalesced.
 */
static void arrive(uint32_t count)
{
    struct queued *last = NULL;
    if (queue.coalesces && is_dropping()) {
        drop(count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!queue.coalesces && is_dropping()) {
            drop(1);
            continue;
        }
        uint32_t number = model_make(machine.now_ns + (uint64_t)machine.realtime_offset, i > 0);
        struct datagram *datagram = model_at(number);
        size_t bytes = datagram->bytes.bytes;
        datagram->dropped = queue.drops;
        datagram->dropped_datagrams = queue.datagrams;
        datagram->dropped_messages = queue.messages;
        queue.bytes += charge(bytes);
        events.datagrams++;
        if (queue.coalesces && last != NULL && joins(last, datagram)) {
            model_join(number, last->number);
            last->ended = bytes < last->segment_bytes;
            last->bytes += bytes;
            last->count++;
            events.datagrams_coalesced++;
            continue;
        }
        last = &queue.items[(queue.first + queue.count++) % QUEUE_MAX];
        *last =
            (struct queued){.number = number, .count = 1, .bytes = bytes, .segment_bytes = bytes};
    }
}

void world_arrive(void)
{
    while (world_next_ns() <= machine.now_ns) {
        uint64_t left = random_between(1, coming.burst);
        while (left > 0 && !model_is_full()) {
            uint32_t run = kernel.run > 0          ? kernel.run
                           : random_chance(500000) ? (uint32_t)random_between(1, NET_SEGMENTS_MAX)
                                                   : 1;
            if (kernel.run == 0 && run > left)
                run = (uint32_t)left;
            arrive(run);
            left -= run < left ? run : left;
        }
        next_ns += random_between(1, 2 * coming.interval_ns);
    }
}

/* ---- receiving ---- */

struct net_header {
    uint32_t bytes; /* the sentinel's place */
    uint32_t source, dropped, segment_bytes;
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

int net_batch_receive(struct net_batch *batch, descriptor_t descriptor, uint32_t messages)
{
    seam("receive", 1000);
    struct queue *from = queue_of(descriptor);
    MUST(descriptor == DESCRIPTOR_DRAINING || !has_both); /* what waits in the old one is first */
    MUST(messages > 0 && messages <= STAGING_BATCH_MESSAGES);
    world_call();
    if (fault(machine.faults.receive)) {
        static const int errors[] = {ENOMEM, ENOBUFS, ECONNREFUSED};
        events.receive_errors++;
        return -errors[random_below(3)];
    }
    uint32_t taken = 0;
    receiving = true;
    while (from->count > 0 && taken < messages) {
        const struct queued item = from->items[from->first];
        const struct datagram *first = model_at(item.number);
        struct net_header *header = &batch->headers[taken];
        size_t at = 0;
        from->first = (from->first + 1) % QUEUE_MAX;
        from->count--;
        for (uint32_t i = 0; i < item.count; i++) {
            struct span bytes = model_at(item.number + i)->bytes;
            from->bytes -= charge(bytes.bytes);
            memcpy(buffer_of(batch, taken) + at, bytes.at, bytes.bytes);
            at += bytes.bytes;
        }
        header->source = first->source;
        header->dropped = first->dropped;
        header->arrival_ns = first->arrival_ns;
        header->segment_bytes =
            item.count > 1 && from->coalesces ? (uint32_t)item.segment_bytes : 0;
        header->bytes = (uint32_t)item.bytes;
        for (uint32_t i = 0; i < item.count; i++)
            model_handed(item.number + i, from->cookie);
        taken++;
        clock_to(machine.now_ns + 300);
        fiber_step(STEP_SEAM);
        from = queue_of(descriptor); /* another socket may have taken its place meanwhile */
    }
    receiving = false;
    note(from == &old ? "received of the old socket" : "received", taken, from->count);
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
    message->segment_bytes = header->segment_bytes;
    message->name = header;
    message->arrival_ns = header->arrival_ns;
    message->dropped = header->dropped;
    message->dropped_known = header->dropped != 0; /* the kernel tells of none otherwise */
}

void net_message_source(const struct net_message *message, struct address *source)
{
    const struct net_header *header = message->name;
    *source =
        (struct address){.family = 4, .port = 5000, .bytes = {10, 0, 0, (uint8_t)header->source}};
}

/* `context`: whether being asked to end ends the wait, too. */
static bool has_data(const void *context)
{
    return queue_of(DESCRIPTOR_RECEIVE)->count > 0 ||
           ((machine.interrupted || machine.woken) && *(const bool *)context);
}

int net_wait(descriptor_t descriptor, bool or_interrupt, int64_t timeout_ns)
{
    seam("net_wait", 500);
    MUST(descriptor == DESCRIPTOR_RECEIVE && !has_both);
    if (fault(machine.faults.wait)) {
        events.waits_interrupted++;
        return -EINTR;
    }
    if (!has_data(&or_interrupt) && timeout_ns != 0)
        fiber_wait(timeout_ns < 0 ? UINT64_MAX : machine.now_ns + (uint64_t)timeout_ns, has_data,
                   &or_interrupt);
    return queue_of(descriptor)->count > 0;
}

uint64_t net_queue_bytes(descriptor_t descriptor)
{
    seam("queue_bytes", 200);
    return queue_of(descriptor)->bytes_max;
}

uint64_t net_cookie(descriptor_t descriptor)
{
    seam("cookie", 200);
    return queue_of(descriptor)->cookie;
}

bool net_counts_drops(descriptor_t descriptor)
{
    (void)descriptor;
    seam("counts_drops", 200);
    return true;
}

uint32_t net_dropped(descriptor_t descriptor)
{
    seam("dropped", 200);
    return queue_of(descriptor)->drops;
}

descriptor_t net_open_receiver(const struct net_receive_options *options)
{
    (void)options;
    fail("a relay opens a socket though it was given one");
}

int net_adopt_receiver(descriptor_t descriptor, const struct net_receive_options *options)
{
    seam("adopt", 2000);
    MUST(descriptor == DESCRIPTOR_RECEIVE && options->listen.family == 4);
    return 0;
}

descriptor_t net_open_sender(const struct address *to, const char *interface, uint32_t ttl)
{
    (void)interface, (void)ttl;
    seam("open_sender", 2000);
    bool full = to->bytes[1] == 11; /* sim.c, choose_settings */
    return full ? DESCRIPTOR_FULL : DESCRIPTOR_DECIMATED;
}

bool net_listens_by_interface(const struct address *listen, const char *interface)
{
    (void)listen, (void)interface;
    return false;
}

int net_interface_index(const char *name)
{
    (void)name;
    return 1;
}

int net_turn_sender(descriptor_t descriptor, const struct address *to, unsigned index)
{
    (void)descriptor, (void)to, (void)index;
    if (!machine.garbled) /* which may tell it anything */
        fail("a relay turns a sender, though nobody told it to");
    return 0;
}

/* ---- offload ---- */

bool net_queue_splits(const struct address *to, const char *interface)
{
    (void)to, (void)interface;
    seam("queue_splits", 2000);
    return random_chance(200000);
}

void net_probe_offload(struct net_offload *offload)
{
    seam("probe", 200000);
    *offload = (struct net_offload){.drops_are_messages = true};
    if (!kernel.offload || (kernel.run == 0 && random_chance(100000)))
        return; /* it could not be tried */
    *offload = (struct net_offload){.receive = true,
                                    .send = true,
                                    .send_group = kernel.run > 0 || random_chance(800000),
                                    .drops_are_messages = kernel.drops_are_messages};
}

int net_coalesce(descriptor_t descriptor)
{
    seam("coalesce", 300);
    MUST(descriptor == DESCRIPTOR_RECEIVE);
    if (!kernel.offload)
        return -ENOPROTOOPT;
    queue_of(descriptor)->coalesces = true;
    return 0;
}

int net_coalesce_not(descriptor_t descriptor)
{
    MUST(descriptor == DESCRIPTOR_RECEIVE);
    seam("coalesce_not", 300);
    struct queue *of = queue_of(descriptor);
    of->coalesces = false;
    clock_to(machine.now_ns + 300); /* no kill in here: see os/linux/net.c */
    if (of->count == 0)
        return 0;
    of->coalesces = true;
    events.coalesced_still++;
    return -EAGAIN;
}

bool net_is_coalescing(descriptor_t descriptor)
{
    seam("is_coalescing", 200);
    return queue_of(descriptor)->coalesces;
}

/* ---- sending ---- */

/* One message: sent or not as a whole. */
static void send_message(struct net_outbox *outbox, const struct span *datagrams, uint32_t count,
                         bool fails)
{
    for (uint32_t i = 0; i < count; i++)
        model_sent(outbox->descriptor == DESCRIPTOR_FULL ? STREAM_FULL : STREAM_DECIMATED,
                   datagrams[i], !fails);
    if (fails) {
        net_outbox_fail(outbox, (enum net_send_cause)random_below(NET_SEND_CAUSES), count);
        outbox->last_errno = ENOBUFS;
        events.send_errors++;
    } else {
        outbox->sent += count;
    }
    clock_to(machine.now_ns + 500);
    fiber_step(STEP_SEAM);
}

void net_outbox_add(struct net_outbox *outbox, struct span datagram)
{
    if (outbox->part_count == sizeof(outbox->parts) / sizeof(outbox->parts[0]))
        net_outbox_flush(outbox);
    outbox->parts[outbox->part_count++] = datagram;
}

void net_outbox_flush(struct net_outbox *outbox)
{
    uint32_t count = outbox->part_count;
    outbox->part_count = 0;
    if (count == 0 || outbox->descriptor < 0)
        return;
    seam("send", 1000);
    const struct span *parts = outbox->parts;
    for (uint32_t first = 0, run; first < count; first += run) {
        size_t bytes = parts[first].bytes;
        run = 1;
        while (outbox->segments && first + run < count && run < NET_SEGMENTS_MAX && bytes > 0 &&
               (run + 1) * bytes < 65000 && parts[first + run - 1].bytes == bytes &&
               parts[first + run].bytes <= bytes && parts[first + run].bytes > 0)
            run++;
        /* What is refused as one message goes one by one, and the system may not be asked again. */
        if (run > 1 && !fault(50000)) {
            events.runs_sent++;
            send_message(outbox, &parts[first], run, fault(machine.faults.send));
            continue;
        }
        if (run > 1) {
            events.runs_refused++;
            outbox->segments = random_chance(500000);
        }
        for (uint32_t i = 0; i < run; i++)
            send_message(outbox, &parts[first + i], 1, fault(machine.faults.send));
    }
}

/* Sometimes one of the datagrams that were sent did not get out. */
void net_outbox_settle(struct net_outbox *outbox)
{
    if (outbox->descriptor < 0)
        return;
    seam("settle", 300);
    if (outbox->sent > 0 && fault(machine.faults.send)) {
        outbox->sent--;
        net_outbox_fail(outbox, NET_SEND_UNREACHABLE, 1);
    }
}
