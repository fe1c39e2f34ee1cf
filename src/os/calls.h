/* SPDX-License-Identifier: MIT
 * System calls that a program cannot do without, and that are refused all the same: by the seccomp
 * profile of a container that does not know them (EPERM), or by an old kernel (ENOSYS). Found
 * before anything is begun; what there is another way for is not among them. */
#ifndef FLOTILLA_OS_CALLS_H
#define FLOTILLA_OS_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#define CALLS_TEXT_BYTES 320

/* Looks for one of a relay, or with `manager` of a relay, a keeper and their manager. 0, or the
 * negative errno that it ends with, and in `text` what it is and what to do about it. Changes
 * nothing. */
int calls_refused(bool manager, char text[CALLS_TEXT_BYTES]);

#endif
