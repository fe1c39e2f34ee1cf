/* SPDX-License-Identifier: MIT
 * Fuzzes the schema compiler: any text is read as a person's and as a file's schema, compiled,
 * written in canonical form and read again. What is judged: what a person may write a file may
 * hold; every finding has a place; the layout loads; the canonical form is stable and means the
 * same datums. Relies on libFuzzer; run with -max_len=8192. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/layout.h"
#include "schema/canonical.h"
#include "schema/schema.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what)
{
    if (condition)
        return;
    fprintf(stderr, "fuzz_schema: %s\n", what);
    abort();
}

static void ignore_leaf(void *context, uint32_t index, const char *path, const struct schema *type)
{
    must(index == (*(uint32_t *)context)++, "leaves are visited in order");
    must(path != NULL && type != NULL, "a leaf has a path and a type");
}

static void check_canonical(const struct schema_file *file)
{
    char *text = NULL, *again = NULL, error[300];
    size_t bytes, again_bytes;
    if (schema_canonical(file, &text, &bytes) < 0)
        return; /* no memory, or too long */
    struct schema_file *other =
        schema_parse((struct span){(uint8_t *)text, bytes}, error, sizeof(error));
    if (other == NULL)
        fprintf(stderr, "%s\n%s\n", text, error);
    must(other != NULL, "the canonical form is a schema");
    must(schema_canonical(other, &again, &again_bytes) == 0, "and has a canonical form");
    must(bytes == again_bytes && memcmp(text, again, bytes) == 0, "which is itself");
    schema_free(other);
    free(text);
    free(again);
}

static void check_compiled(const struct schema_file *file)
{
    char error[300];
    uint8_t *image;
    size_t bytes;
    struct layout layout;
    uint32_t leaves = 0;
    uint64_t least, most;
    if (schema_compile(file, NULL, NULL, &image, &bytes, error, sizeof(error)) < 0)
        return;
    must(layout_load(&layout, (struct span){image, bytes}) == 0, "a layout loads");
    schema_visit_leaves(file, &layout, ignore_leaf, &leaves);
    must(leaves == layout.leaf_count, "every leaf is visited");
    must(schema_datum_bytes(file, &least, &most) < 0 || least <= most, "least is not most");
    must(least >= layout.nodes[layout.root].min_bytes, "no datum is smaller than the layout says");
    free(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[300];
    struct schema_findings findings = {0};
    struct schema_file *written = schema_read((struct span){data, size}, &findings);
    for (size_t i = 0; i < findings.count; i++)
        must(findings.list[i].line > 0 && findings.list[i].column > 0, "a finding has a place");
    must((written == NULL) == (findings.errors > 0), "no schema without a reason");
    struct schema_file *file = schema_parse((struct span){data, size}, error, sizeof(error));
    must(written == NULL || file != NULL, "what a person may write, a file may hold");
    if (file != NULL) {
        check_canonical(file);
        check_compiled(file);
    }
    schema_findings_free(&findings);
    schema_free(written);
    schema_free(file);
    return 0;
}
