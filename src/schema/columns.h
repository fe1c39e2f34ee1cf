/* SPDX-License-Identifier: MIT
 * A schema as typed columns by dotted path, and a datum's values in them: what charts, exports and
 * `flotilla cat --fields` are made of. Relies on a schema's tree; no network, no files.
 * Source of the encoding: Avro 1.11 specification, "Binary encoding".
 *
 * Paths
 *   position.lat     a field of a record in a record
 *   oil              of a union of null and T: T, nullable, under the same path
 *   value:double     a branch of a union of several types: by its full name, or what Avro calls its
 *                    kind. At most one branch of a union is present in a datum
 *   cylinders        an array of floats, `cylinders[]` each of them
 *   tracks           an array of records, `tracks[].x` a field of each
 *   voltages         a map, `voltages[]` each of its values
 *   ""               the datum itself, where it is no record
 *
 * An array or a map is one column, whose items have columns of their own in the same form, so that
 * arrays in arrays and records in arrays need no further rule:
 *
 *     columns: time | position.lat | tracks ---items---> tracks[].x | tracks[].id
 *
 * Not in any column: a record without fields, and what leads back into a type that contains it
 * (`recursive` names those places). Columns are in the order of the schema. */
#ifndef FLOTILLA_SCHEMA_COLUMNS_H
#define FLOTILLA_SCHEMA_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/datum.h"
#include "base/span.h"
#include "schema/schema.h"

#define COLUMNS_MAX           65536u /* of one schema, those of items as well */
#define COLUMN_PATH_BYTES_MAX 1024u

struct columns;

struct column {
    const char *path;
    /* The value's own type, never a union or a record: kind, logical type (where `logical_holds`),
     * a fixed's bytes, an enum's symbols, a decimal's precision and scale. */
    const struct schema *type;
    bool nullable; /* a datum may be without it */
    /* From the schema's attributes, the nearest counts: of the field, else of its type. A plain
     * number without a unit has that of the record it is in (`acceleration` in m/s2: so is its
     * `x`); an array has that of its items. Verbatim UTF-8 as the schema's writer left it, fit for
     * no terminal. NULL: none. */
    const char *unit, *doc;
    const struct columns *items; /* of an array or map: what each item consists of; else NULL */
};

/* A node of the schema above a column, or the column's own: records and unions are the groups that
 * columns stand in. */
struct column_place {
    const char *name;          /* the field's; a union's branch as in a path; "" for the topmost */
    const struct schema *type; /* a record, a union of several types, or the column's */
    bool nullable;
    uint32_t first, end; /* the columns at and below it: list[first] ... list[end - 1] */
    uint32_t next;       /* the place behind everything below it */
};

struct columns {
    const struct column *list;
    uint32_t count;
    /* The tree that the columns are leaves of, depth first: the children of a place are the one
     * behind it, that one's `next`, and so on up to its own `next`. */
    const struct column_place *places;
    uint32_t place_count;
    /* Values for these columns and, behind them, for the items that are open at one time. */
    uint32_t value_room;
    const char *const *recursive; /* paths left out because they lead back; items' too */
    uint32_t recursive_count;
    const struct columns_plan *plan; /* how a datum is read: for columns.c */
};

/* All columns of `file`, which must outlive them; or, where `field_count` is not 0, those at and
 * below the dotted paths `fields` (the `[]` of arrays may be left out in them). 0 and `*columns`,
 * to be freed with columns_free; or -ENOMEM, -EINVAL (a path that is not there, or that holds no
 * column) or -E2BIG (too many columns, too long a path) with a message for people in `error`:
 * no field "postion.lat"; did you mean "position.lat"? */
int columns_select(const struct schema_file *file, const char *const *fields, size_t field_count,
                   const struct columns **columns, char *error, size_t error_bytes);
void columns_free(const struct columns *columns); /* NULL is fine */

/* What a datum has in a column. Spans point into the datum. */
struct column_value {
    bool present; /* else the rest says nothing: null, or another branch */
    union {
        int64_t integer;   /* boolean (0 or 1), int, long, enum (its symbol's index) */
        double real;       /* float, double */
        struct span bytes; /* string (without a NUL), bytes, fixed; array, map: its encoding */
    };
    uint64_t item_count; /* of an array or map */
};

/* Reads the datum at the start of `bytes` into `values`, one for each column, and sets
 * `*datum_bytes` to its length. Takes exactly the datums that datum_check takes, also in what no
 * column shows; on a fault returns the reason, with `*datum_bytes` the fault's offset and `values`
 * undefined. One walk, no allocation, bounded by the bytes. Measured (bench/walk.c): two longs and
 * ten doubles take 26 ns, where datum_check alone takes 9; one of the doubles 24. */
enum reject columns_read(const struct columns *columns, struct span bytes, size_t *datum_bytes,
                         struct column_value *values);

/* The items of an array or map, one after the other:
 *
 *     struct column_items items = column_items(&columns->list[i], &values[i]);
 *     while (column_items_next(&items, item))
 *         item[0] ... item[items.columns->count - 1], and of a map items.key
 *
 * A key may come twice in a map. Holds nothing; valid as long as the datum's bytes. */
struct column_items {
    const struct columns *columns; /* of an item */
    struct span key;               /* of a map: UTF-8 */
    bool is_map;
    uint64_t in_block; /* items left of the block that the walk is in */
    struct span rest;
};

/* Of a value that is present and came from columns_read or column_items_next. */
struct column_items column_items(const struct column *column, const struct column_value *value);
/* False behind the last item. `values`: one for each of `items->columns`. */
bool column_items_next(struct column_items *items, struct column_value *values);

#endif
