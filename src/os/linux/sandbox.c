/* SPDX-License-Identifier: MIT
 * The sandbox on Linux: capabilities, no_new_privs, Landlock, seccomp. Constants are the kernel's;
 * the C library's headers lack most of them. The seccomp program is a table, turned into BPF here.
 * Known: seccomp cannot look behind pointers, so that sendmsg's destination is not checked. */
#define _GNU_SOURCE
#include "os/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "os/linux/landlock.h"

/* ---- capabilities ---- */

#define CAPABILITY_VERSION   0x20080522u /* the third: two words each */
#define CAPABILITY_OVERRIDE  (1u << 1)   /* CAP_DAC_OVERRIDE, in the first word */
#define CAPABILITIES_MAX     64
#define FACCESSAT2           439 /* on all architectures; Linux 5.8 */
#define FACCESSAT_EFFECTIVE  0x200
#define PRIVILEGES_NEW_NEVER 38 /* PR_SET_NO_NEW_PRIVS */
#define AMBIENT              47 /* PR_CAP_AMBIENT */
#define AMBIENT_CLEAR        4

struct capability_header {
    uint32_t version;
    int pid;
};

struct capability_words {
    uint32_t effective, permitted, inheritable;
};

static int set_capabilities(uint32_t effective, uint32_t permitted)
{
    struct capability_header header = {CAPABILITY_VERSION, 0};
    struct capability_words words[2] = {{effective, permitted, 0}, {0, 0, 0}};
    return syscall(SYS_capset, &header, words) < 0 ? -errno : 0;
}

/* By the effective user, and without capabilities, as it will be. */
static bool may_write(descriptor_t folder)
{
    struct stat about;
    if (syscall(FACCESSAT2, folder, ".", R_OK | W_OK | X_OK, FACCESSAT_EFFECTIVE) == 0)
        return true;
    return errno == ENOSYS ? fstat(folder, &about) == 0 && about.st_uid == geteuid()
                           : errno == EROFS; /* nobody may, whatever is kept */
}

/* Returns 0, SANDBOX_OVERRIDE, or a negative errno. */
static int drop_capabilities(descriptor_t folder)
{
    struct capability_header header = {CAPABILITY_VERSION, 0};
    struct capability_words words[2];
    memset(words, 0, sizeof(words));
    if (syscall(SYS_capget, &header, words) < 0)
        return -errno;
    /* Needs CAP_SETPCAP, and is refused to those who have nothing to drop; without new privileges
     * nothing could be drawn from the set anyway. */
    for (unsigned long i = 0; i < CAPABILITIES_MAX; i++)
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
            break;
    prctl(AMBIENT, AMBIENT_CLEAR, 0, 0, 0);
    uint32_t override = words[0].permitted & CAPABILITY_OVERRIDE;
    int status = set_capabilities(0, override);
    if (status < 0 || override == 0)
        return status;
    /* A superuser records in a folder of somebody else's: without this it could not. */
    if (folder >= 0 && !may_write(folder)) {
        status = set_capabilities(override, override);
        return status < 0 ? status : SANDBOX_OVERRIDE;
    }
    return set_capabilities(0, 0);
}

/* ---- Landlock ---- */

static int shut_files(descriptor_t folder)
{
    long version = landlock_version();
    if (version == 0)
        return SANDBOX_FILES;
    struct landlock_rules rules = rules_of(version);
    long set = syscall(LANDLOCK_CREATE, &rules, sizeof(rules), 0);
    if (set < 0)
        return -errno;
    struct landlock_beneath beneath = {.allowed = RIGHTS_FOLDER & rules.files, .folder = folder};
    int status = 0;
    if (folder >= 0 && syscall(LANDLOCK_ADD, set, LANDLOCK_PATH_BENEATH, &beneath, 0) < 0)
        status = -errno;
    if (status == 0 && syscall(LANDLOCK_RESTRICT, set, 0) < 0)
        status = -errno;
    close((int)set);
    return status;
}

int sandbox_enter(descriptor_t folder)
{
    int override = drop_capabilities(folder);
    if (override < 0)
        return override;
    if (prctl(PRIVILEGES_NEW_NEVER, 1, 0, 0, 0) < 0)
        return -errno;
    int files = shut_files(folder);
    return files < 0 ? files : files | override;
}

