/* SPDX-License-Identifier: MIT
 * The table of a channel, and what stands in its cells. Pure; see channel_machine.h. */
#include "manager/channel_machine.h"

#include <stddef.h>

struct occurrence {
    enum channel_event event;
    long detail;
    const struct channel_facts *facts;
    uint64_t now_ms;
};

typedef unsigned cell(struct channel_machine *machine, const struct occurrence *of);

static unsigned tell_child(struct channel_machine *machine, enum child_event event, long detail,
                           const struct occurrence *of)
{
    return child_step(&machine->child, event, detail, of->now_ms);
}

static bool is_unfinished(const struct channel_machine *machine, const struct occurrence *of)
{
    return (of->facts->unrecorded || of->facts->waiting) && machine->drains < CHANNEL_DRAINS_MAX;
}

static bool is_to_end(const struct channel_machine *machine)
{
    return machine->goal == CHANNEL_REMOVE || machine->goal == CHANNEL_STOP;
}

/* Which way the socket is to be while a relay takes the place of another, or of none. */
static unsigned turn_socket(const struct occurrence *of)
{
    return of->facts->moves ? CHANNEL_QUIESCE : CHANNEL_RESUME;
}

/* ---- a relay is to start ---- */

/* Another relay is decided on; where a change waits, it is seen first whether it can be adopted. */
static unsigned start(struct channel_machine *machine)
{
    machine->step = CHANNEL_STARTING;
    return machine->goal == CHANNEL_CHANGE ? CHANNEL_PREFLIGHT : CHANNEL_SPAWN;
}

static unsigned wait(struct channel_machine *machine)
{
    machine->step = CHANNEL_WAITING;
    return CHANNEL_ARM;
}

static unsigned retry_after(struct channel_machine *machine, enum channel_step step,
                            uint32_t wait_ms)
{
    machine->step = step;
    machine->child.wait_ms = wait_ms;
    return CHANNEL_ARM;
}

static unsigned end(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_STOP_WANTED, 0, of);
    machine->step = CHANNEL_ABSENT;
    return CHANNEL_DISARM | CHANNEL_CLOSE_NEXT | turn_socket(of) | CHANNEL_GIVE_UP;
}

static unsigned begin(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_START_WANTED, 0, of);
    unsigned todo = CHANNEL_DISARM | start(machine);
    return machine->goal == CHANNEL_RUN ? todo | CHANNEL_CLOSE_NEXT | CHANNEL_RESUME : todo;
}

/* Nothing is wanted any more but what is left: a relay is started to bring that to the disk. */
static unsigned finish(struct channel_machine *machine, const struct occurrence *of)
{
    if (!is_unfinished(machine, of))
        return end(machine, of);
    tell_child(machine, CHILD_START_WANTED, 0, of);
    return CHANNEL_DISARM | CHANNEL_CLOSE_NEXT | turn_socket(of) | start(machine);
}

/* No relay is there, and it is known whether the next settings could be adopted now. What the last
 * one has left can be finished only as it was begun. */
static unsigned choose(struct channel_machine *machine, const struct occurrence *of)
{
    machine->blocked = !of->detail;
    if (machine->blocked)
        return CHANNEL_CLOSE_NEXT | CHANNEL_RESUME | CHANNEL_SPAWN;
    if (!of->facts->fits && is_unfinished(machine, of))
        return turn_socket(of) | CHANNEL_SPAWN;
    machine->goal = CHANNEL_RUN;
    return turn_socket(of) | CHANNEL_ADOPT | CHANNEL_SPAWN;
}

static unsigned ask(struct channel_machine *machine, enum channel_step step,
                    const struct occurrence *of)
{
    tell_child(machine, CHILD_STOP_WANTED,
               machine->goal == CHANNEL_STOP ? CHANNEL_STOP_GRACE_MS : CHANNEL_GRACE_MS, of);
    if (!is_to_end(machine))
        tell_child(machine, CHILD_START_WANTED, 0, of);
    machine->step = step;
    return CHANNEL_ARM | turn_socket(of) |
           (step == CHANNEL_DRAINING ? CHANNEL_DRAIN : CHANNEL_HAND_OVER);
}

