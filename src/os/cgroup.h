/* SPDX-License-Identifier: MIT
 * Groups of processes with limits of memory and processor time. One file per system implements it;
 * where there is nothing of the kind, everything says why not. On Linux: cgroup v2. A process that
 * was given a group of its own (systemd: Delegate=) moves into a leaf of it, "manager", and makes
 * one group beside it for each child that is to be limited; nothing outside of its group is
 * touched. A group it shares with others (a login session) cannot be divided, and is left alone.
 * Source: the kernel's Documentation/admin-guide/cgroup-v2.rst. */
#ifndef FLOTILLA_OS_CGROUP_H
#define FLOTILLA_OS_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"

#define CGROUP_LEAF            "manager"
#define CGROUP_PREFIX          "channel-" /* so that no name is one of the system's files */
#define CGROUP_WHY_BYTES       512
#define CGROUP_CPU_PERCENT_MIN 0.1 /* of one processor: the kernel takes no less */

/* Where the system tells of groups. */
struct cgroup_system {
    const char *root; /* the hierarchy's folder; NULL: none is mounted */
    const char *self; /* the file that names a process's own group in it */
};
/* As the system has it. */
struct cgroup_system cgroup_find(void);

struct cgroup {
    descriptor_t folder; /* of the group that is divided; -1: none */
    bool memory, cpu;    /* what can be limited */
    bool moved;          /* this process was moved into the leaf */
};

struct cgroup_limits {
    uint64_t memory_bytes; /* 0: none */
    double cpu_percent;    /* of one processor; 0: none */
};

/* Whether this machine can limit memory and processor time, whoever asks. Either may be NULL. 0, or
 * -EOPNOTSUPP with the reason in `why` where it can do neither. Changes nothing. */
int cgroup_supported(struct cgroup_system system, bool *memory, bool *cpu,
                     char why[CGROUP_WHY_BYTES]);

/* Divides the group of this process. 0, or a negative errno with the reason in `why` and nothing
 * changed. End with cgroup_close, also after a failure. */
int cgroup_open(struct cgroup *cgroup, struct cgroup_system system, char why[CGROUP_WHY_BYTES]);

/* Makes the group of `name`, or finds it, and sets the limits that can be set: all else of it is
 * unlimited. Returns a descriptor that a process joins the group by (cgroup_join), which the caller
 * closes, or a negative errno. */
descriptor_t cgroup_make(const struct cgroup *cgroup, const char *name,
                         const struct cgroup_limits *limits);
/* Moves the calling process, by a descriptor of cgroup_make. One write; safe after vfork. 0 or a
 * negative errno. */
int cgroup_join(descriptor_t descriptor);
/* Removes the group, if there is one and no process is left in it. */
void cgroup_remove(const struct cgroup *cgroup, const char *name);

/* Removes what is left of groups, and moves back. */
void cgroup_close(struct cgroup *cgroup);

/* Whether the process `id` is in the group of `name`, whoever made it. 1, 0 or a negative errno. */
int cgroup_holds(long id, const char *name);

#endif
