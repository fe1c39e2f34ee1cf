/* SPDX-License-Identifier: MIT
 * Processes on Linux: vfork and exec, pidfds for the end. Relies on Linux 5.4 (waitid on pidfds).
 * Not posix_spawn: LISTEN_PID must hold the child's own number. Not fork: copying the page tables
 * of a manager of a thousand channels takes longer than all the rest. Between vfork and exec the
 * child stands in our memory: it makes only system calls, and writes nothing but its plan. */
#define _GNU_SOURCE
#include "os/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "os/cgroup.h"
#include "os/clock.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define ENVIRONMENT_MAX 1024

extern char **environ;

static int open_pidfd(long id)
{
    long descriptor = syscall(SYS_pidfd_open, (pid_t)id, 0u); /* close-on-exec by itself */
    return descriptor < 0 ? -errno : (int)descriptor;
}

static int signal_pidfd(const struct process *process, int number)
{
    if (process->descriptor < 0)
        return -ESRCH;
    if (syscall(SYS_pidfd_send_signal, process->descriptor, number, NULL, 0u) == 0)
        return 0;
    if (errno != EPERM && errno != ENOSYS)
        return -errno;
    /* Refused, as some containers do. While its pidfd says that it lives, the number is its own. */
    struct pollfd ended = {.fd = process->descriptor, .events = POLLIN};
    if (poll(&ended, 1, 0) != 0)
        return -ESRCH;
    return kill((pid_t)process->id, number) < 0 ? -errno : 0;
}

/* Decimal digits without stdio: snprintf is not safe between fork and exec. */
static void write_number(char *text, unsigned long value)
{
    char digits[24];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count)
        *text++ = digits[--count];
    *text = '\0';
}

struct child_plan {
    const char *path;
    char *const *argv;
    char **environment;
    char *listen_pid; /* where the number goes in "LISTEN_PID=" */
    const struct process_descriptor *descriptors;
    uint32_t descriptor_count;
    int group;           /* to be in; -1: in ours */
    struct process_streams streams;
    volatile int failed; /* set by the child: the errno that kept it from running the program */
};

static _Noreturn void child_fail(struct child_plan *plan)
{
    plan->failed = errno ? errno : EIO;
    _exit(127);
}

/* The child's side. */
static _Noreturn void child_run(struct child_plan *plan)
{
    int above = PROCESS_FIRST_HANDED + PROCESS_DESCRIPTORS_MAX;
    int moved[PROCESS_DESCRIPTORS_MAX];

    /* Before it has memory of its own: all of that is charged to the group. */
    if (plan->group >= 0 && cgroup_join(plan->group) < 0)
        child_fail(plan);
    /* First out of the way of the numbers they are to have, then down to them: a descriptor may
     * stand where another has to go. */
    for (uint32_t i = 0; i < plan->descriptor_count; i++) {
        moved[i] = fcntl(plan->descriptors[i].descriptor, F_DUPFD_CLOEXEC, above);
        if (moved[i] < 0)
            child_fail(plan);
    }
    for (uint32_t i = 0; i < plan->descriptor_count; i++)
        if (dup2(moved[i], PROCESS_FIRST_HANDED + (int)i) < 0)
            child_fail(plan);
#ifdef SYS_close_range
    /* Second line of defence behind close-on-exec (the 4 is CLOSE_RANGE_CLOEXEC); older kernels
     * lack it, which is no error. */
    syscall(SYS_close_range, PROCESS_FIRST_HANDED + plan->descriptor_count, ~0u, 4u);
#endif
    /* Without /dev they stay closed: the program sees to that itself. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        close(0), close(1);
    else if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
        child_fail(plan);
    if ((plan->streams.input >= 0 && dup2(plan->streams.input, 0) < 0) ||
        (plan->streams.output >= 0 && dup2(plan->streams.output, 1) < 0) ||
        (plan->streams.error >= 0 && dup2(plan->streams.error, 2) < 0))
        child_fail(plan);
    /* A session of its own: Ctrl-C in the manager's terminal is the manager's to act on. */
    if (setsid() < 0)
        child_fail(plan);
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL); /* fails for SIGKILL, SIGSTOP and libc's own: fine */
    /* Before it has a handler, each of these would end it on the spot. */
    sigset_t early;
    sigemptyset(&early);
    sigaddset(&early, SIGTERM);
    sigaddset(&early, SIGINT);
    sigaddset(&early, SIGHUP);
    sigaddset(&early, SIGUSR1);
    if (sigprocmask(SIG_SETMASK, &early, NULL) < 0)
        child_fail(plan);
    write_number(plan->listen_pid, (unsigned long)getpid());
    execve(plan->path, plan->argv, plan->environment);
    child_fail(plan);
}

