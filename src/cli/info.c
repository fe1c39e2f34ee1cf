/* SPDX-License-Identifier: MIT
 * flotilla info: what a container file is, from its header and the fronts of its blocks. Nothing is
 * decoded unless asked for, so that a large file takes a moment.
 * Relies on archive/scan and archive/search; only Flotilla's own blocks carry arrival times. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/search.h"
#include "archive/source.h"
#include "avro/block.h"
#include "base/calendar.h"
#include "base/check.h"
#include "base/text.h"
#include "base/timestamp.h"
#include "channel/pin.h"
#include "cli/recording.h"
#include "cli/verb.h"
#include "command/inputs.h"
#include "command/options.h"
#include "os/clock.h"
#include "os/folder.h"
#include "os/path.h"
#include "os/storage.h"

const char verb_info_help[] =
    "usage: flotilla info FILE|FOLDER... [--from T] [--to T] [--count] [--json]\n"
    "\n"
    "Describes Avro container files: schema, codec, where and when they were recorded, blocks,\n"
    "datums, and the arrival of the first and the last block's first datum. Reads the header and\n"
    "the blocks' fronts only.\n"
    "\n"
    "  flotilla info recordings/engine/*.avro\n"
    "  flotilla info recordings/engine            a line a recording, and all of them summed up\n"
    "  flotilla info --json recordings/*/*.avro | jq '[.file, .datums]'\n"
    "\n"
    "  --from T, --to T   only the blocks whose first datum came in at T or later, and before T,\n"
    "              and the files that have any\n"
    "              (T: " TIMESTAMP_FORMS ")\n"
    "  --count     read and check every datum, and count those that pass\n"
    "  --json      one JSON object a file and line; null is what the file does not say\n"
    "\n"
    "Files of other programs say less: no arrival times, no channel. FILE is - for standard "
    "input.\n"
    "Exit: 0; 1 if a file cannot be read to its end (see flotilla verify); 2 usage; 4 if "
    "something\n"
    "in it is over a limit of this program, or, with --count, in a codec that it does not know.\n";

struct info {
    bool count, json, all;
    bool brief; /* a line a file, and what all amount to */
    struct time_span span;
    struct sum {
        uint64_t files, blocks, datums, bytes, damaged, lost_bytes;
        uint64_t first_ns, last_ns; /* the earliest and the latest arrival; 0: none is known */
    } sum;
};

/* What the blocks amount to. */
struct blocks {
    const struct scan *scan;
    struct scan_totals totals;
    uint64_t fault_offset, unread_offset, joined_offset;
    char fault[192]; /* "" for none */
    struct recording_unread unread;
};

static void note(void *context, const struct scan_event *event)
{
    struct blocks *blocks = context;
    if (event->kind == SCAN_HEADER && blocks->joined_offset == 0)
        blocks->joined_offset = event->offset;
    if (event->kind == SCAN_UNREAD && blocks->unread.what[0] == '\0')
        blocks->unread_offset = event->offset;
    recording_is_unread(&blocks->unread, blocks->scan, event);
    if (event->kind == SCAN_FAULT && blocks->fault[0] == '\0') {
        blocks->fault_offset = event->offset;
        snprintf(blocks->fault, sizeof(blocks->fault), "%s", event->what);
    }
}

/* Counts the blocks of the span, from the one that a search found on. */
static int walk_span(const struct info *info, const struct search_hit *hit, struct scan *scan,
                     struct blocks *blocks)
{
    struct scan_event event;
    int status = hit->block == 0 ? 0 : scan_seek(scan, hit->block);
    while (status == 0 && (status = scan_next_front(scan, &event)) == 0) {
        uint64_t arrival_ns = event.arrival_ns;
        note(blocks, &event);
        if (event.kind == SCAN_END)
            break;
        if (event.kind == SCAN_BLOCK && hit->ordered && arrival_ns > BLOCK_DISORDER_NS &&
            arrival_ns - BLOCK_DISORDER_NS >= info->span.to_ns)
            break;
        if (event.kind == SCAN_BLOCK && event.ours && arrival_ns >= info->span.from_ns &&
            arrival_ns < info->span.to_ns)
            scan_count(&blocks->totals, &event);
    }
    return status;
}

static int walk(const struct info *info, const struct search_hit *hit, struct scan *scan,
                struct blocks *blocks)
{
    struct scan_event event;
    if (!info->all)
        return walk_span(info, hit, scan, blocks);
    if (info->count)
        return recording_scan(scan, note, blocks, &blocks->totals);
    do {
        int status = scan_next_front(scan, &event);
        if (status < 0)
            return status;
        note(blocks, &event);
        scan_count(&blocks->totals, &event);
    } while (event.kind != SCAN_END);
    return 0;
}

