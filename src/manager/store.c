/* SPDX-License-Identifier: MIT
 * The manager's side of the keeping. A keeper is told from a dead one by its answer, from one that
 * hangs by a time limit; another takes its place only once it has all that the first one has. One
 * that cannot be asked is emptied from outside; where the system forbids that, it is given the name
 * and asked; one that hangs then is ended all the same, but one that merely cannot be reached by
 * its name is left alone. */
#include "manager/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "channel/kept.h"
#include "channel/settings.h"
#include "manager/keeper_ask.h"
#include "manager/keepers.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/process.h"

#define PROCESS_KIND    "process" /* flotilla-keeper knows these by their name */
#define END_WAIT_MS     2000u
#define KEEP_WAIT_MS    50u /* for room in the queue of who keeps */
#define CONFIRM_WAIT_MS 100u
#define SETTLE_WAIT_MS  500u
#define KEEP_ALL_MS     2000u
#define HANGING_NS      (2 * NS_PER_S)   /* no barrier was answered for so long */
#define RESPAWN_NS      (50 * NS_PER_MS) /* one that ends so soon is followed at the next look */

struct store {
    struct store_options options;
    char *runtime, *keeper_path;
    struct keepers left; /* we have all that they hold; they end once whoever keeps has it */
    bool by_system;      /* systemd keeps */
    struct notify way;
    struct notify system; /* the way to systemd, while a keeper bridges; descriptor -1 */
    struct process keeper;
    struct kept *kept; /* the keeper's table; NULL: it has none */
    struct loop_watch ended;
    bool nameless;     /* told of already: the keeper's socket was removed */
    bool crowded;      /* the same: it could not keep everything */
    bool unconfirmed;  /* something was sent since it was last asked whether it has all */
    bool full;         /* it has not taken what it was sent last */
    bool behind;       /* something is to be sent again */
    bool astray;       /* something was not given up, and is not asked for again */
    bool stuck;        /* it did not answer when it was last asked whether it has all */
    uint64_t stuck_ns; /* monotonic: since when; 0: it is not */
    uint64_t tried_ns; /* monotonic: when a keeper was last started */
    int start_error;   /* why none could be: told of already */
};

static void keeper_ended(void *context, unsigned events);

/* ---- the keeper ---- */

/* The keeper is to stay while this process does. */
static void tell_of_us(struct store *store)
{
    struct process self;
    uint64_t start;
    long id = process_self();
    if (process_start_time(id, &start) < 0 || process_open(&self, id, start) < 0)
        return; /* it ends after ten minutes without a relay, and is followed by another */
    store_know(store, "", self.descriptor);
    process_close(&self);
}

static int watch_keeper(struct store *store)
{
    store->ended = (struct loop_watch){
        .descriptor = store->keeper.descriptor, .ready = keeper_ended, .context = store};
    return loop_watch(store->options.loop, &store->ended, LOOP_READ);
}

static void forget_keeper(struct store *store)
{
    struct process_end end;
    loop_unwatch(store->options.loop, &store->ended);
    if (store->keeper.id != 0 && process_reap(&store->keeper, &end) < 0)
        process_close(&store->keeper);
    kept_unmap(store->kept);
    store->kept = NULL;
    notify_close(&store->way);
}

/* Ends one that is of no use, without a word to it. */
static void destroy_keeper(struct store *store)
{
    process_kill(&store->keeper);
    process_wait(&store->keeper, END_WAIT_MS);
    forget_keeper(store);
}

/* It is to be followed, and ends once another one has everything. */
static void leave_keeper(struct store *store)
{
    if (store->keeper.id == 0)
        return;
    loop_unwatch(store->options.loop, &store->ended);
    if (keepers_add(&store->left, &store->keeper, store->kept) < 0) {
        destroy_keeper(store);
        return;
    }
    store->keeper = (struct process)PROCESS_NONE;
    store->kept = NULL;
    notify_close(&store->way);
}

/* Both ends of the way to a keeper: under its name, or, where no socket can be made there, as a
 * pair. Without a name it is asked to make one once a second, and until then it can be emptied. */
