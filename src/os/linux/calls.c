/* SPDX-License-Identifier: MIT
 * Each call is made with arguments that it would refuse in its own way: one that is not there, or
 * is filtered, is told by ENOSYS or EPERM. Those that wait for the disk are tried in the folder. */
#define _GNU_SOURCE
#include "os/calls.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"

/* Where `long` has 32 bits the C library makes the newer call, whose times have 64. */
#ifdef SYS_ppoll_time64
#define SYS_PPOLL SYS_ppoll_time64
#else
#define SYS_PPOLL SYS_ppoll
#endif

static const struct {
    const char *name;
    uint16_t number;
    bool manager;   /* a relay does without */
    bool or_absent; /* where the kernel has it not, the C library has another way */
} needed[] = {
    {"recvmmsg", SYS_recvmmsg, false, false},
    {"sendmmsg", SYS_sendmmsg, false, false},
    {"ppoll", SYS_PPOLL, false, false},
    {"pwritev", SYS_pwritev, false, false},
    {"ftruncate", SYS_ftruncate, false, false},
    {"getrandom", SYS_getrandom, false, false},
    {"flock", SYS_flock, false, false},
    {"memfd_create", SYS_memfd_create, false, false},
    {"epoll_pwait", SYS_epoll_pwait, true, false},
    {"pidfd_open", SYS_pidfd_open, true, false},
    {"signalfd4", SYS_signalfd4, true, false},
#ifdef SYS_clone3
    {"clone3", SYS_clone3, true, true},
#endif
};

int calls_refused(bool manager, char text[CALLS_TEXT_BYTES])
{
    const int64_t no_wait[2] = {0, 0}; /* of whichever size the kernel takes it */
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
        if (needed[i].manager && !manager)
            continue;
        bool polls = needed[i].number == SYS_PPOLL;
        bool names = needed[i].number == SYS_memfd_create || needed[i].number == SYS_getrandom ||
                     needed[i].number == SYS_clone3;
        long status = polls   ? syscall(SYS_PPOLL, NULL, 0, no_wait, NULL, 0)
                      : names ? syscall(needed[i].number, NULL, 0, 0)
                              : syscall(needed[i].number, -1, NULL, 0, 0, NULL, 0);
        int error = status < 0 ? errno : 0;
        if (error != EPERM && (error != ENOSYS || needed[i].or_absent))
            continue;
        snprintf(text, CALLS_TEXT_BYTES, "the system refuses %s(2), which is needed: %s; %s",
                 needed[i].name, strerror(error),
                 error == EPERM ? "allow it in the container's seccomp profile (Docker's knows it "
                                  "from 20.10.10 on; --security-opt seccomp=unconfined)"
                                : "this kernel or container runtime is too old: Linux 5.4 is "
                                  "needed, Docker 20.10");
        return -error;
    }
    return 0;
}
