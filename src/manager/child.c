/* SPDX-License-Identifier: MIT
 * The state machine of a relay. Pure: no clock, no process, no log; see child.h for the rules. */
#include "manager/child.h"

#include "base/check.h"

bool child_alive(const struct child *child)
{
    return child->state == CHILD_STARTING || child->state == CHILD_RUNNING ||
           child->state == CHILD_STOPPING;
}

void child_join(struct child *child, bool worked, uint64_t now_ms)
{
    CHECK(child->state == CHILD_STOPPED);
    child->state = worked ? CHILD_RUNNING : CHILD_STARTING;
    child->worked = worked;
    child->credit = worked ? CHILD_CREDIT : 0;
    child->spawned_ms = now_ms;
}

static unsigned spawn(struct child *child)
{
    child->state = CHILD_STARTING;
    child->worked = false;
    return CHILD_SPAWN;
}

/* 1, 2, 4 ... 60 s, by the failures in a row. */
static unsigned wait_longer(struct child *child, enum child_state state)
{
    child->failures++;
    child->wait_ms = CHILD_WAIT_MAX_MS;
    if (child->failures <= 6)
        child->wait_ms = CHILD_WAIT_FIRST_MS << (child->failures - 1);
    child->state = state;
    return CHILD_ARM;
}

/* The process ended though nobody had asked it to. */
static unsigned ended(struct child *child, bool killed, long detail, uint64_t now_ms)
{
    if (!killed && detail == CHILD_EXIT_CONFIG) {
        child->state = CHILD_FAILED;
        return 0;
    }
    if (!child->worked && (killed || detail != CHILD_EXIT_RENEW)) {
        if (!child->credit) {
            child->blinks = 0;
            return wait_longer(child, CHILD_BACKOFF);
        }
        child->credit--;
    }
    child->blinks = now_ms - child->spawned_ms < CHILD_BLINK_MS ? child->blinks + 1 : 0;
    if (child->blinks >= CHILD_BLINKS_MAX) {
        child->wait_ms = CHILD_BLINK_WAIT_MS;
        child->state = CHILD_BACKOFF;
        return CHILD_ARM;
    }
    child->restarts++;
    return spawn(child);
}

static unsigned start_wanted(struct child *child)
{
    child->wanted = true;
    if (child_alive(child))
        return 0;
    child->failures = 0;
    child->blinks = 0;
    return CHILD_DISARM | spawn(child);
}

static unsigned stop_wanted(struct child *child, long grace_ms)
{
    child->wanted = false;
    child->failures = 0; /* what comes after a stop is a new beginning */
    child->blinks = 0;
    switch (child->state) {
    case CHILD_STARTING:
    case CHILD_RUNNING:
    case CHILD_STOPPING: /* asked again: the newest word on how long it may take holds */
        child->state = CHILD_STOPPING;
        child->wait_ms = (uint32_t)grace_ms;
        return CHILD_TERMINATE | CHILD_ARM;
    case CHILD_BACKOFF:
    case CHILD_FAILED:
    case CHILD_STOPPED:
        child->state = CHILD_STOPPED;
        return CHILD_DISARM;
    }
    return 0;
}

static unsigned timer_due(struct child *child)
{
    if (child->state == CHILD_STOPPING)
        return CHILD_KILL;
    if (child->state == CHILD_BACKOFF) {
        child->restarts++;
        return spawn(child);
    }
    if (child->state == CHILD_FAILED)
        return spawn(child);
    return 0;
}

unsigned child_step(struct child *child, enum child_event event, long detail, uint64_t now_ms)
{
    switch (event) {
    case CHILD_START_WANTED:
        return start_wanted(child);
    case CHILD_STOP_WANTED:
        return stop_wanted(child, detail);
    case CHILD_SPAWNED:
        CHECK(child->state == CHILD_STARTING);
        child->spawned_ms = now_ms;
        return 0;
    case CHILD_UNABLE:
        CHECK(child->state == CHILD_STARTING);
        child->state = CHILD_FAILED;
        child->wait_ms = CHILD_WAIT_FIRST_MS;
        return CHILD_ARM;
    case CHILD_WORKED:
        if (child->state == CHILD_STARTING)
            child->state = CHILD_RUNNING;
        child->worked = true;
        child->failures = 0;
        child->credit = CHILD_CREDIT;
        return 0;
    case CHILD_EXITED:
    case CHILD_KILLED:
        CHECK(child_alive(child));
        if (child->state != CHILD_STOPPING)
            return ended(child, event == CHILD_KILLED, detail, now_ms);
        if (child->wanted)
            return CHILD_DISARM | spawn(child);
        child->state = CHILD_STOPPED;
        return CHILD_DISARM;
    case CHILD_TIMER:
        return timer_due(child);
    }
    return 0;
}

const char *child_public_state(const struct child *child, const struct child_signs *signs)
{
    switch (child->state) {
    case CHILD_STOPPED:
        return "stopped";
    case CHILD_BACKOFF:
        return "backoff";
    case CHILD_FAILED:
        return "failed";
    case CHILD_STOPPING: /* one on its way out is followed by another, or by nothing */
        return child->wanted ? "starting" : "stopped";
    case CHILD_STARTING:
    case CHILD_RUNNING:
        break;
    }
    if (signs->deaf)
        return "failed";
    if (signs->recording && signs->write_errno)
        return "not_recording";
    if (signs->rejected_in_a_row >= CHILD_MISMATCH_STREAK)
        return "schema_mismatch";
    if (signs->quiet_ms >= CHILD_SILENT_MS && signs->alive_ms >= CHILD_SILENT_MS)
        return "silent";
    if (child->state == CHILD_STARTING && !signs->ready && signs->alive_ms < CHILD_READY_MS)
        return "starting";
    return "running";
}
