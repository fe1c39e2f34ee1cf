/* SPDX-License-Identifier: MIT
 * The values of a datum that somebody looks at, as numbers: each a field that is no record, or an
 * item of an array, by its name ("speed", "position.lat", "cylinders[0]", "tracks[2].x"), and the
 * time that the datum says. Only those are read. Relies on schema/columns. */
#ifndef FLOTILLA_GATEWAY_PICKS_H
#define FLOTILLA_GATEWAY_PICKS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "avro/layout.h"
#include "base/span.h"
#include "base/text.h"
#include "schema/schema.h"

struct picks; /* opaque */

/* `time` names the channel's time field, or is "". `names` and `file` outlive the picks. 0,
 * -ENOMEM, or -EINVAL with a message for people in `error`. Freed by picks_close. */
int picks_open(struct picks **picks, const struct schema_file *file, const char *const *names,
               uint32_t count, const char *time, char *error, size_t error_bytes);
void picks_close(struct picks *picks); /* NULL is fine */

/* Whether the time field is an instant, so that datums have a time of their own. */
bool picks_have_time(const struct picks *picks);
/* Reads a datum that is valid by the schema: its values, NaN where there is none, or no number
 * (text, bytes), and its own time where it has one, which else is left as it is. False: it is not
 * valid after all. */
bool picks_read(struct picks *picks, struct span datum, double *values, int64_t *time_ns);
/* Appends {"name": value, ...} of the datum that was read last, as `flotilla cat` prints them; its
 * bytes must still be there. */
void picks_add_json(struct picks *picks, struct text *text);
/* [{"name", "type", "unit", "doc", "symbols"}]; NULL without memory. */
json_t *picks_describe(const struct picks *picks);
/* Whether decimation by `min-max`, as the layout has it, leaves their peaks. */
bool picks_keep_peaks(const struct picks *picks, const struct layout *layout);

#endif
