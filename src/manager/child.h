/* SPDX-License-Identifier: MIT
 * A relay's life as named states and events, without any I/O: the manager feeds in what happened
 * and does what comes back. The rules of supervision are all here:
 * - a relay that had done useful work restarts at once; one that never did waits 1, 2, 4 ... 60 s;
 * - but where relays did work before, the first few that end without are followed at once too: a
 *   relay that is killed in its first milliseconds says nothing about the channel, and a second's
 *   wait would overflow the receive queue of a fast one;
 * - one that works, but ends within a blink ten times in a row, waits a tenth of a second;
 * - exit code 78 (bad configuration) is final until it is wanted anew; nothing else ever is;
 * - exit code 79 (a fresh relay can do what it cannot) is followed at once, whatever it had done;
 * - what could not even be started (a port in use, an interface that is not there) is tried again
 *   every second: that costs little, and there is no telling when its cause ends. */
#ifndef FLOTILLA_MANAGER_CHILD_H
#define FLOTILLA_MANAGER_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#define CHILD_EXIT_CONFIG     78
#define CHILD_EXIT_TAKEN      75 /* another relay has the channel */
#define CHILD_EXIT_RENEW      79
#define CHILD_WAIT_FIRST_MS   1000u
#define CHILD_WAIT_MAX_MS     60000u
#define CHILD_CREDIT          3u   /* useless ends in a row that useful work pays for */
#define CHILD_BLINK_MS        100u /* a life this short is a blink ... */
#define CHILD_BLINKS_MAX      10u  /* ... of which so many in a row ... */
#define CHILD_BLINK_WAIT_MS   100u /* ... cost this much */
#define CHILD_SILENT_MS       5000u
#define CHILD_READY_MS        1000u
#define CHILD_MISMATCH_STREAK 10u

enum child_state {
    CHILD_STOPPED,  /* no process, none wanted */
    CHILD_STARTING, /* a process that has not done useful work yet */
    CHILD_RUNNING,  /* a process that has */
    CHILD_BACKOFF,  /* no process; the timer starts one */
    CHILD_STOPPING, /* a process that was asked to end; the timer kills it */
    CHILD_FAILED    /* no process; could not be started (the timer tries again) or exit code 78 */
};

enum child_event {
    CHILD_START_WANTED,
    CHILD_STOP_WANTED, /* detail: how many ms it may take */
    CHILD_SPAWNED,
    CHILD_UNABLE, /* it could not be spawned */
    CHILD_WORKED, /* it has done useful work since it was spawned */
    CHILD_EXITED, /* detail: the exit code */
    CHILD_KILLED, /* detail: the signal */
    CHILD_TIMER   /* what was armed is due */
};

/* What to do now; several may come together. */
enum child_action {
    CHILD_SPAWN = 1, /* and answer with CHILD_SPAWNED or CHILD_UNABLE */
    CHILD_TERMINATE = 2,
    CHILD_KILL = 4,
    CHILD_ARM = 8, /* the timer, for `wait_ms` from now */
    CHILD_DISARM = 16
};

struct child {
    enum child_state state;
    bool wanted;       /* while STOPPING: another is to follow */
    bool worked;       /* the process at work, or the last one */
    uint32_t failures; /* ends without useful work, and failed starts, in a row */
    uint32_t credit;   /* ends without useful work that are still followed at once */
    uint32_t blinks;   /* very short lives in a row */
    uint32_t wait_ms;  /* for CHILD_ARM */
    uint64_t spawned_ms;
    uint64_t restarts; /* after ends that nobody had asked for */
};

/* Takes an event at the monotonic time `now_ms`; returns the enum child_action to carry out. Events
 * that cannot matter in the present state (a late timer) do nothing. A struct of zeros is a child
 * that was never started. */
unsigned child_step(struct child *child, enum child_event event, long detail, uint64_t now_ms);

/* For a child of zeros: there is a process that somebody else started. `worked`: it has done useful
 * work already. */
void child_join(struct child *child, bool worked, uint64_t now_ms);

/* Whether there is a process. */
bool child_alive(const struct child *child);

/* What else the public state depends on. */
struct child_signs {
    uint64_t alive_ms; /* since it was spawned */
    uint64_t quiet_ms; /* since the newest datagram; UINT64_MAX: none ever came */
    bool ready;        /* it is known to have opened everything */
    bool deaf;         /* nothing can come: its interface or address is not there */
    bool recording;    /* the channel records */
    int write_errno;   /* of the newest write, while writing fails; else 0 */
    uint64_t rejected_in_a_row;
};

/* The state as users see it: starting, running, silent, backoff, stopped, failed, schema_mismatch,
 * not_recording. The worst that holds. */
const char *child_public_state(const struct child *child, const struct child_signs *signs);

#endif
