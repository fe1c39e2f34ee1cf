/* SPDX-License-Identifier: MIT
 * What an earlier manager of the runtime folder left: descriptors by channel, as whoever kept them
 * hands them out, or as they are copied from a relay that still runs. Collects; decides nothing. */
#ifndef FLOTILLA_MANAGER_TAKEOVER_H
#define FLOTILLA_MANAGER_TAKEOVER_H

#include <stdbool.h>

#include "channel/settings.h"
#include "os/descriptor.h"

/* What is kept of a channel, under "CHANNEL.KIND". */
enum takeover_kind {
    TAKEOVER_RECEIVE,
    TAKEOVER_MEMORY,
    TAKEOVER_DRAINING, /* the socket before; see channel_socket.c */
    TAKEOVER_KINDS
};
#define TAKEOVER_NAME_BYTES (CHANNEL_NAME_BYTES_MAX + 16)
/* Its name. */
void takeover_name(char name[TAKEOVER_NAME_BYTES], const char *channel, enum takeover_kind kind);

struct takeover_channel {
    struct takeover_channel *next;
    char name[CHANNEL_NAME_BYTES_MAX + 1];
    descriptor_t
        descriptors[TAKEOVER_KINDS]; /* -1: none; whoever takes one over puts -1 in its place */
};

struct takeover {
    struct takeover_channel *first;
};

/* Takes `descriptor` in under "CHANNEL.KIND", in place of an earlier one; closes it if the name
 * says nothing. */
void takeover_add(struct takeover *takeover, const char *name, descriptor_t descriptor);
/* The channel's, or NULL. */
struct takeover_channel *takeover_find(const struct takeover *takeover, const char *channel);
/* Whether what was found of a channel is what its relay `id` works on, as far as that can be told.
 */
bool takeover_is_of(const struct takeover *takeover, const char *channel, long id, uint64_t start);
/* Copies the descriptors of the relay `id`, which started at `start`, of the channel. 0, or a
 * negative errno (-EPERM where the system does not let us). */
int takeover_copy(struct takeover *takeover, const char *channel, long id, uint64_t start);
/* Closes what nobody has taken over of that channel, and frees it. */
void takeover_forget(struct takeover *takeover, struct takeover_channel *channel);
/* The same of all. */
void takeover_close(struct takeover *takeover);

#endif
