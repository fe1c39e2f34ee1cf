/* SPDX-License-Identifier: MIT
 * `limits` of fleet.yaml: a group for each channel that has any. Nothing is touched before
 * the first channel with limits is started; what cannot be had is logged once, and the channels run
 * without. Relies on os/cgroup. */
#ifndef FLOTILLA_MANAGER_LIMITS_H
#define FLOTILLA_MANAGER_LIMITS_H

#include "config/config.h"
#include "os/cgroup.h"

struct limits {
    struct cgroup cgroup;
    bool tried, usable;
    bool told_memory, told_cpu; /* that one of the two cannot be limited */
};

/* The group that the channel's relay is to be started in: a descriptor for cgroup_join, which the
 * caller closes, or -1 for none. A struct of zeros is one that was never used. */
int limits_group(struct limits *limits, const struct config_channel *channel);
/* The channel has gone. */
void limits_forget(struct limits *limits, const char *name);
/* Removes all groups; every relay has ended. */
void limits_close(struct limits *limits);

#endif
