/* SPDX-License-Identifier: MIT
 * What Linux's routing table says. Relies on rtnetlink(7). */
#ifndef FLOTILLA_OS_LINUX_ROUTE_H
#define FLOTILLA_OS_LINUX_ROUTE_H

#include "base/address.h"

/* The interface that what is sent to `to` leaves by, and that an IPv6 group is joined on where none
 * is named: its index, 0 where no route leads there or none can be asked for. */
unsigned route_interface(const struct address *to);
/* Whether it is the broadcast address of a network of this host's, or that of every link. */
bool route_is_broadcast(const struct address *to);
/* Whether a queue of the interface takes a segmented message apart itself: it may then keep some of
 * its datagrams and tell the sender that it has all (the kernel's tbf_segment). */
bool route_splits(unsigned index);

#endif
