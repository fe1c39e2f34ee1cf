/* SPDX-License-Identifier: MIT
 * A span of the channels' own time (--span-by time): what their time fields say, where those are
 * instants; of other channels and rows, when they came in. Recordings are found by arrival, so the
 * span is widened by how far the two are apart, as a few files of each channel tell, and what is
 * not of it is left out row by row.
 * Known: a clock that was elsewhere in some files in between, and in none of those that are looked
 * into, is not found. Relies on archive/history. */
#ifndef FLOTILLA_EXPORT_OWN_H
#define FLOTILLA_EXPORT_OWN_H

#include "archive/history.h"

/* The span of arrival in which all of `own` is, about. */
void own_widen(const struct catalog *catalog, const struct time_span *own,
               struct time_span *arrival);
/* Whether a row is of the span; `clock` is set to its file (row_clock_set). */
bool own_has(struct row_clock *clock, const struct time_span *own, struct span datum,
             uint64_t arrival_ns);

#endif