static int open_ways(struct store *store, int *orders)
{
    int ends[2];
    *orders = notify_listen(store->runtime, NOTIFY_KEEPER);
    if (*orders >= 0) {
        store->nameless = false;
        return notify_open_at(&store->way, store->runtime, NOTIFY_KEEPER);
    }
    if (!store->nameless)
        log_line("cannot make the keeper's socket %s/%s: %s; tried again every second",
                 store->runtime, NOTIFY_KEEPER, strerror(-*orders));
    store->nameless = true;
    int error = notify_way(ends);
    if (error < 0)
        return error;
    *orders = ends[0];
    store->way.descriptor = ends[1];
    return 0;
}

static int start_keeper(struct store *store)
{
    char name[] = "flotilla-keeper";
    char *words[] = {name, store->runtime, NULL}; /* by these it is found: keepers.c */
    store->tried_ns = clock_monotonic_ns();
    notify_close(&store->way);
    int orders = -1, table = kept_create();
    int error = table < 0 ? table : open_ways(store, &orders);
    struct process_descriptor down[2];
    down[KEPT_ORDERS - PROCESS_FIRST_HANDED] = (struct process_descriptor){INHERIT_ORDERS, orders};
    down[KEPT_TABLE - PROCESS_FIRST_HANDED] = (struct process_descriptor){INHERIT_KEPT, table};
    if (error == 0)
        error = process_spawn(&store->keeper, store->keeper_path, words, down, 2, -1);
    if (error == 0 && kept_map(table, &store->kept) < 0)
        store->kept = NULL;
    descriptor_close(orders);
    descriptor_close(table);
    if (error == 0)
        error = watch_keeper(store);
    if (error < 0 && store->keeper.id != 0) /* it could not be told anything */
        destroy_keeper(store);
    else if (error < 0)
        notify_close(&store->way);
    store->behind = store->full = store->astray = store->stuck = false; /* of the one before */
    store->stuck_ns = 0;
    return error;
}

static void ensure_keeper(struct store *store)
{
    if (store->by_system || store->keeper.id != 0 ||
        clock_monotonic_ns() - store->tried_ns < RESPAWN_NS ||
        !store->options.in_charge(store->options.in_charge_context))
        return;
    int error = start_keeper(store);
    if (error < 0 && error != store->start_error)
        log_line("cannot start %s: %s; should this manager be killed, what arrives until the next "
                 "one runs is lost",
                 store->keeper_path, strerror(-error));
    store->start_error = error;
    if (error < 0)
        return;
    tell_of_us(store);
    store->options.lost(store->options.context);
}

static void keeper_ended(void *context, unsigned events)
{
    struct store *store = context;
    (void)events;
    log_line("the keeper (process %ld) has ended; starting another", store->keeper.id);
    forget_keeper(store);
    ensure_keeper(store);
}

static void end_keeper(struct store *store)
{
    if (store->keeper.id == 0)
        return;
    if (store->kept)
        kept_note_followed(store->kept);
    notify_send(&store->way, "STOP=1\n");
    process_terminate(&store->keeper); /* which only wakes it, if it is suspended */
    if (process_wait(&store->keeper, END_WAIT_MS) < 0) {
        process_kill(&store->keeper);
        process_wait(&store->keeper, END_WAIT_MS);
    }
    forget_keeper(store);
}

/* ---- taking over ---- */

/* Takes what a keeper holds that was not the one to answer (asking has failed with `asked`, or is
 * 0). It stays until ours has everything. 0, or a negative errno: it is left alone, and so is the
 * fleet. */
static int take_from(struct store *store, const struct keeper_found *keeper, int asked,
                     void (*found)(void *, const char *, int))
{
    struct keeper_asked one;
    long id = keeper->process.id;
    int error = keeper_empty(keeper, found, store->options.context);
    if (error == 0) {
        log_line("the keeper (process %ld) cannot be asked; copied what it holds", id);
        return 0;
    }
    if (process_lacks(error))
        return error;
    if (!keeper_lives(keeper)) {
        kept_unmap(keepers_leave_out(&store->left, id));
        return 0;
    }
    if (keeper_ask_one(store->runtime, keeper, &one) == 0) {
        keeper_hand_on(&one, found, store->options.context);
        keeper_asked_close(&one);
        return 0;
    }
    if (asked == -ETIMEDOUT || asked == -EAGAIN) {
        log_line("the keeper (process %ld) does not answer, and what it holds cannot be copied: "
                 "%s; what waits for relays that have died is lost with it",
                 id, strerror(-error));
        return 0;
    }
    log_line("the keeper (process %ld) cannot be reached at %s/%s, and what it holds cannot be "
             "copied: %s; it is left alone",
             id, store->runtime, NOTIFY_KEEPER, strerror(-error));
    if (asked < 0)
        return error;
    kept_unmap(keepers_leave_out(&store->left, id));
    return 0;
}

