/* SPDX-License-Identifier: MIT
 * A process that reads what strangers send shuts itself in once it has opened all it needs: from
 * then on it reaches its descriptors and one folder, and nothing else. One file per system
 * implements it, with what the system has; what it lacks is told, and the process goes on.
 *
 * Promised on Linux, to whoever takes the process over, for as long as it lives:
 * - no capability, and none to be had (no_new_privs; the bounding set is emptied where that is
 *   allowed). One is kept where nothing could be recorded without it, see SANDBOX_OVERRIDE;
 * - of the file system, regular files directly or further down in one folder may be made, read,
 *   written, cut, renamed within it and removed, and the folder listed; nothing else may be opened,
 *   made or changed anywhere, nothing run (Landlock, Linux 5.13; before 6.2 the list of calls alone
 *   keeps it from cutting files elsewhere);
 * - no signal to any other process (Landlock from 6.12 on; the list of calls by itself), no
 *   abstract socket reached;
 * - only the system calls it needs, on one architecture: no new socket, process, program,
 *   executable page, mount, namespace, trace, io_uring (seccomp). A call that no code of ours or of
 *   the C library makes ends the process at once (SIGSYS), so that a break-in ends at its first
 *   step and shows in the manager's log; its successor loses nothing. All other calls that are not
 *   on the list fail with EPERM, so that one that was not foreseen does not cost a channel;
 * - no more descriptors than it needs, no further process.
 * Not promised: whether a path exists, and what stat tells of it, stays visible; the descriptors
 * it has can be used for all they are good for: an inherited UDP socket can send to any address.
 * Sources: landlock(7), seccomp(2), capabilities(7), the kernel's seccomp_filter.rst. */
#ifndef FLOTILLA_OS_SANDBOX_H
#define FLOTILLA_OS_SANDBOX_H

#include <stdint.h>

#include "os/descriptor.h"
#include "os/thread.h"

/* What is not held, as far as it is known. */
enum sandbox_lack {
    SANDBOX_FILES = 1,   /* no Landlock: every file that the user may open can be opened */
    SANDBOX_CALLS = 2,   /* no seccomp: every system call can be made */
    SANDBOX_OVERRIDE = 4 /* the folder is not ours to write: CAP_DAC_OVERRIDE was kept for it */
};

/* First half, before the first other thread: drops capabilities and shuts the file system but for
 * `folder`, an open one, or -1 for none at all. Everything else must be open by now. Returns the
 * lacks (SANDBOX_CALLS never among them), or a negative errno if something went wrong that ought
 * to have worked. */
int sandbox_enter(descriptor_t folder);

/* Second half, when every thread runs: the list of system calls, for all of them, and the limits.
 * `other` is the thread beside the calling one, which may signal itself; NULL: there is none.
 * Returns the lacks (SANDBOX_CALLS or 0), or a negative errno. */
int sandbox_seal(const struct thread *other);

/* What this machine lacks; changes nothing. */
int sandbox_lacks(void);

/* A lack in words for people. */
struct sandbox_lack_text {
    const char *what; /* "this kernel has no ..." */
    const char *harm; /* what a process that is broken into "could" do then */
    const char *fix;  /* what to do about it; NULL: nothing */
};
struct sandbox_lack_text sandbox_explain(enum sandbox_lack lack);
/* What holds a process where nothing is lacking. */
const char *sandbox_describe(void);

#endif
