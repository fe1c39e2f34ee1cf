/* SPDX-License-Identifier: MIT
 * Limits of relays by os/cgroup. Told once where they cannot be had; a machine that has nothing of
 * the kind is told of by config.c, with the line that asks for it. */
#include "manager/limits.h"

#include <string.h>

#include "base/log.h"

static bool open_once(struct limits *limits)
{
    char why[CGROUP_WHY_BYTES];
    if (limits->tried)
        return limits->usable;
    limits->tried = true;
    if (cgroup_supported(cgroup_find(), NULL, NULL, why) < 0)
        return false;
    limits->usable = cgroup_open(&limits->cgroup, cgroup_find(), why) == 0;
    if (!limits->usable)
        log_line("limits are not applied: %s", why);
    return limits->usable;
}

static void tell_missing(bool *told, const char *what)
{
    if (!*told)
        log_line("limits of %s are not applied: the manager's cgroup was not given that "
                 "controller; other limits are",
                 what);
    *told = true;
}

int limits_group(struct limits *limits, const struct config_channel *channel)
{
    const struct cgroup_limits wanted = {channel->limit_memory_bytes, channel->limit_cpu_percent};
    const char *name = channel->settings.name;
    if (wanted.memory_bytes == 0 && wanted.cpu_percent <= 0) {
        limits_forget(limits, name); /* it may have had some; with its last relay they ended */
        return -1;
    }
    if (!open_once(limits))
        return -1;
    if (wanted.memory_bytes != 0 && !limits->cgroup.memory)
        tell_missing(&limits->told_memory, "memory");
    if (wanted.cpu_percent > 0 && !limits->cgroup.cpu)
        tell_missing(&limits->told_cpu, "cpu");
    int group = cgroup_make(&limits->cgroup, name, &wanted);
    if (group < 0)
        log_line("%s: its limits are not applied: %s", name, strerror(-group));
    return group < 0 ? -1 : group;
}

void limits_forget(struct limits *limits, const char *name)
{
    if (limits->usable)
        cgroup_remove(&limits->cgroup, name);
}

void limits_close(struct limits *limits)
{
    if (limits->usable)
        cgroup_close(&limits->cgroup);
    *limits = (struct limits){0};
}
