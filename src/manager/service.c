/* SPDX-License-Identifier: MIT
 * A service as a child whose rules are manager/child.h's: it has done useful work once it has lived
 * for a while. */
#include "manager/service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "channel/settings.h"
#include "os/clock.h"

#define WORKED_NS (2 * NS_PER_S) /* a service that lives so long can do its work */
#define WORDS_MAX 20000u

static void step(struct service *service, enum child_event event, long detail);

static uint64_t now_ms(void)
{
    return clock_monotonic_ns() / NS_PER_MS;
}

static void free_words(char **words)
{
    for (size_t i = 0; words != NULL && words[i] != NULL; i++)
        free(words[i]);
    free(words);
}

/* ---- starting and ending ---- */

static void process_ended(void *context, unsigned events)
{
    struct service *service = context;
    struct process_end end = {.killed = true};
    long id = service->process.id;
    (void)events;
    loop_unwatch(service->loop, &service->end);
    if (process_reap(&service->process, &end) < 0)
        process_close(&service->process);
    bool asked = service->child.state == CHILD_STOPPING;
    if (clock_monotonic_ns() - service->spawned_ns >= WORKED_NS)
        step(service, CHILD_WORKED, 0);
    if (end.killed)
        snprintf(service->reason, sizeof service->reason,
                 "process %ld was killed by signal %d (%s)", id, end.code,
                 process_signal_text(end.code));
    else
        snprintf(service->reason, sizeof service->reason, "process %ld ended with exit code %d", id,
                 end.code);
    if (!asked && (end.killed || end.code != CHILD_EXIT_RENEW))
        log_line("%s: %s", service->name, service->reason);
    step(service, end.killed ? CHILD_KILLED : CHILD_EXITED, end.code);
    if (asked && !service->child.wanted)
        service->reason[0] = '\0';
    if (service_is_over(service))
        service->ended(service->context);
}

static int spawn(struct service *service)
{
    char path[CHANNEL_PATH_BYTES_MAX], name[64];
    size_t count = 0;
    snprintf(name, sizeof name, "flotilla-%s", service->name);
    while (service->words[count] != NULL)
        count++;
    char **words = calloc(count + 3, sizeof *words);
    if (words == NULL)
        return -ENOMEM;
    words[0] = name;
    words[1] = service->fleet;
    memcpy(words + 2, service->words, count * sizeof *words);
    int status = process_find_program(name, path, sizeof path);
    if (status == 0)
        status = process_spawn(&service->process, path, words, NULL, 0, DESCRIPTOR_NONE);
    free(words);
    if (status == 0) {
        service->end = (struct loop_watch){
            .descriptor = service->process.descriptor, .ready = process_ended, .context = service};
        status = loop_watch(service->loop, &service->end, LOOP_READ);
        if (status < 0) { /* one whose end is not learnt of must not run */
            process_kill(&service->process);
            process_close(&service->process);
        }
    }
    service->stale = false;
    service->spawned_ns = clock_monotonic_ns();
    if (status < 0 && service->reason[0] == '\0')
        log_line("%s: cannot run %s: %s", service->name, path, strerror(-status));
    snprintf(service->reason, sizeof service->reason, "%s", "");
    if (status < 0)
        snprintf(service->reason, sizeof service->reason, "cannot run %.200s: %s", path,
                 strerror(-status));
    return status;
}

static void timer_due(void *context)
{
    step(context, CHILD_TIMER, 0);
}

/* Feeds the event in, and does what comes back, until nothing does. */
static void step(struct service *service, enum child_event event, long detail)
{
    unsigned actions = child_step(&service->child, event, detail, now_ms());
    if (actions & CHILD_TERMINATE)
        process_terminate(&service->process);
    if (actions & CHILD_KILL)
        process_kill(&service->process);
    if (actions & CHILD_DISARM)
        loop_disarm(&service->timer);
    if (actions & CHILD_ARM)
        loop_arm(service->loop, &service->timer,
                 clock_monotonic_ns() + service->child.wait_ms * NS_PER_MS);
    if (actions & CHILD_SPAWN)
        step(service, spawn(service) == 0 ? CHILD_SPAWNED : CHILD_UNABLE, 0);
}

/* ---- what an earlier manager has left ---- */

static void begin(struct service *service)
{
    if (service->words != NULL && service->earlier.id == 0)
        step(service, CHILD_START_WANTED, 0);
}

