/* SPDX-License-Identifier: MIT
 * The word somebody probably meant: for errors that say "did you mean ...?".
 * Pure text; no allocation; words of up to 63 bytes, longer ones are never near anything. */
#ifndef FLOTILLA_BASE_NEAREST_H
#define FLOTILLA_BASE_NEAREST_H

#include <stddef.h>

/* Slips that turn `a` into `b`: a letter too many, too few, wrong, or two neighbours swapped.
 * Case does not count. 1000 where either is too long. */
unsigned nearest_distance(const char *a, const char *b);

/* Keeps `candidate` in `*best` if it is nearer to `word` than what is there (NULL to begin with)
 * and near enough to be meant: one slip in three letters. */
void nearest_offer(const char *word, const char *candidate, const char **best);

#endif
