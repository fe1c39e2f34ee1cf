/* SPDX-License-Identifier: MIT
 * flotilla listen: joins one of a channel's streams and prints the datums in it.
 * Relies on os/net for the joining, schema/json for the printing. A listener that is too slow loses
 * datagrams in its own queue only; how many is said at the end. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/calendar.h"
#include "base/check.h"
#include "base/log.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/fields.h"
#include "command/options.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/interrupt.h"
#include "os/memory.h"
#include "os/net.h"
#include "schema/json.h"

#define LISTEN_MESSAGES    16u
#define LISTEN_QUEUE_BYTES (8u << 20)

const char verb_listen_help[] =
    "usage: flotilla listen CHANNEL [--full | --decimated | --input] [--count N] [--json]\n"
    "                       [--fields PATH,...] [--timeout DURATION] [-c FILE]\n"
    "\n"
    "Joins a channel's stream on the channel's interface and prints a line per datum: when it\n"
    "arrived (UTC), who sent it, and its fields as JSON.\n"
    "\n"
    "  flotilla listen engine\n"
    "  flotilla listen engine --decimated --json | jq .temperature\n"
    "  flotilla listen engine --count 1 --timeout 10s\n"
    "\n"
    "  --full              the full-rate stream (the default)\n"
    "  --decimated         the decimated stream\n"
    "  --input             what the channel's relay receives; only where that is a group\n"
    "  --count N           stop after N datums\n"
    "  --timeout DURATION  stop after so long; exit 1 if --count was not reached by then\n"
    "  --json              nothing but one JSON object a line\n"
    "  --fields PATH,...   only these fields, as 'flotilla cat' has them\n"
    "  -c, --config FILE   the fleet file\n"
    "\n"
    "A stream that goes to a single address is received by taking that address: nobody else can\n"
    "have it at the same time.\n";

struct listener {
    const struct subject *subject;
    bool json;
    uint64_t left; /* datums still to print */
    struct fields fields;
    struct text text;
};

static char *source_text(char text[NET_ADDRESS_TEXT_BYTES], const struct net_message *message)
{
    struct address source;
    net_message_source(message, &source);
    return net_write_address(text, &source);
}

static void add_origin(struct text *text, const struct net_message *message)
{
    char at[CALENDAR_TEXT_BYTES], source[NET_ADDRESS_TEXT_BYTES];
    uint64_t arrival_ns = message->arrival_ns ? message->arrival_ns : clock_realtime_ns();
    text_add(text, "%s %s ", calendar_write(at, arrival_ns, 6), source_text(source, message));
}

/* Prints an opaque datagram as what its channel records of it. */
static int print_opaque(struct listener *listener, const struct net_message *message)
{
    uint8_t datum[ENVELOPE_FRONT_BYTES_MAX + NET_DATAGRAM_BYTES_MAX];
    char source[NET_ADDRESS_TEXT_BYTES];
    source_text(source, message);
    size_t front = opaque_write_front(datum, message->arrival_ns,
                                      (struct span){(const uint8_t *)source, strlen(source)},
                                      message->bytes.bytes);
    if (message->bytes.bytes > 0)
        memcpy(datum + front, message->bytes.at, message->bytes.bytes);
    size_t bytes;
    text_clear(&listener->text);
    if (!listener->json)
        add_origin(&listener->text, message);
    enum reject reason =
        fields_write(&listener->fields, (struct span){datum, front + message->bytes.bytes}, &bytes,
                     &listener->text);
    text_add_bytes(&listener->text, "\n", 1);
    listener->left--;
    return reason != REJECT_NONE || listener->text.failed ||
                   fwrite(listener->text.at, 1, listener->text.bytes, stdout) < listener->text.bytes
               ? EXIT_FAILED
               : EXIT_OK;
}

