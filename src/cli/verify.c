/* SPDX-License-Identifier: MIT
 * flotilla verify: is a file what its header promises, to the last byte? Every fault with its
 * offset, and on behind it. A file that is being written is judged by the size it had.
 * Relies on archive/scan, which recover judges by as well. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/source.h"
#include "base/check.h"
#include "cli/recording.h"
#include "cli/verb.h"
#include "command/inputs.h"
#include "command/options.h"

const char verb_verify_help[] =
    "usage: flotilla verify FILE|FOLDER... [--json]\n"
    "\n"
    "Checks Avro container files: the framing of every block, its checksum (files of Flotilla), "
    "and\n"
    "every datum against the schema in the file. Files of other programs, and files that are "
    "still\n"
    "being written (.avro.part), too.\n"
    "\n"
    "  flotilla verify recordings                 of a folder all recordings, summed up\n"
    "  flotilla verify recordings/*/*.avro\n"
    "  flotilla verify --json recordings/engine/*.avro | jq 'select(.sound == false)'\n"
    "\n"
    "  --json      one JSON object a file and line; \"sound\" is null where all that was read is\n"
    "              sound and something is over a limit of this program, or in an unknown codec\n"
    "\n"
    "One line a file; each fault before it on stderr as FILE: offset N: what. Behind a fault the\n"
    "next sync marker is searched, and the rest is checked as well. In a recording of Flotilla "
    "any\n"
    "flipped bit is found; of a file of another program only what does not decode any more. A "
    "file\n"
    "cut exactly between two blocks is a shorter file that is sound.\n"
    "\n"
    "Exit: 0 all sound, 1 a file cannot be read, 2 usage, 3 a file is damaged, 4 none is damaged,\n"
    "but not all can be judged here.\n";

struct verify {
    const char *path;
    bool json;
    json_t *faults;
    const struct scan *scan;
    struct recording_unread unread;
};

static void tell(void *context, const struct scan_event *event)
{
    struct verify *verify = context;
    if (recording_is_unread(&verify->unread, verify->scan, event) && !verify->json)
        recording_tell_fault(verify->path, event);
    if (!recording_is_fault(event))
        return;
    if (verify->json)
        json_array_append_new(verify->faults, recording_fault_json(event));
    else
        recording_tell_fault(verify->path, event);
}

/* Sound, damaged, or null: what was not read is neither. */
static json_t *sound_json(const struct scan_totals *totals)
{
    if (totals->faults == 0 && totals->unread_blocks > 0)
        return json_null();
    return json_boolean(totals->faults == 0);
}

static void print_json(const struct verify *verify, const struct scan_totals *totals,
                       uint64_t bytes)
{
    recording_print_json(
        json_pack("{s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:I,s:I,s:I,s:f,s:I,s:I,s:O}", "file",
                  recording_string_json(verify->path), "sound", sound_json(totals),
                  "blocks", (json_int_t)totals->blocks, "datums", (json_int_t)totals->datums,
                  "bytes", (json_int_t)bytes, "unread_blocks", (json_int_t)totals->unread_blocks,
                  "unread_datums", (json_int_t)totals->unread_datums, "unread",
                  recording_string_json(verify->unread.what), "partial_datums",
                  (json_int_t)totals->partial_datums, "lost_bytes", (json_int_t)totals->lost_bytes,
                  "missing_bytes", (json_int_t)totals->missing_bytes, "lost_datums_estimated",
                  totals->lost_datums, "joined", (json_int_t)totals->joined, "arrival_goes_back",
                  (json_int_t)totals->times_back, "faults", verify->faults));
}

