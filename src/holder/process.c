/* SPDX-License-Identifier: MIT
 * flotilla-keeper as the holder: started by each manager, which has the other end of its requests;
 * found by the next one by its command line (its name and the runtime folder), asked by SIGHUP, and
 * answering to a socket that the manager makes for it. As a rule there is one earlier holder; more
 * where a manager was killed while one took the place of another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "holder/backend.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/inherit.h"

#define PROGRAM        "flotilla-keeper"
#define ANSWER_NS      (4 * NS_PER_S) /* nothing came for so long: it does not answer */
#define ANSWER_LOOK_MS 20u            /* meanwhile, whether it lives is looked at so often */
#define END_WAIT_MS    100u
#define RESPAWN_NS     (50 * NS_PER_MS) /* one that ends so soon is followed at the next tick */

/* ---- the one there is ---- */

static void process_ended(void *context, unsigned events);

static int watch(struct holder *holder)
{
    holder->ended = (struct loop_watch){
        .descriptor = holder->process.descriptor, .ready = process_ended, .context = holder};
    return loop_watch(holder->options.loop, &holder->ended, LOOP_READ);
}

void process_holder_forget(struct holder *holder)
{
    struct process_end end;
    loop_unwatch(holder->options.loop, &holder->ended);
    if (holder->process.id == 0)
        return;
    if (process_reap(&holder->process, &end) < 0)
        process_close(&holder->process);
    notify_close(&holder->connection);
    holder->state = HOLDER_ABSENT;
}

void process_holder_end(struct holder *holder)
{
    if (holder->process.id == 0)
        return;
    process_kill(&holder->process);
    process_wait(&holder->process, END_WAIT_MS);
    process_holder_forget(holder);
}

static int spawn(struct holder *holder)
{
    char name[] = PROGRAM;
    char *argv[] = {name, holder->runtime, NULL}; /* by this it is found */
    int ends[2], error = notify_pair(ends);
    if (error < 0)
        return error;
    const struct process_descriptor down = {INHERIT_REQUESTS, ends[0]};
    error = process_spawn(&holder->process, holder->program, argv, &down, 1, -1);
    descriptor_close(ends[0]);
    holder->connection.descriptor = ends[1];
    if (error == 0)
        error = watch(holder);
    if (error < 0) {
        process_holder_end(holder);
        notify_close(&holder->connection);
        return error;
    }
    holder->state = HOLDER_STARTING;
    return 0;
}

int process_holder_start(struct holder *holder)
{
    uint64_t now_ns = clock_monotonic_ns();
    if (holder->started_ns != 0 && now_ns - holder->started_ns < RESPAWN_NS)
        return -EAGAIN;
    holder->started_ns = now_ns;
    int error = spawn(holder);
    if (error < 0 && error != holder->start_error)
        log_line("cannot start %s: %s; should this manager be killed, what arrives until the next "
                 "one runs is lost",
                 holder->program, strerror(-error));
    holder->start_error = error;
    return error;
}

static void process_ended(void *context, unsigned events)
{
    struct holder *holder = context;
    (void)events;
    log_line("the keeper (process %ld) has ended; starting another", holder->process.id);
    process_holder_forget(holder);
    holder_tick(holder);
}

static int add_previous(struct holder *holder, const struct process *process)
{
    struct previous *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->process = *process;
    made->next = holder->previous;
    holder->previous = made;
    return 0;
}

int process_holder_replace(struct holder *holder)
{
    struct process old = holder->process;
    struct notify connection = holder->connection;
    enum holder_state state = holder->state;
    loop_unwatch(holder->options.loop, &holder->ended);
    holder->process = (struct process)PROCESS_NONE;
    holder->connection.descriptor = -1;
    holder->started_ns = 0;
    int error = process_holder_start(holder);
    if (error == 0)
        error = add_previous(holder, &old);
    if (error < 0) { /* better one that hangs than none */
        process_holder_end(holder);
        holder->process = old;
        holder->connection = connection;
        holder->state = state;
        watch(holder);
        return error;
    }
    notify_close(&connection);
    return 0;
}

static int put(struct holder *holder, const char *name, descriptor_t descriptor, uint64_t wait_ms)
{
    return notify_keep(&holder->connection, name, descriptor, wait_ms);
}

static int drop(struct holder *holder, const char *name, uint64_t wait_ms)
{
    return notify_drop(&holder->connection, name, wait_ms);
}

const struct holder_backend holder_process_backend = {.put = put, .drop = drop};

/* ---- the previous ones ---- */

void previous_end(struct holder *holder)
{
    for (struct previous *one = holder->previous; one; one = one->next) {
        process_kill(&one->process);
        process_wait(&one->process, one->killed ? 0 : END_WAIT_MS);
        one->killed = true;
    }
    previous_reap(holder);
}

static void forget_previous(struct previous **at)
{
    struct previous *one = *at;
    *at = one->next;
    process_close(&one->process);
    free(one);
}

