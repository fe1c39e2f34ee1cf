/* SPDX-License-Identifier: MIT
 * Where a channel's file is or could be, and paths of schemas as the one file says them and the
 * other. Everything is compared as it is written, behind the real path of the folder it is in. */
#include <stdio.h>
#include <string.h>

#include "cli/channel_paths.h"
#include "os/path.h"
#include "schema/canonical.h"

char *channel_tag(const struct config_file *file, char tag[CHANNEL_TAG_BYTES])
{
    snprintf(tag, CHANNEL_TAG_BYTES, "\"%016llx\"",
             (unsigned long long)canonical_crc64((struct span){file->text, file->bytes}));
    return tag;
}

bool channel_is_shut_out(const struct config_whereabouts *where, const char *config,
                         const char *name, char file[CHANNEL_PATH_BYTES_MAX], char *why,
                         size_t why_bytes)
{
    static const char *const endings[] = {"yaml", "yml"};
    char last[CHANNEL_NAME_BYTES_MAX + 8];
    if (where->include[0] == '\0') {
        snprintf(why, why_bytes,
                 "%s includes no files that channels could be written to; add the line \"include: "
                 "channels.d/*.yaml\" to it",
                 config);
        return true;
    }
    for (size_t i = 0; i < 2; i++) {
        snprintf(last, sizeof last, "%s.%s", name, endings[i]);
        if (config_include_path(config, where->include, last, file) == 0)
            return false;
    }
    snprintf(why, why_bytes,
             "%s includes %s, which no file %s.yaml would be among; a folder is needed, as in "
             "\"include: channels.d/*.yaml\"",
             config, where->include, name);
    return true;
}

bool channel_is_fixed(const struct config_whereabouts *where, const char *name, char *why,
                      size_t why_bytes)
{
    if (where->own)
        return false;
    snprintf(why, why_bytes,
             "%s stands at %s:%u, not in an included file of its own: change it there, or move it "
             "to a file of its own first",
             name, where->file, where->line);
    return true;
}

/* Takes "." and ".." out of an absolute path, as it is written. */
static void straighten(char *path)
{
    char *to = path, *from = path;
    while (*from != '\0') {
        from += strspn(from, "/");
        size_t bytes = strcspn(from, "/");
        if (bytes == 2 && strncmp(from, "..", 2) == 0) {
            while (to > path && *--to != '/')
                ;
        } else if (bytes > 0 && !(bytes == 1 && *from == '.')) {
            *to++ = '/';
            memmove(to, from, bytes);
            to += bytes;
        }
        from += bytes;
    }
    if (to == path)
        *to++ = '/';
    *to = '\0';
}

/* What is left of `path` behind the folder; NULL: it is not below it. */
static const char *behind(const char *path, const char *folder)
{
    size_t bytes = strlen(folder);
    while (bytes > 0 && folder[bytes - 1] == '/')
        bytes--;
    return strncmp(path, folder, bytes) == 0 && path[bytes] == '/' ? path + bytes + 1 : NULL;
}

bool channel_path_is_below(const char *path, const char *folder)
{
    return behind(path, folder) != NULL;
}

bool channel_path_whole(const char *folder, const char *said, char whole[CHANNEL_PATH_BYTES_MAX])
{
    if (path_join(folder, said, whole, CHANNEL_PATH_BYTES_MAX) < 0 || whole[0] != '/')
        return false;
    straighten(whole);
    return true;
}

char *channel_path_from_base(const struct config_whereabouts *where, const char *said,
                             char text[CHANNEL_PATH_BYTES_MAX])
{
    char whole[CHANNEL_PATH_BYTES_MAX];
    const char *folder = where->text != NULL ? where->text->folder : where->base;
    snprintf(text, CHANNEL_PATH_BYTES_MAX, "%s", said);
    if (!channel_path_whole(folder, said, whole))
        return text;
    const char *left = behind(whole, where->base);
    snprintf(text, CHANNEL_PATH_BYTES_MAX, "%s", left != NULL ? left : whole);
    return text;
}

void channel_path_from(const char *folder, const char *base, const char *whole,
                       char text[CHANNEL_PATH_BYTES_MAX])
{
    const char *left = behind(whole, folder), *from_base = behind(whole, base);
    size_t used = 0;
    if (left != NULL || from_base == NULL ||
        (behind(folder, base) == NULL && strcmp(folder, base) != 0)) {
        snprintf(text, CHANNEL_PATH_BYTES_MAX, "%s", left != NULL ? left : whole);
        return;
    }
    const char *down = behind(folder, base);
    text[0] = '\0';
    for (; down != NULL && used + 4 < CHANNEL_PATH_BYTES_MAX; used += 3) {
        memcpy(text + used, "../", 4);
        down = strchr(down, '/');
        down = down != NULL ? down + 1 : NULL;
    }
    snprintf(text + used, CHANNEL_PATH_BYTES_MAX - used, "%s", from_base);
}
