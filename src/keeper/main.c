/* SPDX-License-Identifier: MIT
 * flotilla-keeper: holds descriptors for a manager, so that sockets, buffers and what is in them
 * outlive it. It does nothing else, and so has nothing to die of: it never reads a datum, makes no
 * file, and takes its orders, in sd_notify's words (os/notify.h), from the one socket it is given.
 *   FDSTORE=1, FDNAME=NAME and a descriptor   keep it, in place of one of that name
 *   FDSTOREREMOVE=1, FDNAME=NAME              close it
 *   GIVE=1 and one end of a pair              send "FDNAME=NAME" with each, then close the end
 *   WHO=1 and one end of a pair               send "KEEPER=PID", then close the end
 *   STOP=1                                    end
 * SIGHUP has it make its socket again where the name has gone with the folder: a manager that finds
 * it by its words alone can then ask. Who is connected to the socket before that one stays so, and
 * what came there is done before what comes to the newer one.
 * Where it cannot be asked at all, a manager reads in a memory of both (channel/kept.h) what it
 * holds. A name that ends in ".process" is a process's (a descriptor of pidfd_open(2)), dropped
 * when that has ended. With none of them left for KEEP_ALONE_MS, nobody needs what is kept any
 * more: it ends.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "channel/kept.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/loop.h"
#include "os/notify.h"
#include "os/output.h"
#include "os/process.h"

#define KEEP_ALONE_MS    600000u
#define GIVE_PATIENCE_MS 2000u /* for each; a manager that does not take them is of no use */
#define PROCESS_SUFFIX   ".process"

struct held {
    struct held *next;
    struct keeper *keeper;
    struct loop_watch watch; /* of the descriptor; watched only if it is a process's */
    bool process;
    char name[NOTIFY_NAME_BYTES_MAX + 1];
};

struct orders {
    struct keeper *keeper;
    struct loop_watch watch; /* of the socket; descriptor -1: there is none */
    const struct orders *older;
};

struct keeper {
    struct loop *loop;
    const char *folder;          /* that the socket has its name in; NULL: not told */
    struct orders newest, older; /* the socket, and the one before it */
    int listen_error;            /* told of already */
    struct loop_timer alone;
    struct held *first;
    struct kept *table; /* NULL: none was handed down */
    uint32_t processes;
    int spare;    /* a descriptor to do without, so that there is room to answer; or -1 */
    bool refused; /* something could not be kept; the next one that asks is told */
    bool crowded; /* told of already */
};

static void alone_too_long(void *context)
{
    struct keeper *keeper = context;
    log_line("no manager and no relay is left: giving up what was kept");
    loop_end(keeper->loop);
}

static void look_whether_alone(struct keeper *keeper)
{
    if (keeper->processes > 0)
        loop_disarm(&keeper->alone);
    else if (keeper->alone.link_from == NULL)
        loop_arm(keeper->loop, &keeper->alone, clock_monotonic_ns() + KEEP_ALONE_MS * NS_PER_MS);
}

static void drop(struct keeper *keeper, struct held **link)
{
    struct held *held = *link;
    *link = held->next;
    loop_unwatch(keeper->loop, &held->watch);
    kept_note_gone(keeper->table, held->watch.descriptor);
    descriptor_close(held->watch.descriptor);
    keeper->processes -= held->process;
    free(held);
    look_whether_alone(keeper);
}

static struct held **find(struct keeper *keeper, const char *name)
{
    struct held **link = &keeper->first;
    while (*link != NULL && strcmp((*link)->name, name) != 0)
        link = &(*link)->next;
    return link;
}

static void drop_named(struct keeper *keeper, const char *name)
{
    struct held **link = find(keeper, name);
    if (*link != NULL)
        drop(keeper, link);
}

static void process_ended(void *context, unsigned events)
{
    struct held *held = context;
    (void)events;
    drop_named(held->keeper, held->name);
}

/* Something cannot be kept, for want of descriptors or memory. */
static void refuse(struct keeper *keeper, const char *name)
{
    keeper->refused = true;
    if (!keeper->crowded)
        log_line("cannot keep %s: too many open files, or no memory; should the manager be killed, "
                 "what arrives for its channel until the next one runs is lost",
                 name);
    keeper->crowded = true;
}

