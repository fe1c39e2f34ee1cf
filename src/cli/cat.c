/* SPDX-License-Identifier: MIT
 * flotilla cat: the datums of container files as JSON lines, whoever wrote the file, finished or
 * still open. What can be read is printed; where it cannot be, the offset and the reason follow.
 * Relies on archive/history, archive/tail and cli/printers. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/history.h"
#include "archive/tail.h"
#include "base/check.h"
#include "base/timestamp.h"
#include "cli/cat_points.h"
#include "cli/printers.h"
#include "cli/recording.h"
#include "cli/verb.h"
#include "command/fields.h"
#include "command/inputs.h"
#include "command/options.h"
#include "os/clock.h"
#include "os/interrupt.h"
#include "os/output.h"
#include "os/path.h"

#define FOLLOW_PACE_NS (50 * NS_PER_MS)
#define PATH_BYTES_MAX 4096

const char verb_cat_help[] =
    "usage: flotilla cat FILE|FOLDER... [--from T] [--to T] [--count N] [--fields PATH,...] "
    "[--csv]\n"
    "       flotilla cat --schema FILE|FOLDER... [--from T] [--to T]\n"
    "       flotilla cat --points N FOLDER [--from T] [--to T] [--fields PATH,...] [--csv]\n"
    "       flotilla cat --follow FILE|FOLDER [--from T] [--count N] [--fields PATH,...] [--csv]\n"
    "\n"
    "Prints the datums of Avro container files, one JSON object a line, or as CSV. Reads files\n"
    "that are still being written (.avro.part) and files of other programs (codecs null, deflate,\n"
    "snappy, zstandard, bzip2 and xz). FILE is - for standard input.\n"
    "\n"
    "  flotilla cat recordings/engine/*.avro\n"
    "  flotilla cat recordings/engine/*.avro.part --count 10\n"
    "  flotilla cat --schema recordings/engine/*.avro.part\n"
    "  flotilla cat recordings/engine/*.avro --fields time,position.lat | jq .position.lat\n"
    "  flotilla cat --csv recordings/engine --from -1h >engine.csv\n"
    "  flotilla cat recordings/engine --from 2026-01-31T12:00:00Z --to 2026-01-31T12:01:00Z\n"
    "  flotilla cat --follow recordings/engine --from -10min\n"
    "  flotilla cat --points 1000 recordings/engine --from -24h\n"
    "\n"
    "  --from T            leave out what came in before T ...\n"
    "  --to T              ... and what came in at T or later\n"
    "                      (T: " TIMESTAMP_FORMS ")\n"
    "  --follow            go on with what is recorded from now on, or since T, of the channel\n"
    "                      whose folder it is; with a FILE, only from there on. Ends with Ctrl-C\n"
    "  --points N          of a channel's folder: the minima and maxima of N equal parts of the\n"
    "                      span, two lines each, from its overview where there is one; the datums\n"
    "                      themselves where they are no more than N\n"
    "  --count N           stop after N datums of all files together\n"
    "  --fields PATH,...   only these fields, dotted for nested records ('flotilla schema' lists\n"
    "                      them), where they stand in the whole datum; what is not there is null\n"
    "  --csv               comma-separated values (RFC 4180) with a heading: a column a field, "
    "its\n"
    "                      unit behind it. What is not there is empty, \"\" an empty string; "
    "arrays\n"
    "                      and maps are JSON, bytes and fixed hexadecimal; a time is its number\n"
    "  --schema            print each file's schema, as it stands in the file, and no datums\n"
    "\n"
    "When a datum came in is known of the first one of each block, of the others where the\n"
    "recording names its time field. A minute out of a folder of any size comes at once.\n"
    "Numbers are written with the digits that read back to the same value; NaN and infinities as\n"
    "\"NaN\", \"Infinity\", \"-Infinity\"; bytes and fixed as strings, one character a byte.\n"
    "A damaged file: what is readable, then FILE: offset N: reason on stderr, and exit 1. So it "
    "is\n"
    "with a header or a block that can be read and does not match its checksum ('flotilla verify'\n"
    "tells more). Exit 4: nothing is damaged, but something is over a limit of this program or in "
    "a\n"
    "codec that it does not know.\n";

struct cat {
    uint64_t left; /* datums still to print */
    bool schema_only, follow, from_given;
    struct time_span span;
    struct catalog catalog;
    struct history *history;
    struct fields fields;
    struct printers *printers;
    bool csv, recursive_told;
    uint64_t points; /* 0: datums, not points */
};