/* ---- seccomp ---- */

#if defined(__x86_64__)
#define ARCHITECTURE 0xc000003eu /* AUDIT_ARCH_X86_64 */
#elif defined(__aarch64__)
#define ARCHITECTURE 0xc00000b7u /* AUDIT_ARCH_AARCH64 */
#elif defined(__arm__)
#define ARCHITECTURE 0x40000028u /* AUDIT_ARCH_ARM */
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE 0xc00000f3u /* AUDIT_ARCH_RISCV64 */
#else
#define ARCHITECTURE 0u /* no list has been made for it */
#endif
#define OTHER_NUMBERS 0x40000000u /* from here on: x32's, which would pass as x86-64's */
#define NO_CALL       0xffffffffu /* a tracer has the call skipped: strace --inject */

#define SECCOMP_FILTER    1 /* SECCOMP_SET_MODE_FILTER */
#define SECCOMP_ALL       1 /* SECCOMP_FILTER_FLAG_TSYNC: for every thread */
#define SECCOMP_AVAILABLE 2 /* SECCOMP_GET_ACTION_AVAIL */
#define VERDICT_ALLOW     0x7fff0000u
#define VERDICT_REFUSE    (0x00050000u | EPERM)
#define VERDICT_END       0x80000000u /* the process, by SIGSYS */

enum call_kind {
    CALL_ALLOW,
    CALL_END,
    CALL_IF,      /* allowed if the argument, of 32 bits, is `value` */
    CALL_IF_NULL, /* allowed if the argument, of 64 bits, is 0 */
    CALL_REFUSE,  /* refused if the argument has a bit of `value`, else allowed */
    CALL_END_AT   /* the same, but it ends the process */
};

struct call_rule {
    uint16_t number, kind, argument;
    uint32_t value;
};

/* In the order of how often they come: the kernel remembers what is allowed whatever the arguments
 * are (Linux 5.11), older ones walk down the list.
 *
 * One list for all machines, of the calls that a machine has. Where `long` has 32 bits, musl makes
 * calls of other names for what has times, offsets, files or users in it: they stand beside those
 * that it makes elsewhere. Their older forms (clock_gettime32 and the like) it makes before Linux
 * 5.1 alone, which we do not run on. */
