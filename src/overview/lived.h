/* SPDX-License-Identifier: MIT
 * How old the finished files of levels are, by what no step of a clock can touch: what goes for its
 * age cannot be made again. A file is 0 old when it is first seen finished, and grows older by the
 * time since the boot (clock_uptime_ns) that has passed while it was there, whether anybody looked
 * or not. What passes between two boots does not count: it keeps files for longer. So none is ever
 * told to be older than it is; the wall clock is not asked at all.
 * Kept as text, from which the next process of the same boot or another goes on. Pure: the time is
 * an argument. (Recordings have manager/retention_ages.h, which asks the wall clock for the time
 * between boots: they are large.) */
#ifndef FLOTILLA_OVERVIEW_LIVED_H
#define FLOTILLA_OVERVIEW_LIVED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/recording_name.h"
#include "os/clock.h"

struct lived_file {
    char name[RECORDING_NAME_BYTES];
    uint64_t seen_ns; /* what was counted when it was first seen */
    bool there;       /* since lived_begin */
};

/* All zero to begin with; lived_free frees what is in it. */
struct lived {
    struct lived_file *files; /* in order of their names up to `sorted` */
    size_t count, sorted, room;
    uint64_t counted_ns; /* that has passed in all */
    uint64_t uptime_ns;  /* up to this moment of this boot; 0: none yet */
};

/* Begins with what lived_write has written, as of the boot `boot` at `uptime_ns`. 0; -EBADMSG if it
 * is something else, or -ENOMEM: then `lived` is as it was. */
int lived_read(struct lived *lived, const char *text, const char *boot, uint64_t uptime_ns);
/* A look at all files begins: time has passed up to `uptime_ns`. */
void lived_begin(struct lived *lived, uint64_t uptime_ns);
/* A finished file is there; each once a look. How old it is, at least; 0 without memory. */
uint64_t lived_age_ns(struct lived *lived, const char *name);
/* The look ends: what was not there is forgotten. */
void lived_end(struct lived *lived);
/* All of it as text, from malloc; NULL without memory. */
char *lived_write(const struct lived *lived, const char *boot);
void lived_free(struct lived *lived);

#endif