static void print_line(const char *path, const struct scan_totals *totals, uint64_t bytes)
{
    if (totals->faults > 0 && totals->faults == totals->joined)
        printf("%s: joined from %" PRIu64 " files, which most readers do not read: %" PRIu64
               " datums in %" PRIu64 " blocks are intact, %" PRIu64 " bytes",
               path, totals->joined + 1, totals->datums, totals->blocks, bytes);
    else if (totals->faults > 0)
        printf("%s: damaged, %" PRIu64 " datums in %" PRIu64 " blocks are intact, %" PRIu64
               " faults, %" PRIu64 " of %" PRIu64 " bytes lost, about %.0f datums",
               path, totals->datums, totals->blocks, totals->faults, totals->lost_bytes, bytes,
               totals->lost_datums);
    else
        printf("%s: %s, %" PRIu64 " datums in %" PRIu64 " blocks, %" PRIu64 " bytes", path,
               totals->unread_blocks > 0 ? "not all was read" : "sound", totals->datums,
               totals->blocks, bytes);
    if (totals->unread_blocks > 0)
        printf("; %" PRIu64 " blocks of %" PRIu64 " datums cannot be read here",
               totals->unread_blocks, totals->unread_datums);
    putchar('\n');
}

/* A file that cannot be scanned at all. */
static int fail(const struct verify *verify, int status, const char *error)
{
    fprintf(stderr, "%s: %s\n", verify->path, error);
    /* A header that cannot be read is damage; a file that cannot be is not. */
    bool damaged = status == -EBADMSG || status == -ENOMSG;
    if (verify->json)
        recording_print_json(json_pack("{s:o,s:o,s:o}", "file",
                                       recording_string_json(verify->path), "sound",
                                       status == -EFBIG ? json_null() : json_false(), "error",
                                       recording_string_json(error)));
    return damaged ? EXIT_LOSS : status == -EFBIG ? EXIT_BEYOND : EXIT_FAILED;
}

static int verify_file(const char *path, bool json)
{
    struct verify verify = {.path = path, .json = json, .faults = json_array()};
    struct source source;
    struct scan *scan;
    struct scan_totals totals = {0};
    char error[512];
    int code = EXIT_OK;
    int status = source_scan(&source, &scan, path, SOURCE_FILES, error, sizeof(error));
    if (status == 0) {
        verify.scan = scan;
        source_read_ahead(&source, path);
        status = recording_scan(scan, tell, &verify, &totals);
        if (status < 0)
            snprintf(error, sizeof(error), "%s", strerror(-status));
    }
    if (status < 0) {
        code = fail(&verify, status, error);
        goto out;
    }
    if (totals.unread_blocks > 0)
        code = EXIT_BEYOND;
    if (totals.faults > 0)
        code = EXIT_LOSS;
    recording_tell_order(path, &totals);
    if (json)
        print_json(&verify, &totals, scan_bytes(scan));
    else
        print_line(path, &totals, scan_bytes(scan));
out:
    scan_close(scan);
    source_close(&source);
    json_decref(verify.faults);
    return code;
}

int verb_verify(int argc, char **argv)
{
    bool json = false;
    const struct option_rule rules[] = {
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files == 0)
        return verb_usage(argv[0], "which FILE?");
    struct catalog catalog = {0};
    size_t failed = 0, damaged = 0, unread = 0;
    int code = inputs_list(&catalog, files, argv + 1, CATALOG_ALL);
    for (size_t i = 0; i < catalog.count; i++) {
        int one = verify_file(catalog.files[i].path, json);
        failed += one == EXIT_FAILED;
        damaged += one == EXIT_LOSS;
        unread += one == EXIT_BEYOND;
        fflush(stdout);
    }
    if (!json && catalog.count > 0 && recording_any_folder(files, argv + 1))
        printf("%zu files: %zu sound, %zu damaged, %zu cannot be read\n", catalog.count,
               catalog.count - damaged - failed - unread, damaged, failed + unread);
    catalog_free(&catalog);
    if (failed > 0)
        code = EXIT_FAILED;
    else if (code == EXIT_OK && damaged + unread > 0)
        code = damaged > 0 ? EXIT_LOSS : EXIT_BEYOND;
    return code;
}
