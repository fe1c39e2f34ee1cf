/* SPDX-License-Identifier: MIT
 * One thread's event loop: descriptors, timers and the signals a service lives by. Nothing polls.
 * Events are handed out one at a time, so whatever a callback does (closing and freeing other
 * watches included) never meets a stale event. Relies on epoll and signalfd on Linux. */
#ifndef FLOTILLA_OS_LOOP_H
#define FLOTILLA_OS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "os/descriptor.h"

struct loop; /* opaque; from loop_open, freed by loop_close */

enum loop_events {
    LOOP_READ = 1, /* readable, or the other side is gone */
    LOOP_WRITE = 2
};
enum loop_signal {
    LOOP_RELOAD, /* SIGHUP */
    LOOP_STOP    /* SIGTERM, SIGINT */
};

/* Owned by the caller, at one place while it is watched. */
struct loop_watch {
    descriptor_t descriptor;
    void (*ready)(void *context, unsigned events); /* enum loop_events */
    void *context;
    bool watched; /* the loop's own */
};
struct loop_timer {
    void (*due)(void *context); /* disarmed already when called */
    void *context;
    uint64_t deadline_ns;                 /* the rest is the loop's own */
    struct loop_timer *next, **link_from; /* link_from NULL: not armed */
};

/* 0 or a negative errno. */
int loop_open(struct loop **loop);
void loop_close(struct loop *loop);

/* Starts watching `watch->descriptor`, or changes what is watched for. With no events, only that
 * the other side is gone altogether is told. 0 or a negative errno. */
int loop_watch(struct loop *loop, struct loop_watch *watch, unsigned events);
/* Stops watching; before the descriptor is closed. Harmless when it is not watched. */
void loop_unwatch(struct loop *loop, struct loop_watch *watch);

/* Arms or re-arms a timer for that monotonic instant; disarms it (harmless when it is not armed).
 */
void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
void loop_disarm(struct loop_timer *timer);

/* From now on SIGHUP, SIGTERM and SIGINT come as calls of `caught`, and SIGPIPE, SIGUSR1
 * and SIGUSR2 are ignored. Before
 * the first thread is started. 0 or a negative errno. */
int loop_signals(struct loop *loop, void (*caught)(void *context, enum loop_signal), void *context);

/* From now on `goes_on` is asked once a turn, before anything is called back: false ends loop_run.
 */
void loop_guard(struct loop *loop, bool (*goes_on)(void *context), void *context);

/* Waits and calls back until loop_end; not at all if that came before it. 0 or a negative errno. */
int loop_run(struct loop *loop);
void loop_end(struct loop *loop);

#endif
