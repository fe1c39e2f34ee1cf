/* SPDX-License-Identifier: MIT
 * A stream socket in the file system, for programs on one machine to talk through. Paths may be as
 * long as the file system takes, not only what a socket address holds. Source: unix(7). */
#ifndef FLOTILLA_OS_LOCAL_H
#define FLOTILLA_OS_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"

/* Listens at FOLDER/NAME with the permissions `mode`, in place of whatever socket was there.
 * Returns a non-blocking descriptor, or a negative errno. */
descriptor_t local_listen(const char *folder, const char *name, unsigned mode);
/* The next client, non-blocking; -EAGAIN when there is none, or another negative errno. */
descriptor_t local_accept(descriptor_t listener);
/* Connects to FOLDER/NAME. Returns a descriptor, or a negative errno (-ENOENT, -ECONNREFUSED:
 * nobody listens there). */
descriptor_t local_connect(const char *folder, const char *name);

/* Reads what is there, up to `bytes`, of these or any other connections. Returns how many, 0 at the
 * end, -EAGAIN, or another negative errno. */
long local_read(descriptor_t descriptor, void *into, size_t bytes);
/* Sends what the kernel takes. Returns how many bytes, -EAGAIN, or another negative errno (-EPIPE:
 * the other side has gone; no signal is raised). */
long local_write(descriptor_t descriptor, const void *from, size_t bytes);
/* As local_write, and a copy of the descriptor `handed` goes with the first byte. */
long local_hand(descriptor_t descriptor, const void *from, size_t bytes, descriptor_t handed);
/* As local_read; of a descriptor that came with it `*handed` is this process's copy, else it is
 * left alone. */
long local_read_handed(descriptor_t descriptor, void *into, size_t bytes, descriptor_t *handed);
/* Whether the other side of a connection of any kind has closed it, or it is broken. */
bool local_is_over(descriptor_t descriptor);
/* Waits until something can be read, at most `timeout_ms`. 0, -ETIMEDOUT, or a negative errno. */
int local_wait(descriptor_t descriptor, uint64_t timeout_ms);

#endif
