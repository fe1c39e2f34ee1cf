/* SPDX-License-Identifier: MIT
 * Where a channel's file is or could be, and paths as one file says them and another. */
#ifndef FLOTILLA_CLI_CHANNEL_PATHS_H
#define FLOTILLA_CLI_CHANNEL_PATHS_H

#include <stdbool.h>

#include "channel/settings.h"
#include "config/change.h"

#define CHANNEL_TAG_BYTES 24u

/* What a file of these bytes is told from others by, in quotes. Returns `tag`. */
char *channel_tag(const struct config_file *file, char tag[CHANNEL_TAG_BYTES]);

/* Why a channel of that name cannot be added, for people; false: it can, in a file `file`. */
bool channel_is_shut_out(const struct config_whereabouts *where, const char *config,
                         const char *name, char file[CHANNEL_PATH_BYTES_MAX], char *why,
                         size_t why_bytes);
/* Why the one that is there cannot be changed; false: it can. */
bool channel_is_fixed(const struct config_whereabouts *where, const char *name, char *why,
                      size_t why_bytes);

/* The absolute path of what `said` means in a file in `folder`, without "." and "..". False: it is
 * too long. */
bool channel_path_whole(const char *folder, const char *said, char whole[CHANNEL_PATH_BYTES_MAX]);
bool channel_path_is_below(const char *path, const char *folder);
/* How a path that the channel's own file says would be said in fleet.yaml. Returns `text`. */
char *channel_path_from_base(const struct config_whereabouts *where, const char *said,
                             char text[CHANNEL_PATH_BYTES_MAX]);
/* How a file in `folder` says an absolute path: relative where both are below `base`. */
void channel_path_from(const char *folder, const char *base, const char *whole,
                       char text[CHANNEL_PATH_BYTES_MAX]);

#endif
