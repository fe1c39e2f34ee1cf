/* SPDX-License-Identifier: MIT
 * Unix domain sockets (unix(7)) with a name in a folder, whose path may be of any length: for the
 * files of src/os alone. */
#ifndef FLOTILLA_OS_SOCKET_PATH_H
#define FLOTILLA_OS_SOCKET_PATH_H

#include "os/descriptor.h"

/* A new, non-blocking socket of `type` (SOCK_STREAM or SOCK_DGRAM) bound to FOLDER/NAME with the
 * permissions `mode`, in place of an older one. The caller's; or a negative errno. */
descriptor_t socket_path_bind(int type, const char *folder, const char *name, unsigned mode);
/* A new, blocking socket of `type` connected to FOLDER/NAME. The caller's; or a negative errno:
 * -ECONNREFUSED also where something else stands there, such as a symbolic link. */
descriptor_t socket_path_connect(int type, const char *folder, const char *name);

#endif
