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
#include "cli/options.h"
#include "cli/recording.h"
#include "cli/verb.h"

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
    "  flotilla verify --json recordings/engine/*.avro | jq 'select(.sound | not)'\n"
    "\n"
    "  --json      one JSON object a file and line\n"
    "\n"
    "One line a file; each fault before it on stderr as FILE: offset N: what. Behind a fault the\n"
    "next sync marker is searched, and the rest is checked as well. In a recording of Flotilla "
    "any\n"
    "flipped bit is found; of a file of another program only what does not decode any more. A "
    "file\n"
    "cut exactly between two blocks is a shorter file that is sound.\n"
    "\n"
    "Exit: 0 all sound, 1 a file cannot be read, 2 usage, 3 a file is damaged.\n";

struct verify {
    const char *path;
    bool json;
    json_t *faults;
};

static void tell(void *context, const struct scan_event *event)
{
    struct verify *verify = context;
    if (!recording_is_fault(event))
        return;
    if (verify->json)
        json_array_append_new(verify->faults, recording_fault_json(event));
    else
        recording_tell_fault(verify->path, event);
}

static void print_json(const struct verify *verify, const struct scan_totals *totals,
                       uint64_t bytes)
{
    recording_print_json(json_pack(
        "{s:o,s:b,s:I,s:I,s:I,s:I,s:I,s:f,s:I,s:O}", "file",
        recording_text_json((struct span){(const uint8_t *)verify->path, strlen(verify->path)}),
        "sound", totals->faults == 0, "blocks", (json_int_t)totals->blocks, "datums",
        (json_int_t)totals->datums, "bytes", (json_int_t)bytes, "lost_bytes",
        (json_int_t)totals->lost_bytes, "missing_bytes", (json_int_t)totals->missing_bytes,
        "lost_datums_estimated", totals->lost_datums, "arrival_goes_back",
        (json_int_t)totals->times_back, "faults", verify->faults));
}

static int verify_file(const char *path, bool json)
{
    struct verify verify = {.path = path, .json = json, .faults = json_array()};
    struct source source;
    struct scan *scan;
    struct scan_totals totals = {0};
    char error[512];
    int code = EXIT_FAILED;
    int status = source_scan(&source, &scan, path, SOURCE_FILES, error, sizeof(error));
    if (status == 0) {
        status = recording_scan(scan, tell, &verify, &totals);
        if (status < 0)
            snprintf(error, sizeof(error), "%s", strerror(-status));
    }
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", path, error);
        /* A header that cannot be read is damage; a file that cannot be is not. */
        code = status == -EBADMSG ? EXIT_LOSS : EXIT_FAILED;
        if (json)
            recording_print_json(json_pack(
                "{s:o,s:b,s:o}", "file",
                recording_text_json((struct span){(const uint8_t *)path, strlen(path)}), "sound", 0,
                "error",
                recording_text_json((struct span){(const uint8_t *)error, strlen(error)})));
        goto out;
    }
    code = totals.faults == 0 ? EXIT_OK : EXIT_LOSS;
    recording_tell_order(path, &totals);
    if (json)
        print_json(&verify, &totals, scan_bytes(scan));
    else if (totals.faults == 0)
        printf("%s: sound, %" PRIu64 " datums in %" PRIu64 " blocks, %" PRIu64 " bytes\n", path,
               totals.datums, totals.blocks, scan_bytes(scan));
    else
        printf("%s: damaged, %" PRIu64 " datums in %" PRIu64 " blocks are intact, %" PRIu64
               " faults, %" PRIu64 " of %" PRIu64 " bytes lost, about %.0f datums\n",
               path, totals.datums, totals.blocks, totals.faults, totals.lost_bytes,
               scan_bytes(scan), totals.lost_datums);
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
    size_t failed = 0, damaged = 0;
    int code = recording_list(&catalog, files, argv + 1, CATALOG_ALL);
    for (size_t i = 0; i < catalog.count; i++) {
        int one = verify_file(catalog.files[i].path, json);
        failed += one == EXIT_FAILED;
        damaged += one == EXIT_LOSS;
        fflush(stdout);
    }
    if (!json && catalog.count > 0 && recording_any_folder(files, argv + 1))
        printf("%zu files: %zu sound, %zu damaged, %zu cannot be read\n", catalog.count,
               catalog.count - damaged - failed, damaged, failed);
    catalog_free(&catalog);
    if (failed > 0)
        code = EXIT_FAILED;
    else if (damaged > 0 && code == EXIT_OK)
        code = EXIT_LOSS;
    return code;
}
