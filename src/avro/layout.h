/* SPDX-License-Identifier: MIT
 * A layout is a schema compiled to a compact table that a datum's bytes are walked with: no names,
 * no JSON, no allocation. `flotilla` compiles it (schema/schema.h); the relay only loads and walks
 * it. Relies on nothing but the bytes. Source of the encoding: Avro 1.11 specification.
 *
 * The image of a layout, all numbers little-endian, as `struct layout_header` followed by
 *     struct layout_node nodes[node_count]; uint32_t links[link_count];
 *     uint32_t kept[layout_kept_words(leaf_count)]; char schema[schema_bytes];
 *     char time[time_bytes]; char sequence[sequence_bytes];
 * It is both the file that `flotilla compile` writes and what the relay maps. */
#ifndef FLOTILLA_AVRO_LAYOUT_H
#define FLOTILLA_AVRO_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Flotilla reads and writes Avro's numbers as they lie in memory: little-endian machines only"
#endif

#define LAYOUT_MAGIC            0x594c4c46u /* "FLLY" */
#define LAYOUT_VERSION          3u
#define LAYOUT_NODES_MAX        65536u
#define LAYOUT_LEAVES_MAX       65536u
#define LAYOUT_SCHEMA_BYTES_MAX (4u << 20)
#define LAYOUT_PATH_BYTES_MAX   1024u /* of the name of a field */
#define LAYOUT_IMAGE_BYTES_MAX  (16u << 20)
/* Nesting of a datum; deeper ones are rejected. A list of 128 items, each a record and a union. */
#define LAYOUT_DEPTH_MAX 256u
/* Items of zero bytes (null ...) in one datum's arrays and maps. */
#define LAYOUT_EMPTY_ITEMS_MAX (1u << 20)
#define LAYOUT_NO_LEAF         0xffffffffu

enum layout_kind {
    LAYOUT_NULL,
    LAYOUT_BOOLEAN,
    LAYOUT_INT,
    LAYOUT_LONG,
    LAYOUT_FLOAT,
    LAYOUT_DOUBLE,
    LAYOUT_BYTES,
    LAYOUT_STRING,
    LAYOUT_FIXED,  /* count: its bytes */
    LAYOUT_ENUM,   /* count: its symbols */
    LAYOUT_UNION,  /* count: its branches, links[first .. first + count) */
    LAYOUT_ARRAY,  /* links[first]: the items */
    LAYOUT_MAP,    /* links[first]: the values */
    LAYOUT_RECORD, /* count: its fields, links[first .. first + count) */
    LAYOUT_KINDS
};

struct layout_node {
    uint8_t kind;
    uint8_t zero[3]; /* 0 */
    uint32_t count;
    uint32_t first;
    /* Numeric leaves below, counted along paths: int, long, float and double are 1; a record or a
     * union is the sum of its links that are numbered; arrays, maps and the rest are 0. */
    uint32_t leaves;
    uint32_t min_bytes; /* smallest encoding of this node, saturating; a reentry counts as 0 */
};

/* A link is a node's index; with this bit the leaves below it are not numbered: it leads back into
 * a type that is still open (a reentry, of recursion), or there would be too many. */
#define LAYOUT_LINK_UNNUMBERED 0x80000000u

struct layout_header {
    uint32_t magic, version;
    uint32_t image_bytes; /* the whole image, this header included */
    uint32_t checksum;    /* CRC-32C of the image with this word 0 */
    uint32_t node_count, link_count, root, schema_bytes;
    /* Leaves are numbered in the schema's order, depth first, from 0: the leaves of a record's
     * field k start where field k-1's end, and so for the branches of a union. */
    uint32_t leaf_count;
    uint32_t time_leaf;     /* the channel's `time` field, or LAYOUT_NO_LEAF */
    uint32_t sequence_leaf; /* the channel's `sequence` field, or LAYOUT_NO_LEAF */
    /* CRC-64-AVRO of the schema's canonical form, as single-object encoding has it. */
    uint32_t fingerprint_low, fingerprint_high;
    /* The dotted paths of the `time` and the `sequence` field, as configured; 0: none. */
    uint32_t time_bytes, sequence_bytes;
    uint32_t zero;
};

/* The same walk straightened out, records and all, for the common case that a datum is sound. */
enum layout_step_kind {
    LAYOUT_STEP_SKIP, /* value: bytes of any content: adjacent floats, doubles and fixed in one */
    LAYOUT_STEP_INT,
    LAYOUT_STEP_LONG,
    LAYOUT_STEP_BOOLEAN,
    LAYOUT_STEP_ENUM, /* value: its symbols */
    LAYOUT_STEP_BYTES,
    LAYOUT_STEP_STRING,
    LAYOUT_STEP_NODE /* value: a union, array, map or re-entered record to be walked, at `depth` */
};
struct layout_step {
    uint8_t kind, zero;
    uint16_t depth;
    uint32_t value;
};
#define LAYOUT_STEPS_MAX 128u

struct layout {
    const struct layout_node *nodes;
    const uint32_t *links;
    struct span schema;         /* the user's schema, verbatim */
    struct span time, sequence; /* paths of those fields; no bytes: none */
    uint32_t root, node_count, link_count, leaf_count, time_leaf, sequence_leaf;
    uint32_t checksum;
    uint64_t fingerprint;
    const uint32_t *kept; /* see layout_is_kept */

    /* Made when it is loaded. */
    uint64_t empty_items_max; /* LAYOUT_EMPTY_ITEMS_MAX, but for who asks what is over it */
    bool has_optional;        /* numbers in a union with null */
    bool is_fixed;            /* every datum has `fixed_bytes`, and any such bytes are one */
    uint32_t fixed_bytes;
    uint32_t step_count;    /* 0 also if there would be too many */
    uint32_t sequence_step; /* the step that is the sequence leaf, or LAYOUT_NO_STEP */
    struct layout_step steps[LAYOUT_STEPS_MAX];
};
#define LAYOUT_NO_STEP 0xffffffffu

static inline uint32_t layout_kept_words(uint32_t leaf_count)
{
    return (leaf_count + 31) / 32;
}

/* Whether decimation leaves the leaf as it is: it has a logical type, is the `time` or `sequence`
 * field, or was named to be kept. */
static inline bool layout_is_kept(const struct layout *layout, uint32_t leaf)
{
    return layout->kept[leaf / 32] >> leaf % 32 & 1;
}

/* Opens `image` (4-byte aligned) after checking every index, count and the checksum in it, so that
 * a walk can trust it. `layout` points into `image`, which must outlive it. -EINVAL if anything is
 * wrong, -ENOTSUP for another version. */
int layout_load(struct layout *layout, struct span image);

#endif
