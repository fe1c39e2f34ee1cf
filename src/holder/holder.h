/* SPDX-License-Identifier: MIT
 * What outlives the manager: a copy of every socket and memory is held by somebody else, and a
 * manager that is started again gets them back. That is systemd, where it has a store for us
 * ($NOTIFY_SOCKET, and $FDSTORE says how much it takes), else flotilla-keeper, a process of our own
 * that each manager starts and the next one finds by its command line. One contract, and two
 * implementations (systemd.c, process.c); what the holder is known to hold is one state. A holder
 * that has to be followed by another (it hangs, or is an earlier manager's) goes on holding what it
 * has until that one has confirmed everything; then it is ended. Relies on os/notify for the words
 * and os/loop. Nothing here waits for long on anybody. */
#ifndef FLOTILLA_HOLDER_HOLDER_H
#define FLOTILLA_HOLDER_HOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "os/descriptor.h"
#include "os/loop.h"

#define HOLDER_SOCKET         "keeper.sock" /* in the runtime folder: where a manager is answered */
#define HOLDER_PROCESS_SUFFIX ".process"    /* of the names of processes */
#define HOLDER_BARRIER_MS     500u          /* what it is given, as a rule, to have done all */

enum holder_state {
    HOLDER_ABSENT,      /* there is none; holder_tick starts one */
    HOLDER_STARTING,    /* it is to be told everything, by holder_tick */
    HOLDER_SYNCING,     /* it was told everything, and has not confirmed it yet */
    HOLDER_IN_SYNC,     /* it has */
    HOLDER_UNRESPONSIVE /* it does not answer, or missed what it was to drop */
};

struct holder; /* opaque; from holder_open, freed by holder_close */

struct holder_options {
    struct loop *loop;   /* must outlive the holder */
    const char *runtime; /* the runtime folder; copied */
    const char *program; /* path of flotilla-keeper; copied */
    /* Called with each descriptor that an earlier manager has left, which is the callee's from then
     * on; of those under one name the newest comes last. */
    void (*found)(void *context, const char *name, descriptor_t descriptor);
    /* Called when all is to be put (again): holder_put for everything. */
    void (*put_all)(void *context);
    void *context;
};

/* Takes what an earlier manager has left, and gets ready to hold others. An earlier holder that
 * does not answer within seconds is ended: what it alone had is lost, and the log says so. 0 or a
 * negative errno, and then nothing was ended (where the error is our own want of something). */
int holder_open(struct holder **holder, const struct holder_options *options);
/* Whether an earlier holder was ended that did not answer. */
bool holder_was_lost(const struct holder *holder);

/* Holds a copy under `name` (NOTIFY_NAME_BYTES_MAX), in place of whatever has that name. What is
 * not taken now is put again by holder_tick. */
void holder_put(struct holder *holder, const char *name, descriptor_t descriptor);
void holder_drop(struct holder *holder, const char *name);
/* Lets the holder know of a relay (a descriptor of pidfd_open(2)) for as long as it lives, under a
 * name with HOLDER_PROCESS_SUFFIX: a flotilla-keeper without manager and relays ends. Nothing to
 * systemd. */
void holder_put_process(struct holder *holder, const char *name, int process);

/* Waits until all that it was told is done: an address is free only when every copy of its socket
 * is closed. 0 or a negative errno. */
int holder_barrier(struct holder *holder, uint64_t wait_ms);
/* To be called about once a second: starts one where there is none, tells it again what it has not
 * taken, asks whether it has everything, has one that hangs followed by another. */
void holder_tick(struct holder *holder);

/* The runtime folder was lost, and is this manager's again: every flotilla-keeper but its own is
 * that of a manager that had the folder meanwhile, and ends once ours has everything. */
void holder_retake(struct holder *holder);

/* Sees to it that the program which this process is about to become finds everything, if necessary
 * by a flotilla-keeper for that moment. Waits some seconds at most. 0 or a negative errno. */
int holder_exec_begin(struct holder *holder);
/* It went on as it was: undoes that. */
void holder_exec_failed(struct holder *holder);

/* Whether systemd holds. */
bool holder_is_system(const struct holder *holder);
/* The id of flotilla-keeper; 0: there is none, or systemd holds. */
long holder_process(const struct holder *holder);

/* If the fleet has ended, gives everything up (systemd gives it up itself, unless it starts us
 * again, and then it is wanted); else leaves all to the next manager, as if this one had been
 * killed. */
void holder_close(struct holder *holder, bool ended);

#endif
