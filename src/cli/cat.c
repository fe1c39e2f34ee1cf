/* SPDX-License-Identifier: MIT
 * flotilla cat: the datums of container files as JSON lines, whoever wrote the file, finished or
 * still open. What can be read is printed; where it cannot be, the offset and the reason follow.
 * Relies on archive/rows and cli/fields. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "archive/rows.h"
#include "base/check.h"
#include "cli/fields.h"
#include "cli/options.h"
#include "cli/recording.h"
#include "cli/verb.h"

const char verb_cat_help[] =
    "usage: flotilla cat FILE|FOLDER... [--count N] [--fields PATH,...] [--schema]\n"
    "\n"
    "Prints the datums of Avro container files, one JSON object a line. Reads files that are\n"
    "still being written (.avro.part) and files of other programs (codecs null and deflate).\n"
    "\n"
    "  flotilla cat recordings/engine/*.avro\n"
    "  flotilla cat recordings/engine/*.avro.part --count 10\n"
    "  flotilla cat --schema recordings/engine/*.avro.part\n"
    "  flotilla cat recordings/engine/*.avro --fields time,position.lat | jq .position.lat\n"
    "\n"
    "  --count N           stop after N datums of all files together\n"
    "  --fields PATH,...   only these fields, dotted for nested records ('flotilla schema' lists\n"
    "                      them), where they stand in the whole datum; what is not there is null\n"
    "  --schema            print each file's schema, as it stands in the file, and no datums\n"
    "\n"
    "Numbers are written with the digits that read back to the same value; NaN and infinities as\n"
    "\"NaN\", \"Infinity\", \"-Infinity\"; bytes and fixed as strings, one character a byte.\n"
    "A damaged file: what is readable, then FILE: offset N: reason on stderr, and exit 1. So it "
    "is\n"
    "with a header or a block that can be read and does not match its checksum ('flotilla verify'\n"
    "tells more).\n";

struct cat {
    uint64_t left; /* datums still to print */
    bool schema_only;
    struct catalog catalog;
    struct rows *rows;
    struct fields fields;
    struct json_text text;
};

/* Prints one datum. False when that was not possible, after telling why or with stdout's error. */
static bool print_datum(struct cat *cat, const struct rows_event *row)
{
    size_t bytes;
    json_text_clear(&cat->text);
    enum reject reason = fields_write(&cat->fields, row->datum, &bytes, &cat->text);
    CHECK(reason == REJECT_NONE && bytes == row->datum.bytes); /* rows has checked it */
    json_text_add(&cat->text, "\n", 1);
    if (cat->text.failed)
        fprintf(stderr, "%s: no memory for a datum of %zu bytes\n",
                cat->catalog.files[row->at.file].path, row->datum.bytes);
    return !cat->text.failed && fwrite(cat->text.at, 1, cat->text.bytes, stdout) == cat->text.bytes;
}

static int tell(const struct cat *cat, size_t file, const char *what)
{
    fflush(stdout); /* so that the reason stands behind what was read */
    fprintf(stderr, "%s: %s\n", cat->catalog.files[file].path, what);
    return EXIT_FAILED;
}

static void pass_over(struct cat *cat, size_t file)
{
    rows_seek(cat->rows, &(struct row_position){.file = file + 1});
}

/* Prints the schema of the file that begins, and goes to the next one. */
static int print_schema(struct cat *cat, size_t file)
{
    const struct scan *scan = rows_scan(cat->rows);
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
    pass_over(cat, file);
    return code;
}

/* A file begins, or one that was joined behind another. */
static int begin_file(struct cat *cat, size_t file)
{
    char error[512];
    if (cat->schema_only)
        return print_schema(cat, file);
    if (fields_begin(&cat->fields, scan_schema(rows_scan(cat->rows)), error, sizeof(error)))
        return EXIT_OK;
    pass_over(cat, file);
    return tell(cat, file, error);
}

static int cat_rows(struct cat *cat)
{
    struct rows_event event;
    int status, code = EXIT_OK;
    while (cat->left > 0 && !ferror(stdout)) {
        status = rows_next(cat->rows, &event);
        if (status < 0) {
            fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
            return EXIT_FAILED;
        }
        if (event.kind == ROWS_END)
            break;
        if (event.kind == ROWS_FAULT)
            code = tell(cat, event.at.file, event.what);
        if (event.kind == ROWS_FILE && begin_file(cat, event.at.file) != EXIT_OK)
            code = EXIT_FAILED;
        if (event.kind != ROWS_DATUM)
            continue;
        if (!print_datum(cat, &event))
            return EXIT_FAILED;
        cat->left--;
    }
    return code;
}

int verb_cat(int argc, char **argv)
{
    struct cat cat = {.left = UINT64_MAX};
    const struct option_rule rules[] = {
        {.name = "count", .kind = OPTION_COUNT, .into = &cat.left, .low = 1},
        {.name = "fields", .kind = OPTION_TEXT, .into = &cat.fields.given},
        {.name = "schema", .kind = OPTION_FLAG, .into = &cat.schema_only},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files == 0)
        return verb_usage(argv[0], "which FILE?");
    if (!fields_parse(&cat.fields, argv[0])) {
        fields_free(&cat.fields);
        return EXIT_USAGE;
    }
    int code = recording_list(&cat.catalog, files, argv + 1, CATALOG_DATUMS);
    int status = rows_open(&cat.rows, &cat.catalog, ROWS_SHOW);
    if (status < 0)
        fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
    if (status < 0 || cat_rows(&cat) != EXIT_OK)
        code = EXIT_FAILED;
    rows_close(cat.rows);
    catalog_free(&cat.catalog);
    fields_free(&cat.fields);
    json_text_free(&cat.text);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "flotilla cat: could not write all of the output\n");
        return EXIT_FAILED;
    }
    return code;
}
