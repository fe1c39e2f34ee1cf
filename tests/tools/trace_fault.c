/* SPDX-License-Identifier: MIT
 * Runs a program and does one thing at its n-th system call, counted over all its threads from its
 * first instruction: kills it at the call's entry (the call is not made) or exit (it was), lets the
 * call fail with an error without being made, or makes it take less than it was asked to. Tells in
 * a JSON object (--report) what was hit and how often each call was made. What the program inherits
 * is left alone but LISTEN_PID, which becomes its own; SIGTERM is passed on; it dies with us.
 * Linux from 5.3 on x86-64 and aarch64, by ptrace(2): PTRACE_GET_SYSCALL_INFO. */
#define _GNU_SOURCE
#include <asm/unistd.h>
#include <elf.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/ptrace.h>
#include <sys/user.h>

#define CALLS_MAX    512
#define PAGE_BYTES   4096u
#define SECTOR_BYTES 512u

enum deed { DEED_COUNT, DEED_KILL_ENTRY, DEED_KILL_EXIT, DEED_FAIL, DEED_SHORT };

static const struct {
    const char *name;
    long number;
} names[] = {
#ifdef __NR_open
    {"open", __NR_open},
    {"poll", __NR_poll},
    {"pipe", __NR_pipe},
    {"rename", __NR_rename},
    {"unlink", __NR_unlink},
    {"mkdir", __NR_mkdir},
    {"stat", __NR_stat},
    {"lstat", __NR_lstat},
    {"readlink", __NR_readlink},
    {"getdents", __NR_getdents},
    {"arch_prctl", __NR_arch_prctl},
#endif
    {"accept4", __NR_accept4},
    {"bind", __NR_bind},
    {"brk", __NR_brk},
    {"capget", __NR_capget},
    {"capset", __NR_capset},
    {"clock_gettime", __NR_clock_gettime},
    {"clock_nanosleep", __NR_clock_nanosleep},
    {"clone", __NR_clone},
    {"clone3", __NR_clone3},
    {"close", __NR_close},
    {"connect", __NR_connect},
    {"dup", __NR_dup},
    {"eventfd2", __NR_eventfd2},
    {"exit", __NR_exit},
    {"exit_group", __NR_exit_group},
    {"faccessat2", 439},
    {"fallocate", __NR_fallocate},
    {"fcntl", __NR_fcntl},
    {"fdatasync", __NR_fdatasync},
    {"flock", __NR_flock},
    {"fstat", __NR_fstat},
    {"fstatfs", __NR_fstatfs},
    {"fsync", __NR_fsync},
    {"ftruncate", __NR_ftruncate},
    {"futex", __NR_futex},
    {"getdents64", __NR_getdents64},
    {"getpid", __NR_getpid},
    {"getrandom", __NR_getrandom},
    {"getsockname", __NR_getsockname},
    {"getsockopt", __NR_getsockopt},
    {"gettid", __NR_gettid},
    {"ioctl", __NR_ioctl},
    {"kill", __NR_kill},
    {"landlock_add_rule", 445},
    {"landlock_create_ruleset", 444},
    {"landlock_restrict_self", 446},
    {"linkat", __NR_linkat},
    {"lseek", __NR_lseek},
    {"madvise", __NR_madvise},
    {"membarrier", __NR_membarrier},
    {"memfd_create", __NR_memfd_create},
    {"mkdirat", __NR_mkdirat},
    {"mmap", __NR_mmap},
    {"mprotect", __NR_mprotect},
    {"munmap", __NR_munmap},
    {"nanosleep", __NR_nanosleep},
    {"newfstatat", __NR_newfstatat},
    {"openat", __NR_openat},
    {"pipe2", __NR_pipe2},
    {"ppoll", __NR_ppoll},
    {"prctl", __NR_prctl},
    {"pread64", __NR_pread64},
    {"preadv", __NR_preadv},
    {"preadv2", __NR_preadv2},
    {"prlimit64", __NR_prlimit64},
    {"pwrite64", __NR_pwrite64},
    {"pwritev", __NR_pwritev},
    {"pwritev2", __NR_pwritev2},
    {"read", __NR_read},
    {"readlinkat", __NR_readlinkat},
    {"readv", __NR_readv},
    {"recvfrom", __NR_recvfrom},
    {"recvmmsg", __NR_recvmmsg},
    {"recvmsg", __NR_recvmsg},
    {"renameat", __NR_renameat},
    {"renameat2", __NR_renameat2},
    {"rt_sigaction", __NR_rt_sigaction},
    {"rt_sigprocmask", __NR_rt_sigprocmask},
    {"rt_sigreturn", __NR_rt_sigreturn},
    {"sched_getparam", __NR_sched_getparam},
    {"sched_getscheduler", __NR_sched_getscheduler},
    {"sched_setparam", __NR_sched_setparam},
    {"sched_setscheduler", __NR_sched_setscheduler},
    {"sched_yield", __NR_sched_yield},
    {"seccomp", __NR_seccomp},
    {"sendmmsg", __NR_sendmmsg},
    {"sendmsg", __NR_sendmsg},
    {"sendto", __NR_sendto},
    {"set_robust_list", __NR_set_robust_list},
    {"set_tid_address", __NR_set_tid_address},
    {"setsockopt", __NR_setsockopt},
    {"sigaltstack", __NR_sigaltstack},
    {"socket", __NR_socket},
    {"statx", __NR_statx},
    {"sync_file_range", __NR_sync_file_range},
    {"tgkill", __NR_tgkill},
    {"tkill", __NR_tkill},
    {"uname", __NR_uname},
    {"unlinkat", __NR_unlinkat},
    {"write", __NR_write},
    {"writev", __NR_writev},
};

