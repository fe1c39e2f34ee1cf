/* SPDX-License-Identifier: MIT
 * Makes and keeps up a channel's overview, level by level, a piece at a time. Whoever builds holds
 * a lock in the overview's folder. What is found damaged, of another factor, or wanted anew is made
 * again from the recordings that are there; levels of what is not there any more are kept.
 * One thread; nothing else need run. Relies on overview/level. */
#ifndef FLOTILLA_OVERVIEW_BUILDER_H
#define FLOTILLA_OVERVIEW_BUILDER_H

#include <stdbool.h>
#include <stdint.h>

#include "overview/level.h"
#include "overview/state.h"

struct builder_options {
    uint32_t factor, levels;
    uint64_t sync_age_ns; /* blocks of open recordings are taken once they are that old */
    uint64_t age_ns;      /* levels' files are removed once they are older; 0: never */
    bool direct;          /* written past the page cache */
    void (*tell)(const char *channel, const char *what);
};

struct builder; /* opaque */

/* `folder` is the channel's, with its recordings. Makes the overview's folder in it. 0;
 * -EWOULDBLOCK if somebody else builds it; or another negative errno. Freed by builder_close. */
int builder_open(struct builder **builder, const char *folder, const char *channel,
                 const struct builder_options *options);
/* Works for about `bytes_max` of recordings. 1: there is more to do; 0: nothing for now; or a
 * negative errno, -EINTR once a signal has come. After any of them the next call goes on. */
int builder_step(struct builder *builder, uint64_t bytes_max);
/* Takes everything that is there, and ends windows and blocks that are not full: for when nothing
 * more is to come for long. 0 or a negative errno. */
int builder_flush(struct builder *builder);
/* The number of the recording that the first level goes on from: those in front of it are in it,
 * and that is noted. */
uint64_t builder_number(const struct builder *builder);
/* Removes what can be made again, and begins anew. 0 or a negative errno. */
int builder_rebuild(struct builder *builder);
void builder_close(struct builder *builder);

#endif
