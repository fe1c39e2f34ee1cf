/* SPDX-License-Identifier: MIT
 * One channel in the configuration on the disk, added, changed or removed in a file of its own
 * among the included ones. The file is as it was or as it is to be, whoever is killed when: it is
 * written under another name, synced, renamed, and the folder synced. What it would come to is
 * checked before, all of fleet.yaml, and the manager takes it before this is over; where it does
 * not, the file is put back as it was. One change at a time (a lock on the included files' folder).
 * Relies on config/change and on the manager's `reload`. */
#ifndef FLOTILLA_CLI_CHANNEL_CHANGE_H
#define FLOTILLA_CLI_CHANNEL_CHANGE_H

#include <jansson.h>

enum channel_action { CHANNEL_ADD, CHANNEL_CHANGE, CHANNEL_REMOVE };

/* Does it. `body` has "configuration" and perhaps "schema" (NULL to remove); `tag` is that of the
 * file which is to be changed, or NULL. `config` is the path of fleet.yaml. An exit code, and the
 * answer, a new object: with "refused" (a word), "text" and perhaps "errors" where nothing was
 * changed. */
int channel_change(enum channel_action action, const char *config, const char *name,
                   const json_t *body, const char *tag, json_t **answer);

#endif
