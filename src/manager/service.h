/* SPDX-License-Identifier: MIT
 * Services: programs of the fleet that are no relays, such as the overview. Nothing of a channel
 * hangs on one: it is started, started again when it ends (as manager/child.h has it), replaced
 * where it is to run with other words, and ended with the fleet. Its first word is always
 * "--fleet=RUNTIME", by which the next manager finds one that an earlier manager has left, and ends
 * it before it starts its own. Everything in the loop's thread; nothing here waits.
 *
 * A new service is a line in service_names of manager/services.c and its words there. */
#ifndef FLOTILLA_MANAGER_SERVICE_H
#define FLOTILLA_MANAGER_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "manager/child.h"
#include "os/loop.h"
#include "os/process.h"

#define SERVICE_GRACE_MS   5000u
#define SERVICE_REASON_MAX 300

/* The caller's, at one place; the fields are this module's. */
struct service {
    const char *name; /* as status calls it; its program is flotilla-NAME */
    struct loop *loop;
    char *fleet; /* the first word */
    void (*ended)(void *context);
    void *context;
    char **words; /* what it is to run with, from malloc; NULL: it is not to run */
    struct child child;
    struct process process, earlier; /* ours; one of another manager that is on its way out */
    struct loop_watch end, earlier_end;
    struct loop_timer timer, earlier_timer;
    bool opened, stale; /* it runs with other words than it is to */
    uint64_t spawned_ns;
    char reason[SERVICE_REASON_MAX]; /* why it does not run; "" */
};

/* Looks for one that an earlier manager has left and asks it to end. `ended` is called after each
 * end that leaves nothing running. 0 or -ENOMEM; service_close in any case. */
int service_open(struct service *service, const char *name, const char *runtime, struct loop *loop,
                 void (*ended)(void *context), void *context);
/* What it is to run with from now on: the words behind the first (copied), NULL at their end; or
 * NULL itself: it is to end. 0 or -ENOMEM: all is as it was. */
int service_want(struct service *service, char *const *words);
/* Whether nothing of it runs, or is about to. */
bool service_is_over(const struct service *service);
/* "running", "starting", "backoff", "failed", "stopped". */
const char *service_state(const struct service *service);
void service_close(struct service *service);

#endif
