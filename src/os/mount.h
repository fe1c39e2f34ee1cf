/* SPDX-License-Identifier: MIT
 * Where a file system is mounted. Sources: statx(2) on STATX_ATTR_MOUNT_ROOT (Linux 5.8). */
#ifndef FLOTILLA_OS_MOUNT_H
#define FLOTILLA_OS_MOUNT_H

#include <stdbool.h>

/* Whether something is mounted at `path` itself; false where that cannot be told. A folder that was
 * mounted onto itself, as systemd does for ReadWritePaths=, does not count, nor does an automounter
 * that has mounted nothing yet. Where the system does not tell mounts from folders, what lies on
 * another device than the folder above it counts. Follows symbolic links; may wait for the disk, or
 * for an automounter. */
bool mount_is_at(const char *path);

#endif
