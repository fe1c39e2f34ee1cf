/* SPDX-License-Identifier: MIT
 * Counts the numbers that a stream's sequence field leaves out, as it goes. Numbers that overtook
 * one another are none that are missing: what came late is taken back. Pure. */
#ifndef FLOTILLA_GATEWAY_SEQUENCE_WATCH_H
#define FLOTILLA_GATEWAY_SEQUENCE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* All zero but `factor` to begin with. */
struct sequence_watch {
    uint32_t factor; /* datums that one of the stream stands for, of which it has the last number */
    bool known;
    int64_t newest;
    uint64_t missing; /* factor 1: bit d - 1, the number d below the newest has not come */
    bool doubtful;    /* `other` came, far behind the newest */
    int64_t other;
    int64_t owed;     /* else: what a window had too much, or with a minus too little */
};

/* Takes the next number. How many more are missing; negative: so many have come after all. */
int64_t sequence_watch_add(struct sequence_watch *watch, int64_t number);

#endif
