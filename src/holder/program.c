/* SPDX-License-Identifier: MIT
 * flotilla-keeper: holds descriptors for a manager, so that sockets, buffers and what is in them
 * outlive it. It does nothing else, and so has nothing to die of: it never reads a datum, makes no
 * file, and takes its requests, in sd_notify's words (os/notify.h), from the one socket that the
 * manager which started it has the other end of.
 *   FDSTORE=1, FDNAME=NAME and a descriptor   hold it, in place of one of that name
 *   FDSTOREREMOVE=1, FDNAME=NAME              close it
 *   BARRIER=1 and one end of a pair           close that end: all before it is done
 * SIGHUP has it send "FDNAME=NAME" with each, then "END=1", to the socket of the manager that wants
 * them (HOLDER_SOCKET in the runtime folder); it goes on holding them. A name that ends in
 * ".process" is a process's (a descriptor of pidfd_open(2)), dropped when that has ended. With none
 * of them left and no manager for ALONE_MS, nobody needs what is held any more: it ends. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "holder/holder.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/loop.h"
#include "os/notify.h"
#include "os/output.h"
#include "os/process.h"

#define ALONE_MS     600000u
#define SEND_WAIT_MS 2000u /* for each; a manager that does not take them is of no use */
#define SPARES       2     /* to connect to a manager takes two */

struct held {
    struct held *next;
    struct program *program;
    struct loop_watch watch; /* of the descriptor; watched only if it is a process's */
    bool process;
    char name[NOTIFY_NAME_BYTES_MAX + 1];
};

struct program {
    struct loop *loop;
    const char *folder;         /* the runtime folder */
    struct loop_watch requests; /* of the socket to the manager */
    bool has_manager;
    struct loop_timer alone;
    struct held *first;
    uint32_t processes;
    int spare[SPARES]; /* descriptors to do without, so that there is room to answer; or -1 */
    bool refused;      /* something could not be held; the next barrier tells */
    bool told;         /* of that, in the log */
};

static void alone_too_long(void *context)
{
    struct program *program = context;
    log_line("no manager and no relay is left: giving up what was held");
    loop_end(program->loop);
}

static void look_whether_alone(struct program *program)
{
    if (program->has_manager || program->processes > 0)
        loop_disarm(&program->alone);
    else if (program->alone.link_from == NULL)
        loop_arm(program->loop, &program->alone, clock_monotonic_ns() + ALONE_MS * NS_PER_MS);
}

static void give_spares(struct program *program)
{
    for (int i = 0; i < SPARES; i++) {
        descriptor_close(program->spare[i]);
        program->spare[i] = -1;
    }
}

/* Whether there are as many as there have to be. */
static bool take_spares(struct program *program)
{
    bool all = true;
    for (int i = 0; i < SPARES; i++) {
        int copy = program->spare[i] >= 0 ? program->spare[i]
                                          : descriptor_copy(program->requests.descriptor);
        program->spare[i] = copy < 0 ? -1 : copy;
        all = all && copy >= 0;
    }
    return all;
}

static void drop(struct program *program, struct held **link)
{
    struct held *held = *link;
    *link = held->next;
    loop_unwatch(program->loop, &held->watch);
    descriptor_close(held->watch.descriptor);
    program->processes -= held->process;
    free(held);
    look_whether_alone(program);
}

static void drop_named(struct program *program, const char *name)
{
    struct held **link = &program->first;
    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    if (*link != NULL)
        drop(program, link);
}

static void process_ended(void *context, unsigned events)
{
    struct held *held = context;
    (void)events;
    drop_named(held->program, held->name);
}

/* Something cannot be held, for want of descriptors or memory. */
static void refuse(struct program *program, const char *name)
{
    program->refused = true;
    if (!program->told)
        log_line("cannot keep %s: too many open files, or no memory; should the manager be killed, "
                 "what arrives for its channel until the next one runs is lost",
                 name);
    program->told = true;
}

static void hold(struct program *program, const char *name, descriptor_t descriptor)
{
    static const char suffix[] = HOLDER_PROCESS_SUFFIX;
    size_t bytes = strlen(name), suffix_bytes = sizeof(suffix) - 1;
    struct held *held = calloc(1, sizeof *held);
    if (held == NULL) {
        descriptor_close(descriptor);
        refuse(program, name);
        return;
    }
    snprintf(held->name, sizeof held->name, "%s", name);
    held->program = program;
    held->process = bytes >= suffix_bytes && strcmp(name + bytes - suffix_bytes, suffix) == 0;
    held->watch =
        (struct loop_watch){.descriptor = descriptor, .ready = process_ended, .context = held};
    drop_named(program, name);
    held->next = program->first;
    program->first = held;
    program->processes += held->process;
    if (held->process && loop_watch(program->loop, &held->watch, LOOP_READ) < 0)
        drop_named(program, name); /* one whose end we would not see would keep us for ever */
    look_whether_alone(program);
    if (!take_spares(program)) { /* one too many */
        drop_named(program, name);
        refuse(program, name);
    }
}

