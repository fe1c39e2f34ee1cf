/* SPDX-License-Identifier: MIT
 * What a crash of the machine leaves in the folder: files that are still named ".part" and that no
 * memory knows of. */
#ifndef FLOTILLA_RELAY_LEFTOVER_H
#define FLOTILLA_RELAY_LEFTOVER_H

#include "relay/segment.h"

/* Ends every other ".part" of the segment's lane at its last whole block, and logs what it found.
 * What stands behind damage is kept in a file of its own, for `flotilla recover`. May read for
 * long: for the writing thread, while datums are received. */
void leftovers_finish(struct segment *segment);

#endif
