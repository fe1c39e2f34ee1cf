/* SPDX-License-Identifier: MIT
 * What flotilla-keeper holds, for a manager that cannot ask it: the names of its descriptors by
 * their numbers, in a memory that the manager which started it has handed down. With that, a keeper
 * that hangs, is frozen, or whose socket cannot be reached by its name is emptied from outside
 * (pidfd_getfd) before it is ended. Only the keeper writes; a reader has it suspended first.
 * Relies on os/memory. */
#ifndef FLOTILLA_CHANNEL_KEPT_H
#define FLOTILLA_CHANNEL_KEPT_H

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
void kept_unmap(struct kept *kept);

/* The keeper's: `descriptor` is kept under `name` (NULL: no longer), and it takes its orders from
 * `orders`. */
void kept_note(struct kept *kept, int descriptor, const char *name);
void kept_note_orders(struct kept *kept, int orders);

/* The reader's: the first descriptor from `from` on that has a name, which is copied; -1 behind the
 * last. */
int kept_next(const struct kept *kept, int from, char name[NOTIFY_NAME_BYTES_MAX + 1]);
int kept_orders(const struct kept *kept);

#endif
