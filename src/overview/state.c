/* SPDX-License-Identifier: MIT
 * The state as a file. Relies on os/file for writing it in one step. */
#include "overview/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "os/direct.h"
#include "os/file.h"
#include "os/folder.h"

#define STATE_MAGIC   0x57564f46u /* "FOVW" */
#define STATE_VERSION 1u
#define STATE_NAME    ".%s.state"

int state_path(char path[OVERVIEW_PATH_BYTES], const char *folder, const char *name)
{
    int bytes = snprintf(path, OVERVIEW_PATH_BYTES, "%s/" OVERVIEW_FOLDER "/%s", folder, name);
    return bytes < (int)OVERVIEW_PATH_BYTES ? 0 : -ENAMETOOLONG;
}

char *state_level_name(char name[RECORDING_NAME_BYTES], const char *channel, uint32_t factor,
                       uint32_t level)
{
    uint64_t all = 1;
    for (uint32_t i = 0; i < level; i++)
        all *= factor;
    snprintf(name, RECORDING_NAME_BYTES, "%s-%" PRIu64, channel, all);
    return name;
}

static uint32_t checksum_of(const struct state *state)
{
    return crc32c(0, state, offsetof(struct state, checksum));
}

static int path_of(char path[OVERVIEW_PATH_BYTES], const char *folder, const char *channel)
{
    char name[RECORDING_NAME_BYTES];
    snprintf(name, sizeof(name), STATE_NAME, channel);
    return state_path(path, folder, name);
}

int state_read(struct state *state, const char *folder, const char *channel)
{
    char path[OVERVIEW_PATH_BYTES];
    uint8_t *bytes = NULL;
    size_t count = 0;
    int status = path_of(path, folder, channel);
    if (status == 0)
        status = file_read_whole(path, sizeof(*state), &bytes, &count);
    if (status == 0 && count == sizeof(*state))
        memcpy(state, bytes, sizeof(*state));
    else if (status == 0 || status == -EFBIG)
        status = -EBADMSG;
    if (status == 0 &&
        (state->magic != STATE_MAGIC || state->version != STATE_VERSION ||
         state->checksum != checksum_of(state) || state->levels > OVERVIEW_LEVELS_MAX))
        status = -EBADMSG;
    free(bytes);
    return status;
}

int state_write_file(descriptor_t folder, const char *name, struct span bytes)
{
    char beside[RECORDING_NAME_BYTES + 12];
    struct direct_file file;
    snprintf(beside, sizeof(beside), "%s.new", name);
    folder_remove(folder, beside);
    int status = direct_file_open(&file, folder, beside, FILE_CREATE, false);
    if (status < 0)
        return status;
    status = direct_file_write(&file, &bytes, 1, 0);
    if (status == 0)
        status = direct_file_sync(&file);
    direct_file_close(&file);
    if (status == 0)
        status = folder_replace(folder, beside, name);
    return status < 0 ? status : folder_sync(folder);
}

int state_write(struct state *state, descriptor_t folder, const char *channel)
{
    char name[RECORDING_NAME_BYTES];
    state->magic = STATE_MAGIC;
    state->version = STATE_VERSION;
    state->checksum = checksum_of(state);
    snprintf(name, sizeof(name), STATE_NAME, channel);
    return state_write_file(folder, name, (struct span){(const uint8_t *)state, sizeof(*state)});
}
