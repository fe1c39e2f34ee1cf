/* SPDX-License-Identifier: MIT
 * Walks one datum's bytes with a layout: is it valid, where does it end, what are its numbers.
 * Bounded by the bytes given; no allocation; recursion at most LAYOUT_DEPTH_MAX deep.
 * Source: Avro 1.11 specification, "Binary encoding". Stricter than most readers where a reader
 * would be misled: UTF-8, booleans other than 0 and 1, block byte counts that are wrong. */
#ifndef FLOTILLA_AVRO_DATUM_H
#define FLOTILLA_AVRO_DATUM_H

#include "avro/layout.h"
#include "base/span.h"

/* Why a datagram was turned away. The names are in datum_reject_name(). */
enum reject {
    REJECT_NONE,
    REJECT_TRUNCATED,   /* the bytes end inside a datum */
    REJECT_TRAILING,    /* bytes are left over that cannot be a datum */
    REJECT_VARINT,      /* an int or long that does not fit its type */
    REJECT_BOOLEAN,     /* neither 0 nor 1 */
    REJECT_LENGTH,      /* a negative length */
    REJECT_UTF8,        /* a string that is not UTF-8 */
    REJECT_ENUM,        /* no such symbol */
    REJECT_UNION,       /* no such branch */
    REJECT_COUNT,       /* an array or map that claims more items than can be there */
    REJECT_BLOCK_SIZE,  /* an array or map block whose byte count is wrong */
    REJECT_DEPTH,       /* nested deeper than LAYOUT_DEPTH_MAX */
    REJECT_EMPTY,       /* a datagram without bytes */
    REJECT_OVERSIZE,    /* a datagram the receive buffer could not hold */
    REJECT_SOURCE,      /* a sender that `sources` does not name */
    REJECT_FRAMING,     /* not in the channel's encoding */
    REJECT_FINGERPRINT, /* single-object encoding of another schema */
    REJECT_SCHEMA_ID,   /* Confluent encoding with another schema's id */
    REJECT_POISON,      /* it crashed the relay twice */
    REJECT_REASONS
};

/* The reason in a word fit for a metric's label: "truncated", "utf8" ... */
const char *datum_reject_name(enum reject reason);

/* One number of a datum; or the branch number of a union that has null here and could have had
 * numbers. */
struct leaf {
    uint32_t index;  /* its number in the layout, or LEAF_MISSING */
    uint32_t offset; /* of its encoding, from the datum's first byte */
    uint8_t bytes;   /* of its encoding: 1 to 10 */
    uint8_t kind;    /* LAYOUT_INT, LAYOUT_LONG, LAYOUT_FLOAT or LAYOUT_DOUBLE; LAYOUT_NULL */
    union {
        int64_t integer; /* INT, LONG */
        double real;     /* FLOAT, DOUBLE */
        struct {
            uint32_t node, first; /* of the union, and its first leaf */
        } missing;                /* NULL */
    } value;
};

/* The index of what is no number, but a null in the place of some. */
#define LEAF_MISSING 0xfffffffeu

/* Checks the datum at the start of `bytes` and sets `*datum_bytes` to its length. On a fault
 * returns the reason and sets `*datum_bytes` to the fault's offset. */
enum reject datum_check(const struct layout *layout, struct span bytes, size_t *datum_bytes);

/* The value of the layout's sequence leaf, for a layout whose sequence_step is known; of a datum
 * that datum_check has passed. Reads no further. */
int64_t datum_sequence(const struct layout *layout, struct span datum);

/* As datum_check, and lists the numeric leaves that are present, and the nulls in the place of
 * some, in the order of their bytes, into `leaves` (room for layout->leaf_count); `*leaf_count`
 * says how many. Numbers inside arrays, maps and recursive re-entries are not listed. */
enum reject datum_leaves(const struct layout *layout, struct span bytes, size_t *datum_bytes,
                         struct leaf *leaves, uint32_t *leaf_count);

#endif
