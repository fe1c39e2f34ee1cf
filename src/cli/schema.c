/* SPDX-License-Identifier: MIT
 * flotilla schema: judges an Avro schema, shows what a relay makes of it, and writes the compiled
 * layout for a relay that is run by hand. Relies on schema/schema and os/file; what is wrong is
 * printed as for fleet.yaml, with the line and a caret. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/check.h"
#include "cli/columns.h"
#include "cli/verb.h"
#include "command/options.h"
#include "config/faults.h"
#include "control/json_text.h"
#include "os/file.h"
#include "schema/canonical.h"
#include "schema/columns.h"
#include "schema/schema.h"

const char verb_schema_help[] =
    "usage: flotilla schema FILE [--json] [-o OUT.layout] [--time FIELD] [--sequence FIELD]\n"
    "\n"
    "Checks an Avro schema and shows what a relay makes of it: canonical form and fingerprint, "
    "the\n"
    "size of a datum, the layout that datums are checked with, and the numbers in it; and the\n"
    "columns that charts and exports have of it, with the units and docs in the schema.\n"
    "\n"
    "  flotilla schema schemas/engine.avsc\n"
    "  flotilla schema schemas/engine.avsc --json | jq -r .fingerprint\n"
    "  flotilla schema schemas/engine.avsc --time time --sequence counter -o engine.layout\n"
    "  flotilla-relay --name engine --layout engine.layout ...\n"
    "\n"
    "  --json             one object, for machines; with errors and warnings in it\n"
    "  -o, --output OUT   also write the compiled layout, for flotilla-relay --layout\n"
    "  --time FIELD       the field that is the abscissa, dotted for nested records\n"
    "  --sequence FIELD   the int or long field that counts up by one\n"
    "\n"
    "Types may be written 512 deep in one another; a datum may nest 256 records, unions, arrays\n"
    "and maps. Exit: 0 good, perhaps with warnings; 1 not.\n";

/* All that is shown of a schema. */
struct subject {
    const char *path;
    uint8_t *text, *image;
    size_t text_bytes, image_bytes;
    struct schema_findings findings;
    struct schema_refusal refusal; /* by the compiler; no message if it took the schema */
    struct schema_file *file;
    struct layout layout;
    const struct columns *columns; /* NULL: there would be too many */
    char too_many[200];            /* in words */
    char *canonical;
    uint64_t fingerprint, least_bytes, most_bytes;
};

static void print_findings(const struct subject *subject)
{
    struct config_file file = {.text = subject->text, .bytes = subject->text_bytes};
    struct config_faults faults = {0};
    struct text messages = {0};
    snprintf(file.name, sizeof(file.name), "%s", subject->path);
    for (size_t i = 0; i < subject->findings.count; i++) {
        const struct schema_finding *one = &subject->findings.list[i];
        struct config_place place = {&file, one->line, one->column};
        (one->warning ? config_warning : config_error)(&faults, place, "%s%s%s", one->path,
                                                       one->path[0] ? ": " : "", one->message);
    }
    if (subject->refusal.message[0] != '\0')
        config_error(&faults,
                     (struct config_place){&file, subject->refusal.line, subject->refusal.column},
                     "%s", subject->refusal.message);
    config_faults_write(&faults, &messages);
    text_print(&messages, stderr);
    config_faults_free(&faults);
    if (subject->findings.more > 0)
        fprintf(stderr, "%s: ... and %zu more\n", subject->path, subject->findings.more);
    if (subject->findings.errors > 0 && subject->findings.list == NULL)
        fprintf(stderr, "%s: %s\n", subject->path, strerror(ENOMEM));
}

/* ---- for people ---- */

static void print_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    const struct layout *layout = context;
    printf("%8" PRIu32 "  %-6s  %s", index, schema_kind_name(type->kind), path[0] ? path : "-");
    if (type->logical != NULL)
        printf("  %s%s", type->logical, type->logical_holds ? "" : " (ignored)");
    if (index == layout->time_leaf)
        printf("  [time]");
    if (index == layout->sequence_leaf)
        printf("  [sequence]");
    printf("\n");
}

/* How many links go out of the node. */
static uint32_t node_links(const struct layout_node *node)
{
    return node->kind == LAYOUT_RECORD || node->kind == LAYOUT_UNION ? node->count
           : node->kind == LAYOUT_ARRAY || node->kind == LAYOUT_MAP  ? 1
                                                                     : 0;
}