/* Our environment without what was meant for us alone, then the three LISTEN_ variables. */
static int plan_environment(char **environment, char *listen_pid, char *listen_fds,
                            char *listen_names)
{
    static const char *const ours[] = {"LISTEN_PID=",    "LISTEN_FDS=",   "LISTEN_FDNAMES=",
                                       "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC="};
    uint32_t count = 0;
    for (char **at = environ; *at; at++) {
        bool keep = true;
        for (size_t i = 0; i < ARRAY_COUNT(ours); i++)
            keep = keep && strncmp(*at, ours[i], strlen(ours[i])) != 0;
        if (!keep)
            continue;
        if (count + 4 > ENVIRONMENT_MAX)
            return -E2BIG;
        environment[count++] = *at;
    }
    environment[count++] = listen_pid;
    environment[count++] = listen_fds;
    environment[count++] = listen_names;
    environment[count] = NULL;
    return 0;
}

/* Returns when the child has run the program or given up: its number, or a negative errno. By
 * itself, so that no variable of a caller is changed on both sides. */
static __attribute__((noinline)) pid_t begin_child(struct child_plan *plan)
{
    pid_t id = vfork();
    if (id == 0)
        child_run(plan);
    return id < 0 ? -errno : id;
}

static int spawn(struct process *process, const char *path, char *const *argv,
                 const struct process_descriptor *descriptors, uint32_t descriptor_count,
                 descriptor_t group, const struct process_streams *streams)
{
    CHECK(descriptor_count <= PROCESS_DESCRIPTORS_MAX);
    process->id = 0;
    process->descriptor = -1;

    char *environment[ENVIRONMENT_MAX + 1];
    char listen_pid[40] = "LISTEN_PID=";
    char listen_fds[40];
    char listen_names[256] = "LISTEN_FDNAMES=";
    size_t used = strlen(listen_names);
    snprintf(listen_fds, sizeof listen_fds, "LISTEN_FDS=%u", (unsigned)descriptor_count);
    for (uint32_t i = 0; i < descriptor_count; i++) {
        int more = snprintf(listen_names + used, sizeof listen_names - used, "%s%s", i ? ":" : "",
                            descriptors[i].name);
        CHECK(more > 0 && (size_t)more < sizeof listen_names - used);
        used += (size_t)more;
    }
    int error = plan_environment(environment, listen_pid, listen_fds, listen_names);
    if (error < 0)
        return error;

    struct child_plan plan = {.path = path,
                              .argv = argv,
                              .environment = environment,
                              .listen_pid = listen_pid + strlen(listen_pid),
                              .descriptors = descriptors,
                              .descriptor_count = descriptor_count,
                              .group = group,
                              .streams = *streams};
    pid_t id = begin_child(&plan);
    if (id < 0)
        return id;
    error = -plan.failed;
    /* Nobody else waits for our children, so the number is still this child's. */
    int descriptor = error < 0 ? error : open_pidfd(id);
    if (descriptor < 0) {
        kill(id, SIGKILL);
        while (waitpid(id, NULL, 0) < 0 && errno == EINTR)
            ;
        return descriptor;
    }
    process->id = id;
    process->descriptor = descriptor;
    return 0;
}

static const struct process_streams usual = {DESCRIPTOR_NONE, DESCRIPTOR_NONE, DESCRIPTOR_NONE};

int process_spawn(struct process *process, const char *path, char *const *argv,
                  const struct process_descriptor *descriptors, uint32_t descriptor_count,
                  descriptor_t group)
{
    return spawn(process, path, argv, descriptors, descriptor_count, group, &usual);
}

int process_spawn_with(struct process *process, const char *path, char *const *argv,
                       const struct process_streams *streams)
{
    return spawn(process, path, argv, NULL, 0, DESCRIPTOR_NONE, streams);
}

void process_limit_memory(const struct process *process, uint64_t bytes)
{
    struct rlimit limit = {(rlim_t)bytes, (rlim_t)bytes};
    if (bytes == (rlim_t)bytes)
        prlimit((pid_t)process->id, RLIMIT_AS, &limit, NULL);
}

int process_reap(struct process *process, struct process_end *end)
{
    siginfo_t info;
    memset(&info, 0, sizeof info);
    while (waitid((idtype_t)P_PIDFD, (id_t)process->descriptor, &info, WEXITED | WNOHANG) < 0)
        if (errno != EINTR)
            return -errno;
    if (info.si_pid == 0)
        return -EAGAIN;
    end->killed = info.si_code != CLD_EXITED;
    end->code = info.si_status;
    process_close(process);
    return 0;
}

int process_open(struct process *process, long id, uint64_t start)
{
    process->id = 0;
    process->descriptor = -1;
    if (id <= 0)
        return -ESRCH;
    int descriptor = open_pidfd(id);
    if (descriptor < 0)
        return process_lacks(descriptor) ? descriptor : -ESRCH;
    /* Asked after the pidfd is held: from here on the number cannot pass to another process. */
    uint64_t found;
    int error = process_start_time(id, &found);
    if (error < 0 || found != start) {
        close(descriptor);
        return error < 0 ? error : -ESRCH;
    }
    process->id = id;
    process->descriptor = descriptor;
    return 0;
}

