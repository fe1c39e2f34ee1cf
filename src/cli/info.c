/* SPDX-License-Identifier: MIT
 * flotilla info: what a container file is, from its header and the fronts of its blocks. Nothing is
 * decoded unless asked for, so that a large file takes a moment.
 * Relies on archive/scan; only Flotilla's own blocks carry arrival times. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/source.h"
#include "base/calendar.h"
#include "base/check.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "cli/verb.h"
#include "os/clock.h"

const char verb_info_help[] =
    "usage: flotilla info FILE... [--count] [--json]\n"
    "\n"
    "Describes Avro container files: schema, codec, where and when they were recorded, blocks,\n"
    "datums, and the arrival of the first and the last block's first datum. Reads the header and\n"
    "the blocks' fronts only.\n"
    "\n"
    "  flotilla info recordings/engine/*.avro\n"
    "  flotilla info --json recordings/*/*.avro | jq '[.file, .datums]'\n"
    "\n"
    "  --count     read and check every datum, and count those that pass\n"
    "  --json      one JSON object a file and line; null is what the file does not say\n"
    "\n"
    "Files of other programs say less: no arrival times, no channel. Exit: 0; 1 if a file cannot "
    "be\n"
    "read to its end (see flotilla verify); 2 usage.\n";

struct info {
    bool count, json;
};

/* What the blocks amount to. */
struct blocks {
    struct scan_totals totals;
    uint64_t fault_offset;
    char fault[192]; /* "" for none */
};

static void note(void *context, const struct scan_event *event)
{
    struct blocks *blocks = context;
    if (event->kind == SCAN_FAULT && blocks->fault[0] == '\0') {
        blocks->fault_offset = event->offset;
        snprintf(blocks->fault, sizeof(blocks->fault), "%s", event->what);
    }
}

static int walk(const struct info *info, struct scan *scan, struct blocks *blocks)
{
    struct scan_event event;
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
static char *write_instant(char text[CLOCK_TEXT_BYTES], uint64_t ns)
{
    struct calendar at;
    calendar_from_ns(ns, &at);
    snprintf(text, CLOCK_TEXT_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", at.year % 10000,
             at.month % 100, at.day % 100, at.hour % 100, at.minute % 100, at.second % 100,
             at.nanosecond);
    return text;
}

struct facts {
    const char *path, *state, *schema_name;
    char fingerprint[17], sync[2 * SCAN_SYNC_BYTES + 1];
    char first[CLOCK_TEXT_BYTES], last[CLOCK_TEXT_BYTES]; /* "" where unknown */
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

static void print(const struct facts *facts, const struct scan *scan, const struct blocks *blocks)
{
    const struct scan_header *header = scan_header(scan);
    struct span null_codec = span_of("null");
    printf("%s\n", facts->path);
    print_text("state", span_of(facts->state));
    printf("  %-12s %s, fingerprint %s\n", "schema", facts->schema_name, facts->fingerprint);
    print_text("codec", header->codec_name.bytes > 0 ? header->codec_name : null_codec);
    print_text("channel", header->channel);
    print_text("host", header->host);
    print_text("started", header->started);
    print_text("version", header->version);
    printf("  %-12s %" PRIu64 "\n", "bytes", scan_bytes(scan));
    printf("  %-12s %" PRIu64 "\n", "blocks", blocks->totals.blocks);
    printf("  %-12s %" PRIu64 "\n", "datums", blocks->totals.datums);
    print_text("first", span_of(facts->first));
    print_text("last block", span_of(facts->last));
    print_text("sync marker", span_of(facts->sync));
}

static void print_json(const struct facts *facts, const struct scan *scan,
                       const struct blocks *blocks)
{
    const struct scan_header *header = scan_header(scan);
    recording_print_json(json_pack(
        "{s:o,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:I,s:o,s:o,s:s,s:o}", "file",
        recording_text_json(span_of(facts->path)), "state", facts->state, "schema",
        facts->schema_name, "fingerprint", facts->fingerprint, "codec",
        recording_text_json(header->codec_name.bytes > 0 ? header->codec_name : span_of("null")),
        "channel", recording_text_json(header->channel), "host", recording_text_json(header->host),
        "started", recording_text_json(header->started), "version",
        recording_text_json(header->version), "bytes", (json_int_t)scan_bytes(scan), "blocks",
        (json_int_t)blocks->totals.blocks, "datums", (json_int_t)blocks->totals.datums,
        "first_arrival", recording_text_json(span_of(facts->first)), "last_block_arrival",
        recording_text_json(span_of(facts->last)), "sync", facts->sync, "fault",
        recording_text_json(span_of(blocks->fault))));
}

static bool is_open(const char *path)
{
    size_t bytes = strlen(path);
    return bytes > 5 && strcmp(path + bytes - 5, ".part") == 0;
}

static int info_file(const struct info *info, const char *path)
{
    struct source source;
    struct scan *scan = NULL;
    struct blocks blocks = {.fault = ""};
    char error[512];
    int code = EXIT_FAILED;
    int status = source_open(&source, path, SOURCE_FILES);
    if (status < 0)
        snprintf(error, sizeof(error), "%s", source_error_text(status));
    else
        status = scan_open(&scan, &source.of_scan, error, sizeof(error));
    if (status == 0 && (status = walk(info, scan, &blocks)) < 0)
        snprintf(error, sizeof(error), "%s", strerror(-status));
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", path, error);
        goto out;
    }
    const struct scan_header *header = scan_header(scan);
    const struct schema *root = schema_root(scan_schema(scan));
    struct facts facts = {
        .path = path,
        .state = !header->ours   ? "of another program"
                 : is_open(path) ? "open"
                                 : "finished",
        .schema_name = root->name != NULL ? root->name : schema_kind_name(root->kind),
    };
    snprintf(facts.fingerprint, sizeof(facts.fingerprint), "%016" PRIx64,
             scan_layout(scan)->fingerprint);
    for (size_t i = 0; i < SCAN_SYNC_BYTES; i++)
        snprintf(facts.sync + 2 * i, 3, "%02x", header->sync[i]);
    if (header->ours && blocks.totals.blocks > 0) {
        write_instant(facts.first, blocks.totals.first_ns);
        write_instant(facts.last, blocks.totals.last_ns);
    }
    if (info->json)
        print_json(&facts, scan, &blocks);
    else
        print(&facts, scan, &blocks);
    code = EXIT_OK;
    if (blocks.fault[0] != '\0') {
        fflush(stdout);
        fprintf(stderr, "%s: offset %" PRIu64 ": %s; see flotilla verify\n", path,
                blocks.fault_offset, blocks.fault);
        code = EXIT_FAILED;
    }
out:
    scan_close(scan);
    source_close(&source);
    return code;
}

int verb_info(int argc, char **argv)
{
    struct info info = {0};
    const struct option_rule rules[] = {
        {.name = "count", .kind = OPTION_FLAG, .into = &info.count},
        {.name = "json", .kind = OPTION_FLAG, .into = &info.json},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files == 0)
        return verb_usage(argv[0], "which FILE?");
    int code = EXIT_OK;
    for (int i = 1; i <= files; i++)
        if (info_file(&info, argv[i]) != EXIT_OK)
            code = EXIT_FAILED;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "flotilla info: could not write all of the output\n");
        return EXIT_FAILED;
    }
    return code;
}
