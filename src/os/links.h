/* SPDX-License-Identifier: MIT
 * The interfaces and addresses of this host as they come and go, for who has sockets on them: names
 * and addresses stand in configurations, but the kernel's sockets hold on to numbers. One file per
 * system implements it. Source: rtnetlink(7). */
#ifndef FLOTILLA_OS_LINKS_H
#define FLOTILLA_OS_LINKS_H

#include <stdbool.h>

#include "base/address.h"
#include "os/descriptor.h"

/* A descriptor that is readable once an interface, address or route has come, gone or changed; the
 * caller closes it. Of a route that goes with an interface or address nothing may be told but that,
 * and shortly before it goes. Or a negative errno: then one has to look from time to time. */
descriptor_t links_open(void);
/* Takes what was told since, without waiting. Whether anything was. `gone` is called with the
 * number of each interface that is no more: another one may have the same by now; and with 0 where
 * more has happened than the kernel had room to tell: any may be gone, or made anew. */
bool links_read(descriptor_t links, void (*gone)(void *context, unsigned index), void *context);

/* Whether what is sent to `address` can come to this host now: 0, also for groups and for all
 * addresses; -EADDRNOTAVAIL if no interface has it, or it is not to be used yet (IPv6: another host
 * may have it); or another negative errno if that cannot be told. `interface` says which link an
 * address of one link is of (""; none). */
int links_has_address(const struct address *address, const char *interface);

/* Whether the interface of that number is in the group, for whichever socket: 1 or 0, or a negative
 * errno if that cannot be told. One that was made anew is in none, whatever sockets had joined on
 * the one that had its number before: they go by that, and must leave before they join again. */
int links_has_group(const struct address *group, unsigned index);

/* Why nothing comes by the interface of that number: "is down", "has no carrier"; NULL if that is
 * not why, or not known. */
const char *links_fault(unsigned index);

#endif
