/* SPDX-License-Identifier: MIT
 * A channel as a topic: what its datums are as ROS 2 messages (schema/ros2msg, schema/cdr), which
 * is what the tools that speak Foxglove's protocol read. A time field that is an instant is the
 * stamp in the message's header; the time that a message is logged at is when it came in. */
#ifndef FLOTILLA_GATEWAY_FOXGLOVE_TOPIC_H
#define FLOTILLA_GATEWAY_FOXGLOVE_TOPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/text.h"
#include "schema/columns.h"
#include "schema/ros2msg.h"

/* A definition that is longer is not advertised, a message that is longer not sent: half of a
 * client's queue must hold it, of which JSON takes twice as much. */
#define TOPIC_BYTES_MAX (450u << 10)

/* What the messages are; one thread's at a time. */
struct topic_form {
    struct schema_file *schema;
    char *time; /* the path of the channel's time field, "" */
    const struct columns *columns;
    struct ros2msg message;
    struct column_value *values;
    uint32_t time_column; /* UINT32_MAX: none that is an instant */
    uint64_t unit_ns;
};

/* Makes the form of `channel` with this schema, of which it keeps its own. `time` is the path of
 * its time field, or "". 0, or a negative errno with a message for people in `error`: columns that
 * are too many, a definition that is too long. Freed by topic_form_free, also after a failure. */
int topic_form_make(struct topic_form **form, const char *channel, struct span schema,
                    const char *time, char *error, size_t error_bytes);
void topic_form_free(struct topic_form *form); /* NULL is fine */

/* Whether messages by it are those of this schema and this time field. */
bool topic_form_is_of(const struct topic_form *form, struct span schema, const char *time);

/* Appends a whole message of a datum that is valid by the schema and came in at `at_ns`, with room
 * in front for what foxglove_write_data_front writes. False: it is longer than TOPIC_BYTES_MAX, or
 * there is no memory; `out` is as it was. */
bool topic_form_write(struct topic_form *form, struct span datum, uint64_t at_ns, struct text *out);

#endif
