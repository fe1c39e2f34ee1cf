/* SPDX-License-Identifier: MIT
 * Min-max decimation for tools: any number of datums in, two of the same schema out, the minima and
 * the maxima. What the live stream has (avro/decimator.h), and more:
 * - arrays, also of records and of arrays, element by element, where all datums of the window that
 *   have the array have it with the same number of items and the same branches; else the last's;
 * - enums and booleans: the maxima have the highest value there was (of an enum, by its symbol's
 *   place in the schema), the minima the last one; where the last datum has null and a union of
 *   null and an enum or boolean could have held one, the maxima have the highest there was.
 * The peak of a single datum is in the result, and min-max of min-max is exact: so it may be done
 * in levels. Strings, bytes, maps and what leads back into its own type are the last datum's.
 * Relies on avro/decimator. Costs nothing beside it for a schema without arrays, enums, booleans.
 */
#ifndef FLOTILLA_ARCHIVE_PEAKS_H
#define FLOTILLA_ARCHIVE_PEAKS_H

#include <stdint.h>

#include "avro/layout.h"
#include "base/span.h"

struct peaks; /* opaque: one window, a copy of its last datum */

/* `layout` is one of schema_compile with the channel's time and sequence field, and outlives it.
 * 0 or -ENOMEM. Freed by peaks_close. */
int peaks_open(struct peaks **peaks, const struct layout *layout);

/* Takes the datum that begins `bytes`, and `*datum_bytes` is its length. 0, -EBADMSG if none of the
 * layout begins there, or -ENOMEM. */
int peaks_add(struct peaks *peaks, struct span bytes, size_t *datum_bytes);

/* Datums in the window. */
uint64_t peaks_fill(const struct peaks *peaks);

/* Ends the window, which holds a datum at least: the minima with its first time, then the maxima
 * with its last, until it is called again. 0 or -ENOMEM. */
int peaks_take(struct peaks *peaks, struct span datums[2]);

void peaks_close(struct peaks *peaks);

#endif
