/* SPDX-License-Identifier: MIT
 * Idle work on Linux: SCHED_IDLE, and the idle class of ioprio_set(2), which counts where the
 * disk's scheduler has classes (bfq, mq-deadline). */
#define _GNU_SOURCE
#include "os/idle.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* <linux/ioprio.h> is not in every distribution's headers. */
enum { PRIORITY_WHO_PROCESS = 1, PRIORITY_CLASS_IDLE = 3, PRIORITY_CLASS_SHIFT = 13 };

int idle_work(void)
{
    struct sched_param none = {0};
    int status = sched_setscheduler(0, SCHED_IDLE, &none) < 0 ? -errno : 0;
    if (syscall(SYS_ioprio_set, PRIORITY_WHO_PROCESS, 0,
                PRIORITY_CLASS_IDLE << PRIORITY_CLASS_SHIFT) < 0)
        status = -errno;
    return status;
}