/* Prints the datums of a datagram, or says what is wrong with it. */
static int print_datagram(struct listener *listener, const struct net_message *message)
{
    struct span rest = message->bytes;
    if (listener->subject->framing.encoding == ENCODING_OPAQUE)
        return print_opaque(listener, message);
    char source[NET_ADDRESS_TEXT_BYTES];
    enum reject reason = message->truncated ? REJECT_OVERSIZE
                         : rest.bytes == 0  ? REJECT_EMPTY
                                            : REJECT_NONE;
    size_t bytes = 0;
    const struct framing *framing = &listener->subject->framing;
    while (reason == REJECT_NONE && rest.bytes > 0 && listener->left > 0) {
        text_clear(&listener->text);
        if (!listener->json)
            add_origin(&listener->text, message);
        reason = framing_check(framing, rest);
        if (reason != REJECT_NONE)
            break;
        rest.at += framing->prefix_bytes;
        rest.bytes -= framing->prefix_bytes;
        reason = fields_write(&listener->fields, rest, &bytes, &listener->text);
        if (reason == REJECT_NONE && bytes == 0)
            reason = REJECT_TRAILING; /* no number of datums without bytes uses the rest up */
        if (reason != REJECT_NONE)
            break;
        text_add_bytes(&listener->text, "\n", 1);
        if (listener->text.failed ||
            fwrite(listener->text.at, 1, listener->text.bytes, stdout) < listener->text.bytes)
            return EXIT_FAILED;
        rest.at += bytes;
        rest.bytes -= bytes;
        listener->left--;
    }
    if (reason != REJECT_NONE) {
        fflush(stdout);
        fprintf(stderr,
                "flotilla listen: a datagram of %zu bytes from %s is not valid: %s at byte "
                "%zu\n",
                message->bytes.bytes, source_text(source, message), datum_reject_name(reason),
                message->bytes.bytes - rest.bytes + bytes);
    }
    return EXIT_OK;
}

static int listen_on(struct listener *listener, int descriptor, struct net_batch *batch,
                     uint64_t timeout_ms)
{
    bool counted = listener->left != UINT64_MAX;
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    while (listener->left > 0 && !interrupt_seen()) {
        int64_t wait_ns = -1;
        if (timeout_ms > 0) {
            uint64_t now_ns = clock_monotonic_ns();
            if (now_ns >= end_ns)
                break;
            wait_ns = (int64_t)(end_ns - now_ns);
        }
        int ready = net_wait(descriptor, true, wait_ns);
        if (ready == 0 || ready == -EINTR)
            continue;
        net_batch_clear(batch);
        int taken = ready < 0 ? ready : net_batch_receive(batch, descriptor, LISTEN_MESSAGES);
        if (taken < 0) {
            fprintf(stderr, "flotilla listen: receiving failed: %s\n", strerror(-taken));
            return EXIT_FAILED;
        }
        for (int i = 0; i < taken && listener->left > 0; i++) {
            struct net_message message;
            net_batch_message(batch, (uint32_t)i, &message);
            if (print_datagram(listener, &message) != EXIT_OK)
                break;
        }
        if (listener->text.failed) {
            fprintf(stderr, "flotilla listen: %s\n", strerror(ENOMEM));
            return EXIT_FAILED;
        }
        if (log_end_output() != 0)
            return EXIT_FAILED;
    }
    if (!counted || listener->left == 0)
        return EXIT_OK;
    fprintf(stderr, "flotilla listen: %s before %" PRIu64 " more datums had come\n",
            interrupt_seen() ? "interrupted" : "time is up", listener->left);
    return EXIT_FAILED;
}

