/* SPDX-License-Identifier: MIT
 * What the numbers of a sequence field tell: how many are missing, which came late, which twice.
 *
 * A number within SEQUENCE_WINDOW of the newest one belongs to its run. One that was missing is so
 * no longer when it comes (reordered); one that was there is a duplicate. A number farther ahead
 * is the newest from now on, and all between are missing. One farther back is counted as reordered
 * and begins a second run, which the next number decides on: if that goes on where this one was,
 * the sender has begun again (or wrapped around, or there are two), nothing is missing, and the
 * second run is the first from now on. So one late number never is what the next is measured by.
 *
 * Known: who begins again within the window of the newest number gives duplicates until it has
 * passed that; who begins again ahead of it, missing numbers. */
#ifndef FLOTILLA_RELAY_SEQUENCE_H
#define FLOTILLA_RELAY_SEQUENCE_H

#include "channel/staging.h"

#define SEQUENCE_WINDOW 64u

/* Counts the number of the next datum in the state being made. */
void sequence_note_other(struct receiver_state *next, int64_t number);

static inline void sequence_note(struct receiver_state *next, int64_t number)
{
    struct sequence_run *run = &next->sequence[0];
    if (!run->known || (uint64_t)number != (uint64_t)run->newest + 1 || number < run->newest) {
        sequence_note_other(next, number);
        return;
    }
    run->newest = number;
    run->missing <<= 1;
    run->depth += run->depth < SEQUENCE_WINDOW;
}

#endif
