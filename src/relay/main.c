/* SPDX-License-Identifier: MIT
 * flotilla-relay: one channel. Relies on what it inherits (os/inherit.h) or opens itself what it
 * does not. Ends with 0 when asked to stop, 2 for wrong flags, 75 if another relay has the channel,
 * 78 for settings that cannot work here, 79 to be followed at once by a fresh one (which can open
 * what this one cannot any more), 1 otherwise. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/envelope.h"
#include "avro/layout.h"
#include "base/log.h"
#include "channel/settings.h"
#include "channel/staging.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/interrupt.h"
#include "os/memory.h"
#include "os/output.h"
#include "os/sandbox.h"
#include "relay/receiver.h"
#include "relay/segment.h"
#include "relay/writer.h"

enum {
    EXIT_STOPPED = 0,
    EXIT_BROKEN = 1,
    EXIT_FLAGS = 2,
    EXIT_TAKEN = 75,
    EXIT_SETTINGS = 78,
    EXIT_RENEW = 79
};

#define LAYOUT_FILE_BYTES_MAX (16u << 20)

static const char usage[] =
    "flotilla-relay: receives one channel, sends it on and records it\n"
    "\n"
    "  flotilla schema engine.avsc -o engine.layout\n"
    "  flotilla-relay --name=engine --layout=engine.layout --listen=239.10.0.1:26000 \\\n"
    "      --interface=lo --full=239.11.0.1:6000 --directory=recordings/engine\n"
    "\n"
    "`flotilla run` starts one for each channel of a fleet. SIGTERM stops it cleanly: everything\n"
    "that was received is recorded, and the file gets its final name.\n"
    "\n";

/* The relay's parts, for one channel and one life of the process. */
struct relay {
    struct channel_settings settings;
    struct layout layout;
    struct staging staging;
    struct segment_folder folder;
    struct segment segments[LANES];
    struct writing writing;
    struct receiver receiver;
    bool memory_outlives; /* it was handed down, and will be to the next relay */
};

static int load_layout(struct relay *relay)
{
    uint8_t *bytes;
    size_t count;
    int status = file_read_whole(relay->settings.layout, LAYOUT_FILE_BYTES_MAX, &bytes, &count);
    if (status < 0) {
        log_line("cannot read %s: %s", relay->settings.layout, strerror(-status));
        return EXIT_SETTINGS;
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

static int open_sockets(struct relay *relay)
{
    const struct channel_settings *settings = &relay->settings;
    struct receiver *receiver = &relay->receiver;
    char text[NET_ADDRESS_TEXT_BYTES];
    receiver->descriptor = inherit_descriptor(INHERIT_RECEIVE);
    if (receiver->descriptor < 0) {
        struct net_receive_options options = {.listen = settings->listen,
                                              .interface = settings->interface,
                                              .sources = settings->sources,
                                              .source_count = settings->source_count,
                                              .queue_bytes = settings->receive_bytes};
        receiver->descriptor = net_open_receiver(&options);
    }
    if (receiver->descriptor < 0) {
        log_line("cannot listen on %s: %s", net_write_address(text, &settings->listen),
                 strerror(-receiver->descriptor));
        return EXIT_BROKEN;
    }
    struct {
        struct net_outbox *outbox;
        const struct address *to;
        const char *name;
    } streams[] = {{&receiver->full, &settings->full, INHERIT_FULL},
                   {&receiver->decimated, &settings->decimated, INHERIT_DECIMATED}};
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        struct net_outbox *outbox = streams[i].outbox;
        outbox->to = *streams[i].to;
        outbox->descriptor = -1;
        if (outbox->to.family == 0)
            continue;
        outbox->descriptor = inherit_descriptor(streams[i].name);
        if (outbox->descriptor < 0)
            outbox->descriptor = net_open_sender(&outbox->to, settings->interface, settings->ttl);
        if (outbox->descriptor < 0) {
            log_line("cannot send to %s: %s", net_write_address(text, &outbox->to),
                     strerror(-outbox->descriptor));
            return EXIT_BROKEN;
        }
    }
    return 0;
}

/* Maps the channel's memory; what cannot be trusted is emptied, and said. */
static int open_memory(struct relay *relay)
{
    int descriptor = inherit_descriptor(INHERIT_MEMORY);
    relay->memory_outlives = descriptor >= 0;
    if (descriptor < 0)
        descriptor = shared_memory_create(relay->settings.name, staging_bytes(&relay->settings));
    int status = descriptor < 0 ? descriptor : staging_map(&relay->staging, descriptor);
    if (status == 0 && staging_validate(&relay->staging) < 0) {
        staging_unmap(&relay->staging);
        status = -EBADMSG;
    }
    if (status == -EBADMSG) {
        log_line(
            "the memory left by the last relay cannot be trusted: its counters and what waited "
            "in it are given up");
        status = staging_reset(descriptor);
        if (status == 0)
            status = staging_map(&relay->staging, descriptor);
    }
    if (status < 0)
        log_line("cannot map the channel's memory: %s", strerror(-status));
    return status < 0 ? EXIT_BROKEN : 0;
}

/* What waits was checked with another schema: it belongs to the file that is open, if one is. */
static void finish_other_layout(struct relay *relay)
{
    if (!staging_layout_changed(&relay->staging, relay->layout.checksum))
        return;
    receiver_close_block(&relay->receiver);
    struct lane *lane = &relay->staging.lanes[LANE_DATUMS];
    struct writer *writer = &relay->writing.writers[LANE_DATUMS];
    if (relay->receiver.writing != NULL && lane_writer(lane)->file_open) {
        writer->same_file = true;
        writer_drain(writer);
        writer->same_file = false;
    }
    writer_abandon(lane);
}

static int open_lane(struct relay *relay, enum lane_index index)
{
    struct segment *segment = &relay->segments[index];
    segment->lane = &relay->staging.lanes[index];
    segment->settings = &relay->settings;
    segment->folder = &relay->folder;
    segment->suffix = index == LANE_REJECTS ? "-rejects" : "";
    segment->schema = relay->layout.schema;
    if (index == LANE_REJECTS)
        segment->schema = (struct span){(const uint8_t *)reject_schema, strlen(reject_schema)};
    int status = segment_prepare(segment);
    if (status < 0)
        return status;
    segment_resume(segment);
    return writer_prepare(&relay->writing.writers[index], segment->lane, &relay->settings, segment);
}

static int open_folder(struct relay *relay)
{
    relay->folder.descriptor = -1;
    if (relay->settings.directory[0] == '\0')
        return 0;
    char why[CHANNEL_PATH_BYTES_MAX + 200];
    int status = segment_folder_open(&relay->folder, &relay->settings, relay->memory_outlives, why,
                                     sizeof(why));
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
    relay->receiver.writing = &relay->writing;
    return 0;
}

static void tell_lacks(const struct relay *relay, int lacks)
{
    const struct {
        enum sandbox_lack lack;
        const char *what;
    } texts[] = {
        {SANDBOX_FILES, "this kernel has no Landlock (Linux 5.13, lsm=landlock): it could open "
                        "every file that its user may"},
        {SANDBOX_CALLS, "this kernel has no seccomp filter: it could make every system call"},
        {SANDBOX_OVERRIDE, "the folder belongs to somebody else: it keeps CAP_DAC_OVERRIDE to "
                           "record there"},
    };
    if (lacks < 0)
        log_line("the sandbox is not whole: %s", strerror(-lacks));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]) && lacks > 0; i++)
        if (lacks & (int)texts[i].lack)
            log_line("the sandbox is not whole (%s): %s",
                     texts[i].lack == SANDBOX_OVERRIDE ? relay->settings.directory : "the system",
                     texts[i].what);
}

