/* SPDX-License-Identifier: MIT
 * One timer, due for the next sign of life or the next look at the fleet. The fleet is looked at
 * every few seconds, not followed: a look reads every channel's memory.
 * Sources: sd_notify(3), sd_watchdog_enabled(3). */
#include "manager/supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "os/clock.h"

static const char *const sound_states[] = {"running", "silent", "starting", "stopped"};

static bool is_sound(const char *state)
{
    for (size_t i = 0; i < ARRAY_COUNT(sound_states); i++)
        if (strcmp(state, sound_states[i]) == 0)
            return true;
    return false;
}

/* "20 channels: 18 running, 1 silent, 1 failing (engine: backoff)". */
static void describe(const struct fleet *fleet, char text[SUPERVISOR_STATUS_BYTES])
{
    uint32_t channels = 0, running = 0, silent = 0, failing = 0;
    char first[CHANNEL_NAME_BYTES_MAX + 40] = "";
    struct channel_view view;
    for (const struct channel *channel = fleet_next(fleet, NULL); channel;
         channel = fleet_next(fleet, channel)) {
        fleet_view(channel, &view);
        channels++;
        running += strcmp(view.state, "running") == 0;
        silent += strcmp(view.state, "silent") == 0;
        if (!is_sound(view.state) && failing++ == 0)
            snprintf(first, sizeof first, " (%s: %s)", view.name, view.state);
    }
    int used = snprintf(text, SUPERVISOR_STATUS_BYTES, "%" PRIu32 " channel%s: %" PRIu32 " running",
                        channels, channels == 1 ? "" : "s", running);
    if (silent)
        used += snprintf(text + used, SUPERVISOR_STATUS_BYTES - (size_t)used,
                         ", %" PRIu32 " silent", silent);
    if (failing)
        snprintf(text + used, SUPERVISOR_STATUS_BYTES - (size_t)used, ", %" PRIu32 " failing%s%s",
                 failing, first, failing > 1 ? " and others" : "");
}

static void send_status(struct supervisor *supervisor)
{
    char text[SUPERVISOR_STATUS_BYTES], line[SUPERVISOR_STATUS_BYTES + 16];
    describe(supervisor->fleet, text);
    if (strcmp(text, supervisor->told) == 0)
        return;
    snprintf(line, sizeof line, "STATUS=%s", text);
    if (notify_send(&supervisor->notify, line) == 0)
        memcpy(supervisor->told, text, sizeof text);
}

static void arm(struct supervisor *supervisor)
{
    uint64_t due_ns = supervisor->look_due_ns;
    if (supervisor->beat_ns && supervisor->beat_due_ns < due_ns)
        due_ns = supervisor->beat_due_ns;
    loop_arm(supervisor->loop, &supervisor->timer, due_ns);
}

static void timer_due(void *context)
{
    struct supervisor *supervisor = context;
    uint64_t now_ns = clock_monotonic_ns();
    if (supervisor->beat_ns && now_ns >= supervisor->beat_due_ns) {
        /* From the loop, so that it tells that the loop goes round. */
        notify_send(&supervisor->notify, "WATCHDOG=1");
        supervisor->beat_due_ns = now_ns + supervisor->beat_ns;
    }
    if (now_ns >= supervisor->look_due_ns) {
        send_status(supervisor);
        supervisor->look_due_ns = now_ns + SUPERVISOR_LOOK_MS * NS_PER_MS;
    }
    arm(supervisor);
}

int supervisor_open(struct supervisor *supervisor, struct loop *loop)
{
    memset(supervisor, 0, sizeof *supervisor);
    supervisor->loop = loop;
    supervisor->timer = (struct loop_timer){.due = timer_due, .context = supervisor};
    int status = notify_open(&supervisor->notify);
    return status == -ENOENT ? 0 : status;
}

void supervisor_ready(struct supervisor *supervisor, const struct fleet *fleet)
{
    if (notify_send(&supervisor->notify, "READY=1") == -ENOENT)
        return;
    supervisor->fleet = fleet;
    supervisor->ready = true;
    supervisor->beat_ns = notify_watchdog_ns() / 2;
    /* The relays have been started this instant: in a moment there is something to tell. */
    uint64_t now_ns = clock_monotonic_ns();
    supervisor->beat_due_ns = now_ns;
    supervisor->look_due_ns = now_ns + FLEET_TICK_MS * NS_PER_MS;
    arm(supervisor);
}

void supervisor_reloading(struct supervisor *supervisor)
{
    char text[64];
    if (!supervisor->ready)
        return;
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             clock_monotonic_ns() / 1000u);
    notify_send(&supervisor->notify, text);
}

void supervisor_reloaded(struct supervisor *supervisor)
{
    if (!supervisor->ready)
        return;
    notify_send(&supervisor->notify, "READY=1");
    supervisor->look_due_ns = clock_monotonic_ns() + FLEET_TICK_MS * NS_PER_MS;
    arm(supervisor);
}

void supervisor_stopping(struct supervisor *supervisor)
{
    notify_send(&supervisor->notify, "STOPPING=1\nSTATUS=Stopping the relays");
    supervisor->look_due_ns = UINT64_MAX; /* nothing else is to be told any more */
    if (supervisor->ready)
        arm(supervisor);
}

void supervisor_close(struct supervisor *supervisor)
{
    if (supervisor->loop == NULL)
        return;
    loop_disarm(&supervisor->timer);
    notify_close(&supervisor->notify);
    supervisor->loop = NULL;
}
