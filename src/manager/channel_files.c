/* SPDX-License-Identifier: MIT
 * A channel's files in the runtime folder: its layout. Whoever started its relay does not matter.
 */
#include "manager/fleet_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "os/file.h"
#include "os/path.h"
#include "os/storage.h"

int fleet_runtime_path(const struct fleet *fleet, const char *name, const char *ending,
                       char path[CHANNEL_PATH_BYTES_MAX])
{
    int used = snprintf(path, CHANNEL_PATH_BYTES_MAX, "%s/%s%s", fleet->runtime, name, ending);
    return used < 0 || used >= CHANNEL_PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* Written under another name and renamed, but not synced: after a power cut the runtime folder says
 * nothing that is still true, and a thousand syncs would cost the start of a fleet seconds. Without
 * `keep` it is only tried. */
static int write_runtime_file(const char *path, const void *bytes, size_t byte_count, bool keep)
{
    char beside[CHANNEL_PATH_BYTES_MAX + 8];
    snprintf(beside, sizeof beside, "%s.new", path);
    int error = folder_clear_at(beside);
    if (error == 0)
        error = folder_clear_at(path);
    if (error < 0)
        return error;
    return file_replace(path, beside, (struct span){bytes, byte_count}, !keep);
}

uint64_t channel_layout_digest(const struct config_channel *config)
{
    return (uint64_t)config->layout_bytes << 32 |
           crc32c(0, config->layout_image, config->layout_bytes);
}

/* Whether the file holds what it is to hold, as far as that is known. */
static bool is_layout_there(const struct config_channel *config)
{
    uint8_t *bytes;
    size_t count;
    if (file_read_whole(config->settings.layout, config->layout_bytes, &bytes, &count) < 0)
        return false;
    bool same = count == config->layout_bytes && memcmp(bytes, config->layout_image, count) == 0;
    free(bytes);
    return same;
}

/* Reads a schema that could not be read when the configuration was, if it can be by now. */
static int obtain_layout(struct channel *channel, struct config_channel *config)
{
    char why[FLEET_REASON_BYTES];
    int error = 0;
    if (!config->layout_image && config->schema[0] == '\0') { /* it is an earlier manager's */
        error = -ENOENT;
        channel_explain(channel, "%.160s is gone, and was taken over without it",
                        config->settings.layout);
    } else if (!config->layout_image) {
        error = config_read_schema(config, why, sizeof why);
        if (error < 0)
            channel_explain(channel, "%s", why);
    }
    return error;
}

int channel_prepare_layout(struct channel *channel)
{
    struct config_channel *config = &channel->config;
    /* Without either, what the next one waits for is what it takes. */
    bool waits = !config->layout_image && channel->pending && !channel->pending->layout_image;
    int unread = obtain_layout(channel, waits ? channel->pending : config);
    if (unread < 0 || !config->layout_image)
        return unread < 0 ? unread : -ENOENT;
    if (is_layout_there(config))
        return 0;
    int error = write_runtime_file(config->settings.layout, config->layout_image,
                                   config->layout_bytes, true);
    if (error < 0)
        channel_explain(channel, "cannot write %.160s: %s", config->settings.layout,
                        strerror(-error));
    return error;
}

int channel_preflight(struct channel *channel)
{
    struct config_channel *next = channel->pending ? channel->pending : &channel->config;
    int error = 0;
    if (!path_runnable(channel->fleet->relay)) {
        error = -errno;
        channel_explain(channel, "cannot run %.160s: %s", channel->fleet->relay, strerror(-error));
    } else if (!channel->pending) {
        error = channel_prepare_layout(channel);
    } else {
        error = obtain_layout(channel, next);
        if (error == 0)
            error = channel_recall_layout(channel, next);
        if (error < 0)
            return error;
        error = write_runtime_file(next->settings.layout, next->layout_image, next->layout_bytes,
                                   false);
        if (error < 0)
            channel_explain(channel, "cannot write %.160s: %s", next->settings.layout,
                            strerror(-error));
    }
    return error;
}