/* "2026-01-01T00:00:00.123456789Z". */
struct facts {
    const char *path, *state, *schema_name;
    char fingerprint[17], sync[2 * SCAN_SYNC_BYTES + 1];
    char first[CALENDAR_TEXT_BYTES], last[CALENDAR_TEXT_BYTES]; /* "" where unknown */
};

static void print_text(const char *label, struct span text)
{
    char clean[256];
    if (text.at == NULL)
        printf("  %-12s -\n", label);
    else
        printf("  %-12s %s\n", label, recording_text(clean, sizeof(clean), text));
}

static struct span span_of(const char *text)
{
    return (struct span){text[0] == '\0' ? NULL : (const uint8_t *)text, strlen(text)};
}

static struct span codec_text(const struct scan_header *header)
{
    return header->codec_name.bytes > 0 ? header->codec_name : span_of("null");
}

static void print(const struct facts *facts, const struct scan *scan, const struct blocks *blocks)
{
    const struct scan_header *header = scan_header(scan);
    char codec[128], schema[256];
    recording_text(codec, sizeof(codec), codec_text(header));
    printf("%s\n", facts->path);
    print_text("state", span_of(facts->state));
    printf("  %-12s %s, fingerprint %s\n", "schema",
           recording_text(schema, sizeof(schema), span_of(facts->schema_name)), facts->fingerprint);
    printf("  %-12s %s%s\n", "codec", codec,
           header->codec == CODEC_UNKNOWN ? " (not known here: its datums cannot be read)" : "");
    print_text("channel", header->channel);
    print_text("host", header->host);
    print_text("started", header->started);
    print_text("version", header->version);
    print_text("time", header->time);
    print_text("sequence", header->sequence);
    printf("  %-12s %" PRIu64 "\n", "bytes", scan_bytes(scan));
    printf("  %-12s %" PRIu64 "\n", "blocks", blocks->totals.blocks);
    printf("  %-12s %" PRIu64 "\n", "datums", blocks->totals.datums);
    print_text("first", span_of(facts->first));
    print_text("last block", span_of(facts->last));
    print_text("sync marker", span_of(facts->sync));
    if (blocks->totals.joined > 0)
        printf("  %-12s %" PRIu64 " more files, from offset %" PRIu64 " on\n", "joined",
               blocks->totals.joined, blocks->joined_offset);
}

static void print_json(const struct facts *facts, const struct scan *scan,
                       const struct blocks *blocks)
{
    const struct scan_header *header = scan_header(scan);
    recording_print_json(json_pack(
        "{s:o,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:o,s:o,s:s,s:I,s:o,s:o}", "file",
        recording_text_json(span_of(facts->path)), "state", facts->state, "schema",
        facts->schema_name, "fingerprint", facts->fingerprint, "codec",
        recording_text_json(codec_text(header)), "channel", recording_text_json(header->channel),
        "host", recording_text_json(header->host), "started", recording_text_json(header->started),
        "version", recording_text_json(header->version), "time", recording_text_json(header->time),
        "sequence", recording_text_json(header->sequence), "bytes", (json_int_t)scan_bytes(scan),
        "blocks", (json_int_t)blocks->totals.blocks, "datums", (json_int_t)blocks->totals.datums,
        "first_arrival", recording_text_json(span_of(facts->first)), "last_block_arrival",
        recording_text_json(span_of(facts->last)), "sync", facts->sync, "joined",
        (json_int_t)blocks->totals.joined, "unread",
        recording_text_json(span_of(blocks->unread.what)), "fault",
        recording_text_json(span_of(blocks->fault))));
}

static bool ends_in(const char *path, const char *suffix)
{
    size_t bytes = strlen(path), end = strlen(suffix);
    return bytes > end && strcmp(path + bytes - end, suffix) == 0;
}

static const char *state_of(const char *path, const struct scan_header *header)
{
    if (!header->ours)
        return header->format.at != NULL ? "of a later format" : "of another program";
    if (ends_in(path, ".avro.damaged"))
        return "kept from behind damage";
    return ends_in(path, ".part") ? "open" : "finished";
}

static void print_line(const struct facts *facts, const struct scan *scan,
                       const struct blocks *blocks)
{
    printf("%s: %s, %" PRIu64 " datums in %" PRIu64 " blocks, %" PRIu64 " bytes", facts->path,
           facts->state, blocks->totals.datums, blocks->totals.blocks, scan_bytes(scan));
    if (facts->first[0] != '\0')
        printf(", %s to %s", facts->first, facts->last);
    printf("%s\n", blocks->fault[0] != '\0' ? ", damaged" : "");
}