static int tell(const struct cat *cat, size_t file, const char *what)
{
    printers_flush(cat->printers); /* so that the reason stands behind what was read */
    fprintf(stderr, "%s: %s\n", cat->catalog.files[file].path, what);
    return EXIT_FAILED;
}

/* What is behind the end of a file, for most other readers, and is read here all the same. */
static void tell_joined(const struct cat *cat, const struct row_position *at)
{
    char what[128];
    snprintf(what, sizeof(what),
             "note: another Avro file begins at offset %" PRIu64 ", joined behind this one",
             at->block);
    tell(cat, at->file, what);
}

/* Of two exit codes the one to end with. */
static int worse(int code, int other)
{
    return code == EXIT_OK || other == EXIT_FAILED ? other : code;
}

/* Prints the schema of the file that begins, and goes to the next one. */
static int print_schema(struct cat *cat, size_t file)
{
    const struct scan *scan = history_scan(cat->history);
    const struct scan_header *header = scan_header(scan);
    struct span text = schema_text(scan_schema(scan));
    char what[200];
    fwrite(text.at, 1, text.bytes, stdout);
    if (text.bytes == 0 || text.at[text.bytes - 1] != '\n')
        putchar('\n');
    int code = EXIT_OK;
    if (header->fault != NULL) {
        snprintf(what, sizeof(what), "offset 0: %s", header->fault);
        code = tell(cat, file, what);
    }
    history_next_file(cat->history);
    return code;
}

/* What leads back into itself has no column, and no place in CSV. */
static void tell_recursive(struct cat *cat)
{
    const struct columns *columns = printers_columns(cat->printers);
    if (!cat->csv || cat->recursive_told || columns->recursive_count == 0)
        return;
    cat->recursive_told = true;
    fprintf(stderr, "flotilla cat: note: CSV has no column for \"%s\", which leads back%s\n",
            columns->recursive[0], columns->recursive_count > 1 ? ", and others" : "");
}

/* The datums from here on are of the schema of `scan`. False if they cannot be printed, with the
 * reason. */
static bool begin_schema(struct cat *cat, const struct scan *scan, char *error, size_t error_bytes)
{
    bool at_once = cat->follow || scan_bytes(scan) == SCAN_BYTES_UNKNOWN;
    int status =
        printers_begin(cat->printers, schema_text(scan_schema(scan)), at_once, error, error_bytes);
    if (status == 0)
        tell_recursive(cat);
    return status == 0;
}

/* A file begins, or one that was joined behind another. */
static int begin_file(struct cat *cat, size_t file)
{
    char error[512];
    if (cat->schema_only)
        return print_schema(cat, file);
    if (begin_schema(cat, history_scan(cat->history), error, sizeof(error)))
        return EXIT_OK;
    history_next_file(cat->history);
    return tell(cat, file, error);
}

static int cat_rows(struct cat *cat)
{
    struct rows_event event;
    int status, code = EXIT_OK;
    while (cat->left > 0 && !ferror(stdout)) {
        status = history_next(cat->history, &event);
        if (status < 0) {
            fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
            return EXIT_FAILED;
        }
        if (event.kind == ROWS_END)
            break;
        if (event.kind == ROWS_FAULT) {
            tell(cat, event.at.file, event.what);
            code = worse(code, event.status == -EFBIG || event.status == -ENOTSUP ? EXIT_BEYOND
                                                                                  : EXIT_FAILED);
        }
        if (event.kind == ROWS_FILE && event.at.block > 0)
            tell_joined(cat, &event.at);
        if (event.kind == ROWS_FILE && begin_file(cat, event.at.file) != EXIT_OK)
            code = EXIT_FAILED;
        if (event.kind != ROWS_DATUM)
            continue;
        cat->left--;
        if (!printers_add(cat->printers, event.datum))
            return EXIT_FAILED;
    }
    return printers_flush(cat->printers) ? code : EXIT_FAILED;
}

