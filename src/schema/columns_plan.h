/* SPDX-License-Identifier: MIT
 * How a datum is read into columns: the part of a schema that columns show, straightened out to
 * steps, with the rest to be walked past. What columns.c makes and columns_read.c follows. */
#ifndef FLOTILLA_SCHEMA_COLUMNS_PLAN_H
#define FLOTILLA_SCHEMA_COLUMNS_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/schema.h"

enum columns_step_kind {
    STEP_END,
    STEP_SKIP, /* `bytes` of any content */
    STEP_TYPE, /* a `type` that no column shows, at `depth` */
    /* A value for `column`, or for none: COLUMNS_UNSEEN. */
    STEP_BOOLEAN,
    STEP_INT,
    STEP_LONG,
    STEP_FLOATS,  /* `count` of them, for as many columns in a row */
    STEP_DOUBLES, /* the same */
    STEP_BYTES,
    STEP_STRING,
    STEP_FIXED, /* of `bytes` */
    STEP_ENUM,  /* of `count` symbols */
    STEP_ITEMS, /* an array or map of `type`, at `depth` */
    /* Ways. Targets are indices of steps. */
    STEP_NULLABLE, /* a union of null, branch number `count`, for which goes to `target`; the other
                      follows */
    STEP_UNION,    /* goes to targets[target + branch], of `count` branches */
    STEP_JUMP,
    STEP_TOO_DEEP, /* no datum may come here */
};

struct columns_step {
    uint8_t kind;
    uint16_t depth;
    uint32_t column;
    union {
        const struct schema *type;
        uint64_t bytes;
        struct {
            uint32_t target, count;
        };
    };
};

#define COLUMNS_UNSEEN  UINT32_MAX
#define COLUMNS_VARYING UINT64_MAX

struct columns_plan {
    const struct schema *type; /* of the datum, or of an item */
    uint32_t depth;            /* of it */
    struct columns_step *steps;
    uint32_t *targets;
    /* Of each type, by its node: the bytes that every datum of it has, any of which are one; or
     * COLUMNS_VARYING. One list for all plans of a schema. */
    const uint64_t *fixed_bytes;
};

#endif
