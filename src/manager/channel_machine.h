/* SPDX-License-Identifier: MIT
 * What becomes of a channel, and of its relay, as a table of goal, step and event, without any I/O:
 * the manager feeds in what happened and carries out what comes back. How soon a relay is followed
 * is child.h's. There is one way to replace a relay:
 *
 *   preflight: what the next one needs is there, and its socket is open, if that is another one;
 *   quiesce: nothing more comes to the old socket, if the next one does not use it;
 *   hand over (it ends between two batches), or drain (it brings everything to the disk first),
 *   whichever the change allows;
 *   adopt: the next settings become the channel's;
 *   spawn: with the old socket as `draining`, where it was handed over and has another now.
 *
 * A relay that was to drain and was killed is followed by one like it, which is asked the same. So
 * is one that dies before its successor could be started. */
#ifndef FLOTILLA_MANAGER_CHANNEL_MACHINE_H
#define FLOTILLA_MANAGER_CHANNEL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "manager/child.h"

#define CHANNEL_DRAINS_MAX       3u     /* relays in a row that end without having drained ... */
#define CHANNEL_NOTED_MAX        64u    /* ... but for so many that noted what they crashed over */
#define CHANNEL_BLOCKED_RETRY_MS 1000u  /* how often it is tried to replace a relay at last */
#define CHANNEL_DRAIN_RETRY_MS   100u   /* and where the last socket is not drained yet */
#define CHANNEL_GRACE_MS         10000u /* what a relay that is to end is given ... */
#define CHANNEL_STOP_GRACE_MS    15000u /* ... and where all are to */

enum channel_goal {
    CHANNEL_RUN,
    CHANNEL_CHANGE, /* another relay is to take over, with other settings or the same */
    CHANNEL_REMOVE,
    CHANNEL_STOP,
    CHANNEL_GOALS
};

enum channel_step {
    CHANNEL_ABSENT,       /* no relay, and none is due */
    CHANNEL_WAITING,      /* no relay; the timer starts one */
    CHANNEL_STARTING,     /* between the decision and CHANNEL_SPAWNED or CHANNEL_UNABLE */
    CHANNEL_AT_WORK,      /* a relay that is to go on */
    CHANNEL_BLOCKED,      /* a relay that is to be replaced, and cannot be yet; the timer tries */
    CHANNEL_HANDING_OVER, /* it was asked to leave all to the next one; the timer kills it */
    CHANNEL_DRAINING,     /* it was asked to bring all to the disk; the timer kills it */
    CHANNEL_STEPS
};

enum channel_event {
    CHANNEL_WANTED,  /* detail: the enum channel_goal from now on; told again, it begins again */
    CHANNEL_CHECKED, /* the answer to CHANNEL_PREFLIGHT; detail: whether it went well */
    CHANNEL_SPAWNED, /* the answers to CHANNEL_SPAWN; detail of the second: */
    CHANNEL_UNABLE,  /* whether only the system was short of something */
    CHANNEL_WORKED,  /* the relay has done useful work */
    CHANNEL_EXITED,  /* detail: the exit code */
    CHANNEL_KILLED,  /* detail: the signal */
    CHANNEL_DUE,     /* what was armed is */
    CHANNEL_EVENTS
};

/* What to do now, in this order. */
enum channel_action {
    CHANNEL_DISARM = 1 << 0,
    CHANNEL_ARM = 1 << 1,        /* the timer, for child.wait_ms from now */
    CHANNEL_CLOSE_NEXT = 1 << 2, /* the socket that was opened for a change that does not come */
    CHANNEL_RESUME = 1 << 3,     /* the socket is wanted after all: more comes to it again */
    CHANNEL_PREFLIGHT = 1 << 4,  /* and answer with CHANNEL_CHECKED */
    CHANNEL_QUIESCE = 1 << 5,
    CHANNEL_HAND_OVER = 1 << 6,
    CHANNEL_DRAIN = 1 << 7,
    CHANNEL_KILL = 1 << 8,
    CHANNEL_ADOPT = 1 << 9,
    CHANNEL_SPAWN = 1 << 10,  /* and answer with CHANNEL_SPAWNED or CHANNEL_UNABLE */
    CHANNEL_GIVE_UP = 1 << 11 /* count what is left: nobody comes for it any more */
};

/* What the channel is like at the moment of an event. */
struct channel_facts {
    bool fits;       /* the next relay can go on with what this one has in memory, in its open file
                        and in its sockets */
    bool moves;      /* its socket is not the next one's, or there is to be none */
    bool drains;     /* it moves, but the socket before is still being drained */
    bool unrecorded; /* datums are in memory alone, or a file is open */
    bool waiting;    /* datagrams wait in a socket that is to be closed, or were taken from it */
    bool noted;      /* the last relay has noted which datagram it crashed over */
};

struct channel_machine {
    enum channel_goal goal;
    enum channel_step step;
    bool blocked;    /* the change that is the goal cannot be made yet */
    uint32_t drains; /* relays in a row that were to drain and ended without, or could not start */
    uint32_t noted;  /* of those before, that are not counted there: they brought it further */
    struct child child;
};

/* Takes an event at the monotonic time `now_ms`; returns the enum channel_action to carry out.
 * `facts` are of the goal that holds by then. Events that cannot matter in the present step do
 * nothing. A struct of zeros is a channel that has no relay yet. */
unsigned channel_machine_step(struct channel_machine *machine, enum channel_event event,
                              long detail, const struct channel_facts *facts, uint64_t now_ms);

/* For a machine of zeros: there is a relay that somebody else started (child_join). */
void channel_machine_join(struct channel_machine *machine, bool worked, uint64_t now_ms);

/* Whether there is a relay that was asked to end. */
bool channel_machine_ends(const struct channel_machine *machine);

#endif
