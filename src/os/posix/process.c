/* SPDX-License-Identifier: MIT
 * Processes, as far as POSIX has it: waiting for an end, becoming another program, finding one. */
#define _XOPEN_SOURCE 700
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/clock.h"

const char *process_signal_text(int number)
{
    return strsignal(number);
}

bool process_lacks(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

#define HANDED_VARIABLE "FLOTILLA_HANDED" /* PID:DESCRIPTOR, to ourselves over exec */

int process_become(const char *path, char *const *argv, descriptor_t keep)
{
    char text[48];
    snprintf(text, sizeof text, "%ld:%d", (long)getpid(), keep);
    /* What was handed down was handed to the program that ends here. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (setenv(HANDED_VARIABLE, text, 1) < 0 || fcntl(keep, F_SETFD, 0) < 0)
        return -errno;
    execv(path, argv);
    int error = -errno;
    fcntl(keep, F_SETFD, FD_CLOEXEC);
    unsetenv(HANDED_VARIABLE);
    return error;
}

int process_replace(const char *path, char *const *argv)
{
    execv(path, argv);
    return -errno;
}

descriptor_t process_kept(void)
{
    const char *text = getenv(HANDED_VARIABLE);
    char *rest = NULL;
    if (text == NULL)
        return -1;
    long id = strtol(text, &rest, 10);
    int descriptor = *rest == ':' ? (int)strtol(rest + 1, NULL, 10) : -1;
    unsetenv(HANDED_VARIABLE);
    if (id != getpid() || descriptor < 0 || fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0)
        return -1;
    return descriptor;
}

int process_try(const char *path, char *const *argv, uint64_t timeout_ms)
{
    struct process process;
    struct process_end end;
    int error = process_spawn(&process, path, argv, NULL, 0, -1);
    if (error < 0)
        return error;
    if (process_wait(&process, timeout_ms) < 0) {
        process_kill(&process);
        process_wait(&process, timeout_ms);
    }
    error = process_reap(&process, &end);
    if (error < 0)
        process_close(&process);
    return error < 0 ? error : end.killed ? -EINTR : end.code;
}

void process_reap_strays(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int process_wait(const struct process *process, uint64_t timeout_ms)
{
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    for (;;) {
        struct pollfd ended = {.fd = process->descriptor, .events = POLLIN};
        uint64_t now_ns = clock_monotonic_ns();
        int left_ms = now_ns >= end_ns ? 0 : (int)((end_ns - now_ns) / NS_PER_MS) + 1;
        int ready = poll(&ended, 1, left_ms);
        if (ready > 0)
            return 0;
        if (ready == 0 && left_ms == 0)
            return -ETIMEDOUT;
    }
}

void process_close(struct process *process)
{
    if (process->descriptor >= 0)
        close(process->descriptor);
    process->id = 0;
    process->descriptor = -1;
}

long process_self(void)
{
    return getpid();
}

/* Joins and looks; 0 when it can be run. */
static int try_program(char *path, size_t path_bytes, const char *folder, size_t folder_bytes,
                       const char *between, const char *name)
{
    int used = snprintf(path, path_bytes, "%.*s%s/%s", (int)folder_bytes, folder, between, name);
    if (used < 0 || (size_t)used >= path_bytes)
        return -ENAMETOOLONG;
    return access(path, X_OK) == 0 ? 0 : -ENOENT;
}

int process_find_program(const char *name, char *path, size_t path_bytes)
{
    char self[4096] = "";
    if (process_own_program(self, sizeof self) == 0) {
        const char *slash = strrchr(self, '/');
        size_t folder_bytes = slash ? (size_t)(slash - self) : 0;
        if (slash &&
            (try_program(path, path_bytes, self, folder_bytes, "", name) == 0 ||
             try_program(path, path_bytes, self, folder_bytes, "/../libexec/flotilla", name) == 0))
            return 0;
    }
    for (const char *at = getenv("PATH"); at;) {
        size_t folder_bytes = strcspn(at, ":");
        /* An empty entry means the working folder: nothing is run from there by accident. */
        if (folder_bytes && try_program(path, path_bytes, at, folder_bytes, "", name) == 0)
            return 0;
        at = at[folder_bytes] ? at + folder_bytes + 1 : NULL;
    }
    const char *slash = strrchr(self, '/');
    size_t folder_bytes = slash ? (size_t)(slash - self) : 0;
    bool installed =
        try_program(path, path_bytes, self, folder_bytes, "/../libexec", "flotilla") == 0;
    return try_program(path, path_bytes, self, folder_bytes,
                       installed ? "/../libexec/flotilla" : "", name);
}

uint64_t process_raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? before : limit.rlim_cur;
}
