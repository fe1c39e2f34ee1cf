/* SPDX-License-Identifier: MIT
 * What flotilla-keeper holds, for a manager that cannot ask it: the names of its descriptors by
 * their numbers, in a memory that the manager which started it has handed down. With that, a keeper
 * that hangs, is frozen, or whose socket cannot be reached by its name is emptied from outside
 * (pidfd_getfd) before it is ended. Names are the keeper's to write; a reader sees to it that it
 * does not go on meanwhile. Relies on os/memory. */
#ifndef FLOTILLA_CHANNEL_KEPT_H
#define FLOTILLA_CHANNEL_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "os/notify.h"
#include "os/process.h"

#define KEPT_MAX 65536 /* descriptors from here on have no name in it */

/* Where a keeper has what it was handed down: the order in which the manager does that. */
enum kept_handed { KEPT_ORDERS = PROCESS_FIRST_HANDED, KEPT_TABLE };

struct kept; /* opaque; from kept_map, freed by kept_unmap */

/* Makes the memory, which takes room only where names stand. A descriptor, or a negative errno. */
int kept_create(void);
/* Maps one. 0, -EBADMSG if it is no such memory, or another negative errno. */
int kept_map(int descriptor, struct kept **kept);
void kept_unmap(struct kept *kept); /* NULL: nothing */

/* The keeper's, where it has such a memory (else NULL). It begins at `now_ns` (monotonic), with
 * what it was handed down to take its orders from. */
void kept_begin(struct kept *kept, uint64_t now_ns);
/* It takes its orders from these two descriptors; -1: there is no older one. */
void kept_note_orders(struct kept *kept, int older, int newest);
/* `descriptor` is kept under `name`. */
void kept_note(struct kept *kept, int descriptor, const char *name);
/* It is about to be followed by another of its name; then it is closed. */
void kept_note_leaving(struct kept *kept, int descriptor);
void kept_note_gone(struct kept *kept, int descriptor);

/* A manager's. When it began; one that has not is the newest of all. */
uint64_t kept_begun_ns(const struct kept *kept);
/* The older (0) or the newest (1); -1: there is none. */
int kept_orders(const struct kept *kept, int which);
/* The first descriptor from `from` on that has a name, which is copied, and is about to leave or
 * not; -1 behind the last. What is leaving still counts where nothing else has its name. */
int kept_next(const struct kept *kept, int from, bool leaving,
              char name[NOTIFY_NAME_BYTES_MAX + 1]);
/* Another keeper has all that this one holds: it is of no use to anybody. */
void kept_note_followed(struct kept *kept);
bool kept_followed(const struct kept *kept);

#endif
