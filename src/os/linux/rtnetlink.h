/* SPDX-License-Identifier: MIT
 * Questions to the kernel by rtnetlink(7). Part of the static relay: no allocation, and the header
 * as it is in the kernel's ABI, as musl comes without the kernel's. */
#ifndef FLOTILLA_OS_LINUX_RTNETLINK_H
#define FLOTILLA_OS_LINUX_RTNETLINK_H

#include <stdint.h>

enum { RTNETLINK_REQUEST = 1, RTNETLINK_DUMP = 0x300 };

/* struct nlmsghdr. In a question `bytes` counts it, what it asks and all attributes; `flags` are
 * RTNETLINK_REQUEST, and RTNETLINK_DUMP where the answer is many messages. */
struct rtnetlink_header {
    uint32_t bytes;
    uint16_t type, flags;
    uint32_t sequence, port;
};

/* Asks, and calls `each` with every message of the answer, which begins with its header and is
 * aligned to 4, until that returns non-zero. That, 0, or a negative errno: the kernel's as well. */
int rtnetlink_ask(const void *question, int (*each)(void *context, const void *message),
                  void *context);

#endif
