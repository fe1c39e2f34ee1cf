/* SPDX-License-Identifier: MIT
 * What has to be mounted before anything is recorded (`storage.mounted`): a recording below an
 * empty mount point would fill another disk, and be hidden by the one that comes. The setting is ""
 * (nothing has to be), "true" (any of the folders of `directory` as it is written, but "/", is a
 * mount point) or the path of a mount point. */
#ifndef FLOTILLA_CHANNEL_MOUNTED_H
#define FLOTILLA_CHANNEL_MOUNTED_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define MOUNTED_ANY "true"

/* What it is told by where an error of the disk would be. */
#define MOUNTED_ERROR ENOMEDIUM

/* Whether what has to be mounted is. `found` (of CHANNEL_PATH_BYTES_MAX) gets the mount point, ""
 * where none has to be; NULL: nobody asks. May wait for the disk. */
bool mounted_is(const char *mounted, const char *directory, char *found);
/* What is missing, for people: "/media/usb is not mounted". Returns `text`. */
char *mounted_explain(const char *mounted, const char *directory, char *text, size_t text_bytes);
/* strerror of a positive errno, or of MOUNTED_ERROR what mounted_explain says. */
const char *mounted_error_text(int error, const char *mounted, const char *directory, char *text,
                               size_t text_bytes);

#endif