static void keep(struct keeper *keeper, const char *name, int descriptor)
{
    size_t bytes = strlen(name), suffix = strlen(PROCESS_SUFFIX);
    struct held *held = calloc(1, sizeof *held);
    if (held == NULL) {
        descriptor_close(descriptor);
        refuse(keeper, name);
        return;
    }
    snprintf(held->name, sizeof held->name, "%s", name);
    held->keeper = keeper;
    held->process = bytes >= suffix && strcmp(name + bytes - suffix, PROCESS_SUFFIX) == 0;
    held->watch =
        (struct loop_watch){.descriptor = descriptor, .ready = process_ended, .context = held};
    /* Suspended at any instant, it has one of the two. */
    struct held **before = find(keeper, name);
    if (*before != NULL)
        kept_note_leaving(keeper->table, (*before)->watch.descriptor);
    kept_note(keeper->table, descriptor, name);
    if (*before != NULL)
        drop(keeper, before);
    held->next = keeper->first;
    keeper->first = held;
    keeper->processes += held->process;
    if (held->process && loop_watch(keeper->loop, &held->watch, LOOP_READ) < 0)
        drop_named(keeper, name); /* one whose end we would not see would keep us for ever */
    look_whether_alone(keeper);
}

static int tell_who(int end)
{
    char text[64];
    snprintf(text, sizeof text, "KEEPER=%ld\n", process_self());
    return notify_pass(end, text, -1, GIVE_PATIENCE_MS);
}