/* Joins the stream. A descriptor, or a negative errno after telling. */
static int open_stream(const struct config_channel *channel, const char *stream)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    bool input = strcmp(stream, "input") == 0;
    const struct channel_settings *settings = &channel->settings;
    const struct address *address = strcmp(stream, "decimated") == 0 ? &settings->decimated
                                    : input                          ? &settings->listen
                                                                     : &settings->full;
    if (address->family == 0) {
        fprintf(stderr, "flotilla listen: channel %s has no %s stream\n", settings->name, stream);
        return -ENOENT;
    }
    const char *interface =
        input ? settings_listen_interface(settings) : settings_send_interface(settings, address);
    const struct net_receive_options options = {
        .listen = *address,
        .interface = interface,
        .sources = settings->sources,
        .source_count = input ? settings->source_count : 0,
        .queue_bytes = LISTEN_QUEUE_BYTES,
    };
    net_write_address(text, address);
    if (input && !address_is_multicast(address)) {
        fprintf(stderr,
                "flotilla listen: the input of %s, %s, is a single address, which its relay has; "
                "listen to its full stream instead\n",
                settings->name, text);
        return -EADDRINUSE;
    }
    int descriptor = net_open_receiver(&options);
    if (descriptor == -EADDRINUSE)
        fprintf(stderr, "flotilla listen: another program receives on %s, a single address\n",
                text);
    else if (descriptor == -EADDRNOTAVAIL && !address_is_multicast(address))
        fprintf(stderr, "flotilla listen: %s is not an address of this machine\n", text);
    else if (descriptor < 0)
        fprintf(stderr, "flotilla listen: cannot receive from %s on interface %s: %s\n", text,
                interface[0] ? interface : "(any)", strerror(-descriptor));
    return descriptor;
}

int verb_listen(int argc, char **argv)
{
    bool full = false, decimated = false, input = false;
    const char *given = NULL;
    char error[512];
    uint64_t timeout_ms = 0;
    struct subject subject = {0};
    struct listener listener = {.subject = &subject, .left = UINT64_MAX};
    const struct option_rule rules[] = {
        {.name = "full", .kind = OPTION_FLAG, .into = &full},
        {.name = "decimated", .kind = OPTION_FLAG, .into = &decimated},
        {.name = "input", .kind = OPTION_FLAG, .into = &input},
        {.name = "json", .kind = OPTION_FLAG, .into = &listener.json},
        {.name = "fields", .kind = OPTION_TEXT, .into = &listener.fields.given},
        {.name = "count", .kind = OPTION_COUNT, .into = &listener.left, .low = 1},
        {.name = "timeout", .kind = OPTION_DURATION, .into = &timeout_ms},
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &given},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (words != 1)
        return verb_usage(argv[0], words == 0 ? "which CHANNEL?" : "one CHANNEL at a time");
    if (full + decimated + input > 1)
        return verb_usage(argv[0], "one of --full, --decimated and --input");

    int descriptor = -1;
    void *memory = NULL;
    int code = fields_parse(&listener.fields, argv[0])
                   ? subject_open_channel(&subject, argv[0], given, argv[1])
                   : EXIT_USAGE;
    if (code != EXIT_OK)
        goto out;
    code = EXIT_FAILED;
    if (!fields_begin(&listener.fields, subject.schema, error, sizeof(error))) {
        fprintf(stderr, "flotilla listen: channel %s: %s\n", argv[1], error);
        goto out;
    }
    memory = private_memory_map(net_batch_bytes(LISTEN_MESSAGES));
    if (memory == NULL) {
        fprintf(stderr, "flotilla listen: %s\n", strerror(ENOMEM));
        goto out;
    }
    descriptor = open_stream(subject.channel, decimated ? "decimated" : input ? "input" : "full");
    if (descriptor < 0)
        goto out;
    interrupt_install();
    code = listen_on(&listener, descriptor, net_batch_place(memory, LISTEN_MESSAGES), timeout_ms);
    uint32_t dropped = net_dropped(descriptor);
    if (dropped > 0)
        fprintf(stderr,
                "flotilla listen: %" PRIu32 " datagrams were lost here, they came too fast to "
                "print\n",
                dropped);
    else if (!net_counts_drops(descriptor))
        fprintf(stderr, "flotilla listen: this system does not tell whether datagrams were lost\n");
out:
    if (descriptor >= 0)
        descriptor_close(descriptor);
    if (memory != NULL)
        private_memory_unmap(memory, net_batch_bytes(LISTEN_MESSAGES));
    text_free(&listener.text);
    fields_free(&listener.fields);
    subject_close(&subject);
    return code;
}
