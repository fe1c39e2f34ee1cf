/* SPDX-License-Identifier: MIT
 * The event loop on Linux: epoll for descriptors, signalfd for signals, epoll's own timeout for the
 * timers, which stand in a plain list: a manager has at most a few per channel, rarely armed. */
#define _GNU_SOURCE
#include "os/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "os/clock.h"

struct loop {
    int poll;
    bool ended;
    struct loop_timer *timers;
    struct loop_watch signals;
    void (*caught)(void *context, enum loop_signal);
    void *caught_context;
    bool (*goes_on)(void *context); /* NULL: nobody is asked */
    void *guard_context;
};

int loop_open(struct loop **loop)
{
    struct loop *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->signals.descriptor = -1;
    made->poll = epoll_create1(EPOLL_CLOEXEC);
    if (made->poll < 0) {
        int error = -errno;
        free(made);
        return error;
    }
    *loop = made;
    return 0;
}

void loop_close(struct loop *loop)
{
    if (!loop)
        return;
    if (loop->signals.descriptor >= 0)
        close(loop->signals.descriptor);
    close(loop->poll);
    free(loop);
}

int loop_watch(struct loop *loop, struct loop_watch *watch, unsigned events)
{
    struct epoll_event event = {.events = (events & LOOP_READ ? (uint32_t)EPOLLIN : 0) |
                                          (events & LOOP_WRITE ? (uint32_t)EPOLLOUT : 0),
                                .data.ptr = watch};
    int how = watch->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop->poll, how, watch->descriptor, &event) < 0)
        return -errno;
    watch->watched = true;
    return 0;
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
    if (watch->watched)
        epoll_ctl(loop->poll, EPOLL_CTL_DEL, watch->descriptor, NULL);
    watch->watched = false;
}

void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
    loop_disarm(timer);
    timer->deadline_ns = deadline_ns;
    timer->next = loop->timers;
    timer->link_from = &loop->timers;
    if (timer->next)
        timer->next->link_from = &timer->next;
    loop->timers = timer;
}

void loop_disarm(struct loop_timer *timer)
{
    if (!timer->link_from)
        return;
    *timer->link_from = timer->next;
    if (timer->next)
        timer->next->link_from = timer->link_from;
    timer->link_from = NULL;
}

static void read_signals(void *context, unsigned events)
{
    struct loop *loop = context;
    (void)events;
    struct signalfd_siginfo info;
    while (read(loop->signals.descriptor, &info, sizeof info) == (ssize_t)sizeof info)
        loop->caught(loop->caught_context, info.ssi_signo == SIGHUP ? LOOP_RELOAD : LOOP_STOP);
}

int loop_signals(struct loop *loop, void (*caught)(void *context, enum loop_signal), void *context)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, &ignore, NULL) < 0 || sigaction(SIGUSR1, &ignore, NULL) < 0 ||
        sigaction(SIGUSR2, &ignore, NULL) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    int descriptor = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (descriptor < 0)
        return -errno;
    loop->signals =
        (struct loop_watch){.descriptor = descriptor, .ready = read_signals, .context = loop};
    loop->caught = caught;
    loop->caught_context = context;
    return loop_watch(loop, &loop->signals, LOOP_READ);
}

/* Milliseconds to the next timer, rounded up so that it is due when we wake; -1: none is armed. */
static int next_timeout_ms(const struct loop *loop)
{
    uint64_t first_ns = UINT64_MAX;
    for (const struct loop_timer *timer = loop->timers; timer; timer = timer->next)
        if (timer->deadline_ns < first_ns)
            first_ns = timer->deadline_ns;
    if (first_ns == UINT64_MAX)
        return -1;
    uint64_t now_ns = clock_monotonic_ns();
    if (first_ns <= now_ns)
        return 0;
    uint64_t wait_ms = (first_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    return wait_ms > 3600000 ? 3600000 : (int)wait_ms;
}

static struct loop_timer *due_timer(const struct loop *loop, uint64_t now_ns)
{
    for (struct loop_timer *timer = loop->timers; timer; timer = timer->next)
        if (timer->deadline_ns <= now_ns)
            return timer;
    return NULL;
}

void loop_guard(struct loop *loop, bool (*goes_on)(void *context), void *context)
{
    loop->goes_on = goes_on;
    loop->guard_context = context;
}

int loop_run(struct loop *loop)
{
    while (!loop->ended) {
        /* One at a time: see the header. */
        struct epoll_event event;
        int got = epoll_wait(loop->poll, &event, 1, next_timeout_ms(loop));
        if (got < 0 && errno != EINTR)
            return -errno;
        if (loop->goes_on != NULL && !loop->goes_on(loop->guard_context))
            break;
        if (got == 1) {
            struct loop_watch *watch = event.data.ptr;
            unsigned events = 0;
            if (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                events |= LOOP_READ;
            if (event.events & EPOLLOUT)
                events |= LOOP_WRITE;
            watch->ready(watch->context, events);
        }
        /* `now` is taken once, so that a timer that re-arms itself cannot keep us here. */
        uint64_t now_ns = clock_monotonic_ns();
        struct loop_timer *timer;
        while (!loop->ended && (timer = due_timer(loop, now_ns)) != NULL) {
            loop_disarm(timer);
            timer->due(timer->context);
        }
    }
    loop->ended = false; /* that end is done with */
    return 0;
}

void loop_end(struct loop *loop)
{
    loop->ended = true;
}
