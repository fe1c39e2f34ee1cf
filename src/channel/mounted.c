/* SPDX-License-Identifier: MIT
 * What has to be mounted. Goes by the path as it is written: no link is resolved. */
#include "channel/mounted.h"

#include <stdio.h>
#include <string.h>

#include "channel/settings.h"
#include "os/mount.h"

bool mounted_is(const char *mounted, const char *directory, char *found)
{
    char path[CHANNEL_PATH_BYTES_MAX];
    bool any = strcmp(mounted, MOUNTED_ANY) == 0;
    snprintf(path, sizeof path, "%s", any ? directory : mounted);
    if (found != NULL)
        snprintf(found, sizeof path, "%s", path);
    if (mounted[0] == '\0')
        return true;
    for (;;) {
        char *slash = strrchr(path, '/');
        if (mount_is_at(path)) {
            if (found != NULL)
                memcpy(found, path, strlen(path) + 1);
            return true;
        }
        if (!any || slash == NULL || slash == path)
            return false;
        *slash = '\0';
    }
}

char *mounted_explain(const char *mounted, const char *directory, char *text, size_t text_bytes)
{
    if (strcmp(mounted, MOUNTED_ANY) == 0)
        snprintf(text, text_bytes, "nothing is mounted at or above %s", directory);
    else
        snprintf(text, text_bytes, "%s is not mounted", mounted);
    return text;
}

const char *mounted_error_text(int error, const char *mounted, const char *directory, char *text,
                               size_t text_bytes)
{
    if (error == MOUNTED_ERROR && mounted[0] != '\0')
        return mounted_explain(mounted, directory, text, text_bytes);
    return strerror(error);
}
