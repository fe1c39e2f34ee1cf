/* SPDX-License-Identifier: MIT
 * The bell as an eventfd. */
#define _GNU_SOURCE
#include "os/bell.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>

descriptor_t bell_open(void)
{
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

void bell_ring(descriptor_t bell)
{
    eventfd_write(bell, 1);
}

void bell_still(descriptor_t bell)
{
    eventfd_t count;
    eventfd_read(bell, &count);
}
