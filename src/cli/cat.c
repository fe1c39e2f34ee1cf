/* SPDX-License-Identifier: MIT
 * flotilla cat: the datums of container files as JSON lines, whoever wrote the file, finished or
 * still open. What can be read is printed; where it cannot be, the offset and the reason follow.
 * Blocks of Flotilla's own are also held against their checksums, which other readers do not know.
 * Relies on archive/container, avro/block and schema/json. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "archive/container.h"
#include "archive/rows.h"
#include "avro/block.h"
#include "base/check.h"
#include "cli/options.h"
#include "cli/verb.h"
#include "os/file.h"
#include "schema/json.h"

const char verb_cat_help[] =
    "usage: flotilla cat FILE... [--count N] [--schema]\n"
    "\n"
    "Prints the datums of Avro container files, one JSON object a line. Reads files that are\n"
    "still being written (.avro.part) and files of other programs (codecs null and deflate).\n"
    "\n"
    "  flotilla cat recordings/engine/*.avro\n"
    "  flotilla cat recordings/engine/*.avro.part --count 10\n"
    "  flotilla cat --schema recordings/engine/*.avro.part\n"
    "\n"
    "  --count N   stop after N datums of all files together\n"
    "  --schema    print each file's schema, as it stands in the file, and no datums\n"
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
    struct json_text text;
};

/* A recording of our own, read a second time, block by block, for the checksums. */
struct checker {
    int descriptor;    /* -1: there is nothing to check */
    bool header_wrong; /* it is ours, and not what was written: names in it may be others */
    uint8_t sync[BLOCK_SYNC_BYTES];
    uint64_t checked; /* up to this offset */
};

/* Files of other programs have no checksums, and what cannot be read twice is not checked. */
static void checker_open(struct checker *checker, const char *path)
{
    *checker = (struct checker){.descriptor = file_open_read(path)};
    if (checker->descriptor < 0)
        return;
    uint8_t *header = NULL;
    size_t room = 64u << 10;
    long header_bytes = -ENODATA;
    for (; header_bytes == -ENODATA && room <= CONTAINER_BLOCK_BYTES_MAX; room *= 4) {
        uint8_t *more = realloc(header, room);
        if (more == NULL)
            break;
        header = more;
        long got = file_read_at(checker->descriptor, header, room, 0);
        if (got <= 0)
            break;
        struct span bytes = {header, (size_t)got};
        header_bytes = block_read_header(bytes, checker->sync);
        if (header_bytes > 0) {
            int status = block_check_header((struct span){header, (size_t)header_bytes});
            checker->header_wrong = status == -EBADMSG;
            if (status == -ENODATA)
                header_bytes = -EBADMSG; /* not ours */
        }
        if ((size_t)got < room)
            break;
    }
    free(header);
    if (header_bytes <= 0) {
        descriptor_close(checker->descriptor);
        checker->descriptor = -1;
    }
}

/* Whether the block from `begin` to `end` is what was written. True as well if it cannot be told.
 */
static bool checker_matches(struct checker *checker, uint64_t begin, uint64_t end)
{
    if (checker->descriptor < 0 || begin < checker->checked || end <= begin)
        return true;
    checker->checked = end;
    size_t bytes = (size_t)(end - begin);
    uint8_t *image = malloc(bytes);
    bool matches = true;
    struct block_info info;
    if (image != NULL && file_read_at(checker->descriptor, image, bytes, begin) == (long)bytes)
        matches =
            block_inspect((struct span){image, bytes}, checker->sync, &info) == 0 && info.sound;
    free(image);
    return matches;
}

/* Prints one datum. False when that was not possible, after telling why or with stdout's error. */
static bool cat_datum(struct cat *cat, const struct schema *schema, struct span datum,
                      const char *path)
{
    size_t bytes;
    json_text_clear(&cat->text);
    enum reject reason = datum_write_json(schema, datum, &bytes, &cat->text);
    CHECK(reason == REJECT_NONE && bytes == datum.bytes); /* container_next has checked it */
    json_text_add(&cat->text, "\n", 1);
    if (cat->text.failed)
        fprintf(stderr, "%s: no memory for a datum of %zu bytes\n", path, datum.bytes);
    return !cat->text.failed && fwrite(cat->text.at, 1, cat->text.bytes, stdout) == cat->text.bytes;
}

static void tell_mismatch(const char *path, uint64_t offset)
{
    fflush(stdout);
    fprintf(stderr, "%s: offset %" PRIu64 ": the block does not match its checksum\n", path,
            offset);
}

static int cat_datums(struct cat *cat, struct container *container, struct checker *checker,
                      const char *path)
{
    const struct schema *schema = schema_root(container_schema(container));
    char error[512];
    struct span datum;
    int status = 1, code = EXIT_OK;
    uint64_t begin = 0, end = 0, wrong = 0;
    while (cat->left > 0 &&
           (status = container_next(container, &datum, error, sizeof(error))) == 1) {
        uint64_t before = begin;
        container_block(container, &begin, &end);
        if (wrong && begin != before) {
            tell_mismatch(path, wrong);
            wrong = 0;
        }
        if (!checker_matches(checker, begin, end)) {
            wrong = begin; /* told behind its datums */
            code = EXIT_FAILED;
        }
        if (!cat_datum(cat, schema, datum, path)) {
            code = EXIT_FAILED;
            break;
        }
        cat->left--;
    }
    if (wrong)
        tell_mismatch(path, wrong);
    if (status >= 0)
        return code;
    fflush(stdout); /* so that the reason stands behind what was read */
    fprintf(stderr, "%s: %s\n", path, error);
    return EXIT_FAILED;
}

static int cat_file(struct cat *cat, const char *path)
{
    char error[512];
    struct container *container;
    struct checker checker;
    if (container_open(path, &container, error, sizeof(error)) < 0) {
        fflush(stdout);
        fprintf(stderr, "%s: %s\n", path, error);
        return EXIT_FAILED;
    }
    int code = EXIT_OK;
    checker_open(&checker, path);
    if (cat->schema_only) {
        struct span text = schema_text(container_schema(container));
        fwrite(text.at, 1, text.bytes, stdout);
        if (text.bytes == 0 || text.at[text.bytes - 1] != '\n')
            putchar('\n');
    } else
        code = cat_datums(cat, container, &checker, path);
    if (checker.header_wrong) {
        fflush(stdout);
        fprintf(stderr, "%s: offset 0: the header does not match its checksum\n", path);
        code = EXIT_FAILED;
    }
    descriptor_close(checker.descriptor);
    container_close(container);
    return code;
}

int verb_cat(int argc, char **argv)
{
    struct cat cat = {.left = UINT64_MAX};
    const struct option_rule rules[] = {
        {.name = "count", .kind = OPTION_COUNT, .into = &cat.left, .low = 1},
        {.name = "schema", .kind = OPTION_FLAG, .into = &cat.schema_only},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files == 0)
        return verb_usage(argv[0], "which FILE?");
    int code = EXIT_OK;
    for (int i = 1; i <= files && cat.left > 0 && !ferror(stdout); i++)
        if (cat_file(&cat, argv[i]) != EXIT_OK)
            code = EXIT_FAILED;
    json_text_free(&cat.text);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "flotilla cat: could not write all of the output\n");
        return EXIT_FAILED;
    }
    return code;
}