static const struct call_rule call_rules[] = {
    /* the network */
    {SYS_recvmmsg, CALL_ALLOW, 0, 0},
    {SYS_sendmmsg, CALL_ALLOW, 0, 0},
    {SYS_ppoll, CALL_ALLOW, 0, 0},
    {SYS_futex, CALL_ALLOW, 0, 0},
#ifdef SYS_ppoll_time64
    {SYS_ppoll_time64, CALL_ALLOW, 0, 0},
    {SYS_futex_time64, CALL_ALLOW, 0, 0},
    {SYS_clock_gettime64, CALL_ALLOW, 0, 0},
#endif
    {SYS_sendmsg, CALL_ALLOW, 0, 0},
    {SYS_sendto, CALL_IF_NULL, 4, 0}, /* send(2) on what is connected */
    {SYS_getsockopt, CALL_ALLOW, 0, 0},
    {SYS_setsockopt, CALL_IF, 2, 104}, /* UDP_GRO: switched off once a queue is empty */
    /* IP_MULTICAST_IF, IP_UNICAST_IF, IPV6_MULTICAST_IF, IPV6_UNICAST_IF: an interface was made
     * anew. What these numbers mean at other levels takes a capability or another call. */
    {SYS_setsockopt, CALL_IF, 2, 32},
    {SYS_setsockopt, CALL_IF, 2, 50},
    {SYS_setsockopt, CALL_IF, 2, 17},
    {SYS_setsockopt, CALL_IF, 2, 76},
#ifdef SYS_poll
    {SYS_poll, CALL_ALLOW, 0, 0},
#endif
    /* files; where they are is Landlock's to watch */
    {SYS_pwritev, CALL_ALLOW, 0, 0},
    {SYS_fdatasync, CALL_ALLOW, 0, 0},
    {SYS_fstat, CALL_ALLOW, 0, 0},
    {SYS_fallocate, CALL_ALLOW, 0, 0},
    {SYS_madvise, CALL_ALLOW, 0, 0},
    {SYS_write, CALL_ALLOW, 0, 0},
    {SYS_writev, CALL_ALLOW, 0, 0},
    {SYS_read, CALL_ALLOW, 0, 0},
    {SYS_pread64, CALL_ALLOW, 0, 0},
    {SYS_pwrite64, CALL_ALLOW, 0, 0},
    {SYS_close, CALL_ALLOW, 0, 0},
    {SYS_openat, CALL_REFUSE, 2, O_PATH}, /* which Landlock does not look at */
    {SYS_ftruncate, CALL_ALLOW, 0, 0},
    {SYS_fsync, CALL_ALLOW, 0, 0},
    {SYS_renameat2, CALL_ALLOW, 0, 0},
    {SYS_linkat, CALL_IF, 4, 0}, /* where renameat2 cannot keep from replacing */
#ifdef SYS_renameat
    {SYS_renameat, CALL_ALLOW, 0, 0}, /* and where there are no links */
#endif
    {SYS_unlinkat, CALL_IF, 2, 0},
    {SYS_utimensat, CALL_IF_NULL, 1, 0}, /* futimens(2): of an open file alone */
#ifdef SYS_utimensat_time64
    {SYS_utimensat_time64, CALL_IF_NULL, 1, 0},
#endif
    {SYS_getdents64, CALL_ALLOW, 0, 0},
    {SYS_lseek, CALL_ALLOW, 0, 0},
    {SYS_statx, CALL_ALLOW, 0, 0},
    {SYS_fstatfs, CALL_ALLOW, 0, 0},
    {SYS_statfs, CALL_ALLOW, 0, 0},
    {SYS_fcntl, CALL_IF, 1, F_GETFD},
    {SYS_fcntl, CALL_IF, 1, F_SETFD},
    {SYS_fcntl, CALL_IF, 1, F_GETFL}, /* none that has signals sent */
#ifdef SYS_fcntl64
    {SYS_fcntl64, CALL_IF, 1, F_GETFD},
    {SYS_fcntl64, CALL_IF, 1, F_SETFD},
    {SYS_fcntl64, CALL_IF, 1, F_GETFL},
    {SYS_fstat64, CALL_ALLOW, 0, 0},
    {SYS_ftruncate64, CALL_ALLOW, 0, 0},
    {SYS__llseek, CALL_ALLOW, 0, 0},
    {SYS_fstatfs64, CALL_ALLOW, 0, 0},
    {SYS_statfs64, CALL_ALLOW, 0, 0},
    {SYS_fstatat64, CALL_ALLOW, 0, 0},
    {SYS_geteuid32, CALL_ALLOW, 0, 0},
#endif
/* whether a folder that is gone could be opened again; neither opens anything */
#ifdef SYS_newfstatat
    {SYS_newfstatat, CALL_ALLOW, 0, 0},
#endif
    {SYS_faccessat, CALL_ALLOW, 0, 0},
    {SYS_geteuid, CALL_ALLOW, 0, 0},
#ifdef SYS_stat
    {SYS_stat, CALL_ALLOW, 0, 0},
    {SYS_lstat, CALL_ALLOW, 0, 0},
    {SYS_access, CALL_ALLOW, 0, 0},
#endif
/* memory that is never run */
#ifdef SYS_mmap
    {SYS_mmap, CALL_END_AT, 2, PROT_EXEC},
#endif
#ifdef SYS_mmap2
    {SYS_mmap2, CALL_END_AT, 2, PROT_EXEC},
#endif
    {SYS_mprotect, CALL_END_AT, 2, PROT_EXEC},
    {SYS_munmap, CALL_ALLOW, 0, 0},
    {SYS_mremap, CALL_ALLOW, 0, 0},
    {SYS_brk, CALL_ALLOW, 0, 0},
/* time, chance, threads */
#ifdef SYS_clock_gettime64
    {SYS_clock_nanosleep_time64, CALL_ALLOW, 0, 0},
#else
    {SYS_clock_gettime, CALL_ALLOW, 0, 0},
    {SYS_clock_nanosleep, CALL_ALLOW, 0, 0},
    {SYS_gettimeofday, CALL_ALLOW, 0, 0},
#endif
    {SYS_nanosleep, CALL_ALLOW, 0, 0},
    {SYS_getrandom, CALL_ALLOW, 0, 0},
    {SYS_restart_syscall, CALL_ALLOW, 0, 0},
    {SYS_sched_yield, CALL_ALLOW, 0, 0},
    {SYS_getpid, CALL_ALLOW, 0, 0},
    {SYS_gettid, CALL_ALLOW, 0, 0},
    {SYS_rt_sigaction, CALL_ALLOW, 0, 0},
    {SYS_rt_sigprocmask, CALL_ALLOW, 0, 0},
    {SYS_rt_sigreturn, CALL_ALLOW, 0, 0},
#ifdef SYS_sigreturn
    {SYS_sigreturn, CALL_ALLOW, 0, 0}, /* of a handler that is told nothing but the number */
#endif
    {SYS_sigaltstack, CALL_ALLOW, 0, 0},
    {SYS_set_robust_list, CALL_ALLOW, 0, 0},
    {SYS_exit, CALL_ALLOW, 0, 0},
    {SYS_exit_group, CALL_ALLOW, 0, 0},
    /* Nobody asks for these but who has broken in. */
    {SYS_execve, CALL_END, 0, 0},
    {SYS_execveat, CALL_END, 0, 0},
    {SYS_clone, CALL_END, 0, 0},
    {SYS_clone3, CALL_END, 0, 0},
#ifdef SYS_fork
    {SYS_fork, CALL_END, 0, 0},
    {SYS_vfork, CALL_END, 0, 0},
#endif
    {SYS_socket, CALL_END, 0, 0},
    {SYS_socketpair, CALL_END, 0, 0},
    {SYS_connect, CALL_END, 0, 0},
    {SYS_bind, CALL_END, 0, 0},
    {SYS_listen, CALL_END, 0, 0},
    {SYS_accept, CALL_END, 0, 0},
    {SYS_accept4, CALL_END, 0, 0},
    {SYS_ptrace, CALL_END, 0, 0},
    {SYS_process_vm_readv, CALL_END, 0, 0},
    {SYS_process_vm_writev, CALL_END, 0, 0},
    {SYS_kcmp, CALL_END, 0, 0},
    {SYS_pidfd_open, CALL_END, 0, 0},
    {SYS_pidfd_getfd, CALL_END, 0, 0},
    {SYS_pidfd_send_signal, CALL_END, 0, 0},
    {SYS_io_uring_setup, CALL_END, 0, 0},
    {SYS_io_uring_enter, CALL_END, 0, 0},
    {SYS_io_uring_register, CALL_END, 0, 0},
    {SYS_name_to_handle_at, CALL_END, 0, 0},
    {SYS_open_by_handle_at, CALL_END, 0, 0},
    {SYS_mount, CALL_END, 0, 0},
    {SYS_umount2, CALL_END, 0, 0},
    {SYS_open_tree, CALL_END, 0, 0},
    {SYS_move_mount, CALL_END, 0, 0},
    {SYS_fsopen, CALL_END, 0, 0},
    {SYS_fsmount, CALL_END, 0, 0},
    {SYS_pivot_root, CALL_END, 0, 0},
    {SYS_chroot, CALL_END, 0, 0},
    {SYS_setns, CALL_END, 0, 0},
    {SYS_unshare, CALL_END, 0, 0},
    {SYS_setuid, CALL_END, 0, 0},
    {SYS_setgid, CALL_END, 0, 0},
    {SYS_setreuid, CALL_END, 0, 0},
    {SYS_setregid, CALL_END, 0, 0},
    {SYS_setresuid, CALL_END, 0, 0},
    {SYS_setresgid, CALL_END, 0, 0},
    {SYS_setgroups, CALL_END, 0, 0},
#ifdef SYS_setuid32
    {SYS_setuid32, CALL_END, 0, 0},
    {SYS_setgid32, CALL_END, 0, 0},
    {SYS_setreuid32, CALL_END, 0, 0},
    {SYS_setregid32, CALL_END, 0, 0},
    {SYS_setresuid32, CALL_END, 0, 0},
    {SYS_setresgid32, CALL_END, 0, 0},
    {SYS_setgroups32, CALL_END, 0, 0},
#endif
    {SYS_capset, CALL_END, 0, 0},
    {SYS_personality, CALL_END, 0, 0},
    {SYS_add_key, CALL_END, 0, 0},
    {SYS_request_key, CALL_END, 0, 0},
    {SYS_keyctl, CALL_END, 0, 0},
    {SYS_bpf, CALL_END, 0, 0},
    {SYS_perf_event_open, CALL_END, 0, 0},
    {SYS_userfaultfd, CALL_END, 0, 0},
    {SYS_init_module, CALL_END, 0, 0},
    {SYS_finit_module, CALL_END, 0, 0},
    {SYS_delete_module, CALL_END, 0, 0},
    {SYS_kexec_load, CALL_END, 0, 0},
    {SYS_reboot, CALL_END, 0, 0},
};