/* All that has to be opened by path or made is open before the sandbox; what the memory of the last
 * relay says is believed only in it. */
static int open_all(struct relay *relay)
{
    int status = load_layout(relay);
    if (status == 0)
        status = open_sockets(relay);
    if (status == 0)
        status = open_memory(relay);
    if (status == 0)
        status = open_folder(relay);
    if (status != 0)
        return status;
    tell_lacks(relay, sandbox_enter(relay->folder.descriptor));
    status = open_lanes(relay);
    if (status != 0)
        return status;
    relay->receiver.settings = &relay->settings;
    relay->receiver.layout = &relay->layout;
    relay->receiver.staging = &relay->staging;
    if (receiver_prepare(&relay->receiver) < 0) {
        log_line("out of memory");
        return EXIT_BROKEN;
    }
    return 0;
}

static int work(struct relay *relay)
{
    struct writing *writing = relay->receiver.writing;
    if (writing != NULL && writing_start(writing) < 0) {
        log_line("cannot start the writing thread");
        return EXIT_BROKEN;
    }
    long thread = writing != NULL ? (long)writing->thread.id : 0;
    tell_lacks(relay, sandbox_seal(&thread, writing != NULL));
    finish_other_layout(relay);
    staging_note_start(&relay->staging, &relay->settings,
                       net_queue_bytes(relay->receiver.descriptor), relay->layout.checksum,
                       relay->receiver.alignment);
    receiver_resume(&relay->receiver);
    if (writing != NULL)
        writing_go(writing);
    for (int i = 0; i < LANES && writing == NULL; i++) {
        writer_abandon(&relay->staging.lanes[i]);
        segment_give_up(&relay->staging.lanes[i]);
    }
    int status = receiver_run(&relay->receiver);
    if (status < 0)
        log_line("cannot receive: %s", strerror(-status));
    bool renews = writing != NULL && writing_renews(writing);
    if (writing != NULL)
        writing_stop(writing);
    return renews ? EXIT_RENEW : status < 0 ? EXIT_BROKEN : EXIT_STOPPED;
}

static void report(const struct relay *relay)
{
    struct counters counters;
    staging_read(&relay->staging, &counters);
    log_line("stopped: %" PRIu64 " datagrams received, %" PRIu64 " rejected, %" PRIu64
             " dropped by the kernel; %" PRIu64 " datums recorded, %" PRIu64 " not",
             counters.datagrams_received, counters.datagrams_rejected, counters.datagrams_dropped,
             counters.datums_recorded, counters.datums_unrecorded);
}

int main(int argc, char **argv)
{
    static struct relay relay;
    char error[CHANNEL_PATH_BYTES_MAX + 200];
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        settings_print_help();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("flotilla-relay " FLOTILLA_VERSION);
        return 0;
    }
    output_start();
    log_use(output_line);
    log_start("flotilla-relay", NULL);
    settings_defaults(&relay.settings);
    if (settings_read_flags(&relay.settings, argc - 1, argv + 1, error, sizeof(error)) < 0 ||
        settings_validate(&relay.settings, error, sizeof(error)) < 0) {
        log_line("%s", error);
        log_line("try --help");
        return EXIT_FLAGS;
    }
    log_start("flotilla-relay", relay.settings.name);
    interrupt_install();
    int status = open_all(&relay);
    if (status == 0) {
        status = work(&relay);
        if (status != EXIT_RENEW) /* else it goes on */
            report(&relay);
    }
    for (int i = 0; i < LANES; i++)
        segment_release(&relay.segments[i]);
    staging_unmap(&relay.staging);
    return status;
}
