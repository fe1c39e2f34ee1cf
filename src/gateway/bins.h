/* SPDX-License-Identifier: MIT
 * Minima and maxima of values in bins of absolute time: bin k of a width w is [k w, (k + 1) w)
 * since 1970. Only what has come since it was taken out is held: whoever gets the bins merges them
 * by minimum and maximum, so it does not matter in what order datums come, nor how often a bin
 * does. NaN is no value. Memory is that of `rows_max` rows. Pure. */
#ifndef FLOTILLA_GATEWAY_BINS_H
#define FLOTILLA_GATEWAY_BINS_H

#include <stdbool.h>
#include <stdint.h>

struct bins; /* opaque */

/* `fields` and `rows_max` at least 1, `width_ns` 1 to 2^62. 0 or -ENOMEM. Freed by bins_close. */
int bins_open(struct bins **bins, uint32_t fields, uint64_t width_ns, uint32_t rows_max);
void bins_close(struct bins *bins); /* NULL is fine */

/* Takes in a value of each field; `at_ns` between -2^62 and 2^62. False: it would be one row too
 * many, nothing was taken in. */
bool bins_add(struct bins *bins, int64_t at_ns, const double *values);
/* Rows that are held. */
uint32_t bins_count(const struct bins *bins);
/* Makes room: pairs of bins become one, of twice the width, which holds until all are taken out. */
void bins_coarsen(struct bins *bins);

/* The oldest rows, without larger holes, at most `rows_max` of them: for each field a column of
 * minima and one of maxima, NaN where there is nothing, into `out` (2 fields rows_max). Returns
 * how many (0: there is nothing), where the first begins in `*from_ns`, and the width. */
uint32_t bins_front(struct bins *bins, uint32_t rows_max, int64_t *from_ns, uint64_t *width_ns,
                    double *out);
/* Takes those rows out. */
void bins_drop_front(struct bins *bins);

#endif
