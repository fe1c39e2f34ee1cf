/* SPDX-License-Identifier: MIT
 * All relays anew, one after the other, each as soon as the one before has come up. The first one
 * that does not come up ends it: the others are better off with what they have. */
#include "manager/fleet_parts.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

void fleet_renewal_due(void *context)
{
    struct fleet *fleet = context;
    uint64_t now_ns = clock_monotonic_ns();
    struct channel *channel = fleet->renewing;
    if (fleet->stopping)
        return;
    bool up = channel && !channel->blocked[0] && channel->child.state != CHILD_STOPPING &&
              channel_is_ready(channel);
    bool failed = channel && !up &&
                  (channel->blocked[0] || channel_has_failed(channel) ||
                   now_ns - fleet->renewing_ns >= 2 * FLEET_CHANGE_GRACE_MS * NS_PER_MS);
    if (channel && !up && !failed) {
        loop_arm(fleet->options.loop, &fleet->renewal, now_ns + FLEET_RENEWAL_MS * NS_PER_MS);
        return;
    }
    fleet->renewing = NULL;
    if (failed) {
        /* The others are better off with what they have. */
        for (struct channel *other = fleet->first; other; other = other->next)
            other->renew = false;
        snprintf(fleet->unrenewable, sizeof fleet->unrenewable, "%s", channel_name(channel));
        log_line("%s %s: no further relay is replaced", channel_name(channel),
                 channel->blocked[0] ? channel->blocked : "did not come up");
        if (!channel->pending) /* else its change still waits */
            channel->blocked[0] = '\0';
        return;
    }
    for (channel = fleet->first; channel && !channel->renew;)
        channel = channel->next;
    if (!channel) {
        log_line("every relay was replaced");
        return;
    }
    channel->renew = false;
    if (!channel->removed && child_alive(&channel->child)) {
        fleet->renewing = channel;
        fleet->renewing_ns = now_ns;
        channel->fresh = true;
        channel->finishers = 0;
        channel_replace_relay(channel);
    }
    loop_arm(fleet->options.loop, &fleet->renewal, now_ns + FLEET_RENEWAL_MS * NS_PER_MS);
}

void fleet_renew(struct fleet *fleet)
{
    for (struct channel *channel = fleet->first; channel; channel = channel->next)
        channel->renew = child_alive(&channel->child) && channel->child.state != CHILD_STOPPING;
    fleet->renewing = NULL;
    fleet->unrenewable[0] = '\0';
    loop_arm(fleet->options.loop, &fleet->renewal, clock_monotonic_ns());
}

uint32_t fleet_unrenewed(const struct fleet *fleet)
{
    uint32_t count = fleet->renewing != NULL;
    for (const struct channel *channel = fleet->first; channel; channel = channel->next)
        count += channel->renew;
    return count;
}

const char *fleet_unrenewable(const struct fleet *fleet)
{
    return fleet->unrenewable;
}