/* The value behind `key` ("FDNAME=") at the start of a line, cut to `bytes`; "" if it is missing.
 */
static void read_value(const char *text, const char *key, char *value, size_t bytes)
{
    size_t key_bytes = strlen(key);
    value[0] = '\0';
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        if (length >= key_bytes && memcmp(line, key, key_bytes) == 0)
            snprintf(value, bytes, "%.*s", (int)(length - key_bytes), line + key_bytes);
        line += length + (line[length] == '\n');
    }
}

static bool says(const char *text, const char *key)
{
    char word[8];
    read_value(text, key, word, sizeof word);
    return word[0] == '1';
}

/* Does what the message says; `passed` is the descriptor that came with it, or -1. */
static void carry_out(struct program *program, const char *text, int passed)
{
    char name[NOTIFY_NAME_BYTES_MAX + 1];
    read_value(text, "FDNAME=", name, sizeof name);
    if (says(text, "FDSTORE=") && passed >= 0 && name[0]) {
        hold(program, name, passed);
        return;
    }
    if (says(text, "FDSTOREREMOVE=")) {
        drop_named(program, name);
        program->told = false;
    } else if (says(text, "BARRIER=") && passed >= 0 && program->refused) {
        notify_refuse(passed);
        program->refused = false;
    }
    descriptor_close(passed);
}

/* Whether there was a request. */
static bool take_request(struct program *program)
{
    char text[NOTIFY_NAME_BYTES_MAX + 128];
    int passed;
    if (!program->has_manager)
        return false;
    give_spares(program);
    long got = notify_receive(program->requests.descriptor, text, sizeof text, &passed, 0);
    if (got > 0) {
        carry_out(program, text, passed);
    } else if (got != -EAGAIN) { /* the manager has gone: this one hears nothing more */
        loop_unwatch(program->loop, &program->requests);
        program->has_manager = false;
        look_whether_alone(program);
    }
    take_spares(program);
    return got > 0;
}

static void request_came(void *context, unsigned events)
{
    (void)events;
    take_request(context);
}

/* To a manager that asks: everything, copied. */
static void send_all(const struct program *program)
{
    char text[NOTIFY_NAME_BYTES_MAX + 32];
    struct notify manager;
    int status = notify_open_at(&manager, program->folder, HOLDER_SOCKET);
    for (const struct held *held = program->first; held != NULL && status == 0; held = held->next) {
        snprintf(text, sizeof text, "FDNAME=%s\n", held->name);
        status = notify_pass(manager.descriptor, text, held->watch.descriptor, SEND_WAIT_MS);
    }
    if (status == 0)
        status = notify_pass(manager.descriptor, "END=1\n", -1, SEND_WAIT_MS);
    if (status < 0)
        log_line("cannot hand on what is held: %s", strerror(-status));
    notify_close(&manager);
}

/* Only `flotilla run` ends it; a signal to a whole group of processes is not meant for it. */
static void caught(void *context, enum loop_signal signal)
{
    struct program *program = context;
    if (signal != LOOP_RELOAD)
        return;
    while (take_request(program)) /* all that was said before */
        ;
    give_spares(program);
    send_all(program);
    take_spares(program);
}

int main(int argc, char **argv)
{
    struct program program = {.folder = argc > 1 ? argv[1] : NULL, .spare = {-1, -1}};
    descriptor_fill_standard();
    output_start();
    file_limit_is_error();
    log_use(output_line);
    log_start("flotilla-keeper", NULL);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("flotilla-keeper " FLOTILLA_VERSION);
        return log_end_output();
    }
    program.requests = (struct loop_watch){.descriptor = inherit_descriptor(INHERIT_REQUESTS),
                                           .ready = request_came,
                                           .context = &program};
    if (program.requests.descriptor < 0 || program.folder == NULL) {
        log_line("started by `flotilla run`, which hands it the socket it takes requests from; "
                 "there is nothing to do by hand");
        return 2;
    }
    process_raise_descriptor_limit();
    program.alone = (struct loop_timer){.due = alone_too_long, .context = &program};
    program.has_manager = true;
    int error = loop_open(&program.loop);
    if (error == 0)
        error = loop_signals(program.loop, caught, &program);
    if (error == 0)
        error = loop_watch(program.loop, &program.requests, LOOP_READ);
    take_spares(&program);
    if (error == 0)
        error = loop_run(program.loop);
    if (error < 0)
        log_line("cannot go on: %s", strerror(-error));
    while (program.first != NULL)
        drop(&program, &program.first);
    loop_close(program.loop);
    return error < 0 ? 1 : 0;
}
