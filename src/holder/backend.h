/* SPDX-License-Identifier: MIT
 * What holder.c and the two implementations of the contract share. Nobody else includes this. */
#ifndef FLOTILLA_HOLDER_BACKEND_H
#define FLOTILLA_HOLDER_BACKEND_H

#include "holder/holder.h"
#include "os/notify.h"
#include "os/process.h"

struct holder_backend {
    /* Tells it, waiting for room in its queue up to `wait_ms`. 0 or a negative errno. */
    int (*put)(struct holder *, const char *name, descriptor_t descriptor, uint64_t wait_ms);
    int (*drop)(struct holder *, const char *name, uint64_t wait_ms);
};
extern const struct holder_backend holder_systemd_backend, holder_process_backend;

struct systemd_entry;

/* A flotilla-keeper whose place another takes, or has taken. */
struct previous {
    struct process process;
    bool killed; /* somebody (a debugger, a freezer) may keep it yet */
    struct previous *next;
};

struct holder {
    struct holder_options options;
    char *runtime, *program;
    const struct holder_backend *backend;
    struct notify connection; /* to whoever holds; -1: none */
    enum holder_state state;
    uint64_t unresponsive_ns; /* monotonic: since when; 0: it is of no use any more */
    bool lost;

    struct systemd_entry *entries; /* systemd.c: what systemd has */
    struct notify system;          /* the connection to it, while a process bridges; else -1 */

    struct process process; /* process.c */
    struct loop_watch ended;
    struct previous *previous;
    uint64_t started_ns; /* monotonic: when one was last started */
    int start_error;     /* why none could be: told of already */
};

/* systemd.c: whether there is a systemd that holds; its connection is the holder's then. */
bool systemd_open(struct holder *holder);
/* What it is known to hold. */
void systemd_note(struct holder *holder, const char *name, descriptor_t descriptor);
void systemd_close(struct holder *holder);

/* process.c: starts one, where there is none. 0 (then all is to be put), or a negative errno. */
int process_holder_start(struct holder *holder);
/* Takes what the earlier ones hold, the oldest first; they become `previous`, but for
 * those that do not answer, which are ended. 0 or a negative errno. */
int process_holders_take(struct holder *holder);
/* All but the one there is become `previous`. */
void process_holders_find(struct holder *holder);
/* Starts another in place of the one there is, which becomes a previous one. 0 or a negative errno,
 * and then that one stays. */
int process_holder_replace(struct holder *holder);
/* Ends the one there is. */
void process_holder_end(struct holder *holder);
/* Forgets the one there is, without a word to it. */
void process_holder_forget(struct holder *holder);
/* Ends the previous ones; takes the ends of those that were ended; forgets them all. */
void previous_end(struct holder *holder);
void previous_reap(struct holder *holder);
void previous_forget(struct holder *holder);

#endif
