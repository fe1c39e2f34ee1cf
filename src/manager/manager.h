/* SPDX-License-Identifier: MIT
 * The manager: one for a runtime folder, in the foreground, until it is told to stop. Brings
 * together the fleet, the control socket, retention and the signals. Writes its log on stderr. */
#ifndef FLOTILLA_MANAGER_MANAGER_H
#define FLOTILLA_MANAGER_MANAGER_H

#include <stdbool.h>

#include <jansson.h>

/* Runs the configuration at `path` until SIGTERM, SIGINT or `flotilla stop`; SIGHUP and `flotilla
 * reload` read it again. Returns the exit code: 0 after a clean stop, 1 when something could not be
 * done or a relay did not end cleanly, 78 for a bad configuration. Takes over the relays that an
 * earlier manager left at work; with `renew`, then replaces each by the present program. */
int manager_run(const char *path, bool renew);

/* Ends what a manager that was killed has left in the folder `runtime`, cleanly: relays at work,
 * and whoever keeps for them. `path` is the configuration, for layouts that have gone. The reply of
 * `flotilla stop` (a new object), or NULL if nothing is left, a manager runs there, or it cannot be
 * done (which is logged). */
json_t *manager_end_left(const char *runtime, const char *path);

#endif
