/* SPDX-License-Identifier: MIT
 * flotilla send: a source for a channel, of made-up datums or of a recording's.
 * Open loop: datum k is due at start + k / rate whatever happened before; what is late goes out at
 * once, nothing goes out early. Relies on os/net's outbox, which never waits: a datagram that the
 * kernel does not take is counted as an error, not sent again. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "archive/history.h"
#include "base/check.h"
#include "base/timestamp.h"
#include "base/varint.h"
#include "cli/recording.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/inputs.h"
#include "command/options.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/interrupt.h"
#include "os/memory.h"
#include "os/net.h"
#include "schema/synth.h"

#define SEND_PAYLOAD_BYTES_MAX 65507u /* of a UDP datagram over IPv4 */
#define SEND_SLOT_BYTES        (SEND_PAYLOAD_BYTES_MAX + ENVELOPE_FRONT_BYTES_MAX)
#define SEND_RATE_MIN          1e-6
#define SEND_RATE_MAX          1e9
#define SEND_PAUSE_NS          NS_PER_MS /* after the kernel's queue was full */

const char verb_send_help[] =
    "usage: flotilla send CHANNEL [--rate HZ] [--count N] [--from FILE|FOLDER] [-c FILE]\n"
    "       flotilla send --to ADDRESS:PORT --schema FILE [--interface IF] ...\n"
    "\n"
    "Sends datums to a channel's input, leaving by the channel's interface: synthetic signals "
    "that\n"
    "fit its schema, or the datums of a recording.\n"
    "\n"
    "  flotilla send engine\n"
    "  flotilla send engine --rate 1kHz --count 60000 --batch 10\n"
    "  flotilla send engine --from recordings/engine/engine-20260101T000000.000000Z-000001.avro\n"
    "  flotilla send engine --from recordings/engine --from -10min --to -9min\n"
    "  flotilla send --to 239.10.0.1:26000 --interface lo --schema engine.avsc --time time\n"
    "\n"
    "  --rate HZ         datums a second (default 10); 0 sends as fast as it can\n"
    "  --count N         stop after N datums (default: go on until Ctrl-C)\n"
    "  --batch N         datums in a datagram (default 1)\n"
    "  --from FILE       send this file's datums as they are, or those of all recordings in a\n"
    "                    folder; their schema must be the channel's\n"
    "  --from T, --to T  of those only what came in at T or later, and before T (see cat):\n"
    "                    " TIMESTAMP_FORMS ";\n"
    "                    a file of such a name is given as ./NAME\n"
    "  --seed N          other signals of the same kind (default 1)\n"
    "  --json            the closing line as JSON on stdout\n"
    "  -c, --config FILE the fleet file\n"
    "\n"
    "Without a channel:\n"
    "  --to ADDRESS:PORT --interface IF   where to, and which interface to leave by\n"
    "  --schema FILE                      the schema (not needed with --from)\n"
    "  --time FIELD, --sequence FIELD     which fields to fill as such\n"
    "\n"
    "The time field carries the instant its datum is due, the sequence field counts up from 0.\n"
    "Exit 1 if a datagram could not be sent.\n";

struct sender {
    struct framing framing;  /* written before each datum */
    struct synth *synth;     /* or ... */
    struct history *history; /* ... the rows of these files */
    struct catalog catalog;
    const struct subject *subject;
    const char *schema_name; /* what the files' schema is to be that of */
    double rate_hz;
    uint64_t count_max, batch;
    struct net_outbox outbox;
    const char *interface; /* it sends by; "" for the routing table's choice */
    uint8_t *slots; /* NET_OUTBOX_MAX payloads, which must stay until the outbox is flushed */

    uint64_t due_datums;  /* taken from the source so far */
    uint64_t slot_datums; /* in each datagram of the outbox: all have the same number */
    uint64_t slot_bytes;  /* in all datagrams of the outbox */
    struct span pending;  /* a datum of the file that found no room in the last datagram */
    uint64_t datums_sent, bytes_sent;
    uint64_t start_ns, start_realtime_ns;
    bool source_ended;
};

/* Monotonic instant at which datum `index` is due. */
static uint64_t due_ns(const struct sender *sender, uint64_t index)
{
    return sender->start_ns + (uint64_t)((long double)index * 1e9L / (long double)sender->rate_hz);
}

