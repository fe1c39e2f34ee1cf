/* SPDX-License-Identifier: MIT
 * Crashes by sigaction(2). The handler is reset as it is entered, so raising the signal again ends
 * the process as it would have ended without us. */
#define _XOPEN_SOURCE 700 /* sigaltstack */
#include "os/crash.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { STACK_BYTES = 16 << 10 }; /* more than MINSIGSTKSZ of machines with wide registers */

static void (*crash_note)(void *context);
static void *crash_context;
static pthread_t crash_thread;                              /* the main one */
static _Alignas(64) unsigned char crash_stack[STACK_BYTES]; /* untouched until it is needed */

static void crash_caught(int number)
{
    if (pthread_equal(pthread_self(), crash_thread))
        crash_note(crash_context);
    raise(number);
}

void crash_install(void (*note)(void *context), void *context)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
    crash_note = note;
    crash_context = context;
    crash_thread = pthread_self();
    stack_t stack = {.ss_sp = crash_stack, .ss_size = sizeof(crash_stack)};
    sigaltstack(&stack, NULL);
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = crash_caught;
    action.sa_flags = (int)(SA_ONSTACK | SA_RESETHAND | SA_NODEFER);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
}