/* Takes what all keepers hold, the oldest first: what a later one holds of the same name counts. So
 * only the youngest may be told more; if that is the one that answers, it is ours from then on. */
static int take_from_keepers(struct store *store, void (*found)(void *, const char *, int))
{
    struct keeper_asked asked;
    int error = keepers_find(&store->left, store->runtime);
    if (error < 0)
        return error;
    int status = keeper_ask(store->runtime, &store->left, &asked);
    if (status < 0 && process_lacks(status))
        return status;
    bool ours = status == 0 && keepers_is_youngest(&store->left, asked.process.id);
    for (struct keeper_found *keeper = store->left.first, *next; keeper && error == 0;
         keeper = next) {
        next = keeper->next;
        if (status == 0 && keeper->process.id == asked.process.id)
            keeper_hand_on(&asked, found, store->options.context);
        else
            error = take_from(store, keeper, status, found);
    }
    if (status == 0) /* one without words of ours is not in the list */
        keeper_hand_on(&asked, found, store->options.context);
    if (status == 0 && !ours) {
        keeper_asked_close(&asked);
    } else if (ours) {
        store->kept = keepers_leave_out(&store->left, asked.process.id);
        store->way = asked.way;
        store->keeper = asked.process;
        if (error == 0 && store->keeper.id != 0)
            error = watch_keeper(store);
        if (error == 0)
            tell_of_us(store);
    }
    return error;
}

static int note_sent(struct store *store, int error)
{
    store->full = error < 0;
    store->unconfirmed = true;
    store->behind = store->behind || error < 0;
    return error;
}

/* What has come of a barrier: only that tells whether it goes on. */
static void note_done(struct store *store, int error)
{
    if (process_lacks(error))
        return; /* it was not asked */
    store->stuck = error < 0 && error != -ENOSPC;
    if (!store->stuck)
        store->stuck_ns = 0;
    else if (store->stuck_ns == 0)
        store->stuck_ns = clock_monotonic_ns();
    store->behind = store->behind || error < 0;
    if (error == -ENOSPC && !store->crowded)
        log_line("the keeper (process %ld) cannot keep everything: see what it says",
                 store->keeper.id);
    store->crowded = error == -ENOSPC;
}

/* Asks whether all that was sent is kept. If it is, ours has all that the others hold, too. */
static void confirm(struct store *store)
{
    bool asks = store->left.first || store->unconfirmed || store->stuck;
    bool whole = !store->behind; /* else something was not even sent */
    if (!asks || (!store->by_system && store->keeper.id == 0) ||
        !store->options.in_charge(store->options.in_charge_context))
        return;
    int error = notify_barrier(&store->way, store->left.first ? SETTLE_WAIT_MS : CONFIRM_WAIT_MS);
    note_done(store, error);
    if (error < 0 || !whole)
        return;
    store->unconfirmed = false;
    keepers_end(&store->left);
}

/* It has not answered for long, and does not now. */
static bool hangs(struct store *store)
{
    if (!store->stuck || clock_monotonic_ns() - store->stuck_ns <= HANGING_NS)
        return false;
    note_done(store, notify_barrier(&store->way, SETTLE_WAIT_MS));
    return store->stuck;
}

static void take_inherited(struct store *store, void (*found)(void *, const char *, int))
{
    char name[NOTIFY_NAME_BYTES_MAX + 1];
    int descriptor;
    for (uint32_t i = 0; (descriptor = inherit_numbered(i, name, sizeof name)) >= 0; i++)
        found(store->options.context, name, descriptor);
}