/* A classic BPF instruction and program, as the kernel takes them. */
struct instruction {
    uint16_t code;
    uint8_t if_true, if_false; /* instructions to pass over */
    uint32_t value;
};

struct program {
    uint16_t count;
    struct instruction *instructions;
};

enum { LOAD = 0x20, IF_EQUAL = 0x15, IF_AT_LEAST = 0x35, IF_BIT = 0x45, RETURN = 0x06 };
enum { AT_NUMBER = 0, AT_ARCHITECTURE = 4, AT_ARGUMENTS = 16 }; /* in struct seccomp_data */
enum { INSTRUCTIONS_RULE = 7, INSTRUCTIONS_FIXED = 16, OWN_SIGNALS = 4 };

static void emit(struct program *program, uint16_t code, uint8_t if_true, uint8_t if_false,
                 uint32_t value)
{
    program->instructions[program->count++] = (struct instruction){code, if_true, if_false, value};
}

/* The number is loaded before each rule, and after it. */
static void emit_rule(struct program *program, const struct call_rule *rule)
{
    uint32_t low = AT_ARGUMENTS + 8u * rule->argument; /* little-endian; the high half is behind */
    switch ((enum call_kind)rule->kind) {
    case CALL_ALLOW:
    case CALL_END:
        emit(program, IF_EQUAL, 0, 1, rule->number);
        emit(program, RETURN, 0, 0, rule->kind == CALL_ALLOW ? VERDICT_ALLOW : VERDICT_END);
        break;
    case CALL_IF:
        emit(program, IF_EQUAL, 0, 4, rule->number);
        emit(program, LOAD, 0, 0, low);
        emit(program, IF_EQUAL, 0, 1, rule->value);
        emit(program, RETURN, 0, 0, VERDICT_ALLOW);
        emit(program, LOAD, 0, 0, AT_NUMBER);
        break;
    case CALL_IF_NULL:
        emit(program, IF_EQUAL, 0, 6, rule->number);
        emit(program, LOAD, 0, 0, low);
        emit(program, IF_EQUAL, 0, 3, 0);
        emit(program, LOAD, 0, 0, low + 4);
        emit(program, IF_EQUAL, 0, 1, 0);
        emit(program, RETURN, 0, 0, VERDICT_ALLOW);
        emit(program, LOAD, 0, 0, AT_NUMBER);
        break;
    case CALL_REFUSE:
    case CALL_END_AT:
        emit(program, IF_EQUAL, 0, 4, rule->number);
        emit(program, LOAD, 0, 0, low);
        emit(program, IF_BIT, 0, 1, rule->value);
        emit(program, RETURN, 0, 0, rule->kind == CALL_REFUSE ? VERDICT_REFUSE : VERDICT_END);
        emit(program, RETURN, 0, 0, VERDICT_ALLOW);
        break;
    }
}

