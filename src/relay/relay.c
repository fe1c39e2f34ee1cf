/* SPDX-License-Identifier: MIT
 * A relay from its settings to its end. Relies on its order: what is inherited is looked at before
 * anything is made, the memory before the folder, and all of it before the first datagram. */
#include "relay/relay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avro/envelope.h"
#include "base/check.h"
#include "base/log.h"
#include "channel/lanes.h"
#include "channel/memory.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/host.h"
#include "os/inherit.h"
#include "os/memory.h"
#include "os/sandbox.h"

#define KEEP_WAIT_MS 1000u /* to have the memory kept, while systemd is busy */

/* Whether a manager is there, which does for this relay what it cannot do itself. */
static bool is_managed(const struct relay *relay)
{
    return inherit_descriptor(INHERIT_MEMORY) >= 0 && relay->notify.descriptor < 0;
}

static int load_layout(struct relay *relay)
{
    uint8_t *bytes;
    size_t count;
    int status = file_read_whole(relay->settings.layout, LAYOUT_IMAGE_BYTES_MAX, &bytes, &count);
    if (status < 0) {
        log_line("cannot read %s: %s", relay->settings.layout, strerror(-status));
        /* A manager whose runtime folder was removed makes it again, and what the system is short
         * of for now is no fault of the settings; elsewhere somebody has to. */
        return is_managed(relay) ? EXIT_BROKEN : EXIT_SETTINGS;
    }
    status = layout_load(&relay->layout, (struct span){bytes, count}); /* kept until the end */
    if (status < 0) {
        log_line("%s: %s; compile the schema again", relay->settings.layout,
                 status == -ENOTSUP ? "made by another version"
                                    : "not a compiled schema, or damaged");
        return EXIT_SETTINGS;
    }
    return 0;
}

static int open_receivers(struct relay *relay)
{
    const struct channel_settings *settings = &relay->settings;
    struct receiver *receiver = &relay->receiver;
    char text[NET_ADDRESS_TEXT_BYTES];
    struct net_receive_options options = {.listen = settings->listen,
                                          .interface = settings_listen_interface(settings),
                                          .sources = settings->sources,
                                          .source_count = settings->source_count,
                                          .queue_bytes = settings->receive_bytes};
    int inherited = inherit_descriptor(INHERIT_RECEIVE);
    int status =
        inherited < 0 ? net_open_receiver(&options) : net_adopt_receiver(inherited, &options);
    receiver->descriptor = inherited < 0 ? status : inherited;
    /* Without a manager nobody joins later what is not there yet: who starts it tries again. */
    if (status >= 0 && !is_managed(relay) &&
        net_listens_by_interface(&settings->listen, options.interface) &&
        options.interface[0] != '\0' && net_interface_index(options.interface) == -ENODEV)
        status = -ENODEV;
    if (status < 0) {
        log_line("cannot listen on %s%s: %s", net_write_address(text, &settings->listen),
                 inherited < 0 ? "" : " with the socket that was handed down", strerror(-status));
        return EXIT_BROKEN;
    }
    receiver->draining = inherit_descriptor(INHERIT_DRAINING);
    if (receiver->draining >= 0 && net_queue_bytes(receiver->draining) == 0) {
        log_line("what was handed down as the socket before this one is none");
        return EXIT_BROKEN;
    }
    return 0;
}

/* Without its interface a sender is open all the same, and what it is given counts as errors:
 * receiving and recording do not wait for a way out. The manager tells when it is there. */
static int open_sender(const struct relay *relay, struct net_outbox *outbox)
{
    const struct channel_settings *settings = &relay->settings;
    char text[NET_ADDRESS_TEXT_BYTES];
    const char *interface = settings_send_interface(settings, &outbox->to);
    outbox->descriptor = net_open_sender(&outbox->to, interface, settings->ttl);
    if (outbox->descriptor == -ENODEV && interface[0] != '\0' && is_managed(relay)) {
        outbox->away = ENODEV;
        outbox->descriptor = net_open_sender(&outbox->to, "", settings->ttl);
        log_line("there is no interface %s: nothing is sent to %s until it is there", interface,
                 net_write_address(text, &outbox->to));
    }
    if (outbox->descriptor >= 0)
        return 0;
    log_line("cannot send to %s: %s", net_write_address(text, &outbox->to),
             strerror(-outbox->descriptor));
    return EXIT_BROKEN;
}