int store_open(struct store **store, const struct store_options *options,
               void (*found)(void *context, const char *name, int descriptor))
{
    struct store *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->options = *options;
    made->runtime = text_copy(options->runtime);
    made->keeper_path = text_copy(options->keeper);
    made->way.descriptor = made->system.descriptor = -1;
    made->keeper = (struct process)PROCESS_NONE;
    made->ended.descriptor = -1;
    *store = made;
    if (!made->runtime || !made->keeper_path)
        return -ENOMEM;

    const char *room = getenv("FDSTORE");
    take_inherited(made, found);
    int error = take_from_keepers(made, found);
    if (error < 0)
        return error;
    if (made->keeper.id == 0) /* it has ended since it answered */
        notify_close(&made->way);
    struct notify system;
    if (room && strtoul(room, NULL, 10) > 0 && getenv("NOTIFY_SOCKET") &&
        notify_open(&system) == 0) {
        if (made->keeper.id != 0) /* it may have bridged from the program this process was */
            leave_keeper(made);
        made->by_system = true;
        made->way = system;
        made->behind = made->left.first != NULL;
        return 0;
    }
    ensure_keeper(made);
    return 0;
}

/* ---- keeping ---- */

/* Waits a moment for room, but once only while nothing is taken. */
static int send_name(struct store *store, const char *what, const char *channel, const char *kind,
                     int descriptor)
{
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    snprintf(text, sizeof text, "%s=1\nFDPOLL=0\nFDNAME=%s.%s\n", what, channel, kind);
    return notify_pass(store->way.descriptor, text, descriptor, store->full ? 0 : KEEP_WAIT_MS);
}

static int keep(struct store *store, const char *channel, const char *kind, int descriptor)
{
    if (store->way.descriptor < 0)
        return -ENOENT; /* `lost` is called once there is one */
    return note_sent(store, send_name(store, "FDSTORE", channel, kind, descriptor));
}

void store_keep(struct store *store, const char *channel, const char *kind, int descriptor)
{
    keep(store, channel, kind, descriptor);
}

void store_replace(struct store *store, const char *channel, const char *kind, int descriptor)
{
    /* systemd holds any number of different ones under a name; a keeper replaces. */
    if (store->by_system)
        store_drop(store, channel, kind);
    store_keep(store, channel, kind, descriptor);
}

void store_rename(struct store *store, const char *channel, const char *from, const char *to,
                  int descriptor)
{
    /* systemd does not take what it holds under any name. */
    if (store->by_system) {
        store_drop(store, channel, from);
        store_replace(store, channel, to, descriptor);
    } else if (keep(store, channel, to, descriptor) == 0) {
        store_drop(store, channel, from);
    }
}

void store_know(struct store *store, const char *channel, int process)
{
    if (!store->by_system)
        store_keep(store, channel, PROCESS_KIND, process);
}

void store_drop(struct store *store, const char *channel, const char *kind)
{
    if (store->way.descriptor < 0)
        return;
    int error = send_name(store, "FDSTOREREMOVE", channel, kind, -1);
    note_sent(store, error);
    store->astray = store->astray || error < 0;
}

void store_settle(struct store *store)
{
    if (store->way.descriptor >= 0 && !store->stuck)
        note_done(store, notify_barrier(&store->way, SETTLE_WAIT_MS));
}

/* Somebody may have removed the keeper's socket: by its name the next manager finds what is kept.
 * Another socket that lives there stays: then it is found by its words, and emptied. */
static void look_at_name(struct store *store)
{
    struct notify way;
    if (!store->options.in_charge(store->options.in_charge_context))
        return;
    int error = notify_open_at(&way, store->runtime, NOTIFY_KEEPER);
    if (process_lacks(error))
        return; /* we cannot look */
    if (error < 0) {
        if (!store->nameless)
            log_line("the keeper's socket %s/%s was gone; it makes it again", store->runtime,
                     NOTIFY_KEEPER);
        store->nameless = true;
        process_remind(&store->keeper);
        return;
    }
    /* It listens longest at the newest, and does first what it was told the old way. */
    if (store->nameless && keeper_at(&way) == store->keeper.id) {
        struct notify old = store->way;
        store->way = way;
        store->nameless = false;
        way = old;
    }
    notify_close(&way);
}