static const struct {
    const char *name;
    int number;
} errors[] = {
    {"EPERM", EPERM},   {"ENOENT", ENOENT},         {"EINTR", EINTR},     {"EIO", EIO},
    {"EBADF", EBADF},   {"EAGAIN", EAGAIN},         {"ENOMEM", ENOMEM},   {"EACCES", EACCES},
    {"EEXIST", EEXIST}, {"EINVAL", EINVAL},         {"EMFILE", EMFILE},   {"ENFILE", ENFILE},
    {"ENOSPC", ENOSPC}, {"EROFS", EROFS},           {"ENOBUFS", ENOBUFS}, {"EDQUOT", EDQUOT},
    {"ENOSYS", ENOSYS}, {"EOPNOTSUPP", EOPNOTSUPP}, {"EFBIG", EFBIG},     {"ENETDOWN", ENETDOWN},
};

static pid_t program;
static const char *name_of[CALLS_MAX];
static uint64_t made[CALLS_MAX]; /* by number */

static void on_terminate(int number)
{
    kill(program, number);
}

static void die(const char *what)
{
    fprintf(stderr, "trace_fault: %s: %s\n", what, strerror(errno));
    exit(125);
}

static long number_of(const char *name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i].name, name) == 0)
            return names[i].number;
    if (strncmp(name, "call_", 5) == 0)
        return strtol(name + 5, NULL, 10);
    fprintf(stderr, "trace_fault: no system call is called %s\n", name);
    exit(2);
}

static int error_of(const char *name)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].number;
    fprintf(stderr, "trace_fault: no error is called %s\n", name);
    exit(2);
}

static const char *write_call(long number, char text[32])
{
    if (number >= 0 && number < CALLS_MAX && name_of[number])
        return name_of[number];
    snprintf(text, 32, "call_%ld", number);
    return text;
}

/* ---- the architecture's registers ---- */

static void change_call(pid_t thread, long number)
{
#if defined(__x86_64__)
    if (ptrace(PTRACE_POKEUSER, thread, offsetof(struct user_regs_struct, orig_rax), number))
        die("change a call");
#else
    int word = (int)number;
    struct iovec part = {&word, sizeof(word)};
    if (ptrace(PTRACE_SETREGSET, thread, NT_ARM_SYSTEM_CALL, &part))
        die("change a call");
#endif
}

static void change_register(pid_t thread, int argument, uint64_t value) /* -1: the result */
{
#if defined(__x86_64__)
    static const size_t at[] = {
        offsetof(struct user_regs_struct, rdi), offsetof(struct user_regs_struct, rsi),
        offsetof(struct user_regs_struct, rdx), offsetof(struct user_regs_struct, r10)};
    size_t offset = argument < 0 ? offsetof(struct user_regs_struct, rax) : at[argument];
    if (ptrace(PTRACE_POKEUSER, thread, offset, value))
        die("change a register");
#else
    struct user_regs_struct registers;
    struct iovec part = {&registers, sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, thread, NT_PRSTATUS, &part))
        die("read registers");
    registers.regs[argument < 0 ? 0 : argument] = value;
    if (ptrace(PTRACE_SETREGSET, thread, NT_PRSTATUS, &part))
        die("change a register");
