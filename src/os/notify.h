/* SPDX-License-Identifier: MIT
 * Talking to whoever supervises this process, in the language of sd_notify(3): a datagram of
 * "KEY=VALUE" lines to a local socket, with descriptors to keep ("FDSTORE=1") where there are any.
 * The same words go to systemd's socket ($NOTIFY_SOCKET) and to flotilla-keeper's.
 * Sources: sd_notify(3), sd_pid_notify_with_fds(3), sd_watchdog_enabled(3). */
#ifndef FLOTILLA_OS_NOTIFY_H
#define FLOTILLA_OS_NOTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"

#define NOTIFY_NAME_BYTES_MAX 200 /* of a kept descriptor's name: no ':' and no controls */

struct notify {
    descriptor_t descriptor; /* a datagram socket; -1: nobody listens */
};

/* Opens the way to $NOTIFY_SOCKET (a path, or "@" and an abstract name). 0; -ENOENT if it is not
 * set, and then every call below does nothing; or another negative errno. Before any sandbox: it
 * makes a socket. notify_close ends it. */
int notify_open(struct notify *notify);
/* The same for the socket `name` in `folder` (of any length of path). */
int notify_open_at(struct notify *notify, const char *folder, const char *name);
void notify_close(struct notify *notify);

/* Sends `text`, lines such as "READY=1" or "STATUS=...". Never waits. 0, -ENOENT if nobody listens,
 * -EAGAIN if it was not taken now, or another negative errno. */
int notify_send(const struct notify *notify, const char *text);
/* Gives a copy of `descriptor` into keeping under `name`, where one may be already. Waits for room
 * up to `wait_ms`; else as notify_send. */
int notify_keep(const struct notify *notify, const char *name, descriptor_t descriptor,
                uint64_t wait_ms);
/* Has everything under `name` given up. As above. */
int notify_drop(const struct notify *notify, const char *name, uint64_t wait_ms);

/* Waits until whoever listens has done all it was sent before, at most `wait_ms`. 0, -ETIMEDOUT,
 * -ENOSPC if it could not do all (notify_refuse), or as notify_send. Source: sd_notify_barrier(3).
 */
int notify_barrier(const struct notify *notify, uint64_t wait_ms);

/* The other side, for flotilla-keeper and who asks it. */

/* Makes the socket `name` in `folder` (mode 0600), in place of whatever socket was there. A
 * descriptor, or a negative errno. */
descriptor_t notify_listen(const char *folder, const char *name);
/* Takes one message of a notify or pair socket: its text (cut to `text_bytes`, NUL-terminated) and
 * the descriptor that came with it, close-on-exec, or -1. The bytes of the text; 0 at the end of a
 * pair; -EAGAIN if `wait_ms` passed without one; -EMFILE for one whose descriptor we had no room
 * for (the text is there); or another negative errno. */
long notify_receive(descriptor_t descriptor, char *text, size_t text_bytes, descriptor_t *passed,
                    uint64_t wait_ms);
/* Answers a barrier that came with the descriptor `passed`: not all before it could be done. */
void notify_refuse(descriptor_t passed);
/* Sends a message as notify_send does, with a descriptor unless it is -1, but waits for room up to
 * `wait_ms`. */
int notify_pass(descriptor_t descriptor, const char *text, descriptor_t passed, uint64_t wait_ms);
/* Two ends of a way for messages within this machine, each read by notify_receive. 0 or a negative
 * errno. */
int notify_pair(descriptor_t ends[2]);
/* How often the supervisor wants "WATCHDOG=1" ($WATCHDOG_USEC, if $WATCHDOG_PID is ours or is not
 * set), in nanoseconds; 0: never. */
uint64_t notify_watchdog_ns(void);

#endif
