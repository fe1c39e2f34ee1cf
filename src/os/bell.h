/* SPDX-License-Identifier: MIT
 * A descriptor by which one thread has another's loop come back. Source: eventfd(2). */
#ifndef FLOTILLA_OS_BELL_H
#define FLOTILLA_OS_BELL_H

#include "os/descriptor.h"

/* A descriptor, or a negative errno; ends with descriptor_close. */
descriptor_t bell_open(void);
/* Makes it readable until it is stilled. From any thread; never waits. */
void bell_ring(descriptor_t bell);
void bell_still(descriptor_t bell);

#endif