/* To the new manager: everything, copied. */
static void give(const struct keeper *keeper, int end)
{
    char text[NOTIFY_NAME_BYTES_MAX + 32];
    int status = tell_who(end);
    for (const struct held *held = keeper->first; held != NULL && status == 0; held = held->next) {
        snprintf(text, sizeof text, "FDNAME=%s\n", held->name);
        status = notify_pass(end, text, held->watch.descriptor, GIVE_PATIENCE_MS);
    }
    if (status == 0)
        status = notify_pass(end, "END=1\n", -1, GIVE_PATIENCE_MS);
    if (status < 0)
        log_line("cannot give what is kept: %s", strerror(-status));
    descriptor_close(end);
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

/* Does what the first message says; `passed` is the descriptor that came with it, or -1. */
static void carry_out(struct keeper *keeper, const char *text, int passed)
{
    char name[NOTIFY_NAME_BYTES_MAX + 1];
    read_value(text, "FDNAME=", name, sizeof name);
    if (says(text, "FDSTORE=") && passed >= 0 && name[0]) {
        keep(keeper, name, passed);
        return;
    }
    if (says(text, "FDSTOREREMOVE=")) {
        drop_named(keeper, name);
        keeper->crowded = false;
    } else if (says(text, "GIVE=") && passed >= 0) {
        give(keeper, passed);
    } else if (says(text, "WHO=") && passed >= 0) {
        tell_who(passed);
    } else if (says(text, "BARRIER=") && passed >= 0 && keeper->refused) {
        notify_refuse(passed);
        keeper->refused = false;
    } else if (says(text, "STOP=")) {
        loop_end(keeper->loop);
    }
    descriptor_close(passed);
}

/* Whether there was one. It stays where it is until it is carried out: suspended in between, none
 * is lost. */
static bool take_order(const struct orders *orders)
{
    struct keeper *keeper = orders->keeper;
    int socket = orders->watch.descriptor, passed;
    char text[NOTIFY_NAME_BYTES_MAX + 128], name[NOTIFY_NAME_BYTES_MAX + 1];
    if (socket < 0)
        return false;
    long got = notify_peek(socket, text, sizeof text, &passed);
    if (got == -EMFILE) {
        if (says(text, "FDSTORE=")) {
            read_value(text, "FDNAME=", name, sizeof name);
            refuse(keeper, name);
        } else { /* whoever asks gets an answer */
            descriptor_close(keeper->spare);
            keeper->spare = -1;
            got = notify_peek(socket, text, sizeof text, &passed);
        }
    }
    if (got < 0 && got != -EMFILE)
        return false;
    carry_out(keeper, text, passed);
    notify_skip(socket);
    if (keeper->spare < 0)
        keeper->spare = descriptor_copy(socket);
    return true;
}

static void orders_came(void *context, unsigned events)
{
    const struct orders *orders = context;
    (void)events;
    while (orders->older != NULL && take_order(orders->older))
        ;
    take_order(orders);
}

static int listen_to(struct keeper *keeper, struct orders *orders, const struct orders *older,
                     int descriptor)
{
    *orders = (struct orders){
        .keeper = keeper,
        .watch = {.descriptor = descriptor, .ready = orders_came, .context = orders},
        .older = older};
    return loop_watch(keeper->loop, &orders->watch, LOOP_READ);
}

/* Makes the socket again, unless its name leads to one. */
static void listen_again(struct keeper *keeper)
{
    struct notify way;
    struct orders *newest = &keeper->newest, *older = &keeper->older;
    if (keeper->folder == NULL)
        return;
    descriptor_close(keeper->spare);
    keeper->spare = -1;
    int error = notify_open_at(&way, keeper->folder, NOTIFY_KEEPER);
    notify_close(&way);
    if (error < 0 && !process_lacks(error)) {
        int made = notify_listen(keeper->folder, NOTIFY_KEEPER), before = newest->watch.descriptor;
        error = made < 0 ? made : 0;
        while (error == 0 && take_order(older)) /* it is closed */
            ;
        if (error == 0) {
            kept_note_orders(keeper->table, before, made);
            loop_unwatch(keeper->loop, &newest->watch);
            loop_unwatch(keeper->loop, &older->watch);
            descriptor_close(older->watch.descriptor);
            int unheard = listen_to(keeper, older, NULL, before);
            error = listen_to(keeper, newest, older, made);
            error = error == 0 ? unheard : error;
        }
    }
    if (keeper->spare < 0)
        keeper->spare = descriptor_copy(newest->watch.descriptor);
    if (error < 0 && error != keeper->listen_error)
        log_line("cannot make %s/%s again: %s", keeper->folder, NOTIFY_KEEPER, strerror(-error));
    keeper->listen_error = error;
}

/* Only `flotilla run` asks it to end; a signal to a whole group of processes is not meant for it.
 */
static void caught(void *context, enum loop_signal signal)
{
    if (signal == LOOP_RELOAD)
        listen_again(context);
}

int main(int argc, char **argv)
{
    struct keeper keeper = {.folder = argc > 1 ? argv[1] : NULL,
                            .older = {.keeper = &keeper, .watch.descriptor = -1},
                            .spare = -1};
    int orders = inherit_descriptor(INHERIT_ORDERS), table = inherit_descriptor(INHERIT_KEPT);
    output_start();
    log_use(output_line);
    log_start("flotilla-keeper", NULL);
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("flotilla-keeper " FLOTILLA_VERSION);
        return 0;
    }
    if (orders < 0) {
        log_line("started by `flotilla run`, which hands it the socket it takes orders from; there "
                 "is nothing to do by hand");
        return 2;
    }
    process_raise_descriptor_limit();
    inherit_share();
    int error = loop_open(&keeper.loop);
    if (error == 0)
        error = loop_signals(keeper.loop, caught, &keeper);
    keeper.alone = (struct loop_timer){.due = alone_too_long, .context = &keeper};
    if (table >= 0 && kept_map(table, &keeper.table) < 0)
        keeper.table = NULL; /* kept without it is better than not kept */
    kept_begin(keeper.table, clock_monotonic_ns());
    keeper.spare = descriptor_copy(orders);
    if (error == 0)
        error = listen_to(&keeper, &keeper.newest, NULL, orders);
    if (error == 0) {
        look_whether_alone(&keeper);
        error = loop_run(keeper.loop);
    }
    if (error < 0)
        log_line("cannot go on: %s", strerror(-error));
    while (keeper.first != NULL)
        drop(&keeper, &keeper.first);
    loop_close(keeper.loop);
    kept_unmap(keeper.table);
    return error < 0 ? 1 : 0;
}
