/* SPDX-License-Identifier: MIT
 * The folder that a channel's recordings are in: opened, tried and locked, once. */
#ifndef FLOTILLA_RELAY_FOLDER_H
#define FLOTILLA_RELAY_FOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/settings.h"
#include "channel/staging.h"
#include "os/folder.h"

/* The channel's folder, shared by the segments of its lanes. */
struct channel_folder {
    const struct channel_settings *settings;
    int descriptor; /* -1: it could not be opened, or has gone */
    int status;     /* why; a negative errno, or MOUNTED_ERROR's */
    int lock;
    bool direct; /* files are to be written past the page cache */
    uint32_t alignment;
    bool tried; /* a relay has done there all that is done with a recording */
    uint64_t rotate_bytes; /* as the settings have it, or what a file can have there; 0: no limit */
    bool followed;         /* its path led there when it was opened; and is looked at since */
    struct folder_place place;
    /* From inside the sandbox no folder can be opened. When it could be from outside, a relay whose
     * memory outlives it ends, to be followed by one that opens it. */
    bool outlived;
    uint64_t look_from_ns; /* monotonic: not before; UINT64_MAX: never */
    bool wants_successor;  /* it could be */
    uint64_t renew_from_ns; /* monotonic: not before, for a folder that fails */
};

/* Opens the channel's folder, decides how files are written there (says so once where `auto` falls
 * back), and locks it against a second relay. 0; -EOPNOTSUPP where direct I/O is required and
 * refused; -EWOULDBLOCK where another relay holds the folder. A folder that cannot be opened for
 * now, or may not be as something is not mounted, is no error: it is logged, and the channel is
 * relayed. When it can be opened later, or again after it was removed, and the channel's memory
 * outlives this process, `wants_successor` is set: at the earliest after half a second; where it
 * looked possible and was not, after ten, or one if the disk was full or failing. Does not wait for
 * the disk: what only a wait can tell
 * is left to channel_folder_try. `why` gets a message for people. channel_folder_close ends it. */
int channel_folder_open(struct channel_folder *folder, const struct channel_settings *settings,
                        struct staging *staging, bool outlived, char *why, size_t why_bytes);
void channel_folder_close(struct channel_folder *folder);
/* Before the first recording: does there all that will be done with it, unless a relay has before,
 * which is noted in the staging memory. Where only direct I/O is refused, and need not be, files
 * are written through the page cache from here on, and by the next relays; a folder that nothing
 * can be recorded in is closed, and looked at again after ten seconds. Says both. */
void channel_folder_try(struct channel_folder *folder, struct staging *staging);
/* Where it is closed, at most every half a second: whether it could be opened by now. Returns why
 * it is not there, a negative errno. */
int channel_folder_look(struct channel_folder *folder);
/* Where it is open, at most every half a second: whether its path leads to another folder by now,
 * since something was mounted there or taken away, or it was moved or removed. Then this one is to
 * be left, if the next relay can go on in that other one, or nothing may be recorded at all for
 * now: the caller ends what it has open there, and closes the folder. Says so. */
bool channel_folder_moved(struct channel_folder *folder);

/* Where it is open, and writing fails with `error`, a positive errno: `wants_successor` is set for
 * one that may be gone if the folder is opened anew (a share that was taken away and given again, a
 * way of writing that was taken once and is refused), not before ten seconds. */
void channel_folder_fails(struct channel_folder *folder, int error);

#endif
