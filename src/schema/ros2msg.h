/* SPDX-License-Identifier: MIT
 * A schema's columns as a ROS 2 message: its definition as text and how a datum is written as one
 * (schema/cdr.h). What Foxglove, Lichtblick, PlotJuggler and Rerun read, live and in MCAP files, as
 * encoding "cdr" with schema "ros2msg". Relies on schema/columns; no network, no files.
 * Source: design.ros2.org, "Interface definition"; the MCAP format registry, "ros2msg".
 *
 *     std_msgs/Header header      the datum's time as `stamp`, always first
 *     float64 temp                a field `Oil.Temp` is message `oil` with its field `temp`
 *     int32 <FIELD>_<SYMBOL>=1    of an enum its symbols, in front of the field, an int32
 *     bool <field>_valid          of what may be null: whether it is there. It is NaN, 0, "", empty
 *                                 or a message of those where it is not. Behind all other fields
 *     float64 <field>_double      of a union of several types a field for each, each with its
 *                                 `_valid`; of a map a sequence of messages with `key` and `value`
 *     Track[] tracks              of a record a message of its name, with the package of the whole
 *     TracksItem[] tracks         of items that ROS has no sequence of (null, arrays, unions,
 *                                 bytes) messages with `value`; so is a datum that is no record
 *     uint8[] raw, uint8[16] id   bytes and fixed. A null is its `_valid` alone
 *
 * Names are made of those of the schema: small letters, digits and single underscores, begun by a
 * letter; where two fall together the later gets `_2`. What they were, units and docs are in
 * comments, and so is what leads back into a type that contains it and has no column. Like in all
 * columns, a record that is there with nothing in it counts as null where it may be. */
#ifndef FLOTILLA_SCHEMA_ROS2MSG_H
#define FLOTILLA_SCHEMA_ROS2MSG_H

#include "schema/cdr.h"
#include "schema/columns.h"

#define ROS2MSG_TEXT_BYTES_MAX (16u << 20)

struct ros2msg {
    char *name; /* "engine/msg/Sample" */
    char *text; /* the definition, those of what it consists of behind it */
    struct cdr_steps steps;
};

/* Makes the message of `columns`, which must outlive it, in a package named after `package` (the
 * channel, any text). 0; -ENOMEM, -E2BIG where the text is longer than ROS2MSG_TEXT_BYTES_MAX.
 * Freed by ros2msg_free, which may be given one that is all zero. */
int ros2msg_make(struct ros2msg *message, const struct columns *columns, const char *package);
void ros2msg_free(struct ros2msg *message);

#endif
