/* SPDX-License-Identifier: MIT
 * Names of files and folders: what is there, where it really is, and where a fleet keeps its state.
 * One file per system implements it. Sources: realpath(3), glob(3), XDG Base Directory
 * specification. */
#ifndef FLOTILLA_OS_PATH_H
#define FLOTILLA_OS_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Whether something of that name is there. */
bool path_exists(const char *path);

/* Whether it is a program that this process may run; errno tells why not. */
bool path_runnable(const char *path);

/* The absolute path, free of symbolic links, of the folder that `file` stands in; `file` itself
 * need not be there. 0, -ENAMETOOLONG, or the negative errno of looking the folder up. */
int path_folder(const char *file, char *folder, size_t folder_bytes);

/* `path` as it is to be found from `folder`: joined, unless `path` is absolute or `folder` is "".
 * Leading "./" are left out. 0 or -ENAMETOOLONG. */
int path_join(const char *folder, const char *path, char *joined, size_t joined_bytes);

/* Calls `each` with every file that `pattern` ("channels.d/ *.yaml", without the space) matches
 * from `folder`, in the order of their names, joined with `folder` as written, until it returns
 * non-zero, which is then returned. Matching nothing is no error: `each` is just not called. 0 or a
 * negative errno. */
int path_glob(const char *folder, const char *pattern, int (*each)(void *context, const char *path),
              void *context);
/* Whether path_glob would take any character of `pattern` for more than itself. */
bool path_is_pattern(const char *pattern);
/* Whether path_glob would find a file of that name by a pattern for names alone ("*.yaml"). */
bool path_fits(const char *pattern, const char *name);

/* Where a fleet keeps sockets and state if nothing is said: the system's folder for root, else the
 * user's own. 0, -ENOENT if the user has none ($XDG_RUNTIME_DIR is not set), or -ENAMETOOLONG. */
int path_runtime(char *path, size_t path_bytes);

#endif