void previous_reap(struct holder *holder)
{
    for (struct previous **at = &holder->previous; *at;) {
        struct process_end end;
        /* -EAGAIN: a child of ours that has not ended. Others are nothing to us any more. */
        if ((*at)->killed && process_reap(&(*at)->process, &end) != -EAGAIN)
            forget_previous(at);
        else
            at = &(*at)->next;
    }
}

void previous_forget(struct holder *holder)
{
    while (holder->previous)
        forget_previous(&holder->previous);
}

/* ---- taking over from them ---- */

struct found {
    struct process process;
    uint64_t start;
    struct found *next;
};

struct search {
    const char *runtime;
    struct found *first; /* the oldest first */
};

static int note_holder(void *context, long id, const char *command_line, size_t bytes)
{
    struct search *search = context;
    size_t name = strlen(command_line) + 1;
    if (name >= bytes || strcmp(command_line + name, search->runtime) != 0)
        return 0;
    struct found *found = calloc(1, sizeof *found);
    int error = found ? process_start_time(id, &found->start) : -ENOMEM;
    if (error == 0)
        error = process_open(&found->process, id, found->start);
    if (error < 0) {
        free(found);
        return process_lacks(error) ? error : 0;
    }
    struct found **at = &search->first;
    while (*at && ((*at)->start < found->start ||
                   ((*at)->start == found->start && (*at)->process.id < id)))
        at = &(*at)->next;
    found->next = *at;
    *at = found;
    return 0;
}

/* Takes one message of the answer. 1 if it was the last, 0, or a negative errno. */
static int take_answer(struct holder *holder, int descriptor)
{
    static const char key[] = "FDNAME=";
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    int passed;
    long got = notify_receive(descriptor, text, sizeof text, &passed, ANSWER_LOOK_MS);
    if (got < 0)
        return (int)got;
    text[strcspn(text, "\n")] = '\0';
    if (passed >= 0 && strncmp(text, key, sizeof key - 1) == 0)
        holder->options.found(holder->options.context, text + sizeof key - 1, passed);
    else
        descriptor_close(passed);
    return strcmp(text, "END=1") == 0;
}

/* Has it answer to a socket made for it alone. 0; -ESRCH if it has ended; -ETIMEDOUT if it does not
 * answer; or another negative errno, which is our own want of something. */
static int ask(struct holder *holder, const struct process *process)
{
    int socket = notify_listen(holder->runtime, HOLDER_SOCKET), status = 0;
    if (socket < 0)
        return socket;
    process_hangup(process); /* wakes one that is suspended, too */
    uint64_t heard_ns = clock_monotonic_ns();
    while (status == 0) {
        status = take_answer(holder, socket);
        uint64_t now_ns = clock_monotonic_ns();
        if (status >= 0)
            heard_ns = now_ns;
        else if (status == -EAGAIN && process_wait(process, 0) == 0)
            status = -ESRCH;
        else if (status == -EAGAIN)
            status = now_ns - heard_ns < ANSWER_NS ? 0 : -ETIMEDOUT;
    }
    descriptor_close(socket);
    return status < 0 ? status : 0;
}

/* 0, or a negative errno: nothing was ended, and nothing is to be. */
static int take_from(struct holder *holder, const struct process *process)
{
    int error = ask(holder, process);
    if (error == -ETIMEDOUT) {
        log_line("the keeper (process %ld) does not answer and is ended; what waited in sockets "
                 "and buffers for relays that have died is lost with it",
                 process->id);
        holder->lost = true;
        error = add_previous(holder, process);
        if (error == 0) {
            process_kill(process);
            process_wait(process, END_WAIT_MS);
            holder->previous->killed = true;
        }
        return error;
    }
    if (error == 0)
        return add_previous(holder, process);
    if (error != -ESRCH)
        log_line("cannot take over from the keeper (process %ld) by %s/%s: %s; it is left alone",
                 process->id, holder->runtime, HOLDER_SOCKET, strerror(-error));
    struct process left = *process;
    process_close(&left);
    return error == -ESRCH ? 0 : error;
}

int process_holders_take(struct holder *holder)
{
    struct search search = {.runtime = holder->runtime};
    int error = process_each(PROGRAM, note_holder, &search);
    bool any = search.first != NULL;
    while (search.first) {
        struct found *found = search.first;
        search.first = found->next;
        if (error == 0)
            error = take_from(holder, &found->process);
        else
            process_close(&found->process);
        free(found);
    }
    int folder = any ? folder_open(holder->runtime) : -1;
    if (folder >= 0) {
        folder_remove(folder, HOLDER_SOCKET);
        descriptor_close(folder);
    }
    return error;
}

void process_holders_find(struct holder *holder)
{
    struct search search = {.runtime = holder->runtime};
    process_each(PROGRAM, note_holder, &search);
    while (search.first) {
        struct found *found = search.first;
        search.first = found->next;
        bool known = found->process.id == holder->process.id;
        for (const struct previous *one = holder->previous; one; one = one->next)
            known = known || one->process.id == found->process.id;
        if (known || add_previous(holder, &found->process) < 0)
            process_close(&found->process);
        free(found);
    }
}
