/* SPDX-License-Identifier: MIT
 * flotilla schema: checks an Avro schema, shows what a relay makes of it, and writes the compiled
 * layout for a relay that is run by hand. Relies on avro/schema and os/file. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/schema.h"
#include "base/check.h"
#include "cli/options.h"
#include "cli/verb.h"
#include "os/file.h"

const char verb_schema_help[] =
    "usage: flotilla schema FILE [-o OUT.layout] [--time FIELD] [--sequence FIELD]\n"
    "\n"
    "Checks an Avro schema and lists its numbers as a relay sees them.\n"
    "\n"
    "  flotilla schema schemas/engine.avsc\n"
    "  flotilla schema schemas/engine.avsc --time time --sequence counter -o engine.layout\n"
    "  flotilla-relay --name engine --layout engine.layout ...\n"
    "\n"
    "  -o, --output OUT   also write the compiled layout, for flotilla-relay --layout\n"
    "  --time FIELD       the field that is the abscissa, dotted for nested records\n"
    "  --sequence FIELD   the int or long field that counts up by one\n";

static void print_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    const struct layout *layout = context;
    printf("%8" PRIu32 "  %-6s  %s", index, schema_kind_name(type->kind), path[0] ? path : "-");
    if (type->logical != NULL)
        printf("  %s%s", type->logical,
               layout->nodes[type->node].flags & LAYOUT_NODE_PLAIN_VALUE ? "" : " (unknown)");
    if (index == layout->time_leaf)
        printf("  [time]");
    if (index == layout->sequence_leaf)
        printf("  [sequence]");
    printf("\n");
}

int verb_schema(int argc, char **argv)
{
    const char *output = NULL, *time = NULL, *sequence = NULL;
    const struct option_rule rules[] = {
        {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .into = &output},
        {.name = "time", .kind = OPTION_TEXT, .into = &time},
        {.name = "sequence", .kind = OPTION_TEXT, .into = &sequence},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files != 1)
        return verb_usage(argv[0], files == 0 ? "which FILE?" : "one FILE at a time");

    const char *path = argv[1];
    char error[512];
    uint8_t *text = NULL, *image = NULL;
    size_t text_bytes, image_bytes;
    struct schema_file *file = NULL;
    struct layout layout;
    int code = EXIT_FAILED;
    int status = file_read_whole(path, LAYOUT_SCHEMA_BYTES_MAX, &text, &text_bytes);
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(-status));
        return EXIT_FAILED;
    }
    file = schema_parse((struct span){text, text_bytes}, error, sizeof(error));
    if (file == NULL ||
        schema_compile(file, time, sequence, &image, &image_bytes, error, sizeof(error)) < 0) {
        fprintf(stderr, "%s: %s\n", path, error);
        goto out;
    }
    status = layout_load(&layout, (struct span){image, image_bytes});
    CHECK(status == 0);
    printf("%" PRIu32 " types, %" PRIu32 " numbers, a datum takes %" PRIu32 " bytes or more\n",
           layout.node_count, layout.leaf_count, layout.nodes[layout.root].min_bytes);
    schema_visit_leaves(file, &layout, print_leaf, &layout);
    code = EXIT_OK;
    if (output != NULL) {
        status = file_write_whole(output, (struct span){image, image_bytes});
        if (status < 0) {
            fprintf(stderr, "%s: %s\n", output, strerror(-status));
            code = EXIT_FAILED;
        }
    }
    if (fflush(stdout) != 0)
        code = EXIT_FAILED;
out:
    schema_free(file);
    free(image);
    free(text);
    return code;
}