#endif
}

/* ---- short counts: the kernel is asked for less, so that what it says is true ---- */

struct shortened {
    pid_t thread; /* 0: none is under way */
    uint64_t length_at, length;
};

static uint64_t less(uint64_t bytes)
{
    uint64_t half = bytes / 2;
    if (half >= PAGE_BYTES)
        return half / PAGE_BYTES * PAGE_BYTES;
    return half >= SECTOR_BYTES ? SECTOR_BYTES : half;
}

/* False if the call cannot take less than it does. */
static bool shorten(pid_t thread, const struct ptrace_syscall_info *info, struct shortened *kept)
{
    const uint64_t *of = (const uint64_t *)info->entry.args;
    long number = (long)info->entry.nr;
    if (number == __NR_sendmmsg || number == __NR_recvmmsg) {
        if (of[2] < 2)
            return false;
        change_register(thread, 2, of[2] / 2);
        return true;
    }
    if (number == __NR_read || number == __NR_write || number == __NR_pread64 ||
        number == __NR_pwrite64 || number == __NR_getrandom) {
        int argument = number == __NR_getrandom ? 1 : 2;
        if (of[argument] < 2)
            return false;
        change_register(thread, argument, less(of[argument]));
        return true;
    }
    if (number == __NR_pwritev || number == __NR_pwritev2 || number == __NR_writev) {
        kept->length_at = of[1] + offsetof(struct iovec, iov_len);
        errno = 0;
        kept->length = (uint64_t)ptrace(PTRACE_PEEKDATA, thread, kept->length_at, 0);
        if (errno || kept->length < 2)
            return false;
        if (ptrace(PTRACE_POKEDATA, thread, kept->length_at, less(kept->length)))
            die("shorten a part");
        kept->thread = thread;
        change_register(thread, 2, 1);
        return true;
    }
    return false;
}

/* ---- the work ---- */

static void begin(char **words)
{
    program = fork();
    if (program < 0)
        die("fork");
    if (program > 0)
        return;
    char text[32];
    snprintf(text, sizeof(text), "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    if (ptrace(PTRACE_TRACEME, 0, 0, 0))
        die("ask to be traced");
    raise(SIGSTOP);
    execv(words[0], words);
    die(words[0]);
}

struct plan {
    enum deed deed;
    long only; /* counted; -1: all */
    int error;
    uint64_t at; /* 0: never */
};

struct outcome {
    uint64_t counted;
    long hit; /* the call; -1: none */
};

struct faulty {
    pid_t thread; /* whose call was made to fail; 0: none */
};

static void at_entry(const struct plan *plan, struct outcome *outcome, pid_t thread,
                     const struct ptrace_syscall_info *info, struct faulty *faulty,
                     struct shortened *kept)
{
    long number = (long)info->entry.nr;
    if (number >= 0 && number < CALLS_MAX)
        made[number]++;
    if (plan->only >= 0 && number != plan->only)
        return;
    if (plan->deed == DEED_FAIL && number == __NR_futex &&
        (info->entry.args[1] & 127) == FUTEX_WAKE)
        return; /* no kernel loses a wake-up */
    if (++outcome->counted != plan->at)
        return;
    outcome->hit = number;
    if (plan->deed == DEED_KILL_ENTRY)
        kill(program, SIGKILL);
    else if (plan->deed == DEED_KILL_EXIT || plan->deed == DEED_FAIL)
        faulty->thread = thread;
    else if (plan->deed == DEED_SHORT && !shorten(thread, info, kept))
        outcome->hit = -2; /* there, but it cannot be short */
    if (plan->deed == DEED_FAIL)
        change_call(thread, -1);
}

static void at_exit(const struct plan *plan, pid_t thread, struct faulty *faulty,
                    struct shortened *kept)
{
    if (faulty->thread == thread) {
        faulty->thread = 0;
        if (plan->deed == DEED_KILL_EXIT)
            kill(program, SIGKILL);
        else
            change_register(thread, -1, (uint64_t)(int64_t)-plan->error);
    }
    if (kept->thread == thread) {
        kept->thread = 0;
        if (ptrace(PTRACE_POKEDATA, thread, kept->length_at, kept->length))
            die("give a part its length back");
    }
}

/* Follows the program to its end; its wait status. */
static int follow(const struct plan *plan, struct outcome *outcome)
{
    struct faulty faulty = {0};
    struct shortened kept = {0};
    bool running = false; /* it has been executed */
    int status;
    if (waitpid(program, &status, __WALL) != program || !WIFSTOPPED(status))
        die("begin");
    long options =
        PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (ptrace(PTRACE_SETOPTIONS, program, 0, options) || ptrace(PTRACE_SYSCALL, program, 0, 0))
        die("trace");
    for (;;) {
        pid_t thread = waitpid(-1, &status, __WALL);
        if (thread < 0 && errno == EINTR)
            continue;
        if (thread < 0)
            die("wait");
        if (!WIFSTOPPED(status)) {
            if (thread == program)
                return status;
            continue;
        }
        int reason = WSTOPSIG(status), pass_on = 0;
        if (status >> 16 == PTRACE_EVENT_EXEC) {
            running = true;
        } else if (reason == (SIGTRAP | 0x80)) {
            struct ptrace_syscall_info info;
            memset(&info, 0, sizeof(info));
            if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) > 0 && running) {
                if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
                    at_entry(plan, outcome, thread, &info, &faulty, &kept);
                else if (info.op == PTRACE_SYSCALL_INFO_EXIT)
                    at_exit(plan, thread, &faulty, &kept);
            }
        } else if (status >> 16 == 0 && reason != SIGSTOP) {
            pass_on = reason; /* SIGSTOP: a new thread's first stop */
        }
        ptrace(PTRACE_SYSCALL, thread, 0, pass_on); /* fails for one that is dead by now: fine */
    }
}

