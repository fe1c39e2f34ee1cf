/* SPDX-License-Identifier: MIT
 * The channel's folder. Relies on the kernel dropping the lock with the process. */
#include "relay/folder.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "avro/block.h"
#include "base/check.h"
#include "base/log.h"
#include "channel/mounted.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/storage.h"

#define LOCK_NAME       ".lock"
#define PROBE_NAME      ".probe"
#define LOOK_NS         (NS_PER_S / 2) /* what has changed is noticed within a second */
#define LOOK_FAILED_NS  NS_PER_S
#define LOOK_REFUSED_NS (10 * NS_PER_S)

/* A file system of which not even this much can be one file is none to record on. */
#define FILE_BYTES_MIN (4u * BLOCK_BYTES_MAX)

/* Under what a folder is noted that takes files as they are to be written in this one; that its
 * files are not written past the page cache as that was refused is another thing to know. */
static uint64_t known_as(const struct channel_folder *folder, bool direct)
{
    uint64_t identity = folder_identity(folder->descriptor);
    if (identity == 0 || direct)
        return identity;
    return folder->settings->direct_io == DIRECT_OFF ? ~identity : identity ^ 1;
}

/* Finds the alignment, without a wait for the disk: as a relay before this one has found it, or for
 * now by making a file. */
static int look_into(struct channel_folder *folder, const struct staging *staging,
                     struct direct_probe *probe)
{
    uint32_t known = staging_known_direct(staging, known_as(folder, folder->direct));
    *probe = (struct direct_probe){.alignment = known};
    folder->tried = known != 0;
    if (folder->tried)
        return 0;
    if (folder->settings->direct_io == DIRECT_AUTO && folder->direct &&
        staging_known_direct(staging, known_as(folder, false)) != 0) {
        probe->refused = true;
        return -EOPNOTSUPP;
    }
    return direct_file_probe_open(folder->descriptor, PROBE_NAME, folder->direct, probe);
}

/* Whether what failed may work in a moment, in the same folder: a disk that is full or failing. */
static bool may_pass(int status)
{
    return status == -EIO || storage_is_full(status);
}

static void do_without_direct(struct channel_folder *folder)
{
    log_line("no direct I/O in %s: recording through the page cache", folder->settings->directory);
    folder->direct = false;
}

static void say_cannot(const struct channel_folder *folder, const struct direct_probe *probe,
                       int status)
{
    log_line("cannot record in %s: cannot %s there: %s", folder->settings->directory, probe->step,
             strerror(-status));
}

/* Decides how files are written in the folder, and how large they get. 0; -EOPNOTSUPP where direct
 * I/O is required and refused; another negative errno, which is said, where nothing can be recorded
 * there. */
static int examine(struct channel_folder *folder, struct staging *staging)
{
    const struct channel_settings *settings = folder->settings;
    struct direct_probe probe;
    bool limited;
    folder->direct = settings->direct_io != DIRECT_OFF;
    int status;
    while ((status = look_into(folder, staging, &probe)) < 0 && probe.refused) {
        if (settings->direct_io == DIRECT_REQUIRED)
            return -EOPNOTSUPP;
        do_without_direct(folder);
    }
    if (status < 0 && !may_pass(status)) { /* a full or failing disk is no reason to do without */
        say_cannot(folder, &probe, status);
        return status == -EOPNOTSUPP ? -ENOSYS : status;
    }
    folder->alignment = probe.alignment;
    /* A block can grow on whose first page stands in the file already. */
    uint64_t wanted = settings->rotate_bytes > 0 ? settings->rotate_bytes + BLOCK_BYTES_MAX
                                                 : INT64_MAX;
    uint64_t most = direct_file_bytes_max(folder->lock, BLOCK_PAGE_BYTES, wanted, &limited);
    const char *whose = limited ? "this process (ulimit -f, LimitFSIZE)" : "its file system";
    if (most / BLOCK_PAGE_BYTES == wanted / BLOCK_PAGE_BYTES)
        return 0;
    if (most < FILE_BYTES_MIN) {
        log_line("cannot record in %s: the file size limit of %s is %" PRIu64 " bytes",
                 settings->directory, whose, most);
        return -EFBIG;
    }
    folder->rotate_bytes = most - BLOCK_BYTES_MAX;
    if (settings->rotate_bytes > 0)
        log_line("files in %s end at %" PRIu64
                 " bytes, before rotate.size: the file size limit of %s",
                 settings->directory, folder->rotate_bytes, whose);
    return 0;
}

static bool is_mounted(const struct channel_settings *settings)
{
    return mounted_is(settings->mounted, settings->directory, NULL);
}

/* As far as can be told. `there` gets whether any folder is, `place` which, or that above it. */
static bool is_at_path(const struct channel_folder *folder, bool *there,
                       struct folder_place *place)
{
    int status = folder_place_at(folder->settings->directory, place);
    *there = status == 0;
    return status < 0 || (*there && place->device == folder->place.device &&
                          place->inode == folder->place.inode);
}

/* Opens what is at the path by now: something may be mounted there in between. */
static int open_path(struct channel_folder *folder)
{
    const struct channel_settings *settings = folder->settings;
    enum { TRIES = 3 };
    struct folder_place place;
    bool there;
    for (int i = 0; i < TRIES && !folder->followed; i++) {
        descriptor_close(folder->descriptor);
        if (!is_mounted(settings)) /* before a folder is made there */
            return folder->descriptor = -MOUNTED_ERROR;
        folder->descriptor = folder_open(settings->directory);
        if (folder->descriptor < 0)
            return folder->descriptor;
        folder->followed = folder_place(folder->descriptor, &folder->place) == 0 &&
                           is_at_path(folder, &there, &place);
    }
    return is_mounted(settings) ? 0 : -MOUNTED_ERROR;
}

