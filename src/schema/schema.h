/* SPDX-License-Identifier: MIT
 * An Avro schema as a tree with names, read from its JSON text; what the tools print and make
 * datums with, and what a layout is compiled from. Relies on jansson. Never part of the relay.
 * Source: Avro 1.11 specification ("Schema Declaration", "Names", "Logical Types"). */
#ifndef FLOTILLA_SCHEMA_SCHEMA_H
#define FLOTILLA_SCHEMA_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/layout.h"
#include "base/span.h"

struct schema; /* one type; children may point back to it (recursion) */
struct report_place;

struct schema_field {
    const char *name;
    const char *json; /* the name as a key in JSON, with what stands behind it: "lat":  */
    size_t json_bytes;
    const struct schema *type;
    const char *doc, *unit; /* as beside the type's below; NULL: none */
    bool has_default;
};

struct schema {
    enum layout_kind kind;
    const char *name;    /* full name of a named type, else NULL */
    const char *logical; /* logicalType as written, else NULL */
    bool logical_holds;  /* it is one of Avro's and fits the type; else it is to be ignored */
    /* Of a logical type "decimal" that holds: the value is an integer of `precision` digits, times
     * ten to the power of -scale. */
    uint32_t precision, scale;
    /* What people wrote about the type: its "doc", and its "unit" (or "units"), which Avro does not
     * know but lets stand. NULL: nothing, or what is no string. */
    const char *doc, *unit;
    uint32_t count;                 /* fields, branches, symbols, or a fixed's bytes */
    struct schema_field *fields;    /* record */
    const struct schema **branches; /* union */
    const char **symbols;           /* enum */
    const struct schema *items;     /* array items, map values */
    uint32_t node;                  /* index in the compiled layout */
    /* The fewest records, unions, arrays and maps that stand one in another in a datum of this
     * type; SCHEMA_LEVELS_MAX + 1 for more. */
    uint32_t levels;
    const struct report_place *place; /* where it is written; of schema_read's alone */
};

#define SCHEMA_LEVELS_MAX LAYOUT_DEPTH_MAX

struct schema_file; /* owns the tree and its strings */

/* Something to say about a schema. */
struct schema_finding {
    bool warning;          /* the schema is good nevertheless */
    uint32_t line, column; /* from 1; columns in characters */
    const char *path;      /* within the schema, "fields[2].type"; "" for the whole */
    const char *message;   /* for people, without line, column and path */
};

#define SCHEMA_FINDINGS_MAX 100u

/* All zero to begin with. */
struct schema_findings {
    struct schema_finding *list; /* by line and column */
    size_t count;                /* in the list */
    size_t errors;               /* of all, those that are no warnings */
    size_t more;                 /* found beyond SCHEMA_FINDINGS_MAX and not in the list */
};

/* Reads a schema that a person wrote and that goes into recordings, and judges all of it: also
 * defaults, order, docs, aliases, logical types, attributes that nobody knows, and what some
 * readers of Avro files would not open. Everything that is wrong or doubtful goes to `findings`,
 * which the caller frees with schema_findings_free in any case. Returns NULL if there was an error
 * (an empty `findings->list` then means no memory); else schema_compile refuses only what its other
 * arguments ask for. Free with schema_free. */
struct schema_file *schema_read(struct span text, struct schema_findings *findings);
void schema_findings_free(struct schema_findings *findings);

/* Reads the schema that came with data, as leniently as any of Java, fastavro and hamba does: what
 * does not change a datum's bytes is not judged. Names and symbols may be any text and stand there
 * twice, keys too (the last one counts), a union may stand in a union, a type in a type; of JSON is
 * taken what mend_json mends. Names are UTF-8, fit for no terminal. On failure returns NULL and the
 * first error in `error`: "line 3, column 14: fields[2].type: unknown type ...". Free with
 * schema_free. */
struct schema_file *schema_parse(struct span text, char *error, size_t error_bytes);
/* As schema_parse, and says in `status` what kind of failure it is: -EINVAL, -EFBIG (over a limit
 * of ours: others may read it) or -ENOMEM; 0 if none. */
struct schema_file *schema_parse_header(struct span text, int *status, char *error,
                                        size_t error_bytes);
const struct schema *schema_root(const struct schema_file *file);
struct span schema_text(const struct schema_file *file); /* verbatim */
/* Every type of the schema, each at the index its `node` says; `*count` of them. */
const struct schema *const *schema_types(const struct schema_file *file, uint32_t *count);
/* How the schema language calls the kind: "record", "long" ... */
const char *schema_kind_name(enum layout_kind kind);
/* 0 if datums of both are the same bytes with the same meaning: kinds, fields and symbols agree,
 * and logical types where both have one (names of records, docs, defaults do not count). Else
 * -EINVAL, and the first difference in `difference`: "position.lat: float, not double" where `a`
 * has the float. */
int schema_compare(const struct schema_file *a, const struct schema_file *b, char *difference,
                   size_t difference_bytes);
void schema_free(struct schema_file *file);

/* Compiles to a layout image (avro/layout.h) from malloc, 8-byte aligned, the caller's to free.
 * `time` and `sequence` name fields, dotted for nested records, or are NULL or "". 0, or -EINVAL
 * with a message (no such field, not a numeric field, too many nodes or leaves). */
int schema_compile(const struct schema_file *file, const char *time, const char *sequence,
                   uint8_t **image, size_t *image_bytes, char *error, size_t error_bytes);

/* What a channel asks of its schema. All zero: nothing. */
struct schema_use {
    const char *time, *sequence; /* as of schema_compile */
    /* Numbers that decimation leaves as they are, also those in a record or a union so named. */
    const char *const *keep;
    size_t keep_count;
    bool averages; /* all others are aggregated, so there must not be too many */
};

/* Why, and what of the use, or of the schema, it was that was refused. */
struct schema_refusal {
    enum schema_part {
        SCHEMA_OF_ITSELF,
        SCHEMA_OF_TIME,
        SCHEMA_OF_SEQUENCE,
        SCHEMA_OF_AVERAGES,
        SCHEMA_OF_KEEP
    } of;
    size_t index;          /* of SCHEMA_OF_KEEP: which */
    uint32_t line, column; /* of the type in the schema, from 1 */
    char message[512];
};

/* As schema_compile, for a channel. */
int schema_compile_for(const struct schema_file *file, const struct schema_use *use,
                       uint8_t **image, size_t *image_bytes, struct schema_refusal *refusal);

/* The bytes of the smallest and of the largest datum, as writers encode them. UINT64_MAX as the
 * largest: there is none (strings, bytes, arrays, maps, recursion). 0 or -ENOMEM. */
int schema_datum_bytes(const struct schema_file *file, uint64_t *least, uint64_t *most);

/* Calls `visit` for every numeric leaf in the order of its index in `layout` (compiled from
 * `file`), with its dotted path; a branch of a union of several types shows as "value:double". The
 * path is valid during the call. */
void schema_visit_leaves(const struct schema_file *file, const struct layout *layout,
                         void (*visit)(void *context, uint32_t index, const char *path,
                                       const struct schema *type),
                         void *context);

#endif
