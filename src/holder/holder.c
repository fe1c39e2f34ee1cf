/* SPDX-License-Identifier: MIT
 * What the holder is known to hold, whoever it is. A barrier alone tells: until one was answered
 * after everything was put, the holders before this one stay. */
#include "holder/holder.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "holder/backend.h"
#include "os/clock.h"
#include "os/inherit.h"

#define PUT_WAIT_MS     50u  /* for room in the queue of whoever holds */
#define CONFIRM_WAIT_MS 100u /* once a second */
#define EXEC_WAIT_MS    2000u
#define HANGING_NS      (2 * NS_PER_S) /* no barrier was answered for so long */

static bool is_told(const struct holder *holder)
{
    return holder->state == HOLDER_SYNCING || holder->state == HOLDER_IN_SYNC;
}

void holder_put(struct holder *holder, const char *name, descriptor_t descriptor)
{
    if (is_told(holder)) /* else everything is put soon */
        holder->state = holder->backend->put(holder, name, descriptor, PUT_WAIT_MS) < 0
                            ? HOLDER_STARTING
                            : HOLDER_SYNCING;
}

void holder_put_process(struct holder *holder, const char *name, int process)
{
    if (!holder_is_system(holder))
        holder_put(holder, name, process);
}

void holder_drop(struct holder *holder, const char *name)
{
    if (holder->state == HOLDER_ABSENT)
        return;
    if (holder->backend->drop(holder, name, is_told(holder) ? PUT_WAIT_MS : 0) < 0) {
        /* It goes on holding it, and an address with it; that is not asked for again. */
        holder->state = HOLDER_UNRESPONSIVE;
        holder->unresponsive_ns = 0;
    } else if (holder->state == HOLDER_IN_SYNC) {
        holder->state = HOLDER_SYNCING;
    }
}

int holder_barrier(struct holder *holder, uint64_t wait_ms)
{
    if (holder->state == HOLDER_ABSENT || holder->state == HOLDER_UNRESPONSIVE)
        return holder->state == HOLDER_ABSENT ? -ENOENT : -ETIMEDOUT;
    int error = notify_barrier(&holder->connection, wait_ms);
    if (process_lacks(error))
        return error; /* it was not asked */
    if (error == -ENOSPC) {
        holder->state = HOLDER_STARTING; /* it says itself what it could not hold */
    } else if (error < 0) {
        holder->state = HOLDER_UNRESPONSIVE;
        holder->unresponsive_ns = clock_monotonic_ns();
    } else if (holder->state == HOLDER_SYNCING) {
        holder->state = HOLDER_IN_SYNC;
        previous_end(holder);
    }
    return error;
}

static void put_all(struct holder *holder)
{
    holder->state = HOLDER_SYNCING;
    holder->options.put_all(holder->options.context);
}

static void start(struct holder *holder)
{
    if (process_holder_start(holder) == 0)
        put_all(holder);
}

/* It did not answer: does it now? If not for long, or if it can be of no use, another follows. */
static void look_again(struct holder *holder)
{
    uint64_t since_ns = holder->unresponsive_ns;
    bool system = holder_is_system(holder);
    if (since_ns != 0 || system) {
        holder->state = HOLDER_STARTING;
        holder_barrier(holder, CONFIRM_WAIT_MS);
        if (holder->state != HOLDER_UNRESPONSIVE)
            return;
        holder->unresponsive_ns = since_ns;
    }
    if (system || clock_monotonic_ns() - since_ns < HANGING_NS)
        return;
    long id = holder->process.id;
    if (process_holder_replace(holder) == 0)
        log_line("the keeper (process %ld) %s; another takes its place", id,
                 since_ns != 0 ? "does not answer" : "has missed what it was to give up");
}

