/* SPDX-License-Identifier: MIT
 * A datum's columns as CDR bytes, as ROS 2 puts a message on the wire (schema/ros2msg.h says which
 * message): for live sockets and for files. Relies on schema/columns; no network, no files.
 * Source: OMG CORBA 3.4, part 2, "CDR Transfer Syntax"; OMG DDSI-RTPS 2.5, 10.2 (the 4 bytes in
 * front, 00 01 00 00: little-endian). A value is aligned to its own size, counted from behind those
 * 4 bytes, a record not at all; a string is a count with its NUL, a sequence a count.
 */
#ifndef FLOTILLA_SCHEMA_CDR_H
#define FLOTILLA_SCHEMA_CDR_H

#include <stdint.h>

#include "base/text.h"
#include "schema/columns.h"

#define CDR_FRONT_BYTES 4

enum cdr_step_kind {
    CDR_BOOLEAN,
    CDR_INT, /* also an enum's index */
    CDR_LONG,
    CDR_FLOAT,
    CDR_DOUBLE,
    CDR_STRING,
    CDR_BYTES, /* a sequence of uint8 */
    CDR_FIXED, /* `count` of uint8 */
    CDR_ITEMS, /* a sequence of what `items` writes; of a map each behind its key */
    CDR_VALID  /* a boolean: whether one of the `count` columns from `column` on is present */
};

struct cdr_step {
    uint8_t kind;
    uint32_t column, count;
    const struct column *array; /* of CDR_ITEMS: the column itself */
    const struct cdr_steps *items;
};

/* How the values of some columns are written, one step after the other. */
struct cdr_steps {
    struct cdr_step *list;
    size_t count, room;
    uint32_t columns; /* values of a datum or item; those of what is in it stand behind */
};

/* Appends a datum to `out`: the 4 bytes in front, a std_msgs/Header with `time_ns` and no frame,
 * and the steps' values. What is not present is 0, NaN, "" or empty. `values` has
 * columns->value_room, the first of them from columns_read. False, and `out` as it was, where there
 * is no memory, or a sequence or string has more than 2^32 - 2 parts or bytes. One walk; `out`
 * grows to the largest datum and is then left as it is. Its seconds are an int32 (to the year
 * 2038): a later time is written as the last. */
bool cdr_write(const struct cdr_steps *steps, uint64_t time_ns, struct column_value *values,
               struct text *out);

#endif
