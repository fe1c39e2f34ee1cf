/* SPDX-License-Identifier: MIT
 * Whether the wall clock may decide what is old enough to be removed: a removal cannot be undone,
 * and clocks are wrong for a moment (a GPS week rollover, a bad server, an empty battery). Pure:
 * fed with what two clocks said at each look, and with the recordings' own times.
 * It is not believed
 * - while it tells a time before RETENTION_TIME_MIN_NS: it is not set;
 * - once it has been set forward by more than CLOCK_STEP_NS against the clock that nobody can set:
 *   until it is set back by as much; or the kernel calls it synchronised when
 *   RETENTION_CLOCK_TRIAL_NS have passed since; or the step is a hundredth of the age at most, and
 *   so long ago; or the age itself has passed since, as then it cannot matter any more. A step is
 *   believed at once where by the clock before it most recordings were of the future: that one was
 *   wrong, as on a machine whose clock begins in the past at each boot;
 * - while even the newest recording is older by it than the age, so that all would go: until there
 *   is a newer one, or the kernel calls it synchronised when RETENTION_CLOCK_TRIAL_NS have passed,
 *   or the age has. On a machine that has just been started what is recorded since then is no such
 *   one: the same clock has dated it.
 * A clock that is set back removes too little, and is believed. A clock that nobody synchronises is
 * believed as long as it runs on. */
#ifndef FLOTILLA_MANAGER_RETENTION_CLOCK_H
#define FLOTILLA_MANAGER_RETENTION_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLOCK_STEP_NS            60000000000ull   /* more than a look or a drift explains: 1 min */
#define RETENTION_CLOCK_TRIAL_NS 3600000000000ull /* 1 h */
/* Times before this (2020-01-01) come from a clock that was not set yet, and tell no age. */
#define RETENTION_TIME_MIN_NS 1577836800000000000ull

enum clock_doubt { CLOCK_BELIEVED, CLOCK_UNSET, CLOCK_STEPPED, CLOCK_AHEAD };

/* What the clocks say at one moment. */
struct clock_look {
    uint64_t realtime_ns;
    uint64_t uptime_ns; /* since the machine was started, suspended or not */
    bool synchronised;  /* as the kernel was told */
};

/* What is known from the looks before; all zero before the first. */
struct retention_clock {
    struct clock_look first, last;
    bool begun;
    uint64_t step_ns;        /* how far it was set forward and is not believed; 0: it is */
    uint64_t step_uptime_ns; /* when */
    uint64_t ahead_uptime_ns; /* since when all recordings are too old; 0: they are not */
};

/* Before the first look, at its time: the clock that was believed before, `ahead_ns` ahead of the
 * uptime. */
void retention_clock_follow(struct retention_clock *clock, uint64_t ahead_ns,
                            const struct clock_look *look);
/* Judges the clock at a look: `times` (`count`) are those of the recordings, open ones too, in any
 * order; `age_ms` is not 0. */
enum clock_doubt retention_clock_judge(struct retention_clock *clock, const struct clock_look *look,
                                       const uint64_t *times, size_t count, uint64_t age_ms);

#define RETENTION_DOUBT_BYTES 160
/* Why it is not believed, in words: "the clock was set forward by 7305d". Returns `text`. */
char *retention_clock_explain(enum clock_doubt doubt, uint64_t step_ns,
                              char text[RETENTION_DOUBT_BYTES]);

#endif