static void flush(struct sender *sender)
{
    uint64_t before = sender->outbox.sent, errors = sender->outbox.errors;
    uint32_t datagrams = sender->outbox.count;
    if (datagrams == 0)
        return;
    net_outbox_flush(&sender->outbox);
    /* Less than before, if more was told not to have left than was sent now. */
    int64_t sent = (int64_t)(sender->outbox.sent - before), parts = datagrams;
    sender->datums_sent += (uint64_t)(sent * (int64_t)sender->slot_datums);
    /* Of equal parts, after errors. */
    sender->bytes_sent += (uint64_t)((int64_t)sender->slot_bytes * sent / parts);
    sender->slot_bytes = 0;
    /* With its queue full the kernel takes nothing; hurrying on would only lose more. */
    if (sender->outbox.errors > errors)
        clock_sleep_until(clock_monotonic_ns() + SEND_PAUSE_NS);
}

/* A datum of no bytes (of a null, or a record without fields) cannot be told from no datum. */
static long check_bytes(size_t bytes)
{
    if (bytes > 0)
        return (long)bytes;
    fprintf(stderr, "flotilla send: the datums of this schema have no bytes: nothing to send\n");
    return -1;
}

/* Whether the file that begins has the schema of what is sent to. */
static bool is_schema_right(const struct sender *sender, const char *path)
{
    char error[512];
    const struct schema_file *wanted = sender->subject->schema;
    if (wanted == NULL || schema_compare(scan_schema(history_scan(sender->history)), wanted, error,
                                         sizeof(error)) == 0)
        return true;
    fprintf(stderr, "flotilla send: %s does not fit the schema of %s: %s\n", path,
            sender->schema_name, error);
    return false;
}

/* Takes the next datum of the files. 1, 0 at their end, or -1 after telling what is wrong. */
static int take_row(struct sender *sender, struct span *datum)
{
    struct rows_event event;
    for (;;) {
        int status = history_next(sender->history, &event);
        if (status == -EINTR || (status == 0 && event.kind == ROWS_END))
            return 0;
        if (status < 0) {
            fprintf(stderr, "flotilla send: %s\n", strerror(-status));
            return -1;
        }
        const char *path = sender->catalog.files[event.at.file].path;
        if (event.kind == ROWS_FAULT) {
            fprintf(stderr, "%s: %s\n", path, event.what);
            return -1;
        }
        if (event.kind == ROWS_FILE && !is_schema_right(sender, path))
            return -1;
        if (event.kind == ROWS_DATUM) {
            *datum = event.datum;
            return 1;
        }
    }
}

/* Writes the next datum to `out`. Its bytes; 0 at the end of the source, or if it finds no room
 * behind others (`first` false); -1 after telling what is wrong. */
static long take_datum(struct sender *sender, uint8_t *out, size_t room, bool first)
{
    struct span datum = sender->pending;
    if (sender->synth != NULL) {
        uint64_t realtime_ns = clock_realtime_ns();
        if (sender->rate_hz > 0)
            realtime_ns =
                sender->start_realtime_ns + due_ns(sender, sender->due_datums) - sender->start_ns;
        long bytes = synth_datum(sender->synth, realtime_ns, out, room);
        if (bytes == -ENOSPC)
            fprintf(stderr, "flotilla send: a datum does not fit a datagram%s\n",
                    first ? "" : " that holds others already; take a smaller --batch");
        else if (bytes < 0)
            fprintf(stderr, "flotilla send: no datum can be made: an enum or a union of the schema "
                            "has no choices\n");
        return bytes < 0 ? -1 : check_bytes((size_t)bytes);
    }
    if (datum.at == NULL) {
        int taken = take_row(sender, &datum);
        if (taken <= 0)
            return taken;
    }
    sender->pending = (struct span){0};
    if (datum.bytes > room) {
        if (first) {
            fprintf(stderr,
                    "flotilla send: datum %" PRIu64 " takes %zu bytes, more than a datagram can "
                    "carry\n",
                    sender->due_datums + 1, datum.bytes);
            return -1;
        }
        sender->pending = datum;
        return 0;
    }
    if (datum.bytes > 0)
        memcpy(out, datum.at, datum.bytes);
    return check_bytes(datum.bytes);
}

/* take_datum, as the channel's encoding has it: behind a prefix, or the payload alone (which may be
 * empty). 1 with its bytes, else 0 or -1 as take_datum. */