/* The crash path: abort and raise signal the calling thread by its number. */
static void emit_own_signals(struct program *program, const struct thread *other)
{
    uint32_t self = (uint32_t)getpid();
    emit_rule(program, &(struct call_rule){SYS_tgkill, CALL_IF, 0, self});
    emit_rule(program, &(struct call_rule){SYS_kill, CALL_IF, 0, self});
    emit_rule(program, &(struct call_rule){SYS_tkill, CALL_IF, 0, self});
    if (other != NULL)
        emit_rule(program, &(struct call_rule){SYS_tkill, CALL_IF, 0, other->id});
}

static int list_calls(const struct thread *other)
{
    struct instruction instructions[INSTRUCTIONS_RULE * (ARRAY_COUNT(call_rules) + OWN_SIGNALS) +
                                    INSTRUCTIONS_FIXED];
    struct program program = {0, instructions};
    if (ARCHITECTURE == 0u)
        return SANDBOX_CALLS;
    emit(&program, LOAD, 0, 0, AT_ARCHITECTURE);
    emit(&program, IF_EQUAL, 1, 0, ARCHITECTURE);
    emit(&program, RETURN, 0, 0, VERDICT_END);
    emit(&program, LOAD, 0, 0, AT_NUMBER);
    emit(&program, IF_AT_LEAST, 0, 3, OTHER_NUMBERS);
    emit(&program, IF_EQUAL, 0, 1, NO_CALL);
    emit(&program, RETURN, 0, 0, VERDICT_ALLOW);
    emit(&program, RETURN, 0, 0, VERDICT_END);
    for (size_t i = 0; i < ARRAY_COUNT(call_rules); i++)
        emit_rule(&program, &call_rules[i]);
    emit_own_signals(&program, other);
    emit(&program, RETURN, 0, 0, VERDICT_REFUSE);
    CHECK(program.count <= ARRAY_COUNT(instructions));

    long status = syscall(SYS_seccomp, SECCOMP_FILTER, SECCOMP_ALL, &program);
    if (status == 0)
        return 0;
    /* A thread that cannot take it would go on without: its number is what is returned. */
    return status > 0 ? -EBUSY : errno == ENOSYS || errno == EINVAL ? SANDBOX_CALLS : -errno;
}

