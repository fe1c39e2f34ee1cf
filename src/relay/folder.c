/* SPDX-License-Identifier: MIT
 * The channel's folder. Relies on the kernel dropping the lock with the process. */
#include "relay/folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "avro/block.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"

#define LOCK_NAME       ".lock"
#define PROBE_NAME      ".probe"
#define LOOK_NS         NS_PER_S
#define LOOK_REFUSED_NS (10 * NS_PER_S)

/* Whether the file system takes direct I/O, and in which units: tried, unless a relay has before.
 */
static int try_direct(int descriptor, struct staging *staging, uint32_t *alignment)
{
    uint64_t identity = folder_identity(descriptor);
    *alignment = staging_known_direct(staging, identity);
    if (*alignment != 0)
        return 0;
    *alignment = BLOCK_PAGE_BYTES;
    int status = direct_file_probe(descriptor, PROBE_NAME, true, alignment);
    staging_note_direct(staging, identity, status == 0 ? *alignment : 0);
    return status;
}

/* Opens and locks the folder and decides how to write there. */
static int open_folder(struct channel_folder *folder, struct staging *staging)
{
    const struct channel_settings *settings = folder->settings;
    int descriptor = folder_open(settings->directory);
    if (descriptor < 0)
        return descriptor;
    int lock = folder_lock(descriptor, LOCK_NAME); /* held until the process ends */
    if (lock < 0) {
        descriptor_close(descriptor);
        return lock;
    }
    uint32_t alignment = BLOCK_PAGE_BYTES;
    bool wanted = settings->direct_io != DIRECT_OFF;
    int status = wanted ? try_direct(descriptor, staging, &alignment) : 0;
    bool refused = status == -EINVAL || status == -EOPNOTSUPP || status == -EPERM;
    if (refused && settings->direct_io == DIRECT_REQUIRED) {
        descriptor_close(lock);
        descriptor_close(descriptor);
        return -EOPNOTSUPP;
    }
    folder->descriptor = descriptor;
    folder->lock = lock;
    if (!wanted)
        return 0;
    if (refused)
        log_line("no direct I/O in %s: recording through the page cache", settings->directory);
    /* A full or failing disk is no reason to do without it. */
    folder->direct = !refused;
    folder->alignment = alignment;
    return 0;
}

int channel_folder_open(struct channel_folder *folder, const struct channel_settings *settings,
                        struct staging *staging, bool outlived, char *why, size_t why_bytes)
{
    *folder = (struct channel_folder){.settings = settings,
                                      .outlived = outlived,
                                      .descriptor = -1,
                                      .lock = -1,
                                      .alignment = BLOCK_PAGE_BYTES};
    int status = open_folder(folder, staging);
    /* What looks possible and is not would be tried for ever. */
    bool refused = status < 0 && folder_possible(settings->directory) == 0;
    folder->status = status;
    folder->look_from_ns = clock_monotonic_ns() + (refused ? LOOK_REFUSED_NS : LOOK_NS);
    if (status == -EWOULDBLOCK) {
        snprintf(why, why_bytes, "another relay records in %s", settings->directory);
        return status;
    }
    if (status == -EOPNOTSUPP) {
        snprintf(why, why_bytes,
                 "direct_io: required, but the file system of %s has no direct I/O; record "
                 "elsewhere, or set direct_io: auto",
                 settings->directory);
        return status;
    }
    if (status < 0)
        log_line("cannot use the folder %s: %s; relaying without recording until it can be",
                 settings->directory, strerror(-status));
    return 0;
}

void channel_folder_close(struct channel_folder *folder)
{
    descriptor_close(folder->lock);
    descriptor_close(folder->descriptor);
    folder->lock = folder->descriptor = -1;
}

int channel_folder_look(struct channel_folder *folder)
{
    const char *directory = folder->settings->directory;
    if (clock_monotonic_ns() < folder->look_from_ns)
        return folder->status;
    int status = folder_possible(directory);
    if (status < 0) {
        folder->status = status;
    } else if (folder->outlived) {
        folder->wants_successor = true;
    } else {
        log_line("%s can be opened now, but not by this relay any more; start it anew to record",
                 directory);
        folder->look_from_ns = UINT64_MAX;
    }
    return folder->status;
}
