/* SPDX-License-Identifier: MIT
 * flotilla cat: the datums of container files as JSON lines, whoever wrote the file, finished or
 * still open. What can be read is printed; where it cannot be, the offset and the reason follow.
 * Relies on avro/container and avro/json. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avro/container.h"
#include "avro/json.h"
#include "base/check.h"
#include "cli/options.h"
#include "cli/verb.h"

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
    "A damaged file: what is readable, then FILE: offset N: reason on stderr, and exit 1.\n";

struct cat {
    uint64_t left; /* datums still to print */
    bool schema_only;
    struct json_text text;
};

static int cat_datums(struct cat *cat, struct container *container, const char *path)
{
    const struct schema *schema = schema_root(container_schema(container));
    char error[512];
    struct span datum;
    int status = 1;
    while (cat->left > 0 &&
           (status = container_next(container, &datum, error, sizeof(error))) == 1) {
        size_t bytes;
        json_text_clear(&cat->text);
        enum reject reason = datum_write_json(schema, datum, &bytes, &cat->text);
        CHECK(reason == REJECT_NONE && bytes == datum.bytes); /* container_next has checked it */
        json_text_add(&cat->text, "\n", 1);
        if (cat->text.failed) {
            fprintf(stderr, "%s: no memory for a datum of %zu bytes\n", path, datum.bytes);
            return EXIT_FAILED;
        }
        if (fwrite(cat->text.at, 1, cat->text.bytes, stdout) < cat->text.bytes)
            return EXIT_FAILED; /* told at the end, by verb_cat */
        cat->left--;
    }
    if (status >= 0)
        return EXIT_OK;
    fflush(stdout); /* so that the reason stands behind what was read */
    fprintf(stderr, "%s: %s\n", path, error);
    return EXIT_FAILED;
}

static int cat_file(struct cat *cat, const char *path)
{
    char error[512];
    struct container *container;
    if (container_open(path, &container, error, sizeof(error)) < 0) {
        fflush(stdout);
        fprintf(stderr, "%s: %s\n", path, error);
        return EXIT_FAILED;
    }
    int code = EXIT_OK;
    if (cat->schema_only) {
        struct span text = schema_text(container_schema(container));
        fwrite(text.at, 1, text.bytes, stdout);
        if (text.bytes == 0 || text.at[text.bytes - 1] != '\n')
            putchar('\n');
    } else
        code = cat_datums(cat, container, path);
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
