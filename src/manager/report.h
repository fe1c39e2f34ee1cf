/* SPDX-License-Identifier: MIT
 * The state of the fleet as JSON, the way `flotilla status --json` prints it. Keys and order are
 * part of the interface: they may be added to, nothing else. Relies on jansson. */
#ifndef FLOTILLA_MANAGER_REPORT_H
#define FLOTILLA_MANAGER_REPORT_H

#include <stdint.h>

#include <jansson.h>

#include "manager/fleet.h"

/* A new object, or NULL when out of memory. `started_ns` is realtime; `directory` is that of the
 * recordings; `doubt` is retention_doubt's. */
json_t *report_fleet(const struct fleet *fleet, uint64_t started_ns, const char *directory,
                     const char *doubt);

/* Its list of channels alone. A new array, or NULL. */
json_t *report_channels(const struct fleet *fleet);

#endif
