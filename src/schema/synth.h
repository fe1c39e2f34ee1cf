/* SPDX-License-Identifier: MIT
 * Makes up datums for a schema: signals for its numbers, a rising time and sequence, short
 * texts, now and then a null. The same seed and instants give the same bytes.
 * Relies on the schema tree and its layout. Every datum passes datum_check. */
#ifndef FLOTILLA_SCHEMA_SYNTH_H
#define FLOTILLA_SCHEMA_SYNTH_H

#include <stddef.h>
#include <stdint.h>

#include "avro/layout.h"
#include "schema/schema.h"

struct synth;

/* A source for `file`, whose compiled form `layout` says which leaves are time and sequence. Both
 * must outlive it. NULL without memory. Free with synth_free. */
struct synth *synth_new(const struct schema_file *file, const struct layout *layout, uint64_t seed);

/* Writes the next datum, as of the instant `realtime_ns` (since 1970), to `out`. The time field
 * carries that instant in its logical type's unit; without one a long counts nanoseconds and a
 * double seconds since 1970, an int milliseconds and a float seconds since the first datum. The
 * sequence field counts up from 0. Returns the datum's bytes, or -ENOSPC if even its smallest form
 * does not fit `room`, -EINVAL if it came to an enum or a union without choices; the next call goes
 * on with the next datum either way. */
long synth_datum(struct synth *synth, uint64_t realtime_ns, uint8_t *out, size_t room);

void synth_free(struct synth *synth);

#endif
