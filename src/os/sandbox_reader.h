/* SPDX-License-Identifier: MIT
 * A sandbox for a process that serves strangers and only reads: what it may open, it may open to
 * read. Weaker than os/sandbox.h, for it goes on making connections: no list of system calls.
 *
 * Promised on Linux, to whoever takes the process over, for as long as it lives:
 * - no capability but that of reading other users' files, where it had it, and none to be had;
 * - of the file system, what is below the given folders may be read and listed; nothing may be
 *   written, made, changed or run anywhere (Landlock, Linux 5.13), sockets with a name reached;
 * - from Linux 6.7 on no further port of TCP listened at, and nobody connected to by TCP; from 6.12
 *   on no signal to any other process. */
#ifndef FLOTILLA_OS_SANDBOX_READER_H
#define FLOTILLA_OS_SANDBOX_READER_H

#include <stdint.h>

#include "os/descriptor.h"

/* Before the first other thread: `folders` are open. Returns 0, SANDBOX_FILES (os/sandbox.h), or a
 * negative errno if something went wrong that ought to have worked. */
int sandbox_only_read(const descriptor_t *folders, uint32_t count);

#endif