static void add_up(struct sum *sum, const struct scan *scan, const struct blocks *blocks)
{
    const struct scan_totals *totals = &blocks->totals;
    sum->files++;
    sum->blocks += totals->blocks;
    sum->datums += totals->datums;
    sum->bytes += scan_bytes(scan);
    sum->damaged += blocks->fault[0] != '\0';
    sum->lost_bytes += totals->lost_bytes;
    if (totals->first_ns != 0 && (sum->first_ns == 0 || totals->first_ns < sum->first_ns))
        sum->first_ns = totals->first_ns;
    if (totals->last_ns > sum->last_ns)
        sum->last_ns = totals->last_ns;
}

static void print_sum(const struct sum *sum)
{
    char first[CALENDAR_TEXT_BYTES], last[CALENDAR_TEXT_BYTES];
    printf("%" PRIu64 " files: %" PRIu64 " datums in %" PRIu64 " blocks, %" PRIu64 " bytes",
           sum->files, sum->datums, sum->blocks, sum->bytes);
    if (sum->first_ns != 0)
        printf(", %s to %s", calendar_write(first, sum->first_ns, 9),
               calendar_write(last, sum->last_ns, 9));
    if (sum->damaged > 0)
        printf("; %" PRIu64 " damaged, %" PRIu64 " bytes from their first damage on", sum->damaged,
               sum->lost_bytes);
    putchar('\n');
}

/* Says on stderr what is to be known of the file besides. Its exit code. */
static int tell_besides(const char *path, const struct blocks *blocks)
{
    int code = EXIT_OK;
    fflush(stdout);
    if (blocks->totals.joined > 0)
        fprintf(stderr,
                "%s: note: another Avro file begins at offset %" PRIu64
                ", joined behind this one\n",
                path, blocks->joined_offset);
    if (blocks->unread.what[0] != '\0') {
        fprintf(stderr, "%s: offset %" PRIu64 ": %s\n", path, blocks->unread_offset,
                blocks->unread.what);
        code = EXIT_BEYOND;
    }
    if (blocks->fault[0] != '\0') {
        fprintf(stderr, "%s: offset %" PRIu64 ": %s; see flotilla verify\n", path,
                blocks->fault_offset, blocks->fault);
        code = EXIT_FAILED;
    }
    return code;
}

static void print_file(struct info *info, const char *path, const struct scan *scan,
                       const struct blocks *blocks)
{
    const struct scan_header *header = scan_header(scan);
    const struct schema *root = schema_root(scan_schema(scan));
    struct facts facts = {
        .path = path,
        .state = state_of(path, header),
        .schema_name = root->name != NULL ? root->name : schema_kind_name(root->kind),
    };
    snprintf(facts.fingerprint, sizeof(facts.fingerprint), "%016" PRIx64,
             scan_layout(scan)->fingerprint);
    for (size_t i = 0; i < SCAN_SYNC_BYTES; i++)
        snprintf(facts.sync + 2 * i, 3, "%02x", header->sync[i]);
    if (header->ours && blocks->totals.blocks > 0) {
        calendar_write(facts.first, blocks->totals.first_ns, 9);
        calendar_write(facts.last, blocks->totals.last_ns, 9);
    }
    add_up(&info->sum, scan, blocks);
    if (info->json)
        print_json(&facts, scan, blocks);
    else if (info->brief)
        print_line(&facts, scan, blocks);
    else
        print(&facts, scan, blocks);
}

static int info_file(struct info *info, const char *path, const struct search_hit *hit)
{
    struct source source;
    struct scan *scan;
    struct blocks blocks = {.fault = ""};
    char error[512];
    int code = EXIT_FAILED;
    enum source_kinds kinds = strcmp(path, "-") == 0 ? SOURCE_STREAMS : SOURCE_FILES;
    int status = source_scan(&source, &scan, path, kinds, error, sizeof(error));
    blocks.scan = scan;
    if (status == 0 && (status = walk(info, hit, scan, &blocks)) < 0)
        snprintf(error, sizeof(error), "%s", strerror(-status));
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", path, error);
        code = status == -EFBIG ? EXIT_BEYOND : EXIT_FAILED;
        goto out;
    }
    if (!info->all && blocks.totals.blocks == 0 && blocks.fault[0] == '\0') {
        code = scan_header(scan)->ours ? EXIT_OK : EXIT_FAILED;
        if (code != EXIT_OK)
            fprintf(stderr, "%s: does not say when its datums came in: it is left out\n", path);
        goto out;
    }
    if (blocks.totals.joined > 0 && kinds == SOURCE_FILES) { /* what is told is the first one */
        scan_close(scan);
        source_close(&source);
        if (source_scan(&source, &scan, path, kinds, error, sizeof(error)) < 0) {
            fprintf(stderr, "%s: %s\n", path, error);
            goto out;
        }
    }
    print_file(info, path, scan, &blocks);
    code = tell_besides(path, &blocks);
out:
    scan_close(scan);
    source_close(&source);
    return code;
}

