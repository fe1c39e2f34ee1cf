/* SPDX-License-Identifier: MIT
 * The keepers of a runtime folder as they are found by their words in the list of processes,
 * whether they can be asked or not. As a rule there is one; more where a manager was killed while
 * one took the place of another, or where one cannot be ended. What they hold is copied from
 * outside, by the table that each has (channel/kept.h).
 * Relies on os/process. Sources: pidfd_getfd(2). */
#ifndef FLOTILLA_MANAGER_KEEPERS_H
#define FLOTILLA_MANAGER_KEEPERS_H

#include <stdbool.h>

#include "channel/kept.h"
#include "os/process.h"

struct keeper_found {
    struct process process;
    uint64_t start;    /* process_start_time */
    struct kept *kept; /* NULL: it could not be had */
    int error;         /* why: a negative errno; else 0 */
    struct keeper_found *next;
};

/* The oldest first. Starts as zeros. */
struct keepers {
    struct keeper_found *first;
    struct keeper_found *ended; /* killed, but somebody (a debugger, a freezer) keeps them */
};

/* Finds all that are not known to have been followed by another. 0 or a negative errno. Ends with
 * keepers_forget or keepers_end. */
int keepers_find(struct keepers *keepers, const char *runtime);
/* Adds one, which is the list's from then on, with its table (or NULL). 0 or -ENOMEM. */
int keepers_add(struct keepers *keepers, const struct process *process, struct kept *kept);
/* Takes the one of that id out of the list, if it is in it. Its table, which is the caller's to
 * unmap, or NULL. */
struct kept *keepers_leave_out(struct keepers *keepers, long id);
/* Whether none in the list is younger than the one of that id. */
bool keepers_is_youngest(const struct keepers *keepers, long id);
/* Wakes those that are suspended. */
void keepers_wake(const struct keepers *keepers);
bool keeper_lives(const struct keeper_found *keeper);

/* Suspends the keeper and calls `found` with a copy of each descriptor it holds or is still to come
 * to, which is the callee's from then on; of those under one name the newest comes last. The keeper
 * loses nothing by it. 0, or a negative errno: part of it may have been found. Unless it is ended,
 * it is to be woken again. */
int keeper_empty(const struct keeper_found *keeper,
                 void (*found)(void *context, const char *name, int descriptor), void *context);

/* Another keeper has all that these hold, or nobody needs it any more: ends them, and takes the
 * ends of those that are children of ours; where that takes its time, keepers_reap does. */
void keepers_end(struct keepers *keepers);
void keepers_reap(struct keepers *keepers);
/* Leaves them as they are. */
void keepers_forget(struct keepers *keepers);

#endif
