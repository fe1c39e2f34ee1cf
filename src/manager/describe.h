/* SPDX-License-Identifier: MIT
 * What the channels are run with, as JSON in the words of fleet.yaml: for those who show a fleet
 * and cannot read its files. Every resolved value, defaults too; numbers and switches as such, all
 * that has a unit as text. Relies on config/keys' tables. */
#ifndef FLOTILLA_MANAGER_DESCRIBE_H
#define FLOTILLA_MANAGER_DESCRIBE_H

#include <jansson.h>

#include "config/config.h"

/* Of all channels: {"channels": [{"name": NAME, "configuration": {...}}, ...]}. Of `channel` alone:
 * {"name": ..., "configuration": {...}}; {} if there is none of that name. A new object, or NULL.
 */
json_t *describe(const struct config *config, const char *channel);

#endif
