/* SPDX-License-Identifier: MIT
 * An Avro schema as a tree with names, read from its JSON text; what the tools print and make
 * datums with, and what a layout is compiled from. Relies on jansson. Never part of the relay.
 * Source: Avro 1.11 specification ("Schema Declaration", "Names", "Logical Types"). */
#ifndef FLOTILLA_AVRO_SCHEMA_H
#define FLOTILLA_AVRO_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

#include "avro/layout.h"
#include "base/span.h"

struct schema; /* one type; children may point back to it (recursion) */

struct schema_field {
    const char *name;
    const struct schema *type;
};

struct schema {
    enum layout_kind kind;
    const char *name;          /* full name of a named type, else NULL */
    const char *logical;       /* logicalType, else NULL */
    uint32_t count;            /* fields, branches, symbols, or a fixed's bytes */
    struct schema_field *fields;     /* record */
    const struct schema **branches;  /* union */
    const char **symbols;            /* enum */
    const struct schema *items;      /* array items, map values */
    uint32_t node;             /* index in the compiled layout */
    /* The fewest records, unions, arrays and maps that stand one in another in a datum of this
     * type; SCHEMA_LEVELS_MAX + 1 for more. */
    uint32_t levels;
};

#define SCHEMA_LEVELS_MAX 255u

struct schema_file; /* owns the tree and its strings */

/* Parses `text`. On failure returns NULL and a message for people in `error`: line and column for
 * JSON faults, the path within the schema ("fields[2].type") for others. Free with schema_free. */
struct schema_file *schema_parse(struct span text, char *error, size_t error_bytes);
const struct schema *schema_root(const struct schema_file *file);
struct span schema_text(const struct schema_file *file); /* verbatim */
/* Every type of the schema, each at the index its `node` says; `*count` of them. */
const struct schema *const *schema_types(const struct schema_file *file, uint32_t *count);
/* How the schema language calls the kind: "record", "long" ... */
const char *schema_kind_name(enum layout_kind kind);
/* 0 if datums of both are the same bytes with the same meaning: kinds, fields, symbols and logical
 * types agree (names of records, docs, defaults do not count). Else -EINVAL, and the first
 * difference in `difference`: "position.lat: float, not double" where `a` has the float. */
int schema_compare(const struct schema_file *a, const struct schema_file *b, char *difference,
                   size_t difference_bytes);
void schema_free(struct schema_file *file);

/* Compiles to a layout image (avro/layout.h) from malloc, 8-byte aligned, the caller's to free.
 * `time` and `sequence` name fields, dotted for nested records, or are NULL or "". 0, or -EINVAL
 * with a message (no such field, not a numeric field, too many nodes or leaves). */
int schema_compile(const struct schema_file *file, const char *time, const char *sequence,
                   uint8_t **image, size_t *image_bytes, char *error, size_t error_bytes);

/* Calls `visit` for every numeric leaf in the order of its index in `layout` (compiled from
 * `file`), with its dotted path; a branch of a union of several types shows as "value:double". The
 * path is valid during the call. */
void schema_visit_leaves(const struct schema_file *file, const struct layout *layout,
                         void (*visit)(void *context, uint32_t index, const char *path,
                                       const struct schema *type),
                         void *context);

#endif