/* The files that may hold something of the span; all of them where that is everything. */
static int find_files(const struct info *info, const struct catalog *catalog,
                      struct search_hit **hits, size_t *hit_count)
{
    struct scan_cost cost = {0};
    if (!info->all)
        return search_catalog(catalog, &info->span, hits, hit_count, &cost);
    *hits = calloc(catalog->count + 1, sizeof(**hits));
    for (*hit_count = 0; *hits != NULL && *hit_count < catalog->count; ++*hit_count)
        (*hits)[*hit_count].file = *hit_count;
    return *hits == NULL ? -ENOMEM : 0;
}

/* The pins of a folder, and the folders in it that may be channels'. */
struct pins {
    const struct info *info;
    const char *path;
    char **channels; /* names, from malloc */
    size_t channel_count, room;
};

static int note_channel(void *context, const char *name)
{
    struct pins *pins = context;
    if (!channel_name_is_valid(name))
        return 0;
    char **grown = room_grow(pins->channels, &pins->room, pins->channel_count + 1, sizeof(*grown));
    if (grown == NULL)
        return -ENOMEM;
    pins->channels = grown;
    grown[pins->channel_count] = text_copy(name);
    pins->channel_count += grown[pins->channel_count] != NULL;
    return 0;
}

static int print_pin(void *context, const char *name)
{
    const struct pins *pins = context;
    struct pin pin;
    char from[CALENDAR_TEXT_BYTES], to[CALENDAR_TEXT_BYTES];
    if (!pin_read(&pin, name) ||
        !pin_covers(&pin, pins->info->span.from_ns, pins->info->span.to_ns))
        return 0;
    calendar_write(from, pin.from_ns, 6);
    calendar_write(to, pin.to_ns, 6);
    if (pins->info->json)
        recording_print_json(json_pack("{s:o,s:s,s:s,s:s}", "folder",
                                       recording_string_json(pins->path), "pin", pin.name, "from",
                                       from, "to", to));
    else
        printf("%s: pinned as %s: %s to %s\n", pins->path, pin.name, from, to);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of a folder that was named, and with `channels_too` of those in it; also where nothing is
 * recorded. */
static void print_pins(const struct info *info, const char *path, bool channels_too)
{
    struct pins pins = {.info = info, .path = path};
    char below[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 2];
    descriptor_t folder = folder_open_there(path);
    if (folder < 0)
        return; /* a file; what cannot be opened was told */
    folder_list(folder, print_pin, &pins);
    if (channels_too)
        folder_list(folder, note_channel, &pins);
    descriptor_close(folder);
    if (pins.channel_count > 0)
        qsort(pins.channels, pins.channel_count, sizeof(*pins.channels), by_text);
    for (size_t i = 0; i < pins.channel_count; i++) {
        if (path_join(path, pins.channels[i], below, sizeof(below)) == 0)
            print_pins(info, below, false);
        free(pins.channels[i]);
    }
    free(pins.channels);
}

int verb_info(int argc, char **argv)
{
    struct info info = {.span = TIME_SPAN_ALL};
    struct catalog catalog = {0};
    struct search_hit *hits = NULL;
    size_t hit_count = 0;
    const struct option_rule rules[] = {
        {.name = "count", .kind = OPTION_FLAG, .into = &info.count},
        {.name = "json", .kind = OPTION_FLAG, .into = &info.json},
        {.name = "from", .kind = OPTION_TIME, .into = &info.span.from_ns},
        {.name = "to", .kind = OPTION_TIME, .into = &info.span.to_ns},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files == 0)
        return verb_usage(argv[0], "which FILE?");
    info.all = info.span.from_ns == 0 && info.span.to_ns == UINT64_MAX;
    if (info.count && !info.all)
        return verb_usage(argv[0], "--count is for whole files, without --from and --to");
    if (inputs_check_span(argv[0], &info.span) != EXIT_OK)
        return EXIT_USAGE;
    info.brief = recording_any_folder(files, argv + 1);
    int code = inputs_list(&catalog, files, argv + 1, CATALOG_ALL);
    int status = find_files(&info, &catalog, &hits, &hit_count);
    for (size_t i = 0; status == 0 && i < hit_count; i++) {
        int one = info_file(&info, catalog.files[hits[i].file].path, &hits[i]);
        if (one != EXIT_OK && code != EXIT_FAILED)
            code = one;
    }
    if (info.brief && !info.json && info.sum.files > 0)
        print_sum(&info.sum);
    for (int i = 0; i < files && info.brief; i++)
        print_pins(&info, argv[i + 1], true);
    free(hits);
    catalog_free(&catalog);
    if (status < 0)
        fprintf(stderr, "flotilla info: %s\n", strerror(-status));
    return status < 0 ? EXIT_FAILED : code;
}
