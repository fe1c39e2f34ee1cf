/* SPDX-License-Identifier: MIT
 * Whoever supervises the manager (systemd, through os/notify.h) is kept informed: when it is ready,
 * reloads or stops, how the fleet is, and that the loop still goes round. Where nobody listens,
 * nothing of this happens. Relies on os/loop; everything in its thread. */
#ifndef FLOTILLA_MANAGER_SUPERVISOR_H
#define FLOTILLA_MANAGER_SUPERVISOR_H

#include <stdbool.h>

#include "manager/fleet.h"
#include "os/loop.h"
#include "os/notify.h"

#define SUPERVISOR_STATUS_BYTES 400
#define SUPERVISOR_LOOK_MS      FLEET_SAMPLE_MS /* how often the fleet is looked at for STATUS= */

/* The caller's; the fields are this module's. */
struct supervisor {
    struct notify notify;
    struct loop *loop;
    const struct fleet *fleet;
    struct loop_timer timer;
    bool ready;
    uint64_t beat_ns; /* a sign of life is sent so often; 0: never */
    uint64_t beat_due_ns, look_due_ns;
    char told[SUPERVISOR_STATUS_BYTES]; /* the newest STATUS= */
};

/* Opens the way to $NOTIFY_SOCKET, if there is one. 0 also where there is none; a negative errno if
 * it cannot be reached. Only supervisor_close is needed after either. */
int supervisor_open(struct supervisor *supervisor, struct loop *loop);
/* The fleet is started: tells so, and from now on how it is and that we live. The fleet must
 * outlive the supervisor. */
void supervisor_ready(struct supervisor *supervisor, const struct fleet *fleet);
/* A reload begins; it is through, whatever came of it. */
void supervisor_reloading(struct supervisor *supervisor);
void supervisor_reloaded(struct supervisor *supervisor);
/* The end has begun. Signs of life go on until supervisor_close. */
void supervisor_stopping(struct supervisor *supervisor);
/* Harmless on a struct of zeros. */
void supervisor_close(struct supervisor *supervisor);

#endif