static void print_layout(const struct layout *layout)
{
    printf("\n    NODE  KIND     COUNT  BYTES>=  LINKS (~ to numbers that are not counted)\n");
    for (uint32_t i = 0; i < layout->node_count; i++) {
        const struct layout_node *node = &layout->nodes[i];
        printf("%8" PRIu32 "  %-7s  %5" PRIu32 "  %7" PRIu32, i, schema_kind_name(node->kind),
               node->count, node->min_bytes);
        for (uint32_t k = 0; k < node_links(node); k++) {
            uint32_t link = layout->links[node->first + k];
            printf("%s%s%" PRIu32, k == 0 ? "  " : " ", link & LAYOUT_LINK_UNNUMBERED ? "~" : "",
                   link & ~LAYOUT_LINK_UNNUMBERED);
        }
        printf("\n");
    }
}

static void print_text(const struct subject *subject)
{
    const struct layout *layout = &subject->layout;
    printf("canonical    %s\n", subject->canonical);
    printf("fingerprint  %016" PRIx64 " (CRC-64-AVRO; in single-object encoding c3 01",
           subject->fingerprint);
    for (int i = 0; i < 8; i++)
        printf(" %02x", (unsigned)(subject->fingerprint >> 8 * i & 0xff));
    printf(")\ndatum        %" PRIu64, subject->least_bytes);
    if (subject->most_bytes == UINT64_MAX)
        printf(" bytes or more, unbounded\n");
    else if (subject->most_bytes == subject->least_bytes)
        printf(" byte%s\n", subject->least_bytes == 1 ? "" : "s");
    else
        printf(" to %" PRIu64 " bytes\n", subject->most_bytes);
    printf("layout       %" PRIu32 " types, %" PRIu32 " links, %zu bytes with the schema\n",
           layout->node_count, layout->link_count, subject->image_bytes);
    printf("numbers      %" PRIu32 "\n", layout->leaf_count);
    print_layout(layout);
    if (layout->leaf_count > 0)
        printf("\n  NUMBER  KIND    FIELD\n");
    schema_visit_leaves(subject->file, layout, print_leaf, (void *)(uintptr_t)layout);
    if (subject->columns != NULL)
        columns_print(subject->columns);
    else
        printf("\nno columns: %s\n", subject->too_many);
}

/* ---- for machines ---- */

struct leaf_list {
    const struct layout *layout;
    json_t *list;
};

static void add_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    const struct leaf_list *leaves = context;
    json_array_append_new(
        leaves->list, json_pack("{s:I, s:s, s:s, s:s?, s:b, s:b, s:b}", "number", (json_int_t)index,
                                "field", path, "type", schema_kind_name(type->kind), "logical",
                                type->logical_holds ? type->logical : NULL, "aggregated",
                                !layout_is_kept(leaves->layout, index), "time",
                                index == leaves->layout->time_leaf, "sequence",
                                index == leaves->layout->sequence_leaf));
}

static json_t *layout_json(const struct subject *subject)
{
    const struct layout *layout = &subject->layout;
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < layout->node_count; i++) {
        const struct layout_node *node = &layout->nodes[i];
        json_t *links = json_array(), *reentries = json_array();
        for (uint32_t k = 0; k < node_links(node); k++) {
            uint32_t link = layout->links[node->first + k];
            json_array_append_new(links, json_integer(link & ~LAYOUT_LINK_UNNUMBERED));
            if (link & LAYOUT_LINK_UNNUMBERED)
                json_array_append_new(reentries, json_integer(k));
        }
        json_array_append_new(
            nodes, json_pack("{s:s, s:I, s:I, s:o, s:o}", "kind", schema_kind_name(node->kind),
                             "count", (json_int_t)node->count, "min_bytes",
                             (json_int_t)node->min_bytes, "links", links, "reentries", reentries));
    }
    return json_pack("{s:I, s:I, s:o}", "bytes", (json_int_t)subject->image_bytes, "root",
                     (json_int_t)layout->root, "nodes", nodes);
}

static json_t *findings_json(const struct subject *subject, bool warnings)
{
    json_t *list = json_array();
    for (size_t i = 0; i < subject->findings.count; i++) {
        const struct schema_finding *one = &subject->findings.list[i];
        if (one->warning == warnings)
            json_array_append_new(
                list, json_pack("{s:I, s:I, s:o, s:o}", "line", (json_int_t)one->line, "column",
                                (json_int_t)one->column, "path", json_of_text(one->path), "message",
                                json_of_text(one->message)));
    }
    if (!warnings && subject->refusal.message[0] != '\0')
        json_array_append_new(list, json_pack("{s:I, s:I, s:s, s:o}", "line",
                                              (json_int_t)subject->refusal.line, "column",
                                              (json_int_t)subject->refusal.column, "path", "",
                                              "message", json_of_text(subject->refusal.message)));
    return list;
}

