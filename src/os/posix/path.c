/* SPDX-License-Identifier: MIT
 * Names of files and folders. Relies on realpath, glob and the environment.
 * Known faults: none of it says whether a file may be read; opening it does. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "os/path.h"

#include <errno.h>
#include <fnmatch.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool path_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool path_runnable(const char *path)
{
    return access(path, X_OK) == 0;
}

int path_folder(const char *file, char *folder, size_t folder_bytes)
{
    char name[PATH_MAX], real[PATH_MAX];
    const char *slash = strrchr(file, '/');
    size_t bytes = slash == NULL ? 0 : slash == file ? 1 : (size_t)(slash - file);
    int used = snprintf(name, sizeof name, "%.*s", (int)bytes, file);
    if (used < 0 || (size_t)used >= sizeof name)
        return -ENAMETOOLONG;
    if (realpath(bytes == 0 ? "." : name, real) == NULL)
        return -errno;
    used = snprintf(folder, folder_bytes, "%s", real);
    return used < 0 || (size_t)used >= folder_bytes ? -ENAMETOOLONG : 0;
}

int path_join(const char *folder, const char *path, char *joined, size_t joined_bytes)
{
    while (strncmp(path, "./", 2) == 0)
        for (path += 2; *path == '/'; path++)
            ;
    size_t bytes = strlen(folder);
    const char *between = bytes == 0 || folder[bytes - 1] == '/' ? "" : "/";
    int used = path[0] == '/' ? snprintf(joined, joined_bytes, "%s", path)
                              : snprintf(joined, joined_bytes, "%s%s%s", folder, between, path);
    return used < 0 || (size_t)used >= joined_bytes ? -ENAMETOOLONG : 0;
}

/* A folder's own name may hold what glob takes for a pattern. */
static int escape(const char *folder, char *escaped, size_t escaped_bytes)
{
    size_t used = 0;
    for (; *folder != '\0'; folder++) {
        if (used + 3 > escaped_bytes)
            return -ENAMETOOLONG;
        if (strchr("*?[]\\", *folder) != NULL)
            escaped[used++] = '\\';
        escaped[used++] = *folder;
    }
    escaped[used] = '\0';
    return 0;
}

int path_glob(const char *folder, const char *pattern, int (*each)(void *context, const char *path),
              void *context)
{
    char escaped[PATH_MAX], whole[2 * PATH_MAX];
    int error = escape(folder, escaped, sizeof escaped);
    if (error == 0)
        error = path_join(escaped, pattern, whole, sizeof whole);
    if (error < 0)
        return error;
    glob_t found = {0};
    switch (glob(whole, 0, NULL, &found)) {
    case 0:
        break;
    case GLOB_NOMATCH:
        globfree(&found);
        return 0;
    case GLOB_NOSPACE:
        globfree(&found);
        return -ENOMEM;
    default:
        globfree(&found);
        return -EIO;
    }
    int result = 0;
    for (size_t i = 0; result == 0 && i < found.gl_pathc; i++)
        result = each(context, found.gl_pathv[i]);
    globfree(&found);
    return result;
}

bool path_is_pattern(const char *pattern)
{
    return strpbrk(pattern, "*?[") != NULL;
}

bool path_fits(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_PERIOD) == 0;
}

int path_runtime(char *path, size_t path_bytes)
{
    int used;
    if (geteuid() == 0) {
        used = snprintf(path, path_bytes, "/run/flotilla");
    } else {
        /* The specification has relative paths ignored. */
        const char *user = getenv("XDG_RUNTIME_DIR");
        if (user == NULL || user[0] != '/')
            return -ENOENT;
        used = snprintf(path, path_bytes, "%s/flotilla", user);
    }
    return used < 0 || (size_t)used >= path_bytes ? -ENAMETOOLONG : 0;
}
