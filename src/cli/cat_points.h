/* SPDX-License-Identifier: MIT
 * flotilla cat --points: a span of a channel in at most so many points, from its overview. */
#ifndef FLOTILLA_CLI_CAT_POINTS_H
#define FLOTILLA_CLI_CAT_POINTS_H

#include <stdint.h>

#include "archive/search.h"
#include "cli/printers.h"

/* Prints the rows, and what they were made from to stderr. `folder` is a channel's.
 * An exit code. */
int cat_points(const char *folder, const struct time_span *span, uint64_t points,
               struct printers *printers);

#endif