static int open_senders(struct relay *relay)
{
    const struct channel_settings *settings = &relay->settings;
    struct receiver *receiver = &relay->receiver;
    struct {
        struct net_outbox *outbox;
        const struct address *to;
    } streams[] = {{&receiver->full, &settings->full},
                   {&receiver->decimated, &settings->decimated}};
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        struct net_outbox *outbox = streams[i].outbox;
        outbox->to = *streams[i].to;
        outbox->descriptor = -1;
        if (outbox->to.family != 0 && open_sender(relay, outbox) != 0)
            return EXIT_BROKEN;
    }
    return 0;
}

/* Coalesced datagrams in and out, where that works here. A socket that outlived another relay may
 * coalesce already; what is queued in it must be taken as it came. */
static void set_offload(struct relay *relay)
{
    struct receiver *receiver = &relay->receiver;
    struct net_outbox *outboxes[] = {&receiver->full, &receiver->decimated};
    struct net_offload offload = {.drops_are_messages = true};
    /* In this order: the kernel patches itself when its first socket coalesces and its last one no
     * longer does, which takes longer than all of the probe. */
    if (relay->settings.offload == OFFLOAD_AUTO && net_coalesce(receiver->descriptor) == 0)
        net_probe_offload(&offload);
    for (size_t i = 0; i < sizeof(outboxes) / sizeof(outboxes[0]); i++) {
        struct net_outbox *outbox = outboxes[i];
        /* Broadcasts come back to this host as groups do. */
        bool group = address_is_multicast(&outbox->to) || address_is_limited_broadcast(&outbox->to);
        outbox->segments =
            outbox->descriptor >= 0 && (group ? offload.send_group : offload.send) &&
            !net_queue_splits(&outbox->to, settings_send_interface(&relay->settings, &outbox->to));
    }
    receiver->coalesced_drops = offload.drops_are_messages;
    if (!offload.receive)
        receiver->coalesces_still = net_is_coalescing(receiver->descriptor);
}

/* Has systemd keep the memory for the relay that follows, if it is there. Without, the relay works
 * as well, but cannot be killed without a loss; so it is worth a wait. */
static void keep_memory(struct relay *relay, int descriptor)
{
    int status = notify_keep(&relay->notify, INHERIT_MEMORY, descriptor, KEEP_WAIT_MS);
    relay->memory_outlives = status == 0;
    if (status < 0 && status != -ENOENT)
        log_line("cannot have the channel's memory kept: %s; what it holds is lost if the relay is "
                 "killed",
                 strerror(-status));
}

static struct socket_drops drops_of(int descriptor)
{
    if (descriptor < 0)
        return (struct socket_drops){0};
    return (struct socket_drops){.cookie = net_cookie(descriptor),
                                 .dropped = net_dropped(descriptor)};
}

/* Maps the channel's memory; what cannot be trusted is emptied, and said. */
static int open_memory(struct relay *relay)
{
    int descriptor = inherit_descriptor(INHERIT_MEMORY);
    relay->memory_outlives = descriptor >= 0;
    if (is_managed(relay)) {
        inherit_share(); /* with a manager that may find nobody else who has it */
        relay->writer_thread.managed = host_process();
    }
    size_t wanted = staging_bytes(&relay->settings);
    if (descriptor >= 0 && shared_memory_bytes(descriptor) != (int64_t)wanted)
        log_line("the memory that was handed down is of another size: --buffer holds from the next "
                 "stop and start on");
    if (descriptor < 0) {
        descriptor = shared_memory_create(relay->settings.name, wanted);
        if (descriptor >= 0)
            keep_memory(relay, descriptor);
    }
    int status = descriptor < 0 ? descriptor : shared_memory_claim(descriptor);
    if (status == -EWOULDBLOCK) {
        log_line("another relay has the channel: process %ld", shared_memory_holder(descriptor));
        return EXIT_TAKEN;
    }
    if (status == 0)
        status = staging_map(&relay->staging, descriptor);
    if (status == 0 && staging_validate(&relay->staging) < 0) {
        staging_unmap(&relay->staging);
        status = -EBADMSG;
    }
    if (status == -EBADMSG) {
        log_line(
            "the memory left by the last relay cannot be trusted: its counters and what waited "
            "in it are discarded");
        status = staging_reset(descriptor);
        if (status == 0)
            status = staging_map(&relay->staging, descriptor);
        /* What was dropped by now was counted there, as far as the last relay had looked. */
        const struct socket_drops sockets[SOCKETS] = {
            [SOCKET_RECEIVE] = drops_of(relay->receiver.descriptor),
            [SOCKET_DRAINING] = drops_of(relay->receiver.draining)};
        if (status == 0)
            staging_note_sockets(&relay->staging, sockets, 0);
    }
    if (status < 0)
        log_line("cannot map the channel's memory: %s", strerror(-status));
    relay->has_memory = status == 0;
    return status < 0 ? EXIT_BROKEN : 0;
}