static int cat_past(struct cat *cat, int files, char **paths)
{
    int code = inputs_list(&cat->catalog, files, paths, CATALOG_DATUMS);
    int status = history_open(&cat->history, &cat->catalog, &cat->span, ROWS_SHOW);
    if (status < 0)
        fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
    int read = status < 0 ? EXIT_FAILED : cat_rows(cat);
    if (read != EXIT_OK)
        code = worse(code, read);
    if (status == 0)
        history_close(cat->history);
    catalog_free(&cat->catalog);
    return code;
}

/* ---- following ---- */

/* The channel that a folder holds, or is to hold. False if it cannot be a channel's. */
static bool channel_of_folder(const char *folder, char *channel)
{
    char real[PATH_BYTES_MAX], inside[PATH_BYTES_MAX + 2];
    struct catalog catalog = {0};
    snprintf(inside, sizeof(inside), "%s/.", folder);
    int status = path_folder(inside, real, sizeof(real));
    const char *name = strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder;
    bool one = status == 0 || status == -ENOENT; /* it may come */
    if (status == 0)
        name = strrchr(real, '/') + 1;
    if (status == 0 && catalog_add(&catalog, folder, CATALOG_DATUMS) > 0) {
        name = catalog.files[0].name.channel;
        one = strcmp(catalog.files[catalog.count - 1].name.channel, name) == 0;
    }
    one = one && channel_name_is_valid(name);
    if (one)
        memcpy(channel, name, strlen(name) + 1);
    catalog_free(&catalog);
    return one;
}

/* Sets out to follow a file, or a channel's folder. `*number`: the file's to begin with; 0: none.
 */
static int open_tail(struct tail **tail, const char *path, uint64_t *number)
{
    char folder[PATH_BYTES_MAX];
    struct recording_name name = {.lane = RECORDING_DATUMS};
    const char *slash = strrchr(path, '/');
    bool is_file = recording_name_read(&name, slash != NULL ? slash + 1 : path);
    size_t bytes = is_file ? (slash == NULL ? 0 : (size_t)(slash - path) + 1) : strlen(path);
    while (bytes > 1 && path[bytes - 1] == '/')
        bytes--;
    snprintf(folder, sizeof(folder), "%.*s", bytes == 0 ? 1 : (int)bytes, bytes == 0 ? "." : path);
    *number = is_file ? name.number : 0;
    if (!is_file && !channel_of_folder(folder, name.channel)) {
        fprintf(stderr, "%s: is neither a recording nor a channel's folder\n", path);
        return EXIT_FAILED;
    }
    int status = tail_open(tail, folder, name.channel, name.lane);
    if (status < 0)
        fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
    return status < 0 ? EXIT_FAILED : EXIT_OK;
}

/* A file begins. False if it has not the fields that are wanted, after telling so. */
static bool begin_followed(struct cat *cat, const struct tail *tail)
{
    char error[512];
    if (begin_schema(cat, tail_scan(tail), error, sizeof(error)))
        return true;
    printers_flush(cat->printers);
    fprintf(stderr, "flotilla cat: %s\n", error);
    return false;
}

/* Prints what comes until it is to end. */
static int print_tail(struct cat *cat, struct tail *tail)
{
    struct tail_event event;
    int code = EXIT_OK, status = 0;
    while (cat->left > 0 && !interrupt_seen()) {
        status = tail_next(tail, &event);
        if (status < 0 || (event.kind == TAIL_DATUM && !printers_add(cat->printers, event.datum)))
            break;
        cat->left -= event.kind == TAIL_DATUM;
        if (event.kind == TAIL_FILE && !begin_followed(cat, tail))
            return EXIT_FAILED;
        if (event.kind == TAIL_FAULT) {
            fflush(stdout);
            fprintf(stderr, "%s\n", event.what);
            code = EXIT_FAILED;
        }
        if (event.kind != TAIL_NOTHING)
            continue;
        if (fflush(stdout) != 0 || output_is_unread())
            break;
        clock_sleep_until(clock_monotonic_ns() + FOLLOW_PACE_NS);
    }
    if (status == 0 || status == -EINTR)
        return code;
    fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
    return EXIT_FAILED;
}

