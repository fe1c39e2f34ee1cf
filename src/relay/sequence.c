/* SPDX-License-Identifier: MIT
 * The numbers that do not just follow the one before. Bit d - 1 of a run's `missing` says that the
 * number d below its newest is counted as missing, for those that are not below its beginning. */
#include "relay/sequence.h"

/* Bits 0 to `count` - 1. */
static uint64_t low_bits(uint64_t count)
{
    return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

static uint64_t distance(const struct sequence_run *run, int64_t number)
{
    return number > run->newest ? (uint64_t)number - (uint64_t)run->newest
                                : (uint64_t)run->newest - (uint64_t)number;
}

static bool belongs(const struct sequence_run *run, int64_t number)
{
    return run->known && distance(run, number) <= SEQUENCE_WINDOW;
}

static void advance(struct receiver_state *next, struct sequence_run *run, int64_t number)
{
    uint64_t step = distance(run, number);
    next->sequence_gaps += step - 1;
    run->newest = number;
    run->missing = (step >= 64 ? 0 : run->missing << step) | low_bits(step - 1);
    run->depth =
        step >= SEQUENCE_WINDOW - run->depth ? SEQUENCE_WINDOW : run->depth + (uint32_t)step;
}

/* A number of the run that is not ahead of it. */
static void look_back(struct receiver_state *next, struct sequence_run *run, int64_t number)
{
    uint64_t back = distance(run, number);
    uint64_t bit = back == 0 ? 0 : UINT64_C(1) << (back - 1);
    if (back > run->depth) { /* the run began with a number that had overtaken this one */
        next->sequence_gaps += back - run->depth - 1;
        next->sequence_reordered++;
        run->missing |= low_bits(back - 1) & ~low_bits(run->depth);
        run->depth = (uint32_t)back;
    } else if ((run->missing & bit) != 0) {
        next->sequence_gaps--;
        next->sequence_reordered++;
        run->missing &= ~bit;
    } else {
        next->sequence_duplicates++;
    }
}

static void begin(struct sequence_run *run, int64_t number)
{
    *run = (struct sequence_run){.newest = number, .known = 1};
}

void sequence_note_other(struct receiver_state *next, int64_t number)
{
    struct sequence_run *run = &next->sequence[0], *other = &next->sequence[1];
    if (!run->known) {
        begin(run, number);
    } else if (belongs(run, number)) {
        if (number > run->newest)
            advance(next, run, number);
        else
            look_back(next, run, number);
    } else if (belongs(other, number) && number <= other->newest) {
        uint64_t gaps = next->sequence_gaps;
        look_back(next, other, number);
        if (next->sequence_doubtful) /* nothing is missing between two that are late */
            next->sequence_gaps = gaps;
    } else if (belongs(other, number)) {
        struct sequence_run was = *run;
        for (uint64_t left = other->missing; next->sequence_doubtful && left != 0; left &= left - 1)
            next->sequence_gaps++;
        advance(next, other, number);
        *run = *other;
        *other = was;
        next->sequence_reordered -= next->sequence_doubtful;
        next->sequence_doubtful = 0;
    } else if (number > run->newest) {
        advance(next, run, number);
    } else {
        begin(other, number);
        next->sequence_reordered++;
        next->sequence_doubtful = 1;
    }
}
