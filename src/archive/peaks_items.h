/* SPDX-License-Identifier: MIT
 * What of a datum the decimator's leaves leave out: numbers in arrays, enums, booleans. For
 * peaks.c alone. A *slot* is a place of the schema where an array, an enum or a boolean stands;
 * an *item* is one value there: an array has many, in the order of their bytes. */
#ifndef FLOTILLA_ARCHIVE_PEAKS_ITEMS_H
#define FLOTILLA_ARCHIVE_PEAKS_ITEMS_H

#include <stdbool.h>
#include <stdint.h>

#include "avro/layout.h"
#include "base/span.h"

struct items; /* opaque: the extremes of a window's items */

/* `*items` is NULL where the layout has no slot. 0 or -ENOMEM. Freed by items_close. */
int items_open(struct items **items, const struct layout *layout);
/* Takes a valid datum of the layout in. 0 or -ENOMEM. */
int items_add(struct items *items, struct span datum);
/* Writes a valid datum, which has the shape of the last one that was added, to `out` (room for
 * items_room more than it has) with the extremes in their places. Returns its bytes. -ENOMEM. */
long items_write(struct items *items, struct span datum, bool maximum, uint8_t *out);
/* How much longer a datum can become, that of items_write. */
size_t items_room(const struct items *items, size_t datum_bytes);
/* Begins another window. */
void items_clear(struct items *items);
void items_close(struct items *items);

#endif
