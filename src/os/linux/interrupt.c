/* SPDX-License-Identifier: MIT
 * Stop signals by sigaction(2). */
#include "os/interrupt.h"

#include <signal.h>
#include <string.h>

static volatile sig_atomic_t interrupted;
static const int stop_signals[] = {SIGINT, SIGTERM, SIGHUP};

static void interrupt_note(int number)
{
    (void)number;
    interrupted = 1;
}

void interrupt_install(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = interrupt_note; /* no SA_RESTART: a wait must end */
    for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++)
        sigaction(stop_signals[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

void interrupt_install_blocked(void)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof(stop_signals) / sizeof(stop_signals[0]); i++)
        sigaddset(&blocked, stop_signals[i]);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    interrupt_install();
}

bool interrupt_seen(void)
{
    return interrupted != 0;
}
