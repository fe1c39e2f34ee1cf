/* SPDX-License-Identifier: MIT
 * Plays what a reader has: the sources' datums merged by time, each sent when it is due by a clock
 * that can be slowed, stopped and set, from the keyboard as well. Relies on cli/replay_reader,
 * cli/replay_target and os/terminal. */
#ifndef FLOTILLA_CLI_REPLAY_PLAYER_H
#define FLOTILLA_CLI_REPLAY_PLAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/replay_reader.h"
#include "cli/replay_target.h"

struct replay_options {
    double speed;          /* recorded time over time */
    bool max, step;        /* as fast as it is taken; one datum a key */
    bool loop, exact;      /* again and again; the last of each wait is spent awake */
    uint64_t skip_gaps_ns; /* a longer pause is passed over; UINT64_MAX: none is */
    uint64_t count;        /* datums, then it ends */
    struct time_span span;
};

struct replay_result {
    uint64_t datums, loops;
    uint64_t played_ns; /* of recorded time, gaps that were passed over left out */
    uint64_t gaps, gaps_ns;
};

/* Plays until the end, a signal or the key q: `targets[i]` is for source i of the reader, which is
 * started here. 0 or a negative errno. */
int replay_play(struct replay_reader *reader, struct replay_target *const *targets, uint32_t count,
                const struct replay_options *options, struct replay_result *result);

#endif
