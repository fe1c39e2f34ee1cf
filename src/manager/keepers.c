/* SPDX-License-Identifier: MIT
 * Finding, emptying and ending keepers. A keeper's words are its name and the runtime folder. */
#include "manager/keepers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "os/clock.h"
#include "os/file.h"

#define PROGRAM     "flotilla-keeper"
#define STOP_PAUSE  (10 * NS_PER_MS)
#define STOP_TRIES  20u /* one that is frozen never stops, but does not go on either */
#define END_WAIT_MS 100u

struct search {
    const char *runtime;
    struct keepers *keepers; /* NULL: any will do */
};

/* By the kernel's word, which is the same for many that start within a hundredth of a second; of
 * those, one without a table comes first. */
static bool is_older(const struct keeper_found *one, const struct keeper_found *other)
{
    if (one->start != other->start)
        return one->start < other->start;
    return other->kept && (!one->kept || kept_begun_ns(one->kept) <= kept_begun_ns(other->kept));
}

static void add_by_age(struct keepers *keepers, struct keeper_found *found)
{
    struct keeper_found **at = &keepers->first;
    while (*at && is_older(*at, found))
        at = &(*at)->next;
    found->next = *at;
    *at = found;
}

static void forget(struct keeper_found *found)
{
    kept_unmap(found->kept);
    process_close(&found->process);
    free(found);
}

int keepers_add(struct keepers *keepers, const struct process *process, struct kept *kept)
{
    struct keeper_found *found = calloc(1, sizeof *found);
    if (!found)
        return -ENOMEM;
    found->process = *process;
    found->kept = kept;
    if (process_start_time(process->id, &found->start) < 0)
        found->start = UINT64_MAX;
    add_by_age(keepers, found);
    return 0;
}

static int open_found(struct search *search, long id)
{
    uint64_t start;
    struct keeper_found *found = calloc(1, sizeof *found);
    if (!found)
        return -ENOMEM;
    int error = process_start_time(id, &start);
    if (error == 0)
        error = process_open(&found->process, id, start);
    if (error < 0) {
        free(found);
        return process_lacks(error) ? error : 0;
    }
    found->start = start;
    int table = process_take_descriptor(&found->process, KEPT_TABLE);
    found->error = table < 0 ? table : kept_map(table, &found->kept);
    descriptor_close(table);
    if (found->kept && kept_followed(found->kept)) {
        process_kill(&found->process); /* who noted it may have been killed before that */
        forget(found);
    } else {
        add_by_age(search->keepers, found);
    }
    return 0;
}

static int note_keeper(void *context, long id, const char *words, size_t bytes)
{
    struct search *search = context;
    size_t name = strlen(words) + 1;
    if (name >= bytes || strcmp(words + name, search->runtime) != 0)
        return 0;
    return open_found(search, id);
}

int keepers_find(struct keepers *keepers, const char *runtime)
{
    struct search search = {.runtime = runtime, .keepers = keepers};
    return process_each(PROGRAM, note_keeper, &search);
}

struct kept *keepers_leave_out(struct keepers *keepers, long id)
{
    for (struct keeper_found **at = &keepers->first; *at; at = &(*at)->next) {
        struct keeper_found *found = *at;
        if (found->process.id != id)
            continue;
        struct kept *kept = found->kept;
        found->kept = NULL;
        *at = found->next;
        forget(found);
        return kept;
    }
    return NULL;
}

bool keepers_is_youngest(const struct keepers *keepers, long id)
{
    const struct keeper_found *last = keepers->first;
    while (last && last->next)
        last = last->next;
    return !last || last->process.id == id;
}

void keepers_wake(const struct keepers *keepers)
{
    for (const struct keeper_found *found = keepers->first; found; found = found->next)
        process_terminate(&found->process); /* a keeper does not end of it */
}

bool keeper_lives(const struct keeper_found *keeper)
{
    return process_wait(&keeper->process, 0) < 0;
}

/* What it was sent and has not come to yet, which stays where it is. What it was to give up stays,
 * too: that is found out by the relay at work, or by the configuration. 0 or a negative errno. */
static int take_waiting(int orders, void (*found)(void *, const char *, int), void *context)
{
    static const char order[] = "FDSTORE=1\n", key[] = "\nFDNAME=";
    char text[NOTIFY_NAME_BYTES_MAX + 128];
    int passed;
    long got = notify_peek_next(orders, false, text, sizeof text, &passed);
    for (; got >= 0; got = notify_peek_next(orders, true, text, sizeof text, &passed)) {
        char *name = strstr(text, key);
        if (passed < 0)
            continue;
        if (name && strncmp(text, order, sizeof order - 1) == 0) {
            name += sizeof key - 1;
            name[strcspn(name, "\n")] = '\0';
            found(context, name, passed);
        } else {
            descriptor_close(passed);
        }
    }
    return got == -EAGAIN ? 0 : (int)got;
}

int keeper_empty(const struct keeper_found *keeper,
                 void (*found)(void *context, const char *name, int descriptor), void *context)
{
    char name[NOTIFY_NAME_BYTES_MAX + 1];
    const struct process *process = &keeper->process;
    if (!keeper->kept)
        return keeper->error;
    process_suspend(process);
    for (uint32_t try = 0; try < STOP_TRIES && !process_suspended(process->id); try++)
        clock_sleep_until(clock_monotonic_ns() + STOP_PAUSE);
    int error = 0;
    for (int leaving = 1; leaving >= 0; leaving--)
        for (int at = kept_next(keeper->kept, 0, leaving, name); at >= 0;
             at = kept_next(keeper->kept, at + 1, leaving, name)) {
            int taken = process_take_descriptor(process, at);
            if (taken < 0)
                error = taken;
            else
                found(context, name, taken);
        }
    for (int which = 0; which < 2 && error == 0; which++) {
        int number = kept_orders(keeper->kept, which);
        int orders = number < 0 ? -1 : process_take_descriptor(process, number);
        if (orders >= 0)
            error = take_waiting(orders, found, context);
        else if (number >= 0)
            error = orders;
        descriptor_close(orders);
    }
    return error;
}

void keepers_end(struct keepers *keepers)
{
    while (keepers->first) {
        struct keeper_found *found = keepers->first;
        if (found->kept)
            kept_note_followed(found->kept);
        process_kill(&found->process);
        process_wait(&found->process, END_WAIT_MS);
        keepers->first = found->next;
        found->next = keepers->ended;
        keepers->ended = found;
    }
    keepers_reap(keepers);
}

void keepers_reap(struct keepers *keepers)
{
    for (struct keeper_found **at = &keepers->ended; *at;) {
        struct keeper_found *found = *at;
        struct process_end end;
        /* -EAGAIN: a child of ours that has not ended. Others are nothing to us any more. */
        if (process_reap(&found->process, &end) == -EAGAIN) {
            at = &found->next;
            continue;
        }
        *at = found->next;
        forget(found);
    }
}

static void forget_all(struct keeper_found **first)
{
    while (*first) {
        struct keeper_found *found = *first;
        *first = found->next;
        forget(found);
    }
}

void keepers_forget(struct keepers *keepers)
{
    forget_all(&keepers->first);
    forget_all(&keepers->ended);
}
