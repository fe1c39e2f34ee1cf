/* SPDX-License-Identifier: MIT
 * Compares two schemas: are their datums the same bytes with the same meaning. Recursion is met by
 * pairing types up: once two are paired, they are taken as the same wherever they meet again.
 * Relies on the schemas' trees. Known limit: a type used twice differs from two alike. */
#include "schema/schema.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/report.h"

#define COMPARE_DEPTH_MAX 1024u

/* Two types under comparison; `partner[a]` is the b that a was last compared with, plus one. */
struct comparison {
    struct report where; /* only the way */
    char *difference;
    size_t difference_bytes;
    uint32_t *partner;
    uint32_t depth;
};

/* Writes "PATH: text". Always false. */
__attribute__((format(printf, 2, 3))) static bool differ(struct comparison *comparison,
                                                         const char *format, ...)
{
    char path[256], text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    report_clean(text);
    report_path(&comparison->where, path, sizeof(path));
    snprintf(comparison->difference, comparison->difference_bytes, "%s%s%s", path,
             path[0] != '\0' ? ": " : "", text);
    return false;
}

/* What the type means besides its kind, or NULL. One that is unknown or does not fit is none; one
 * that only one side has may have been written to the schema later. */
static const char *meaning_of(const struct schema *type)
{
    return type->logical_holds ? type->logical : NULL;
}

static bool compare_types(struct comparison *comparison, const struct schema *a,
                          const struct schema *b)
{
    struct report *where = &comparison->where;
    if (a->kind != b->kind)
        return differ(comparison, "%s, not %s", schema_kind_name(a->kind),
                      schema_kind_name(b->kind));
    const char *meant = meaning_of(a), *other = meaning_of(b);
    if (meant != NULL && other != NULL && strcmp(meant, other) != 0)
        return differ(comparison, "logicalType %.60s, not %.60s", meant, other);
    if (a->kind <= LAYOUT_STRING)
        return true;
    if (comparison->partner[a->node] == b->node + 1)
        return true; /* compared already, or being compared further out */
    if (comparison->partner[a->node] != 0)
        return differ(comparison, "one %s used twice, not two of their own",
                      schema_kind_name(a->kind));
    comparison->partner[a->node] = b->node + 1;
    if (a->count != b->count)
        return differ(comparison, "%s of %u, not of %u", schema_kind_name(a->kind), a->count,
                      b->count);
    if (comparison->depth >= COMPARE_DEPTH_MAX)
        return differ(comparison, "types nest too deep to be compared");

    bool same = true;
    comparison->depth++;
    switch (a->kind) {
    case LAYOUT_RECORD:
        for (uint32_t i = 0; same && i < a->count; i++) {
            if (strcmp(a->fields[i].name, b->fields[i].name) != 0) {
                same = differ(comparison, "field %u is \"%.60s\", not \"%.60s\"", i,
                              a->fields[i].name, b->fields[i].name);
                break;
            }
            report_into_key(where, a->fields[i].name);
            same = compare_types(comparison, a->fields[i].type, b->fields[i].type);
            report_out(where);
        }
        break;
    case LAYOUT_UNION:
        for (uint32_t i = 0; same && i < a->count; i++) {
            report_into_index(where, i);
            same = compare_types(comparison, a->branches[i], b->branches[i]);
            report_out(where);
        }
        break;
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
        report_into_key(where, "[]");
        same = compare_types(comparison, a->items, b->items);
        report_out(where);
        break;
    case LAYOUT_ENUM:
        for (uint32_t i = 0; same && i < a->count; i++)
            if (strcmp(a->symbols[i], b->symbols[i]) != 0)
                same = differ(comparison, "symbol %u is \"%.60s\", not \"%.60s\"", i, a->symbols[i],
                              b->symbols[i]);
        break;
    default:
        break;
    }
    comparison->depth--;
    return same;
}

int schema_compare(const struct schema_file *a, const struct schema_file *b, char *difference,
                   size_t difference_bytes)
{
    struct comparison comparison = {.difference = difference, .difference_bytes = difference_bytes};
    uint32_t count;
    schema_types(a, &count);
    comparison.partner = calloc(count, sizeof(uint32_t));
    int status = report_begin(&comparison.where, (struct span){NULL, 0}, NULL);
    if (comparison.partner == NULL || status < 0) {
        differ(&comparison, "%s", strerror(ENOMEM));
        status = -ENOMEM;
    } else if (!compare_types(&comparison, schema_root(a), schema_root(b)))
        status = -EINVAL;
    report_end(&comparison.where);
    free(comparison.partner);
    return status;
}
