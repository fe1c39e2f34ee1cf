/* SPDX-License-Identifier: MIT
 * The last thing a process that goes wrong does: one call, then the end that the signal means.
 * Source: sigaction(2), sigaltstack(2), signal-safety(7). */
#ifndef FLOTILLA_OS_CRASH_H
#define FLOTILLA_OS_CRASH_H

/* From now on `note(context)` is called when this, the main thread crashes (a bad access, a bad
 * instruction, abort, a forbidden system call ...), on a stack of its own; then the process ends by
 * that signal. `note` may do nothing but write memory. Other threads' crashes end the process
 * without the call. Before any sandbox. */
void crash_install(void (*note)(void *context), void *context);

#endif