static void earlier_ended(void *context, unsigned events)
{
    struct service *service = context;
    (void)events;
    loop_unwatch(service->loop, &service->earlier_end);
    loop_disarm(&service->earlier_timer);
    process_close(&service->earlier);
    process_reap_strays(); /* it may be a child of the program that this process was */
    begin(service);
    if (service_is_over(service))
        service->ended(service->context);
}

static void kill_earlier(void *context)
{
    struct service *service = context;
    process_kill(&service->earlier);
}

static int note_earlier(void *context, long id, const char *words, size_t bytes)
{
    struct service *service = context;
    uint64_t start;
    const char *first = words + strlen(words) + 1;
    if (first >= words + bytes || strcmp(first, service->fleet) != 0 || id == process_self() ||
        process_start_time(id, &start) < 0)
        return 0;
    return process_open(&service->earlier, id, start) == 0 ? 1 : 0;
}

static void end_earlier(struct service *service)
{
    char program[64];
    snprintf(program, sizeof program, "flotilla-%s", service->name);
    if (process_each(program, note_earlier, service) <= 0)
        return;
    service->earlier_end = (struct loop_watch){
        .descriptor = service->earlier.descriptor, .ready = earlier_ended, .context = service};
    process_terminate(&service->earlier);
    if (loop_watch(service->loop, &service->earlier_end, LOOP_READ) < 0) {
        process_kill(&service->earlier);
        process_close(&service->earlier);
        return;
    }
    loop_arm(service->loop, &service->earlier_timer,
             clock_monotonic_ns() + SERVICE_GRACE_MS * NS_PER_MS);
}

/* ---- for the manager ---- */

int service_open(struct service *service, const char *name, const char *runtime, struct loop *loop,
                 void (*ended)(void *context), void *context)
{
    struct text fleet = {0};
    *service = (struct service){.name = name,
                                .loop = loop,
                                .ended = ended,
                                .context = context,
                                .process = PROCESS_NONE,
                                .earlier = PROCESS_NONE,
                                .opened = true};
    service->timer = (struct loop_timer){.due = timer_due, .context = service};
    service->earlier_timer = (struct loop_timer){.due = kill_earlier, .context = service};
    text_add(&fleet, "--fleet=%s", runtime);
    service->fleet = text_take(&fleet);
    if (service->fleet == NULL)
        return -ENOMEM;
    end_earlier(service);
    return 0;
}

static bool same_words(char *const *a, char *const *b)
{
    size_t i = 0;
    if (a == NULL || b == NULL)
        return a == b;
    while (a[i] != NULL && b[i] != NULL && strcmp(a[i], b[i]) == 0)
        i++;
    return a[i] == NULL && b[i] == NULL;
}

int service_want(struct service *service, char *const *words)
{
    char **copy = NULL;
    if (same_words(service->words, words))
        return 0;
    if (words != NULL) {
        size_t count = 0;
        while (words[count] != NULL)
            count++;
        copy = calloc(count + 1, sizeof *copy);
        for (size_t i = 0; i < count && copy != NULL; i++) {
            copy[i] = text_copy(words[i]);
            if (copy[i] == NULL) {
                free_words(copy);
                copy = NULL;
            }
        }
        if (copy == NULL)
            return -ENOMEM;
    }
    free_words(service->words);
    service->words = copy;
    if (child_alive(&service->child)) /* what it has not noted its successor does again */
        step(service, CHILD_STOP_WANTED, SERVICE_GRACE_MS);
    else if (words == NULL)
        step(service, CHILD_STOP_WANTED, 0);
    begin(service);
    return 0;
}

bool service_is_over(const struct service *service)
{
    return !service->opened ||
           (service->words == NULL && !child_alive(&service->child) && service->earlier.id == 0);
}

const char *service_state(const struct service *service)
{
    switch (service->child.state) {
    case CHILD_STOPPED:
        return service->words != NULL ? "starting" : "stopped";
    case CHILD_STARTING:
    case CHILD_RUNNING:
        return "running";
    case CHILD_BACKOFF:
        return "backoff";
    case CHILD_STOPPING:
        return service->child.wanted ? "starting" : "stopped";
    case CHILD_FAILED:
        return "failed";
    }
    return "failed";
}

void service_close(struct service *service)
{
    if (!service->opened)
        return;
    loop_disarm(&service->timer);
    loop_disarm(&service->earlier_timer);
    if (service->process.id != 0)
        loop_unwatch(service->loop, &service->end);
    if (service->earlier.id != 0)
        loop_unwatch(service->loop, &service->earlier_end);
    process_close(&service->process);
    process_close(&service->earlier);
    free_words(service->words);
    free(service->fleet);
    service->opened = false;
}
