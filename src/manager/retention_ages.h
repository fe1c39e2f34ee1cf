/* SPDX-License-Identifier: MIT
 * How old recordings are, by what no step of a clock can touch: a removal cannot be undone, and
 * wall clocks are wrong now and then (not set after a boot, a bad server, a GPS week).
 * A recording is 0 old when it is first seen finished, and grows older by the time since the boot
 * (clock_uptime_ns), which nobody can set. The ages are kept beside the recordings, so that they go
 * on in the next manager. So none is ever told to be older than it is; what nobody has seen pass
 * does not count, and keeps it for longer. The wall clock is asked only for what that leaves out,
 * and only after it has been synchronised, and not been set, for AGES_TRIAL_NS:
 * - how long the machine was off between two boots: what the wall clock says more than was counted
 *   since it was last trusted, less AGES_MARGIN_NS;
 * - how old recordings were that were there before anybody kept their ages: by their file times,
 *   less the same, if none of a lower number has a later one (numbers rise with true time).
 * Neither is believed where by it all would be older than the limit.
 * Pure: what is kept is text, the time an argument. */
#ifndef FLOTILLA_MANAGER_RETENTION_AGES_H
#define FLOTILLA_MANAGER_RETENTION_AGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "manager/retention.h"
#include "os/clock.h"

#define AGES_TRIAL_NS  600000000000ull /* 10 min */
#define AGES_MARGIN_NS 60000000000ull  /* more than a synchronised clock is off by: 1 min */
/* Times before this (2020-01-01) come from a clock that was not set. */
#define AGES_TIME_MIN_NS 1577836800000000000ull

/* What the clocks say at one moment. */
struct ages_moment {
    uint64_t uptime_ns, realtime_ns;
    bool synchronised;          /* as the kernel was told */
    char boot[CLOCK_BOOT_BYTES]; /* which boot `uptime_ns` is since; "": not known */
};

/* Why ages are told that may be too low. */
enum ages_doubt { AGES_SURE, AGES_UNSET, AGES_UNSYNCHRONISED, AGES_ON_TRIAL, AGES_ALL_TOO_OLD };

struct known_file;

/* All zero to begin with; retention_ages_free frees what is in it. */
struct retention_ages {
    struct known_file *known; /* in order of their names */
    size_t count;
    bool begun;                    /* what is not known is new, not only unknown yet */
    uint64_t uptime_ns;            /* as of the last pass; 0: there was none */
    uint64_t ahead_ns, trial_ns;   /* realtime - uptime, and since which uptime it is about that */
    enum ages_doubt clock;         /* what is wrong with the wall clock */
    uint64_t trusted_ns;           /* the wall clock when it was last trusted; 0: never */
    uint64_t counted_ns;           /* what has been counted since */
    bool missed;                   /* and that was not all that has passed */
};

/* Begins with what retention_ages_write has written, in this boot or another. 0, -EBADMSG if it is
 * something else or -ENOMEM: then all is as it was. */
int retention_ages_read(struct retention_ages *ages, const char *text,
                        const struct ages_moment *now);
/* Those that are known are of another folder; whatever comes is as new as it was before. */
void retention_ages_forget(struct retention_ages *ages);
/* Time has passed. By how much the wall clock was set meanwhile, if by more than AGES_MARGIN_NS;
 * else 0. */
int64_t retention_ages_pass(struct retention_ages *ages, const struct ages_moment *now);
/* Notes in each finished file how old it is (`age_ns`) at the moment of the last pass, and forgets
 * those that are not among them. The files are in order of channel and number; `age_ms` is the
 * limit. 0, or -ENOMEM: then no age was noted. */
int retention_ages_tell(struct retention_ages *ages, struct retention_file *files,
                        size_t file_count, uint64_t age_ms, uint64_t realtime_ns,
                        enum ages_doubt *doubt);
/* The ages as text, from malloc; NULL without memory. Its first line differs from one moment to
 * another. */
char *retention_ages_write(const struct retention_ages *ages, const struct ages_moment *now);
void retention_ages_free(struct retention_ages *ages);

/* Why, in words: "the clock is not synchronised"; "" for AGES_SURE. */
const char *retention_ages_explain(enum ages_doubt doubt);

#endif
