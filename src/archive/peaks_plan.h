/* SPDX-License-Identifier: MIT
 * The numbers of a datum whose fields all stand in every datum, straight from its bytes: what most
 * telemetry is. For peaks.c alone, which otherwise has each number listed and then looked at. */
#ifndef FLOTILLA_ARCHIVE_PEAKS_PLAN_H
#define FLOTILLA_ARCHIVE_PEAKS_PLAN_H

#include <stddef.h>

#include "avro/decimator.h"
#include "avro/layout.h"
#include "base/span.h"

struct plan; /* opaque: the minima and maxima of a window */

/* `*plan` is NULL for a layout with unions, arrays or maps, or too large. 0 or -ENOMEM. Freed by
 * plan_close. */
int plan_open(struct plan **plan, const struct layout *layout);
/* Takes in the datum that begins `bytes`; `first`: it begins a window. Its length, or 0 if the
 * bytes end inside it. Ranges of ints, UTF-8 and the like are not looked at. */
size_t plan_add(struct plan *plan, struct span bytes, bool first);
/* Hands what the window has to the decimator's accumulators. */
void plan_take(const struct plan *plan, struct accumulator *accumulators);
void plan_close(struct plan *plan);

#endif
