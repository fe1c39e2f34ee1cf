/* SPDX-License-Identifier: MIT
 * Datagrams are copied into one room and leave together: equal ones as one segmented message where
 * that works here. Known: what the system does not take is counted, not sent again. */
#include "cli/replay_target.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "avro/envelope.h"
#include "cli/verb.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/memory.h"

#define ROOM_BYTES         (1u << 20)
#define PAYLOAD_BYTES_MAX  65507u /* of a UDP datagram over IPv4 */
#define CHARGE_BYTES       768u   /* that a datagram is charged beside its bytes in a queue */
#define LOOK_BYTES         (64u << 10)
#define LOOK_ALONE_NS      (NS_PER_S / 10)
#define LOOKS              4u
#define WAITING_BYTES_MAX  (64u << 10) /* of the least a queue holds by default, 208 KiB */
#define YIELD_NS           (50 * 1000ull)
#define TOLERATED_YIELD_NS (2 * NS_PER_S) /* then the receiver does not read at all */

int replay_target_open(struct replay_target *target, uint32_t ttl)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    struct net_offload offload;
    struct net_outbox *outbox = &target->outbox;
    outbox->descriptor = net_open_sender(&outbox->to, target->interface, ttl);
    if (outbox->descriptor < 0) {
        fprintf(stderr, "flotilla replay: cannot send to %s by interface %s: %s\n",
                net_write_address(text, &outbox->to),
                target->interface[0] ? target->interface : "(any)",
                outbox->descriptor == -ENODEV ? "there is no such interface"
                                              : strerror(-outbox->descriptor));
        return EXIT_FAILED;
    }
    net_probe_offload(&offload);
    outbox->segments = (address_is_multicast(&outbox->to) ? offload.send_group : offload.send) &&
                       !net_queue_splits(&outbox->to, target->interface);
    target->room = private_memory_map(ROOM_BYTES);
    if (target->room == NULL)
        fprintf(stderr, "flotilla replay: %s\n", strerror(ENOMEM));
    return target->room != NULL ? EXIT_OK : EXIT_FAILED;
}

/* Notes how late the gathered datagrams left, and how far their spacing is from what it was. */
static void note_times(struct replay_target *target, uint64_t now_ns)
{
    for (uint32_t i = 0; i < target->gathered; i++) {
        if (target->due_ns[i] == 0)
            continue;
        int64_t late = (int64_t)(now_ns - target->due_ns[i]);
        int64_t error = late - target->late_ns;
        if (target->any_sent)
            latency_add(target->spacing, (uint64_t)(error < 0 ? -error : error) / 1000, 1);
        latency_add(target->late, (uint64_t)(late < 0 ? 0 : late) / 1000, 1);
        target->late_ns = late;
        target->any_sent = true;
    }
}

void replay_target_flush(struct replay_target *target)
{
    if (target->gathered == 0)
        return;
    note_times(target, clock_monotonic_ns());
    net_outbox_flush(&target->outbox);
    target->used = 0;
    target->gathered = 0;
}

void replay_target_add(struct replay_target *target, struct span datum, uint64_t due_ns)
{
    const struct framing *framing = &target->framing;
    struct span bytes = framing->encoding == ENCODING_OPAQUE ? opaque_payload(datum) : datum;
    size_t prefix = framing->prefix_bytes, all = prefix + bytes.bytes;
    target->datums++;
    target->bytes += all;
    if (all > PAYLOAD_BYTES_MAX) {
        net_outbox_fail(&target->outbox, NET_SEND_TOO_LARGE, 1);
        target->outbox.last_errno = EMSGSIZE;
        return;
    }
    if (target->used + all > ROOM_BYTES || target->gathered == REPLAY_GATHER_MAX)
        replay_target_flush(target);
    uint8_t *at = target->room + target->used;
    memcpy(at, framing->prefix, prefix);
    if (bytes.bytes > 0)
        memcpy(at + prefix, bytes.at, bytes.bytes);
    target->due_ns[target->gathered++] = due_ns;
    target->used += all;
    target->waiting_bytes += all + CHARGE_BYTES;
    net_outbox_add(&target->outbox, (struct span){at, all});
}

/* What waits for the receivers of this host; -1 where there are none. The system's table is read in
 * pieces and may miss a line where other sockets come and go meanwhile. */
static int64_t look(const struct replay_target *target)
{
    int64_t waiting = -1;
    for (unsigned i = 0; i < LOOKS && waiting < 0; i++)
        waiting = net_receivers_waiting(&target->outbox.to);
    return waiting;
}

void replay_target_yield(struct replay_target *target)
{
    if (target->waiting_bytes < LOOK_BYTES)
        return;
    net_wait_to_send(target->outbox.descriptor, NS_PER_S / 10);
    replay_target_flush(target);
    target->waiting_bytes = 0;
    uint64_t since = clock_monotonic_ns();
    int64_t waiting = 0;
    if (target->alone_ns != 0 && since - target->alone_ns < LOOK_ALONE_NS)
        return;
    while ((waiting = look(target)) > (int64_t)WAITING_BYTES_MAX &&
           !interrupt_seen() && clock_monotonic_ns() - since < TOLERATED_YIELD_NS)
        clock_sleep_until(clock_monotonic_ns() + YIELD_NS);
    target->alone_ns = waiting < 0 ? since : 0;
}

void replay_target_close(struct replay_target *target)
{
    descriptor_close(target->outbox.descriptor);
    if (target->room != NULL)
        private_memory_unmap(target->room, ROOM_BYTES);
    target->room = NULL;
}
