/* SPDX-License-Identifier: MIT
 * Files without a name, gone with the last descriptor of them, however their processes end; and
 * pipes. Sources: memfd_create(2), open(2) on O_TMPFILE, pipe(2). */
#ifndef FLOTILLA_OS_SCRATCH_H
#define FLOTILLA_OS_SCRATCH_H

#include "os/descriptor.h"

/* In memory. A descriptor for reading and writing, or a negative errno. */
descriptor_t scratch_in_memory(void);
/* On the disk of the folder, which is open. As above. */
descriptor_t scratch_in_folder(descriptor_t folder);
/* A pipe: what is written to `*to` comes out of `*from`, of which nothing waits. 0 or a negative
 * errno. */
int scratch_pipe(descriptor_t *from, descriptor_t *to);

#endif