static void report(const char *path, const struct outcome *outcome, int status)
{
    char text[32];
    FILE *file = path ? fopen(path, "w") : stdout;
    if (!file)
        die(path);
    fprintf(file, "{\"counted\": %" PRIu64 ", \"hit\": ", outcome->counted);
    if (outcome->hit == -1)
        fprintf(file, "null");
    else
        fprintf(file, "\"%s\"",
                outcome->hit == -2 ? "not to be shortened" : write_call(outcome->hit, text));
    fprintf(file, ", \"%s\": %d, \"calls\": {", WIFEXITED(status) ? "code" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    const char *between = "";
    for (long number = 0; number < CALLS_MAX; number++)
        if (made[number]) {
            fprintf(file, "%s\"%s\": %" PRIu64, between, write_call(number, text), made[number]);
            between = ", ";
        }
    fprintf(file, "}}\n");
    if (file != stdout && fclose(file))
        die(path);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"kill-entry", required_argument, NULL, 'k'}, {"kill-exit", required_argument, NULL, 'x'},
        {"fail", required_argument, NULL, 'f'},       {"error", required_argument, NULL, 'e'},
        {"short", required_argument, NULL, 's'},      {"only", required_argument, NULL, 'o'},
        {"report", required_argument, NULL, 'r'},     {NULL, 0, NULL, 0},
    };
    struct plan plan = {.deed = DEED_COUNT, .only = -1, .error = EIO};
    const char *path = NULL;
    bool wrong = false;
    for (int option; (option = getopt_long(argc, argv, "+", options, NULL)) != -1;) {
        static const char letters[] = "-kxfs"; /* in the order of enum deed */
        const char *letter = strchr(letters, option);
        if (option == 'e')
            plan.error = error_of(optarg);
        else if (option == 'o')
            plan.only = number_of(optarg);
        else if (option == 'r')
            path = optarg;
        else if (letter) {
            plan.deed = (enum deed)(letter - letters);
            plan.at = strtoull(optarg, NULL, 10);
        } else
            wrong = true;
    }
    if (wrong || optind >= argc) {
        fprintf(stderr, "usage: trace_fault [--kill-entry N | --kill-exit N | --short N |\n"
                        "           --fail N --error ENOSPC] [--only SYSCALL] [--report FILE]\n"
                        "           PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].number < CALLS_MAX)
            name_of[names[i].number] = names[i].name;
    struct sigaction action = {.sa_handler = on_terminate};
    begin(argv + optind);
    sigaction(SIGTERM, &action, NULL);
    struct outcome outcome = {.hit = -1};
    int status = follow(&plan, &outcome);
    report(path, &outcome, status);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