/* What waits was checked with another schema: it belongs to the file that is open, if one is. */
static void finish_other_layout(struct relay *relay)
{
    if (!staging_layout_changed(&relay->staging, relay->layout.checksum))
        return;
    receiver_close_block(&relay->receiver);
    struct lane *lane = &relay->staging.lanes[LANE_DATUMS];
    if (relay->receiver.writer_thread != NULL && lane_writer(lane)->file_open)
        writer_finish_file(&relay->writer_thread.writers[LANE_DATUMS]);
    uint64_t before = lane_writer(lane)->datums_unrecorded;
    lane_discard_blocks(lane);
    if (lane_writer(lane)->file_open)
        lane_discard_file(lane);
    uint64_t given_up = lane_writer(lane)->datums_unrecorded - before;
    if (given_up > 0)
        log_line("%" PRIu64 " datums of another schema were left, and no file of theirs to put "
                 "them in: discarded",
                 given_up);
}

static int open_lane(struct relay *relay, enum lane_index index)
{
    struct segment *segment = &relay->segments[index];
    segment->lane = &relay->staging.lanes[index];
    segment->settings = &relay->settings;
    segment->folder = &relay->folder;
    segment->holds = index == LANE_REJECTS ? RECORDING_REJECTS : RECORDING_DATUMS;
    segment->schema = relay->layout.schema;
    segment->time = relay->layout.time;
    segment->sequence = relay->layout.sequence;
    if (index == LANE_REJECTS) {
        segment->schema = (struct span){(const uint8_t *)reject_schema, strlen(reject_schema)};
        segment->time = segment->sequence = (struct span){NULL, 0};
    }
    int status = segment_prepare(segment);
    if (status < 0)
        return status;
    struct writer *writer = &relay->writer_thread.writers[index];
    /* What an earlier relay has staged is not believed but walked again. Blocks of another schema
     * cannot be; they go to the file they belong to, or nowhere (finish_other_layout). */
    const struct lane_state *left = lane_receiver(segment->lane);
    writer->inherited = left->closed + (left->open.count > 0);
    if (index == LANE_DATUMS && relay->settings.encoding != ENCODING_OPAQUE &&
        !staging_layout_changed(&relay->staging, relay->layout.checksum))
        writer->layout = &relay->layout;
    return writer_prepare(writer, segment->lane, &relay->settings, &relay->format, segment);
}

/* Through the page cache an append becomes visible page by page, so there every block that can be
 * is one page: a reader finds whole blocks at any instant. */
static void decide_format(struct relay *relay)
{
    const struct channel_folder *folder = &relay->folder;
    bool records = relay->settings.directory[0] != '\0';
    relay->format.alignment = records ? folder->alignment : BLOCK_PAGE_BYTES;
    relay->format.room = records && folder->direct ? BLOCK_BYTES_MAX : relay->format.alignment;
    relay->format.page_rewrite = records && folder->direct && direct_page_atomic(folder->alignment);
}

static int open_folder(struct relay *relay)
{
    relay->folder.descriptor = -1;
    if (relay->settings.directory[0] == '\0')
        return 0;
    char why[CHANNEL_PATH_BYTES_MAX + 200];
    int status = channel_folder_open(&relay->folder, &relay->settings, &relay->staging,
                                     relay->memory_outlives, why, sizeof(why));
    if (status < 0) {
        log_line("%s", why);
        return status == -EWOULDBLOCK  ? EXIT_TAKEN
               : status == -EOPNOTSUPP ? EXIT_SETTINGS
                                       : EXIT_BROKEN;
    }
    /* Blocks that wait were laid out for the alignment of the last relay's folder. */
    uint32_t laid_out = staging_alignment(&relay->staging);
    if (laid_out != 0 && laid_out < relay->folder.alignment) {
        relay->folder.alignment = laid_out;
        relay->folder.direct = false;
        relay->folder.tried = true; /* the other way there, and not for good */
    }
    return 0;
}

static int open_lanes(struct relay *relay)
{
    int status = 0;
    if (relay->settings.directory[0] == '\0')
        return 0;
    for (int i = 0; i < LANES && status == 0; i++)
        status = open_lane(relay, (enum lane_index)i);
    if (status < 0) {
        log_line("out of memory");
        return EXIT_BROKEN;
    }
    relay->receiver.writer_thread = &relay->writer_thread;
    return 0;
}

