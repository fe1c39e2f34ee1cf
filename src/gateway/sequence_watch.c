/* SPDX-License-Identifier: MIT
 * A window whose last number is too far ahead by as much as the next one's is too near is one whose
 * last datum had overtaken others. */
#include "gateway/sequence_watch.h"

#define WINDOW 64u /* numbers that may still come late; further back it is a source begun anew */

static int64_t add_single(struct sequence_watch *watch, int64_t number)
{
    bool ahead = number > watch->newest;
    uint64_t distance = ahead ? (uint64_t)number - (uint64_t)watch->newest
                              : (uint64_t)watch->newest - (uint64_t)number;
    if (ahead) {
        uint64_t skipped = distance - 1;
        uint64_t marks = skipped >= WINDOW ? UINT64_MAX : (UINT64_C(1) << skipped) - 1;
        watch->missing = (distance >= WINDOW ? 0 : watch->missing << distance) | marks;
        watch->newest = number;
        return skipped > INT64_MAX ? INT64_MAX : (int64_t)skipped;
    }
    if (distance > WINDOW) {
        /* One that is as late as nothing is, or, if others follow it, a source begun anew. */
        bool anew = watch->doubtful && number > watch->other &&
                    (uint64_t)number - (uint64_t)watch->other <= WINDOW;
        if (anew) {
            watch->newest = watch->other;
            watch->missing = 0;
            watch->doubtful = false;
            return add_single(watch, number);
        }
        watch->doubtful = true;
        watch->other = number;
        return 0;
    }
    uint64_t mark = distance == 0 ? 0 : UINT64_C(1) << (distance - 1);
    bool late = (watch->missing & mark) != 0;
    watch->missing &= ~mark;
    return late ? -1 : 0;
}

static int64_t add_window(struct sequence_watch *watch, int64_t number)
{
    if (number == watch->newest) /* the maxima behind the minima */
        return 0;
    bool ahead = number > watch->newest;
    uint64_t distance = (uint64_t)number - (uint64_t)watch->newest;
    watch->newest = number;
    if (!ahead || distance > INT64_MAX / 2) {
        watch->owed = 0;
        return 0;
    }
    int64_t excess = (int64_t)distance - (int64_t)watch->factor, owed = watch->owed;
    if (excess == 0 || (excess > 0) == (owed > 0) || owed == 0) {
        watch->owed = excess;
        return excess > 0 ? excess : 0;
    }
    watch->owed = owed + excess; /* the one makes up for the other, as far as it goes */
    if (excess > 0)
        return watch->owed > 0 ? watch->owed : 0;
    return watch->owed > 0 ? excess : -owed;
}

int64_t sequence_watch_add(struct sequence_watch *watch, int64_t number)
{
    if (watch->known)
        return watch->factor > 1 ? add_window(watch, number) : add_single(watch, number);
    watch->known = true;
    watch->newest = number;
    return 0;
}
