/* SPDX-License-Identifier: MIT
 * The manager: one for a runtime folder, in the foreground, until it is told to stop. Brings
 * together the fleet, the control socket, retention and the signals. Writes its log on stderr. */
#ifndef FLOTILLA_MANAGER_MANAGER_H
#define FLOTILLA_MANAGER_MANAGER_H

#include <stdbool.h>

/* Runs the configuration at `path` until SIGTERM, SIGINT or `flotilla stop`; SIGHUP and `flotilla
 * reload` read it again. Returns the exit code: 0 after a clean stop, 1 when something could not be
 * done or a relay did not end cleanly, 78 for a bad configuration. Takes over the relays that an
 * earlier manager left at work; with `renew`, then replaces each by the present program. */
int manager_run(const char *path, bool renew);

#endif