static void tell_lacks(const struct relay *relay, int lacks)
{
    static const enum sandbox_lack known[] = {SANDBOX_FILES, SANDBOX_CALLS, SANDBOX_OVERRIDE};
    if (lacks < 0)
        log_line("the sandbox is not whole: %s", strerror(-lacks));
    for (size_t i = 0; i < ARRAY_COUNT(known) && lacks > 0; i++)
        if (lacks & (int)known[i]) {
            struct sandbox_lack_text text = sandbox_explain(known[i]);
            log_line("the sandbox is not whole (%s): %s: broken into, it could %s",
                     known[i] == SANDBOX_OVERRIDE ? relay->settings.directory : "the system",
                     text.what, text.harm);
        }
}

int relay_open(struct relay *relay)
{
    int status = load_layout(relay);
    if (status == 0)
        status = open_receivers(relay);
    if (status == 0)
        status = open_senders(relay);
    if (status == 0)
        status = open_memory(relay);
    if (status == 0)
        set_offload(relay);
    if (status == 0)
        status = open_folder(relay);
    if (status != 0)
        return status;
    /* All that has to be opened by path or made is open by now; what the memory of the last relay
     * says is believed only inside. */
    tell_lacks(relay, sandbox_enter(relay->folder.descriptor));
    decide_format(relay);
    status = open_lanes(relay);
    if (status != 0)
        return status;
    relay->receiver.settings = &relay->settings;
    relay->receiver.layout = &relay->layout;
    relay->receiver.stage.format = relay->format;
    relay->receiver.staging = &relay->staging;
    relay->receiver.notify = &relay->notify;
    relay->receiver.may_hand_over = relay->memory_outlives;
    relay->receiver.beat_ns = notify_watchdog_ns() / 2;
    if (receiver_prepare(&relay->receiver) < 0) {
        log_line("out of memory");
        return EXIT_BROKEN;
    }
    return 0;
}

int relay_work(struct relay *relay)
{
    struct writer_thread *writers = relay->receiver.writer_thread;
    if (writers != NULL && writer_thread_start(writers) < 0) {
        log_line("cannot start the writing thread");
        return EXIT_BROKEN;
    }
    tell_lacks(relay, sandbox_seal(writers != NULL ? &writers->thread : NULL));
    finish_other_layout(relay);
    staging_note_start(&relay->staging, &relay->settings,
                       net_queue_bytes(relay->receiver.descriptor), relay->layout.checksum,
                       relay->format.alignment);
    staging_note_uncounted(&relay->staging, !net_counts_drops(relay->receiver.descriptor));
    ledger_note_ready(relay->staging.ledger, host_process());
    receiver_resume(&relay->receiver);
    if (writers != NULL)
        writer_thread_begin(writers);
    for (int i = 0; i < LANES && writers == NULL; i++) {
        lane_discard_blocks(&relay->staging.lanes[i]);
        lane_discard_file(&relay->staging.lanes[i]);
    }
    notify_send(&relay->notify, "READY=1\nSTATUS=Receiving");
    int status = receiver_run(&relay->receiver);
    notify_send(&relay->notify, "STOPPING=1\nSTATUS=Writing what was received");
    if (status < 0)
        log_line("cannot receive: %s", strerror(-status));
    if (writers != NULL)
        writer_thread_join(writers, !relay->receiver.handed_over);
    if (relay->receiver.handed_over)
        return EXIT_RENEW;
    return status < 0 ? EXIT_BROKEN : EXIT_STOPPED;
}

void relay_report(const struct relay *relay)
{
    struct counters counters;
    char dropped[24] = "unknown how many";
    staging_read(&relay->staging, &counters);
    if (counters.datagrams_dropped < COUNT_UNKNOWN)
        snprintf(dropped, sizeof dropped, "%" PRIu64, counters.datagrams_dropped);
    log_line("stopped: %" PRIu64 " datagrams received, %" PRIu64 " rejected, %s"
             " dropped by the kernel; %" PRIu64 " datums recorded, %" PRIu64 " not",
             counters.datagrams_received, counters.datagrams_rejected, dropped,
             counters.datums_recorded, counters.datums_unrecorded);
}

void relay_close(struct relay *relay, int status)
{
    if (relay->has_memory) {
        struct counters counters;
        staging_read(&relay->staging, &counters);
        ledger_note_end(relay->staging.ledger, host_process(), status,
                        status == EXIT_STOPPED ? &counters : NULL);
    }
    for (int i = 0; i < LANES; i++)
        segment_release(&relay->segments[i]);
    staging_unmap(&relay->staging);
}

void relay_note_crash(struct relay *relay)
{
    staging_note_crash(&relay->staging);
}
