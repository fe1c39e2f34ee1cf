/* SPDX-License-Identifier: MIT
 * What a server on the network needs of the system besides its own library: the socket it listens
 * on, and the end of a connection. And whether a port of datagrams is taken.
 * Sources: tcp(7), ip(7), ipv6(7), socket(7), shutdown(2). */
#ifndef FLOTILLA_OS_STREAM_H
#define FLOTILLA_OS_STREAM_H

#include <stdint.h>

#include "base/address.h"
#include "os/descriptor.h"

/* Listens at the address by TCP, at once also where an earlier listener has just ended; of IPv6
 * that alone. A non-blocking descriptor, or a negative errno (-EADDRINUSE, -EADDRNOTAVAIL). */
descriptor_t stream_listen(const struct address *address);
/* Ends a connection both ways: who reads or writes there sees that at once. Closes nothing. */
void stream_end(descriptor_t connection);
/* Ends what is sent alone, behind what is on its way: the other side reads an end, and may send. */
void stream_end_sending(descriptor_t connection);
/* Has each piece leave at once (TCP_NODELAY), and the kernel keep at most about twice
 * `waiting_bytes` of what the other side does not take; it would keep some MiB. */
void stream_set_prompt(descriptor_t connection, int waiting_bytes);
/* Whether anybody on this computer takes datagrams at the port, at whatever address: 0 if nobody
 * does, -EADDRINUSE if so, -EACCES where this process may not have it, or another negative errno.
 * Takes it for a moment to find out. */
int stream_datagram_port(uint16_t port);

#endif