/* What it may still open (its files, a listing of its folder), and no process. Cores are left to
 * whoever runs it: the kernel writes them, not the process, and a crash has nothing else to show.
 */
static void limit(void)
{
    enum { SPARE = 32 };
    int next = fcntl(0, F_DUPFD_CLOEXEC, 0);
    if (next >= 0) {
        struct rlimit descriptors = {(rlim_t)next + SPARE, (rlim_t)next + SPARE};
        setrlimit(RLIMIT_NOFILE, &descriptors);
        close(next);
    }
    setrlimit(RLIMIT_NPROC, &(struct rlimit){0, 0});
}

int sandbox_seal(const struct thread *other)
{
    limit();
    return list_calls(other);
}

int sandbox_lacks(void)
{
    uint32_t action = VERDICT_END;
    int lacks = landlock_version() == 0 ? SANDBOX_FILES : 0;
    if (ARCHITECTURE == 0u || syscall(SYS_seccomp, SECCOMP_AVAILABLE, 0, &action) < 0)
        lacks |= SANDBOX_CALLS;
    return lacks;
}

const char *sandbox_describe(void)
{
    return "Landlock and seccomp";
}

struct sandbox_lack_text sandbox_explain(enum sandbox_lack lack)
{
    switch (lack) {
    case SANDBOX_FILES:
        return (struct sandbox_lack_text){
            .what = "this kernel has no Landlock",
            .harm = "open every file that its user may",
            .fix = "boot Linux 5.13 or newer with landlock in lsm= (cat /sys/kernel/security/lsm)"};
    case SANDBOX_CALLS:
        return (struct sandbox_lack_text){.what = "this kernel has no seccomp filter",
                                          .harm = "make every system call",
                                          .fix = "boot a kernel with CONFIG_SECCOMP_FILTER=y"};
    case SANDBOX_OVERRIDE:
        return (struct sandbox_lack_text){
            .what = "the folder belongs to somebody else, so that CAP_DAC_OVERRIDE is kept",
            .harm = "read and write other users' files"};
    }
    return (struct sandbox_lack_text){"", "", NULL};
}
