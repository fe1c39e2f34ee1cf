/* SPDX-License-Identifier: MIT
 * Linked over syscall and net_probe_offload (-Wl,--wrap) into a relay for the scenarios: the probe
 * finds that segmentation works, and every segmented message that is sent afterwards is refused,
 * each with another error. So each relay has to fall back in the midst of its work. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "os/net.h"

enum { SYSCALL_WORDS = 6, UDP_SEGMENT_NOTE = 103 };

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
void __real_net_probe_offload(struct net_offload *offload);
void __wrap_net_probe_offload(struct net_offload *offload);

static bool probing;

void __wrap_net_probe_offload(struct net_offload *offload)
{
    probing = true;
    __real_net_probe_offload(offload);
    probing = false;
}

static bool is_segmented(struct msghdr *header)
{
    for (struct cmsghdr *note = CMSG_FIRSTHDR(header); note != NULL;
         note = CMSG_NXTHDR(header, note))
        if (note->cmsg_level == IPPROTO_UDP && note->cmsg_type == UDP_SEGMENT_NOTE)
            return true;
    return false;
}

long __wrap_syscall(long number, ...)
{
    static const int errors[] = {EMSGSIZE, EINVAL, EIO};
    static unsigned refusals;
    long words[SYSCALL_WORDS];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < SYSCALL_WORDS; i++)
        words[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_sendmmsg && !probing) {
        struct mmsghdr *headers = (struct mmsghdr *)words[1];
        unsigned count = (unsigned)words[2], plain = 0;
        while (plain < count && !is_segmented(&headers[plain].msg_hdr))
            plain++;
        if (plain == 0) {
            errno = errors[refusals++ % 3];
            return -1;
        }
        words[2] = (long)plain; /* as the kernel does: those before the refused one are sent */
    }
    return __real_syscall(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