static int follow(struct cat *cat, const char *path)
{
    struct tail *tail;
    uint64_t number;
    int code = open_tail(&tail, path, &number), status = 0;
    if (code != EXIT_OK)
        return code;
    interrupt_install();
    if (cat->span.from_ns > 0)
        status = tail_seek_time(tail, number, cat->span.from_ns);
    else if (number > 0)
        tail_seek(tail, &(struct tail_position){.number = number});
    else if (!cat->from_given)
        status = tail_seek_end(tail);
    code = status == 0 || status == -EINTR ? print_tail(cat, tail) : EXIT_FAILED;
    if (code != EXIT_OK && status < 0)
        fprintf(stderr, "%s: %s\n", path, strerror(-status));
    tail_close(tail);
    return code;
}

/* ---- the verb ---- */

/* What is wrong with options that do not go together; NULL: nothing. */
static const char *find_clash(const struct cat *cat, int files)
{
    bool fields = cat->fields.given != NULL, count = cat->left != UINT64_MAX;
    if (files == 0)
        return "which FILE?";
    if (cat->follow && (files > 1 || cat->schema_only || cat->span.to_ns != UINT64_MAX))
        return "--follow takes one FILE or FOLDER, and no --schema or --to";
    if (cat->points > 0 && (files > 1 || cat->follow || cat->schema_only || count))
        return "--points takes one FOLDER, a channel's, and no --follow, --schema or --count";
    if (cat->schema_only && (fields || count || cat->csv))
        return "--schema prints no datums: no --fields, --count or --csv";
    return NULL;
}

int verb_cat(int argc, char **argv)
{
    struct cat cat = {.left = UINT64_MAX, .span = {UINT64_MAX, UINT64_MAX}};
    const struct option_rule rules[] = {
        {.name = "count", .kind = OPTION_COUNT, .into = &cat.left, .low = 1},
        {.name = "csv", .kind = OPTION_FLAG, .into = &cat.csv},
        {.name = "fields", .kind = OPTION_TEXT, .into = &cat.fields.given},
        {.name = "schema", .kind = OPTION_FLAG, .into = &cat.schema_only},
        {.name = "from", .kind = OPTION_TIME, .into = &cat.span.from_ns},
        {.name = "to", .kind = OPTION_TIME, .into = &cat.span.to_ns},
        {.name = "follow", .kind = OPTION_FLAG, .into = &cat.follow},
        {.name = "points", .kind = OPTION_COUNT, .into = &cat.points, .low = 1},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv), code = EXIT_USAGE;
    if (files < 0)
        return EXIT_USAGE;
    const char *clash = find_clash(&cat, files);
    if (clash != NULL)
        return verb_usage(argv[0], "%s", clash);
    cat.from_given = cat.span.from_ns != UINT64_MAX;
    cat.span.from_ns = cat.from_given ? cat.span.from_ns : 0;
    if (inputs_check_span(argv[0], &cat.span) != EXIT_OK)
        return EXIT_USAGE;
    if (!fields_parse(&cat.fields, argv[0]))
        goto out;
    const struct printers_form form = {cat.fields.paths, cat.fields.count, cat.csv};
    cat.printers = printers_open(&form);
    code = EXIT_FAILED;
    if (cat.printers == NULL)
        fprintf(stderr, "flotilla cat: %s\n", strerror(ENOMEM));
    else
        code = cat.points > 0 ? cat_points(argv[1], &cat.span, cat.points, cat.printers)
               : cat.follow   ? follow(&cat, argv[1])
                              : cat_past(&cat, files, argv + 1);
    if (cat.follow && output_is_unread())
        verb_excuse_output();
out:
    printers_close(cat.printers);
    fields_free(&cat.fields);
    return code;
}