static int take_framed(struct sender *sender, uint8_t *out, size_t room, bool first, size_t *bytes)
{
    size_t prefix = sender->framing.prefix_bytes;
    if (sender->framing.encoding == ENCODING_OPAQUE)
        room += ENVELOPE_FRONT_BYTES_MAX; /* which does not travel */
    long datum = room < prefix ? 0 : take_datum(sender, out + prefix, room - prefix, first);
    if (datum <= 0)
        return (int)datum;
    *bytes = prefix + (size_t)datum;
    if (sender->framing.encoding == ENCODING_OPAQUE) {
        struct span payload = opaque_payload((struct span){out, (size_t)datum});
        memmove(out, payload.at, payload.bytes);
        *bytes = payload.bytes;
    } else if (prefix > 0) {
        memcpy(out, sender->framing.prefix, prefix);
    }
    return 1;
}

/* Puts the next datagram of up to `datums` datums into the outbox. EXIT_OK, or what to end with. */
static int add_datagram(struct sender *sender, uint64_t datums)
{
    if (sender->outbox.count == NET_OUTBOX_MAX)
        flush(sender);
    uint8_t *slot = sender->slots + (size_t)sender->outbox.count * SEND_SLOT_BYTES;
    size_t bytes = 0;
    uint64_t taken = 0;
    while (taken < datums) {
        size_t more = 0;
        int got =
            take_framed(sender, slot + bytes, SEND_PAYLOAD_BYTES_MAX - bytes, taken == 0, &more);
        if (got < 0)
            return EXIT_FAILED;
        if (got == 0) {
            if (sender->pending.at == NULL)
                sender->source_ended = true;
            break;
        }
        bytes += more;
        taken++;
        sender->due_datums++;
    }
    if (taken == 0)
        return EXIT_OK;
    if (sender->outbox.count > 0 && sender->slot_datums != taken) {
        /* What is sent is counted by the datagram: those in the outbox must be alike. */
        uint32_t from = sender->outbox.count;
        flush(sender);
        memmove(sender->slots, sender->slots + (size_t)from * SEND_SLOT_BYTES, bytes);
        slot = sender->slots;
    }
    sender->slot_datums = taken;
    sender->slot_bytes += bytes;
    net_outbox_add(&sender->outbox, (struct span){slot, bytes});
    return EXIT_OK;
}

static int send_all(struct sender *sender)
{
    int code = EXIT_OK;
    sender->start_ns = clock_monotonic_ns();
    sender->start_realtime_ns = clock_realtime_ns();
    while (code == EXIT_OK && !sender->source_ended && !interrupt_seen()) {
        uint64_t left = sender->count_max - sender->due_datums;
        uint64_t datums = left < sender->batch ? left : sender->batch;
        if (datums == 0)
            break;
        /* A datagram is due with its last datum: a source cannot send what it has not measured. */
        uint64_t due = sender->rate_hz > 0 ? due_ns(sender, sender->due_datums + datums - 1) : 0;
        if (due > clock_monotonic_ns()) {
            flush(sender);
            clock_sleep_until(due);
            continue; /* a signal may have ended the sleep */
        }
        code = add_datagram(sender, datums);
    }
    flush(sender);
    return code;
}

static void report(const struct sender *sender, const char *name, double seconds, bool json)
{
    double rate = seconds > 0 ? (double)sender->datums_sent / seconds : 0;
    char text[NET_ADDRESS_TEXT_BYTES];
    fprintf(stderr, "flotilla send: %s: %" PRIu64 " datums in %.3f s, %.1f Hz, %" PRIu64 " errors",
            name, sender->datums_sent, seconds, rate, sender->outbox.errors);
    if (sender->outbox.errors > 0)
        fprintf(stderr, " (to %s%s%s: %s)", net_write_address(text, &sender->outbox.to),
                sender->interface[0] ? " by interface " : "", sender->interface,
                strerror(sender->outbox.last_errno));
    fprintf(stderr, "\n");
    if (!json)
        return;
    json_t *object =
        json_pack("{s:o, s:I, s:I, s:I, s:f, s:f, s:I}", "channel", json_of_text(name),
                  "datums_sent", (json_int_t)sender->datums_sent, "datagrams_sent",
                  (json_int_t)sender->outbox.sent, "bytes_sent", (json_int_t)sender->bytes_sent,
                  "seconds", seconds, "rate", rate, "errors", (json_int_t)sender->outbox.errors);
    if (object != NULL)
        json_dumpf(object, stdout, JSON_REAL_PRECISION(12));
    printf("\n");
    json_decref(object);
}

