/* SPDX-License-Identifier: MIT
 * The other end of flotilla-keeper's GIVE and WHO. */
#include "manager/keeper_ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "os/clock.h"
#include "os/file.h"

#define ANSWER_WAIT_MS 2000u
#define WHO_WAIT_MS    100u
#define ASK_PAUSE_MS   10u

static bool read_word(const char *text, const char *key, const char **value)
{
    size_t bytes = strlen(key);
    if (strncmp(text, key, bytes) != 0)
        return false;
    *value = text + bytes;
    return true;
}

static int gather(struct keeper_asked *asked, const char *name, int descriptor)
{
    struct keeper_answer *answer = malloc(sizeof *answer);
    if (!answer) {
        descriptor_close(descriptor);
        return -ENOMEM;
    }
    snprintf(answer->name, sizeof answer->name, "%.*s", NOTIFY_NAME_BYTES_MAX, name);
    answer->descriptor = descriptor;
    answer->next = asked->answers;
    asked->answers = answer;
    return 0;
}

/* Takes one message of the answer. 1 if it was the last, 0, or a negative errno. */
static int take_answer(struct keeper_asked *asked, int end)
{
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    const char *value;
    int passed;
    long got = notify_receive(end, text, sizeof text, &passed, ANSWER_WAIT_MS);
    if (got <= 0)
        return got == -EAGAIN ? -ETIMEDOUT : got < 0 ? (int)got : -EPIPE;
    text[strcspn(text, "\n")] = '\0';
    if (read_word(text, "FDNAME=", &value) && passed >= 0)
        return gather(asked, value, passed);
    descriptor_close(passed);
    if (read_word(text, "KEEPER=", &value)) {
        long id = strtol(value, NULL, 10);
        uint64_t start;
        if (process_start_time(id, &start) == 0)
            process_open(&asked->process, id, start);
    }
    return read_word(text, "END=", &value);
}

static int ask(const char *runtime, struct keeper_asked *asked)
{
    int ends[2];
    *asked = (struct keeper_asked){.process = PROCESS_NONE};
    if (notify_open_at(&asked->way, runtime, NOTIFY_KEEPER) < 0)
        return -ENOENT;
    int error = notify_pair(ends);
    if (error == 0) {
        error = notify_pass(asked->way.descriptor, "GIVE=1\n", ends[1], ANSWER_WAIT_MS);
        descriptor_close(ends[1]);
        while (error == 0)
            error = take_answer(asked, ends[0]);
        descriptor_close(ends[0]);
    }
    if (error < 0)
        keeper_asked_close(asked);
    /* It may end at any time. */
    return error == -EPIPE || error == -ECONNREFUSED || error == -ECONNRESET ? -ENOENT
           : error < 0                                                       ? error
                                                                             : 0;
}

static bool any_lives(const struct keeper_found *first, bool alone)
{
    for (const struct keeper_found *one = first; one; one = alone ? NULL : one->next)
        if (keeper_lives(one))
            return true;
    return false;
}

/* Asks until one of those that were reminded (the first, or all from there) has made the socket. */
static int ask_until(const char *runtime, const struct keeper_found *reminded, bool alone,
                     struct keeper_asked *asked)
{
    int error = -ENOENT;
    for (uint64_t waited_ms = 0;
         error == -ENOENT && waited_ms < ANSWER_WAIT_MS && any_lives(reminded, alone);
         waited_ms += ASK_PAUSE_MS) {
        clock_sleep_until(clock_monotonic_ns() + ASK_PAUSE_MS * NS_PER_MS);
        error = ask(runtime, asked);
    }
    return error;
}

int keeper_ask(const char *runtime, const struct keepers *found, struct keeper_asked *asked)
{
    int error = ask(runtime, asked);
    if ((error == -ETIMEDOUT || error == -EAGAIN) && found->first) {
        keepers_wake(found);
        error = ask(runtime, asked);
    }
    if (error != -ENOENT)
        return error;
    for (const struct keeper_found *one = found->first; one; one = one->next)
        process_remind(&one->process);
    return ask_until(runtime, found->first, false, asked);
}

int keeper_ask_one(const char *runtime, const struct keeper_found *keeper,
                   struct keeper_asked *asked)
{
    int folder = keeper_lives(keeper) ? folder_open(runtime) : -ENOENT;
    if (folder < 0)
        return folder;
    folder_remove(folder, NOTIFY_KEEPER);
    descriptor_close(folder);
    process_remind(&keeper->process);
    int error = ask_until(runtime, keeper, true, asked);
    if (error == 0 && asked->process.id != keeper->process.id) {
        keeper_asked_close(asked);
        error = -ENOENT;
    }
    return error;
}

void keeper_hand_on(struct keeper_asked *asked,
                    void (*found)(void *context, const char *name, int descriptor), void *context)
{
    while (asked->answers) {
        struct keeper_answer *answer = asked->answers;
        asked->answers = answer->next;
        found(context, answer->name, answer->descriptor);
        free(answer);
    }
}

static void give_up(void *context, const char *name, int descriptor)
{
    (void)context;
    (void)name;
    descriptor_close(descriptor);
}

void keeper_asked_close(struct keeper_asked *asked)
{
    keeper_hand_on(asked, give_up, NULL);
    process_close(&asked->process);
    notify_close(&asked->way);
}

long keeper_at(const struct notify *way)
{
    char text[64];
    const char *value;
    int ends[2], passed;
    if (notify_pair(ends) < 0)
        return 0;
    int error = notify_pass(way->descriptor, "WHO=1\n", ends[1], 0);
    descriptor_close(ends[1]);
    long got = error < 0 ? error : notify_receive(ends[0], text, sizeof text, &passed, WHO_WAIT_MS);
    descriptor_close(ends[0]);
    if (got <= 0)
        return 0;
    descriptor_close(passed);
    return read_word(text, "KEEPER=", &value) ? strtol(value, NULL, 10) : 0;
}
