/* SPDX-License-Identifier: MIT
 * Stop signals by sigaction(2). The pipe is what a wait can look at: a flag alone could be set just
 * before the wait begins. */
#define _POSIX_C_SOURCE 200809L
#include "os/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "os/clock.h"

static volatile sig_atomic_t interrupted, handing_over, finishing;
static int interrupt_pipe[2] = {-1, -1};
static struct sigaction pipe_before;
static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};

void interrupt_wake(void)
{
    if (interrupt_pipe[1] >= 0 && write(interrupt_pipe[1], "", 1) < 0)
        errno = 0; /* the pipe is full: it is readable all the same */
}

static void interrupt_note(int number)
{
    int error = errno;
    if (number == SIGUSR1)
        handing_over = 1;
    else
        finishing = 1;
    interrupted = 1;
    interrupt_wake();
    errno = error;
}

void interrupt_install(void)
{
    struct sigaction action;
    if (pipe(interrupt_pipe) < 0)
        interrupt_pipe[0] = interrupt_pipe[1] = -1;
    for (int i = 0; i < 2 && interrupt_pipe[i] >= 0; i++) {
        fcntl(interrupt_pipe[i], F_SETFD, FD_CLOEXEC);
        fcntl(interrupt_pipe[i], F_SETFL, O_NONBLOCK);
    }
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = interrupt_note; /* no SA_RESTART: a wait must end */
    for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++) {
        struct sigaction before;
        /* What was started to be deaf to a signal (nohup) stays so. */
        if (sigaction(stop_signals[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN)
            continue;
        sigaction(stop_signals[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, &pipe_before);
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++)
        sigaddset(&set, stop_signals[i]);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void interrupt_leave_pipes(void)
{
    sigaction(SIGPIPE, &pipe_before, NULL);
}

bool interrupt_hands_over(void)
{
    return handing_over && !finishing;
}

bool interrupt_seen(void)
{
    return interrupted != 0;
}

descriptor_t interrupt_descriptor(void)
{
    return interrupt_pipe[0];
}

void interrupt_wait(uint64_t timeout_ns)
{
    struct pollfd asked = {.fd = interrupt_pipe[0], .events = POLLIN};
    poll(&asked, 1, (int)((timeout_ns + NS_PER_MS - 1) / NS_PER_MS));
}