/* What the command line says. */
struct send_options {
    char *from, *to;
    struct time_span span;
    const char *given, *interface, *schema, *time, *sequence;
    uint64_t count, batch, seed;
    double rate_hz;
    bool json;
};

/* Opens what is sent from: the files, with their first datum taken so that a file that does not fit
 * is told at once, or a synth. */
static int open_source(struct sender *sender, struct subject *subject,
                       const struct send_options *options)
{
    if (options->from == NULL) {
        sender->synth = synth_new(subject->schema, &subject->layout, options->seed);
        return sender->synth != NULL ? EXIT_OK : EXIT_FAILED;
    }
    sender->subject = subject;
    sender->schema_name = subject->channel ? subject->channel->settings.name : options->schema;
    if (inputs_list(&sender->catalog, 1, &options->from, CATALOG_DATUMS) != EXIT_OK)
        return EXIT_FAILED;
    int status = history_open(&sender->history, &sender->catalog, &options->span, ROWS_SKIP);
    if (status < 0)
        fprintf(stderr, "flotilla send: %s\n", strerror(-status));
    return status < 0 || take_row(sender, &sender->pending) < 0 ? EXIT_FAILED : EXIT_OK;
}

static int open_target(struct sender *sender, const struct subject *subject,
                       const struct send_options *options)
{
    char text[NET_ADDRESS_TEXT_BYTES];
    const char *interface = options->interface ? options->interface : sender->outbox.to.zone;
    uint32_t ttl = 1;
    if (subject->channel != NULL) {
        interface = settings_listen_interface(&subject->channel->settings);
        ttl = subject->channel->settings.ttl;
        sender->outbox.to = subject->channel->settings.listen;
    }
    int descriptor = net_open_sender(&sender->outbox.to, interface, ttl);
    if (descriptor < 0) {
        fprintf(stderr, "flotilla send: cannot send to %s by interface %s: %s\n",
                net_write_address(text, &sender->outbox.to), interface[0] ? interface : "(any)",
                descriptor == -ENODEV ? "there is no such interface" : strerror(-descriptor));
        return EXIT_FAILED;
    }
    sender->outbox.descriptor = descriptor;
    sender->interface = interface;
    return EXIT_OK;
}

static int check_options(const struct send_options *options, int words, const char *verb,
                         struct address *to)
{
    if (words > 1)
        return verb_usage(verb, "one CHANNEL at a time");
    if (words == 1 && (options->to || options->interface || options->schema || options->time ||
                       options->sequence))
        return verb_usage(verb, "a CHANNEL says where to send and what; without one: --to, "
                                "--interface, --schema, --time, --sequence");
    if (words == 0 && options->to == NULL)
        return verb_usage(verb, "which CHANNEL? (or --to ADDRESS:PORT)");
    if (words == 0 && options->schema == NULL && options->from == NULL)
        return verb_usage(verb, "--to needs --schema FILE or --from FILE");
    if (words == 0 && options->given != NULL)
        return verb_usage(verb, "--config is for a CHANNEL");
    if ((options->time || options->sequence) && (options->schema == NULL || options->from != NULL))
        return verb_usage(verb, "--time and --sequence are for --schema without --from");
    if ((options->span.from_ns != 0 || options->span.to_ns != UINT64_MAX) && options->from == NULL)
        return verb_usage(verb, "--from T and --to T choose from what --from FILE names");
    if (inputs_check_span(verb, &options->span) != EXIT_OK)
        return EXIT_USAGE;
    if (options->to != NULL && net_read_address(options->to, to) < 0)
        return verb_usage(verb,
                          "--to needs ADDRESS:PORT or [v6]:PORT, or a time (" TIMESTAMP_FORMS
                          "), not \"%s\"",
                          options->to);
    if (options->to != NULL && options->interface != NULL && to->zone[0] != '\0' &&
        strcmp(to->zone, options->interface) != 0)
        return verb_usage(verb, "--to %s and --interface %s name two interfaces", options->to,
                          options->interface);
    if (options->to != NULL && options->interface == NULL && to->zone[0] == '\0' &&
        address_is_link_local(to))
        return verb_usage(verb,
                          "%s is link-local, every link has such an address: name the interface "
                          "with --interface, or behind the address (%%eth0)",
                          options->to);
    if (options->rate_hz > SEND_RATE_MAX ||
        (options->rate_hz > 0 && options->rate_hz < SEND_RATE_MIN))
        return verb_usage(verb, "--rate is 0, or from %g Hz to %g Hz", SEND_RATE_MIN,
                          SEND_RATE_MAX);
    return EXIT_OK;
}