/* Opens and locks the folder and decides how to write there. */
static int open_folder(struct channel_folder *folder, struct staging *staging)
{
    int status = open_path(folder);
    if (status >= 0)
        status = folder->lock = folder_lock(folder->descriptor, LOCK_NAME); /* until the end */
    if (status >= 0)
        status = examine(folder, staging);
    if (status < 0) {
        channel_folder_close(folder);
        folder->direct = false;
        folder->alignment = BLOCK_PAGE_BYTES;
    }
    return status;
}

/* How soon it is looked at again. What looks possible and is not would be tried for ever. */
static uint64_t look_again_ns(const struct channel_settings *settings, int status)
{
    if (status >= 0 || status == -MOUNTED_ERROR || folder_possible(settings->directory) != 0)
        return LOOK_NS;
    return may_pass(status) ? LOOK_FAILED_NS : LOOK_REFUSED_NS;
}

int channel_folder_open(struct channel_folder *folder, const struct channel_settings *settings,
                        struct staging *staging, bool outlived, char *why, size_t why_bytes)
{
    *folder = (struct channel_folder){.settings = settings,
                                      .outlived = outlived,
                                      .descriptor = -1,
                                      .lock = -1,
                                      .rotate_bytes = settings->rotate_bytes,
                                      .alignment = BLOCK_PAGE_BYTES};
    int status = open_folder(folder, staging);
    folder->status = status;
    folder->look_from_ns = clock_monotonic_ns() + look_again_ns(settings, status);
    folder->renew_from_ns = clock_monotonic_ns() + LOOK_REFUSED_NS;
    if (status == 0 && !folder->followed)
        folder->look_from_ns = UINT64_MAX;
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
    if (status < 0 && status != -MOUNTED_ERROR) /* which the writing thread tells */
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

void channel_folder_try(struct channel_folder *folder, struct staging *staging)
{
    struct direct_probe probe;
    if (folder->descriptor < 0 || folder->tried)
        return;
    int status;
    while ((status = direct_file_probe(folder->descriptor, PROBE_NAME, folder->direct, &probe)) <
               0 &&
           probe.refused && folder->settings->direct_io == DIRECT_AUTO)
        do_without_direct(folder);
    if (status == 0) {
        staging_note_direct(staging, known_as(folder, folder->direct), folder->alignment);
    } else if (!may_pass(status)) {
        say_cannot(folder, &probe, status);
        channel_folder_close(folder);
        folder->status = status;
        folder->look_from_ns = clock_monotonic_ns() + LOOK_REFUSED_NS;
    }
}

/* Whether the next relay can open what is at the path: 0, or why not. */
static int look_at_path(const struct channel_settings *settings)
{
    return is_mounted(settings) ? folder_possible(settings->directory) : -MOUNTED_ERROR;
}

int channel_folder_look(struct channel_folder *folder)
{
    const char *directory = folder->settings->directory;
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns < folder->look_from_ns)
        return folder->status;
    folder->look_from_ns = now_ns + LOOK_NS;
    int status = look_at_path(folder->settings);
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

void channel_folder_fails(struct channel_folder *folder, int error)
{
    static const int stale[] = {ESTALE, ENOTCONN, ENODEV, ENXIO, EBADF, EINVAL, EOPNOTSUPP};
    bool may_help = false;
    for (size_t i = 0; i < ARRAY_COUNT(stale); i++)
        may_help = may_help || error == stale[i];
    if (may_help && folder->outlived && folder->descriptor >= 0 &&
        clock_monotonic_ns() >= folder->renew_from_ns)
        folder->wants_successor = true;
}

/* Where no folder is at the path, nor can be: goes on in the one that was moved or removed. Of a
 * disk that was taken away nothing is left there, not even its device. */
static bool stays_in(struct channel_folder *folder, bool there, const struct folder_place *place,
                     int status)
{
    if (status == 0 || status == -MOUNTED_ERROR || there ||
        place->device != folder->place.device)
        return false;
    if (folder->status != status)
        log_line("%s is no folder now (%s): still recording in the one before",
                 folder->settings->directory, strerror(-status));
    folder->status = status;
    return true;
}

bool channel_folder_moved(struct channel_folder *folder)
{
    uint64_t now_ns = clock_monotonic_ns();
    struct folder_place place;
    bool there;
    if (!folder->followed || now_ns < folder->look_from_ns)
        return false;
    folder->look_from_ns = now_ns + LOOK_NS;
    if (is_at_path(folder, &there, &place)) {
        folder->status = 0;
        return false;
    }
    int status = look_at_path(folder->settings);
    if (stays_in(folder, there, &place, status))
        return false;
    if (!folder->outlived && status == 0) {
        log_line("%s is another folder by now: still recording in the one before until this relay "
                 "is started anew",
                 folder->settings->directory);
        folder->look_from_ns = UINT64_MAX;
        return false;
    }
    log_line("%s is another folder by now (mounted, unmounted or moved): leaving the one before",
             folder->settings->directory);
    folder->look_from_ns = now_ns; /* the other one is looked at again at once */
    folder->status = status < 0 ? status : -ENOENT;
    return true;
}