static unsigned spawned(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_SPAWNED, 0, of);
    machine->step = CHANNEL_AT_WORK;
    if (machine->goal == CHANNEL_RUN)
        return 0;
    if (machine->blocked && machine->goal == CHANNEL_CHANGE) {
        machine->drains = 0; /* it works: what it leaves is not given up for those before it */
        return retry_after(machine, CHANNEL_BLOCKED, CHANNEL_BLOCKED_RETRY_MS);
    }
    machine->drains++;
    return ask(machine, CHANNEL_DRAINING, of);
}

static unsigned unable(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_UNABLE, 0, of);
    if (machine->goal == CHANNEL_STOP)
        return end(machine, of);
    /* One that can never be started makes way for what can, unless that costs a datum. */
    if (machine->goal == CHANNEL_CHANGE && !of->facts->unrecorded && !of->detail)
        machine->drains++;
    return wait(machine);
}

/* ---- a relay is there ---- */

static unsigned go_on(struct channel_machine *machine, const struct occurrence *of)
{
    (void)of;
    machine->step = CHANNEL_AT_WORK;
    machine->blocked = false;
    return CHANNEL_DISARM | CHANNEL_CLOSE_NEXT | CHANNEL_RESUME;
}

/* It was asked to end, and is to be followed by one like it. */
static unsigned follow(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_START_WANTED, 0, of);
    return CHANNEL_CLOSE_NEXT | CHANNEL_RESUME;
}

static unsigned check(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_START_WANTED, 0, of);
    return CHANNEL_PREFLIGHT;
}

static unsigned drain(struct channel_machine *machine, const struct occurrence *of)
{
    return CHANNEL_CLOSE_NEXT | ask(machine, CHANNEL_DRAINING, of);
}

static unsigned checked(struct channel_machine *machine, const struct occurrence *of)
{
    machine->blocked = !of->detail;
    if (of->detail && of->facts->drains) /* it takes the relay but a moment */
        return retry_after(machine, CHANNEL_BLOCKED, CHANNEL_DRAIN_RETRY_MS);
    if (of->detail)
        return ask(machine, of->facts->fits ? CHANNEL_HANDING_OVER : CHANNEL_DRAINING, of);
    machine->drains = 0; /* the change begins again once it can */
    return CHANNEL_CLOSE_NEXT | CHANNEL_RESUME |
           retry_after(machine, CHANNEL_BLOCKED, CHANNEL_BLOCKED_RETRY_MS);
}

/* The change became another one while the relay was on its way out. */
static unsigned still_fits(struct channel_machine *machine, const struct occurrence *of)
{
    if (!of->detail)
        return CHANNEL_CLOSE_NEXT | CHANNEL_RESUME;
    if (machine->step == CHANNEL_HANDING_OVER && !of->facts->fits)
        return ask(machine, CHANNEL_DRAINING, of);
    return turn_socket(of);
}

static unsigned worked(struct channel_machine *machine, const struct occurrence *of)
{
    tell_child(machine, CHILD_WORKED, 0, of);
    return 0;
}

/* Nobody had asked it to. */
static unsigned died(struct channel_machine *machine, const struct occurrence *of)
{
    unsigned todo = tell_child(machine, of->event == CHANNEL_KILLED ? CHILD_KILLED : CHILD_EXITED,
                               of->detail, of);
    if (todo & CHILD_SPAWN)
        return CHANNEL_DISARM | start(machine);
    if (todo & CHILD_ARM)
        return wait(machine);
    if (machine->goal == CHANNEL_CHANGE) /* it could not work with the settings that are to go */
        return retry_after(machine, CHANNEL_WAITING, CHANNEL_BLOCKED_RETRY_MS);
    machine->step = CHANNEL_ABSENT;
    return CHANNEL_DISARM;
}