/* Reads the command line. How many words are no options, or -1 after telling what is wrong. */
static int read_options(struct send_options *options, int argc, char **argv)
{
    struct option_place_or_time from = {.ns = 0}, to = {.ns = UINT64_MAX};
    const struct option_rule rules[] = {
        {.name = "rate", .kind = OPTION_RATE, .into = &options->rate_hz},
        {.name = "count", .kind = OPTION_COUNT, .into = &options->count, .low = 1},
        {.name = "batch", .kind = OPTION_COUNT, .into = &options->batch, .low = 1},
        {.name = "seed", .kind = OPTION_COUNT, .into = &options->seed},
        {.name = "from", .kind = OPTION_PLACE_OR_TIME, .into = &from},
        {.name = "to", .kind = OPTION_PLACE_OR_TIME, .into = &to},
        {.name = "interface", .kind = OPTION_TEXT, .into = &options->interface},
        {.name = "schema", .kind = OPTION_TEXT, .into = &options->schema},
        {.name = "time", .kind = OPTION_TEXT, .into = &options->time},
        {.name = "sequence", .kind = OPTION_TEXT, .into = &options->sequence},
        {.name = "json", .kind = OPTION_FLAG, .into = &options->json},
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &options->given},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    options->from = from.place;
    options->to = to.place;
    options->span = (struct time_span){from.ns, to.ns};
    return words;
}

int verb_send(int argc, char **argv)
{
    struct send_options options = {.count = UINT64_MAX, .batch = 1, .seed = 1, .rate_hz = 10};
    int words = read_options(&options, argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    struct subject subject = {0};
    struct sender sender = {
        .rate_hz = options.rate_hz,
        .count_max = options.count,
        .batch = options.batch,
        .outbox.descriptor = -1,
    };
    const size_t slots_bytes = (size_t)NET_OUTBOX_MAX * SEND_SLOT_BYTES;
    int code = check_options(&options, words, argv[0], &sender.outbox.to);
    if (code != EXIT_OK)
        return code;

    if (words == 1)
        code = subject_open_channel(&subject, argv[0], options.given, argv[1]);
    else if (options.schema != NULL)
        code =
            subject_open_schema(&subject, argv[0], options.schema, options.time, options.sequence);
    sender.framing = subject.framing;
    if (code == EXIT_OK && sender.framing.encoding == ENCODING_OPAQUE && options.batch > 1) {
        fprintf(stderr, "flotilla send: %s: encoding: opaque has one datum a datagram\n", argv[1]);
        code = EXIT_FAILED;
    }
    if (code == EXIT_OK)
        code = open_source(&sender, &subject, &options);
    if (code == EXIT_OK)
        code = open_target(&sender, &subject, &options);
    if (code != EXIT_OK)
        goto out;
    /* Pages come as they are first used: a sender of small datagrams stays small. */
    sender.slots = private_memory_map(slots_bytes);
    if (sender.slots == NULL) {
        fprintf(stderr, "flotilla send: %s\n", strerror(ENOMEM));
        code = EXIT_FAILED;
        goto out;
    }
    interrupt_install();
    code = send_all(&sender);
    double seconds = (double)(clock_monotonic_ns() - sender.start_ns) / 1e9;
    report(&sender, words == 1 ? argv[1] : options.to, seconds, options.json);
    if (sender.outbox.errors > 0)
        code = EXIT_FAILED;
out:
    synth_free(sender.synth);
    history_close(sender.history);
    catalog_free(&sender.catalog);
    descriptor_close(sender.outbox.descriptor);
    if (sender.slots != NULL)
        private_memory_unmap(sender.slots, slots_bytes);
    subject_close(&subject);
    return code;
}
