/* SPDX-License-Identifier: MIT
 * A channel's memory as a whole: how large it is, mapped, checked by whoever takes it over,
 * emptied.
 */
#ifndef FLOTILLA_CHANNEL_MEMORY_H
#define FLOTILLA_CHANNEL_MEMORY_H

#include <stddef.h>

#include "channel/settings.h"
#include "channel/staging.h"
#include "os/descriptor.h"

/* The size of the memory a channel with these settings needs. */
size_t staging_bytes(const struct channel_settings *settings);

/* Maps a channel's memory to `staging`, which must stay where it is (a descriptor of
 * shared_memory_create(name, staging_bytes(settings))). Fresh memory is made ready. -EBADMSG if it
 * was made by another version, or is no such memory; else 0 or a negative errno. staging_unmap ends
 * it. Any number of processes may map it. */
int staging_map(struct staging *staging, descriptor_t descriptor);
/* Moves a mapping to another place; `from` is empty afterwards. */
void staging_move(struct staging *staging, struct staging *from);
/* For a relay that takes over, before it starts: whether what the last one left behind can be true
 * (checksums of the states, every index in bounds, no slot used twice). 0 or -EBADMSG. */
int staging_validate(const struct staging *staging);
void staging_unmap(struct staging *staging);

/* Empties the memory (after -EBADMSG) but for the ledger, if that is one. The counters are lost
 * with it. */
int staging_reset(descriptor_t descriptor);

/* Makes the checksum of a block that is about to be closed. */
void staging_seal_block(struct staging_block *block);

#endif
