/* SPDX-License-Identifier: MIT
 * A restart of all: each relay is replaced, one after the other, each as soon as the one before has
 * come up. The first one that does not ends it: the others are better off with what they have. One
 * that waits for its schema is replaced then. */
#include "manager/fleet_parts.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

void fleet_restart_due(void *context)
{
    struct fleet *fleet = context;
    uint64_t now_ns = clock_monotonic_ns();
    struct channel *channel = fleet->restarting;
    if (fleet->stopping)
        return;
    bool up = channel && !channel->machine.blocked && !channel_machine_ends(&channel->machine) &&
              channel_is_ready(channel);
    bool failed = channel && !up &&
                  (channel->machine.blocked || channel_has_failed(channel) ||
                   now_ns - fleet->restarting_ns >= 2 * CHANNEL_GRACE_MS * NS_PER_MS);
    if (channel && !up && !failed) {
        loop_arm(fleet->options.loop, &fleet->restart, now_ns + FLEET_RESTART_MS * NS_PER_MS);
        return;
    }
    fleet->restarting = NULL;
    if (failed) {
        /* The others are better off with what they have. */
        for (struct channel *other = fleet->first; other; other = other->next)
            other->restart_pending = false;
        snprintf(fleet->restart_failed, sizeof fleet->restart_failed, "%s", channel_name(channel));
        log_line("%s %s: no further relay is replaced", channel_name(channel),
                 channel->machine.blocked ? channel->blocked : "did not come up");
        if (!channel->pending) /* else its change still waits */
            channel_want(channel, CHANNEL_RUN);
        return;
    }
    for (channel = fleet->first; channel && !channel->restart_pending;)
        channel = channel->next;
    if (!channel) {
        log_line("every relay was replaced");
        return;
    }
    channel->restart_pending = false;
    if (channel->machine.goal != CHANNEL_REMOVE && child_alive(&channel->machine.child)) {
        fleet->restarting = channel;
        fleet->restarting_ns = now_ns;
        channel->await_ready = true;
        channel_want(channel, CHANNEL_CHANGE);
    }
    loop_arm(fleet->options.loop, &fleet->restart, now_ns + FLEET_RESTART_MS * NS_PER_MS);
}

void fleet_restart_all(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next) {
        bool waits = channel->pending && !channel->pending->layout_image;
        channel->restart_pending = !waits && child_alive(&channel->machine.child) &&
                                   !channel_machine_ends(&channel->machine);
        if (waits && channel->process.id)
            log_line("%s: relay %ld is replaced as soon as its schema can be read",
                     channel_name(channel), channel->process.id);
    }
    fleet->restarting = NULL;
    fleet->restart_failed[0] = '\0';
    loop_arm(fleet->options.loop, &fleet->restart, clock_monotonic_ns());
}

uint32_t fleet_restart_pending(const struct fleet *fleet)
{
    uint32_t count = fleet->restarting != NULL;
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        count += channel->restart_pending;
    return count;
}

const char *fleet_restart_failed(const struct fleet *fleet)
{
    return fleet->restart_failed;
}