void holder_tick(struct holder *holder)
{
    previous_reap(holder);
    if (holder->state == HOLDER_UNRESPONSIVE)
        look_again(holder);
    if (holder->state == HOLDER_ABSENT)
        start(holder);
    if (holder->state == HOLDER_STARTING)
        put_all(holder);
    if (holder->state == HOLDER_SYNCING)
        holder_barrier(holder, CONFIRM_WAIT_MS);
}

void holder_retake(struct holder *holder)
{
    process_holders_find(holder);
    if (holder->state == HOLDER_IN_SYNC)
        holder->state = HOLDER_SYNCING;
}

/* ---- becoming another program ---- */

int holder_exec_begin(struct holder *holder)
{
    if (holder_is_system(holder)) { /* what it holds it hands down only when it starts us */
        holder->system = holder->connection;
        holder->connection.descriptor = -1;
        holder->backend = &holder_process_backend;
        holder->state = HOLDER_ABSENT;
        holder->started_ns = 0;
    }
    uint64_t end_ns = clock_monotonic_ns() + EXEC_WAIT_MS * NS_PER_MS;
    int error = -EAGAIN;
    while (error < 0 && clock_monotonic_ns() < end_ns) {
        error = 0;
        if (holder->state == HOLDER_ABSENT)
            error = process_holder_start(holder);
        else if (holder->state == HOLDER_UNRESPONSIVE)
            error = process_holder_replace(holder);
        if (error < 0)
            break;
        if (holder->state != HOLDER_IN_SYNC)
            put_all(holder);
        error = holder_barrier(holder, HOLDER_BARRIER_MS);
        if (error == 0 && holder->state != HOLDER_IN_SYNC)
            error = -EAGAIN;
    }
    if (error < 0)
        holder_exec_failed(holder);
    return error == -ENOSPC ? -EMFILE : error;
}

void holder_exec_failed(struct holder *holder)
{
    if (holder->system.descriptor < 0)
        return; /* the process is the one there always is */
    process_holder_end(holder);
    holder->connection = holder->system;
    holder->system.descriptor = -1;
    holder->backend = &holder_systemd_backend;
    holder->state = HOLDER_STARTING;
}

/* ---- beginning and end ---- */

static void take_inherited(struct holder *holder)
{
    char name[NOTIFY_NAME_BYTES_MAX + 1];
    int descriptor;
    for (uint32_t i = 0; (descriptor = inherit_numbered(i, name, sizeof name)) >= 0; i++) {
        systemd_note(holder, name, descriptor);
        holder->options.found(holder->options.context, name, descriptor);
    }
}

int holder_open(struct holder **holder, const struct holder_options *options)
{
    struct holder *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->options = *options;
    made->runtime = text_copy(options->runtime);
    made->program = text_copy(options->program);
    made->connection.descriptor = made->system.descriptor = -1;
    made->process = (struct process)PROCESS_NONE;
    made->ended.descriptor = -1;
    made->backend = &holder_process_backend;
    *holder = made;
    if (!made->runtime || !made->program)
        return -ENOMEM;
    take_inherited(made);
    int error = process_holders_take(made);
    if (error < 0)
        return error;
    if (systemd_open(made)) {
        made->backend = &holder_systemd_backend;
        /* What it has handed down it has; what a process has bridged it may not have. */
        made->state = HOLDER_SYNCING;
        if (made->previous)
            put_all(made);
    } else {
        start(made);
    }
    return 0;
}

bool holder_was_lost(const struct holder *holder)
{
    return holder->lost;
}

bool holder_is_system(const struct holder *holder)
{
    return holder->backend == &holder_systemd_backend;
}

long holder_process(const struct holder *holder)
{
    return holder->process.id;
}

void holder_close(struct holder *holder, bool ended)
{
    if (!holder)
        return;
    if (ended) {
        process_holder_end(holder);
        previous_end(holder);
    }
    process_holder_forget(holder);
    previous_forget(holder);
    systemd_close(holder);
    notify_close(&holder->connection);
    notify_close(&holder->system);
    free(holder->runtime);
    free(holder->program);
    free(holder);
}