static unsigned ended(struct channel_machine *machine, const struct occurrence *of)
{
    bool clean = machine->step == CHANNEL_DRAINING && of->event == CHANNEL_EXITED && !of->detail;
    if (of->event == CHANNEL_KILLED && of->facts->noted && machine->drains > 0 &&
        machine->drains < CHANNEL_DRAINS_MAX && machine->noted < CHANNEL_NOTED_MAX) {
        machine->noted++;
        machine->drains--;
    }
    tell_child(machine, of->event == CHANNEL_KILLED ? CHILD_KILLED : CHILD_EXITED, of->detail, of);
    if (clean && of->facts->unrecorded) /* another one could not record it either */
        machine->drains = CHANNEL_DRAINS_MAX;
    return is_to_end(machine) ? finish(machine, of) : CHANNEL_DISARM | start(machine);
}

/* ---- the timer ---- */

static unsigned retry(struct channel_machine *machine, const struct occurrence *of)
{
    if (is_to_end(machine) && !is_unfinished(machine, of))
        return end(machine, of);
    tell_child(machine, CHILD_TIMER, 0, of);
    return start(machine);
}

static unsigned retest(struct channel_machine *machine, const struct occurrence *of)
{
    (void)machine;
    (void)of;
    return CHANNEL_PREFLIGHT;
}

static unsigned kill_late(struct channel_machine *machine, const struct occurrence *of)
{
    (void)of;
    if (is_to_end(machine)) /* another one would take as long */
        machine->drains = CHANNEL_DRAINS_MAX;
    return CHANNEL_KILL;
}

/* clang-format off */

/* What is wanted from now on. */
static cell *const wanted[CHANNEL_GOALS][CHANNEL_STEPS] = {
    /*                   absent   waiting  starting  at work  blocked  handing over  draining */
    [CHANNEL_RUN] =     {begin,   begin,   NULL,     go_on,   go_on,   follow,       follow},
    [CHANNEL_CHANGE] =  {begin,   begin,   NULL,     check,   check,   check,        check},
    [CHANNEL_REMOVE] =  {finish,  finish,  NULL,     drain,   drain,   drain,        drain},
    [CHANNEL_STOP] =    {finish,  finish,  NULL,     drain,   drain,   drain,        drain},
};

/* What has happened. */
static cell *const happened[CHANNEL_EVENTS][CHANNEL_STEPS] = {
    /*                   absent   waiting  starting  at work  blocked  handing over  draining */
    [CHANNEL_CHECKED] = {NULL,    NULL,    choose,   checked, checked, still_fits,   still_fits},
    [CHANNEL_SPAWNED] = {NULL,    NULL,    spawned,  NULL,    NULL,    NULL,         NULL},
    [CHANNEL_UNABLE] =  {NULL,    NULL,    unable,   NULL,    NULL,    NULL,         NULL},
    [CHANNEL_WORKED] =  {NULL,    NULL,    NULL,     worked,  worked,  worked,       worked},
    [CHANNEL_EXITED] =  {NULL,    NULL,    NULL,     died,    died,    ended,        ended},
    [CHANNEL_KILLED] =  {NULL,    NULL,    NULL,     died,    died,    ended,        ended},
    [CHANNEL_DUE] =     {NULL,    retry,   NULL,     NULL,    retest,  kill_late,    kill_late},
};

/* clang-format on */

unsigned channel_machine_step(struct channel_machine *machine, enum channel_event event,
                              long detail, const struct channel_facts *facts, uint64_t now_ms)
{
    const struct occurrence of = {event, detail, facts, now_ms};
    cell *does = happened[event][machine->step];
    if (event == CHANNEL_WANTED) {
        machine->goal = (enum channel_goal)detail;
        machine->drains = machine->noted = 0;
        does = wanted[machine->goal][machine->step];
    }
    return does ? does(machine, &of) : 0;
}

void channel_machine_join(struct channel_machine *machine, bool worked_already, uint64_t now_ms)
{
    child_join(&machine->child, worked_already, now_ms);
    machine->step = CHANNEL_AT_WORK;
}

bool channel_machine_ends(const struct channel_machine *machine)
{
    return machine->step == CHANNEL_HANDING_OVER || machine->step == CHANNEL_DRAINING;
}