/* A suspended one is woken to hear it. */
static int ask(const struct process *process, int number)
{
    int error = signal_pidfd(process, number);
    return error < 0 ? error : signal_pidfd(process, SIGCONT);
}

int process_terminate(const struct process *process)
{
    return ask(process, SIGTERM);
}

int process_hangup(const struct process *process)
{
    return ask(process, SIGHUP);
}

int process_kill(const struct process *process)
{
    return signal_pidfd(process, SIGKILL);
}

int process_hand_over(const struct process *process)
{
    return ask(process, SIGUSR1);
}

int process_abort(const struct process *process)
{
    return signal_pidfd(process, SIGABRT);
}

descriptor_t process_take_descriptor(const struct process *process, int number)
{
    long taken = syscall(SYS_pidfd_getfd, process->descriptor, number, 0u);
    return taken < 0 ? -errno : (int)taken;
}

/* Points into `line` at the state, the first field behind the name, which may hold any character.
 * NULL with errno if it cannot be read. */
static const char *read_stat_at(const char *path, char *line, size_t line_bytes)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    errno = ESRCH;
    ssize_t got = read(descriptor, line, line_bytes - 1);
    close(descriptor);
    if (got <= 0)
        return NULL;
    line[got] = '\0';
    const char *name_end = strrchr(line, ')');
    return name_end && name_end[1] == ' ' ? name_end + 2 : NULL;
}

static const char *read_stat(long id, char *line, size_t line_bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/stat", id);
    return read_stat_at(path, line, line_bytes);
}

int process_each(const char *name,
                 int (*each)(void *context, long id, const char *words, size_t bytes),
                 void *context)
{
    DIR *folder = opendir("/proc");
    if (folder == NULL)
        return -errno;
    int status = 0;
    for (struct dirent *entry; status == 0 && (entry = readdir(folder)) != NULL;) {
        char path[300], words[16384];
        long id = strtol(entry->d_name, NULL, 10);
        if (id <= 0 || id == getpid())
            continue;
        snprintf(path, sizeof path, "/proc/%.32s/cmdline", entry->d_name);
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t got = file < 0 ? -1 : read(file, words, sizeof words - 1);
        if (file < 0 && process_lacks(-errno))
            status = -errno; /* it may be one of them */
        if (file >= 0)
            close(file);
        if (got <= 0)
            continue; /* it has gone, or is the kernel's */
        words[got] = '\0';
        const char *slash = strrchr(words, '/');
        if (strcmp(slash ? slash + 1 : words, name) == 0)
            status = each(context, id, words, (size_t)got);
    }
    closedir(folder);
    return status;
}

int process_start_time(long id, uint64_t *start)
{
    char line[1024];
    const char *at = read_stat(id, line, sizeof line);
    if (!at && process_lacks(-errno))
        return -errno;
    /* The state is field 3, the number of threads 20, the start time 22. A zombie has ended as far
     * as we care, but where only its first thread is one: another waits for a disk yet. */
    if (!at || *at == 'X')
        return -ESRCH;
    bool zombie = *at == 'Z';
    for (int field = 3; field < 22; field++) {
        at = strchr(at, ' ');
        if (!at)
            return -ESRCH;
        at++;
        if (field + 1 == 20 && zombie && strtol(at, NULL, 10) <= 1)
            return -ESRCH;
    }
    *start = strtoull(at, NULL, 10);
    return 0;
}

bool process_suspended(long id)
{
    char line[1024];
    const char *state = read_stat(id, line, sizeof line);
    return state && (*state == 'T' || *state == 't');
}

int process_effort(long id, struct process_effort *effort)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/stat", id, id);
    const char *at = read_stat_at(path, line, sizeof line);
    uint64_t ticks = 0, a_second = (uint64_t)sysconf(_SC_CLK_TCK);
    if (!at)
        return -ESRCH;
    effort->runs = *at == 'R';
    for (int field = 4; field <= 15; field++) { /* of a program and of the system: 14 and 15 */
        at = strchr(at, ' ');
        if (!at)
            return -ESRCH;
        at++;
        ticks += field >= 14 ? strtoull(at, NULL, 10) : 0;
    }
    effort->used_ns = ticks * (NS_PER_S / a_second);
    return 0;
}

const char *process_descriptor_limit_words(void)
{
    return "ulimit -n, LimitNOFILE=";
}

bool process_visible(void)
{
    return access("/proc/self/stat", R_OK) == 0;
}

int process_own_program(char *path, size_t path_bytes)
{
    static const char gone[] = " (deleted)";
    ssize_t got = readlink("/proc/self/exe", path, path_bytes - 1);
    if (got < 0)
        return -errno;
    path[got] = '\0';
    size_t length = (size_t)got, suffix = sizeof gone - 1;
    if (length > suffix && strcmp(path + length - suffix, gone) == 0)
        path[length - suffix] = '\0';
    return 0;
}