static int print_json(const struct subject *subject, bool good)
{
    json_t *all = json_pack("{s:o, s:b, s:o, s:o}", "file", json_of_text(subject->path), "valid",
                            good, "errors", findings_json(subject, false), "warnings",
                            findings_json(subject, true));
    if (good) {
        char hex[17], bytes[17];
        struct leaf_list leaves = {&subject->layout, json_array()};
        snprintf(hex, sizeof(hex), "%016" PRIx64, subject->fingerprint);
        for (int i = 0; i < 8; i++)
            snprintf(bytes + 2 * i, 3, "%02x", (unsigned)(subject->fingerprint >> 8 * i & 0xff));
        schema_visit_leaves(subject->file, &subject->layout, add_leaf, &leaves);
        json_t *most = subject->most_bytes == UINT64_MAX
                           ? json_null()
                           : json_integer((json_int_t)subject->most_bytes);
        json_object_update_new(
            all, json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "canonical", subject->canonical,
                           "fingerprint", hex, "fingerprint_bytes", bytes, "min_bytes",
                           (json_int_t)subject->least_bytes, "max_bytes", most, "layout",
                           layout_json(subject), "numbers", leaves.list));
        columns_add_json(subject->columns, all);
    }
    int status = all == NULL ? -1 : json_dumpf(all, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    printf("\n");
    json_decref(all);
    if (status < 0)
        fprintf(stderr, "flotilla schema: %s: cannot be shown as JSON\n", subject->path);
    return status;
}

/* Of what has no place: memory. */
static struct schema_refusal refusal_of(int status)
{
    struct schema_refusal refusal = {.line = 1, .column = 1};
    snprintf(refusal.message, sizeof(refusal.message), "%s", strerror(-status));
    return refusal;
}

/* 0, or -1 with findings or a refusal. */
static int compile(struct subject *subject, const char *time, const char *sequence)
{
    size_t canonical_bytes;
    subject->file =
        schema_read((struct span){subject->text, subject->text_bytes}, &subject->findings);
    const struct schema_use use = {.time = time, .sequence = sequence};
    if (subject->file == NULL || schema_compile_for(subject->file, &use, &subject->image,
                                                    &subject->image_bytes, &subject->refusal) < 0)
        return -1;
    int status = layout_load(&subject->layout, (struct span){subject->image, subject->image_bytes});
    CHECK(status == 0);
    subject->fingerprint = subject->layout.fingerprint;
    status = schema_canonical(subject->file, &subject->canonical, &canonical_bytes);
    if (status == 0)
        status = schema_datum_bytes(subject->file, &subject->least_bytes, &subject->most_bytes);
    if (status == 0 && columns_select(subject->file, NULL, 0, &subject->columns, subject->too_many,
                                      sizeof(subject->too_many)) == -ENOMEM)
        status = -ENOMEM;
    if (status < 0)
        subject->refusal = refusal_of(status);
    return status;
}

int verb_schema(int argc, char **argv)
{
    const char *output = NULL, *time = NULL, *sequence = NULL;
    bool json = false;
    const struct option_rule rules[] = {
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
        {.name = "output", .letter = 'o', .kind = OPTION_TEXT, .into = &output},
        {.name = "time", .kind = OPTION_TEXT, .into = &time},
        {.name = "sequence", .kind = OPTION_TEXT, .into = &sequence},
    };
    int files = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (files < 0)
        return EXIT_USAGE;
    if (files != 1)
        return verb_usage(argv[0], files == 0 ? "which FILE?" : "one FILE at a time");

    struct subject subject = {.path = argv[1]};
    int status =
        file_read_whole(subject.path, LAYOUT_SCHEMA_BYTES_MAX, &subject.text, &subject.text_bytes);
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", subject.path, file_error_text(status));
        return EXIT_FAILED;
    }
    bool good = compile(&subject, time, sequence) == 0;
    int code = good ? EXIT_OK : EXIT_FAILED;
    if (!json)
        print_findings(&subject);
    else if (print_json(&subject, good) < 0)
        code = EXIT_FAILED;
    if (good && !json)
        print_text(&subject);
    if (good && output != NULL) {
        status = file_write_whole(output, (struct span){subject.image, subject.image_bytes});
        if (status < 0) {
            fprintf(stderr, "%s: %s\n", output, strerror(-status));
            code = EXIT_FAILED;
        }
    }
    schema_findings_free(&subject.findings);
    columns_free(subject.columns);
    schema_free(subject.file);
    free(subject.canonical);
    free(subject.image);
    free(subject.text);
    return code;
}
