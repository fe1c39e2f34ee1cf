/* SPDX-License-Identifier: MIT
 * Processes: starting one with descriptors handed down, learning of its end without polling, and
 * telling it to end. Relies on pidfds, so that a number that was given to another process meanwhile
 * is never signalled. Sources: pidfd_open(2), waitid(2), sd_listen_fds(3), proc_pid_stat(5). */
#ifndef FLOTILLA_OS_PROCESS_H
#define FLOTILLA_OS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"

struct process {
    long id;                 /* 0: none */
    descriptor_t descriptor; /* readable once it has ended; -1: none */
};

#define PROCESS_NONE                                                                               \
    {                                                                                              \
        .id = 0, .descriptor = -1                                                                  \
    }
#define PROCESS_DESCRIPTORS_MAX 8
#define PROCESS_FIRST_HANDED    3 /* the number of the first descriptor handed down */

/* A descriptor for the child, under the name it looks it up by. */
struct process_descriptor {
    const char *name; /* no ':' in it */
    descriptor_t descriptor;
};

struct process_end {
    bool killed; /* by a signal; `code` is its number then */
    int code;    /* else the exit code */
};

/* Starts `path` with `argv` (NULL at its end) in a session of its own, with standard input
 * and output at /dev/null, standard error shared, no signal ignored, those that ask it to end or to
 * hand over (os/interrupt.h) blocked until it is ready for them, no other, and the descriptors
 * from PROCESS_FIRST_HANDED up in order (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES), no others; in
 * `group` (of cgroup_make) where it is not -1. Returns when the program is running: 0, or a
 * negative errno (-ENOENT, -EACCES ... of the program; `process` is none then). The caller calls
 * process_reap when `descriptor` is readable, or process_close. */
int process_spawn(struct process *process, const char *path, char *const *argv,
                  const struct process_descriptor *descriptors, uint32_t descriptor_count,
                  descriptor_t group);

/* Where a child's standard input, output and error lead; DESCRIPTOR_NONE: as above. */
struct process_streams {
    descriptor_t input, output, error;
};
/* The same, with those. */
int process_spawn_with(struct process *process, const char *path, char *const *argv,
                       const struct process_streams *streams);

/* Takes the end of a child of ours that has ended; it is none afterwards. 0, -EAGAIN if it still
 * runs, or another negative errno. */
int process_reap(struct process *process, struct process_end *end);

/* What the number of the signal that killed a process means to people. Valid until the next call.
 */
const char *process_signal_text(int number);

/* Whether an error says only that we, or the system, have no more descriptors or memory. */
bool process_lacks(int error);
/* Opens the process `id` if it is the one that started at `start` (process_start_time). 0, -ESRCH
 * when there is none of that identity, or an error of process_lacks. End with process_close. */
int process_open(struct process *process, long id, uint64_t start);

/* Asks it to end (SIGTERM; a suspended one is woken to hear it), or ends it (SIGKILL). 0, or a
 * negative errno; -ESRCH when it has ended. */
int process_terminate(const struct process *process);
int process_kill(const struct process *process);
/* Asks it to hand over to the process that is to follow (SIGUSR1; a suspended one is woken). */
int process_hand_over(const struct process *process);
/* Sends it SIGHUP; a suspended one is woken. */
int process_hangup(const struct process *process);
/* Ends it as if it had crashed (SIGABRT), so that it can note what it was at. As above. */
int process_abort(const struct process *process);

/* Has it get no more memory (as addresses) than so much; what cannot be done is left. */
void process_limit_memory(const struct process *process, uint64_t bytes);
/* Waits for its end, at most `timeout_ms`. 0, or -ETIMEDOUT. */
int process_wait(const struct process *process, uint64_t timeout_ms);

/* Forgets it, whether it runs or not. */
void process_close(struct process *process);

/* Calls `each` with every process of the program `name` (the last part of its first word) that this
 * process can see, its words one behind the other as /proc/PID/cmdline has them, until it returns
 * non-zero, which is then returned. 0, or a negative errno. */
int process_each(const char *name,
                 int (*each)(void *context, long id, const char *words, size_t bytes),
                 void *context);
/* When it started, in the kernel's ticks since boot: with the id, its identity. 0, -ESRCH, or an
 * error of process_lacks. */
int process_start_time(long id, uint64_t *start);
/* Whether it is suspended (SIGSTOP, a debugger). */
bool process_suspended(long id);
/* How its first thread stands with the processor. */
struct process_effort {
    uint64_t used_ns; /* of a processor so far, in steps of a tick (10 ms) */
    bool runs;        /* it runs, or would if it were given a processor */
};
/* 0, or -ESRCH where the system does not tell. Source: proc_pid_stat(5). */
int process_effort(long id, struct process_effort *effort);
/* A copy of the descriptor that the process has as `number`; its owner must be ours, or we be
 * allowed to trace it. A descriptor, close-on-exec, or a negative errno: -EOPNOTSUPP where the
 * system copies none, and what was queued in them is lost with their process. Source:
 * pidfd_getfd(2). */
descriptor_t process_take_descriptor(const struct process *process, int number);
/* Becomes the program `path` with `argv`: the same process, with the descriptor `keep` and no
 * other but the standard ones. Signals that are blocked stay so and wait. Returns only if that
 * failed: a negative errno, and nothing was changed. */
int process_become(const char *path, char *const *argv, descriptor_t keep);
/* Becomes the program `path` with `argv`, its environment and its descriptors as they are. As
 * above. */
int process_replace(const char *path, char *const *argv);
/* The descriptor that the program this process was has kept for us, close-on-exec; -1: none. Once.
 */
descriptor_t process_kept(void);
/* Runs `path` with `argv` and waits for its end, at most `timeout_ms`; then it is killed. Its exit
 * code, or a negative errno. What it prints is thrown away. */
int process_try(const char *path, char *const *argv, uint64_t timeout_ms);
/* Takes the ends of children that nobody watches. */
void process_reap_strays(void);
/* Whether the system shows us its processes; not where /proc is not mounted (Linux). */
bool process_visible(void);
/* Our own id. */
long process_self(void);

/* Finds the program `name`: beside the running program, in ../libexec/flotilla from there, in PATH.
 * 0, or -ENAMETOOLONG, or -ENOENT: then `path` is the place of those where it is to be expected.
 */
int process_find_program(const char *name, char *path, size_t path_bytes);

/* The path this program was started from, also if another stands there by now. 0 or a negative
 * errno. */
int process_own_program(char *path, size_t path_bytes);

/* Raises the limit of open descriptors to what the system allows us. Returns the current limit. */
uint64_t process_raise_descriptor_limit(void);
/* How people set that limit here: "ulimit -n, ..." */
const char *process_descriptor_limit_words(void);

#endif
