/* SPDX-License-Identifier: MIT
 * The simulated machine: its chance, its clock, its two fibers and its faults. Everything that
 * happens is decided by one seeded generator an episode, so an episode can be lived again.
 *
 * A relay's two threads are fibers. Each step of theirs is a place where the machine may switch to
 * the other or kill both: every call of the seam, every entry and exit of a function of the core,
 * and, where the compiler tells of them (steps.c), every single load and store. The order of steps
 * is the order of memory: weaker orders of real processors are not simulated. */
#ifndef FLOTILLA_TESTS_SIM_SIM_H
#define FLOTILLA_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- chance ---- */

void random_seed(uint64_t seed);
uint64_t random_next(void);
uint64_t random_below(uint64_t limit);                /* 0 to limit - 1; 0 for 0 */
uint64_t random_between(uint64_t low, uint64_t high); /* both included */
bool random_chance(uint32_t per_million);
/* As often between 10 and 100 as between 100 and 1000. */
uint64_t random_spread(uint64_t low, uint64_t high);

/* ---- steps and fibers ---- */

enum step { STEP_SEAM, STEP_FUNCTION, STEP_ACCESS, STEPS };
extern uint64_t steps_done[STEPS];

enum fiber { FIBER_RECEIVER, FIBER_WRITER, FIBERS };

/* A step of the core, from steps.c. Nothing outside of a fiber. */
void fiber_step(enum step kind);
/* Makes fibers' stacks; once. */
void fibers_start(void);
/* Begins a life with one fiber, `run`. */
void fibers_begin(void (*run)(void));
/* Adds the second. */
void fiber_add(void (*run)(void *context), void *context);
bool fiber_ended(enum fiber fiber);
/* Lets the running fiber wait until `until_ns` (UINT64_MAX: for ever) or until `ready` says so. */
void fiber_wait(uint64_t until_ns, bool (*ready)(const void *), const void *context);

enum life { LIFE_ENDED, LIFE_KILLED, LIFE_PAUSED };
/* Runs the fibers until the first has ended, a kill strikes, or the clock is at `until_ns`: then
 * they stand where they are and go on with the next call. `look` is called between steps now and
 * then. After LIFE_KILLED they are gone. */
enum life fibers_run(uint64_t until_ns, void (*look)(void));
/* Draws when the next kill strikes: after so many steps of a kind. */
void kill_draw(void);
/* The disk has changed: a kill that was drawn to come then comes now, before or behind the note. */
void kill_soon(void);
/* The disk has failed: a kill that was drawn may come before anybody has noted that. */
void kill_at_once(void);
void kill_never(void);
void fibers_kill(void);
/* The fiber that runs, or -1. */
int fiber_now(void);
void fibers_print_steps(void);

/* ---- the machine ---- */

struct faults { /* per million calls */
    uint32_t receive, send, wait, memory;
    uint32_t open, write, sync, rename, folder, random;
    uint64_t stall_ns_max; /* a write or sync takes up to so long ... */
    uint32_t stall;        /* ... this often */
};

struct machine {
    uint64_t now_ns;         /* monotonic */
    int64_t realtime_offset; /* of realtime */
    bool interrupted;        /* the relay has been asked to stop ... */
    bool handing_over;       /* ... and to hand over */
    bool woken;              /* by its own thread */
    bool truncate_failed;    /* in this episode: what was to be cut off stays, and may be doubled */
    bool page_torn;      /* in this episode: what was on the disk is in memory only for a while */
    bool garbled;        /* in this episode: the memory was */
    bool schema_changed; /* in this episode */
    bool tail_stale;     /* in this episode: blocks that were given up may stand in an open file */
    struct faults faults;
    uint64_t seed, episode;
    bool trace;
};
extern struct machine machine;

/* A call of the seam that takes `cost_ns`: the clock moves, datagrams arrive, a step is over. */
void seam(const char *name, uint64_t cost_ns);
/* Whether this call fails. */
bool fault(uint32_t per_million);
/* Moves the clock, never back. */
void clock_to(uint64_t ns);

/* ---- what happened how often ---- */

#define EVENTS(X)                                                                                  \
    X(lives)                                                                                       \
    X(kills)                                                                                       \
    X(kills_in_open)                                                                               \
    X(kills_in_receive)                                                                            \
    X(kills_in_write)                                                                              \
    X(stops)                                                                                       \
    X(power_cuts)                                                                                  \
    X(pages_lost)                                                                                  \
    X(fresh_memories)                                                                              \
    X(sockets_replaced)                                                                            \
    X(sockets_changed)                                                                             \
    X(sockets_drained)                                                                             \
    X(kills_in_drain)                                                                              \
    X(garbled_memories)                                                                            \
    X(clock_steps)                                                                                 \
    X(switches)                                                                                    \
    X(datagrams)                                                                                   \
    X(datagrams_invalid)                                                                           \
    X(datagrams_dropped)                                                                           \
    X(datagrams_coalesced) X(coalesced_still) X(runs_sent) X(runs_refused) X(renewals)             \
        X(settings_changed) X(memories_given_up) X(blocks_given_up) X(hasty_phases)                \
            X(datagrams_in_flight) X(datums) X(sent_twice) X(send_errors) X(receive_errors)        \
                X(waits_interrupted) X(hand_overs) X(out_of_memory) X(blocks_written)              \
                    X(pages_rewritten) X(syncs) X(files_made) X(files_ended) X(full_disks)         \
                        X(write_errors) X(short_writes) X(torn_pages) X(sync_errors)               \
                            X(open_errors) X(rename_errors) X(truncate_errors) X(folder_errors)    \
                                X(stalls) X(files_removed) X(files_cut) X(folders_lost)            \
                                    X(lives_cached) X(lives_direct) X(slots_given_back)            \
                                        X(queue_given_back) X(rejects_kept) X(quiet_checks)        \
                                            X(open_file_checks) X(order_checks)                    \
                                                X(unordered_checks) X(datums_unrecorded)           \
                                                    X(datums_checked)
#define EVENT_MEMBER(name) uint64_t name;
struct events {
    EVENTS(EVENT_MEMBER)
};
#undef EVENT_MEMBER
extern struct events events;

/* ---- what is told ---- */

/* Notes something for the trace: `what` must be a literal. */
void note(const char *what, uint64_t a, uint64_t b);
/* Notes a line of text. */
void note_text(const char *text);
/* The episode has failed: says why, with the seed and what happened last, and ends the program. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail("%s:%d: %s", __FILE__, __LINE__, #condition);                                     \
    } while (0)

#endif