void store_look(struct store *store)
{
    keepers_reap(&store->left);
    confirm(store);
    bool ours = !store->by_system && store->keeper.id != 0;
    if (ours)
        look_at_name(store);
    bool hanging = ours && hangs(store);
    if (ours && (hanging || store->astray) &&
        store->options.in_charge(store->options.in_charge_context)) {
        log_line("the keeper (process %ld) %s; another takes its place", store->keeper.id,
                 hanging ? "does not answer" : "has missed what it was to give up");
        leave_keeper(store);
    }
    ensure_keeper(store);
    if (store->behind) {
        store->behind = false;
        store->options.lost(store->options.context);
    }
}

/* Has everything kept, waiting for whoever keeps: not for long, as nobody looks after the relays
 * meanwhile. 0 or a negative errno. */
static int keep_all(struct store *store)
{
    uint64_t end_ns = clock_monotonic_ns() + KEEP_ALL_MS * NS_PER_MS;
    int error = -EAGAIN;
    while (error < 0 && clock_monotonic_ns() < end_ns) {
        process_terminate(&store->keeper); /* which only wakes it, if it is suspended */
        store->behind = store->full = store->stuck = false;
        store->stuck_ns = 0;
        tell_of_us(store);
        store->options.lost(store->options.context);
        error = notify_barrier(&store->way, SETTLE_WAIT_MS);
        if (error == 0 && store->behind)
            error = -EAGAIN;
    }
    return error == -ENOSPC ? -EMFILE : error;
}

int store_bridge(struct store *store)
{
    if (store->by_system) {
        store->system = store->way;
        store->way.descriptor = -1;
        store->by_system = false;
    }
    int error = store->keeper.id == 0 ? start_keeper(store) : 0;
    if (error == 0)
        error = keep_all(store);
    if (error < 0)
        store_unbridge(store);
    return error;
}

void store_unbridge(struct store *store)
{
    if (store->system.descriptor < 0)
        return; /* the keeper is the one there always is */
    leave_keeper(store);
    store->way = store->system;
    store->system.descriptor = -1;
    store->by_system = true;
    store->behind = true;
}

int store_renew(struct store *store)
{
    if (store->by_system || store->keeper.id == 0)
        return 0;
    struct notify way = store->way;
    struct process old = store->keeper;
    struct kept *kept = store->kept;
    bool astray = store->astray;
    loop_unwatch(store->options.loop, &store->ended);
    store->way.descriptor = -1;
    store->keeper = (struct process)PROCESS_NONE;
    store->kept = NULL;
    int error = start_keeper(store);
    if (error == 0)
        error = keep_all(store);
    if (error < 0) {
        /* What is kept stays where it is; the socket's name is missed at the next look. */
        end_keeper(store);
        store->way = way;
        store->keeper = old;
        store->kept = kept;
        store->behind = true;
        store->astray = astray;
        watch_keeper(store);
        return error;
    }
    notify_close(&way);
    if (keepers_add(&store->left, &old, kept) < 0) {
        struct process_end end;
        process_kill(&old);
        process_wait(&old, END_WAIT_MS);
        if (process_reap(&old, &end) < 0)
            process_close(&old);
        kept_unmap(kept);
    }
    keepers_end(&store->left);
    return 0;
}

bool store_is_system(const struct store *store)
{
    return store->by_system;
}

long store_keeper(const struct store *store)
{
    return store->keeper.id;
}

void store_close(struct store *store, bool ended)
{
    if (!store)
        return;
    if (ended) {
        keepers_end(&store->left);
    } else {
        keepers_wake(&store->left);
        keepers_forget(&store->left);
    }
    if (ended && !store->by_system && store->keeper.id != 0) {
        end_keeper(store);
        int folder = folder_open(store->runtime);
        if (folder >= 0) {
            folder_remove(folder, NOTIFY_KEEPER);
            descriptor_close(folder);
        }
    }
    forget_keeper(store);
    notify_close(&store->system);
    free(store->runtime);
    free(store->keeper_path);
    free(store);
}
