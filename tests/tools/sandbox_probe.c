/* SPDX-License-Identifier: MIT
 * A relay that has been taken over: shuts itself in with the relay's own sandbox, then tries to get
 * out. sandbox_probe open|enter|whole|read ATTEMPT FOLDER OTHER MANAGER RELAY: `open` without
 * sandbox (would it work here at all?), `enter` with its first half, `whole` with all of it, `read`
 * with that of a process that only reads, as the gateway has it. One attempt a
 * process, as some end it. Prints "reached" or "refused ERRNO"; SIGSYS says the rest.
 * `list` prints the attempts; `measure` what the sandbox costs. Linux only. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/file.h"
#include "os/host.h"
#include "os/memory.h"
#include "os/sandbox.h"
#include "os/sandbox_reader.h"
#include "os/thread.h"

/* What the relay holds, and what it is after. */
static int folder, udp, memory;
static void *mapped;
static const char *folder_path, *other_path;
static pid_t manager, relay;
static struct wake wake;
static _Atomic int thread_aborts;

#define FAIL(call) ((call) < 0 ? -errno : 0)

/* ---- files ---- */

static int opened(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
    return FAIL(descriptor);
}

static const char *other(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s", other_path, name);
    return path;
}

static int read_passwd(void)
{
    return opened(open("/etc/passwd", O_RDONLY));
}
static int read_by_openat(void)
{
    return opened(openat(folder, "/etc/passwd", O_RDONLY));
}
static int read_by_dots(void)
{
    return opened(openat(folder, "../../../../../../../../../../etc/passwd", O_RDONLY));
}
static int read_by_symlink(void)
{
    return opened(openat(folder, "link", O_RDONLY)); /* made by the test, to /etc/passwd */
}
static int read_own_executable(void)
{
    return opened(openat(AT_FDCWD, "/proc/self/exe", O_RDONLY));
}
static int open_own_memory(void)
{
    return opened(openat(AT_FDCWD, "/proc/self/mem", O_RDWR));
}
static int open_managers_memory(void)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/mem", (int)manager);
    return opened(openat(AT_FDCWD, path, O_RDWR));
}
static int open_path_only(void)
{
    return opened(openat(AT_FDCWD, "/etc", O_PATH));
}
static int read_parent(void)
{
    return opened(openat(folder, "..", O_RDONLY | O_DIRECTORY));
}
static int create_in_other(void)
{
    return opened(openat(AT_FDCWD, other("new"), O_RDWR | O_CREAT, 0640));
}
static int write_others(void)
{
    return opened(openat(AT_FDCWD, other("file"), O_RDWR));
}
static int cut_others(void)
{
    return FAIL(truncate(other("file"), 0));
}
static int remove_others(void)
{
    return FAIL(unlinkat(AT_FDCWD, other("victim"), 0));
}
static int move_to_other(void)
{
    return FAIL(renameat(folder, "file", AT_FDCWD, other("moved")));
}
static int move_from_other(void)
{
    return FAIL(syscall(SYS_renameat2, AT_FDCWD, other("file"), folder, "stolen", 0));
}
static int link_others(void)
{
    return FAIL(linkat(AT_FDCWD, other("file"), folder, "hard", 0));
}
static int link_descriptor(void)
{
    return FAIL(linkat(memory, "", folder, "memory", AT_EMPTY_PATH));
}
static int make_symlink(void)
{
    return FAIL(symlinkat("/etc/passwd", folder, "soft"));
}
static int make_folder(void)
{
    return FAIL(mkdirat(folder, "sub", 0750));
}
static int make_fifo(void)
{
    return FAIL(mknodat(folder, "fifo", S_IFIFO | 0600, 0));
}
static int make_device(void)
{
    return FAIL(mknodat(folder, "disk", S_IFBLK | 0600, (7 << 8) | 0));
}
static int change_mode_of_others(void)
{
    return FAIL(chmod(other("file"), 0777));
}
static int change_owner_of_others(void)
{
    return FAIL(chown(other("file"), 65534, 65534));
}
static int change_times_of_others(void)
{
    return FAIL(utimensat(AT_FDCWD, other("file"), NULL, 0));
}
static int set_attribute_of_others(void)
{
    return FAIL(setxattr(other("file"), "user.mine", "1", 1, 0));
}
static int watch_other(void)
{
    int descriptor = inotify_init1(0);
    return descriptor < 0 ? -errno : FAIL(inotify_add_watch(descriptor, other_path, IN_CREATE));
}
static int change_folder(void)
{
    return FAIL(chdir("/"));
}
static int open_by_handle(void)
{
    struct {
        struct file_handle handle;
        unsigned char bytes[128];
    } at = {.handle = {.handle_bytes = 128}};
    int mount_id;
    if (syscall(SYS_name_to_handle_at, AT_FDCWD, "/", &at, &mount_id, 0) < 0)
        return -errno;
    return opened((int)syscall(SYS_open_by_handle_at, folder, &at, O_RDONLY));
}

/* ---- the network ---- */

static int udp_socket(void)
{
    return opened(socket(AF_INET, SOCK_DGRAM, 0));
}
static int tcp_connection(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (descriptor < 0)
        return -errno;
    return connect(descriptor, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != ECONNREFUSED
               ? -errno
               : 0;
}
static int unix_socket(void)
{
    return opened(socket(AF_UNIX, SOCK_STREAM, 0));
}
static int socket_pair(void)
{
    int pair[2];
    return FAIL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
}
static int packet_socket(void)
{
    return opened(socket(AF_PACKET, SOCK_RAW, 0));
}
static int netlink_socket(void)
{
    return opened(socket(AF_NETLINK, SOCK_RAW, 0));
}
static int connect_inherited(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return FAIL(connect(udp, (struct sockaddr *)&to, sizeof(to)));
}
static int bind_inherited(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    return FAIL(bind(udp, (struct sockaddr *)&at, sizeof(at)));
}
static int join_group(void)
{
    struct ip_mreqn group = {.imr_ifindex = 1};
    group.imr_multiaddr.s_addr = htonl(0xef4d0101);
    return FAIL(setsockopt(udp, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)));
}
static int listen_inherited(void)
{
    return listen(udp, 1) < 0 && errno != EOPNOTSUPP ? -errno : 0;
}
static int accept_inherited(void)
{
    return accept(udp, NULL, NULL) < 0 && errno != EOPNOTSUPP ? -errno : 0;
}
static int send_to_anybody(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct iovec part = {(void *)(uintptr_t) "x", 1};
    struct msghdr message = {
        .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &part, .msg_iovlen = 1};
    return FAIL(sendmsg(udp, &message, MSG_DONTWAIT));
}

/* ---- processes ---- */

static int gone(long id)
{
    if (id == 0)
        _exit(0);
    if (id > 0)
        waitpid((pid_t)id, NULL, __WALL);
    return FAIL(id);
}
static int fork_process(void)
{
    return gone(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}
static int clone3_process(void)
{
    uint64_t arguments[8] = {[4] = SIGCHLD};
    return gone(syscall(SYS_clone3, arguments, sizeof(arguments)));
}
static void nothing(void *context)
{
    (void)context;
}
static int start_thread(void)
{
    struct thread thread = {0};
    return thread_start(&thread, nothing, NULL, 65536);
}
static int run_program(void)
{
    char word[] = "/bin/true";
    char *words[] = {word, NULL}, *none[] = {NULL};
    execve("/bin/true", words, none); /* exit code 0 without a word: it was run */
    return -errno;
}
static int run_own_file(void)
{
    char word[] = "program";
    char *words[] = {word, NULL}, *none[] = {NULL};
    syscall(SYS_execveat, folder, "program", words, none, 0); /* a copy of true, by the test */
    return -errno;
}
static int trace_manager(void)
{
    return FAIL(ptrace(PTRACE_SEIZE, manager, 0, 0));
}
/* Of an address that is not there, which is found out after whether we may. */
static int read_manager(void)
{
    char byte;
    struct iovec local = {&byte, 1}, remote = {(void *)8, 1};
    return syscall(SYS_process_vm_readv, manager, &local, 1, &remote, 1, 0) < 0 && errno != EFAULT
               ? -errno
               : 0;
}
static int write_manager(void)
{
    char byte = 0;
    struct iovec local = {&byte, 1}, remote = {(void *)8, 1};
    return syscall(SYS_process_vm_writev, manager, &local, 1, &remote, 1, 0) < 0 && errno != EFAULT
               ? -errno
               : 0;
}
/* Signal 0 asks only whether it could be sent: the same checks. */
static int signal_manager(void)
{
    return FAIL(kill(manager, 0));
}
static int signal_relay(void)
{
    return FAIL(kill(relay, 0));
}
static int signal_everybody(void)
{
    return FAIL(kill(-1, 0));
}
static int signal_managers_thread(void)
{
    return FAIL(syscall(SYS_tkill, manager, 0));
}
static int signal_relays_thread(void)
{
    return FAIL(syscall(SYS_tgkill, relay, relay, 0));
}
static int signal_by_owner(void)
{
    return FAIL(fcntl(udp, F_SETOWN, manager));
}
static int open_pidfd(void)
{
    return opened((int)syscall(SYS_pidfd_open, manager, 0));
}
static int steal_descriptor(void)
{
    long pidfd = syscall(SYS_pidfd_open, manager, 0);
    return pidfd < 0 ? -errno : opened((int)syscall(SYS_pidfd_getfd, pidfd, 0, 0));
}
static int limit_manager(void)
{
    return FAIL(prlimit(manager, RLIMIT_CPU, NULL, &(struct rlimit){0, 0}));
}
static int slow_manager(void)
{
    return FAIL(setpriority(PRIO_PROCESS, (id_t)manager, getpriority(PRIO_PROCESS, (id_t)manager)));
}
static int bind_manager_to_processor(void)
{
    cpu_set_t set;
    if (sched_getaffinity(manager, sizeof(set), &set) < 0)
        return -errno;
    return FAIL(sched_setaffinity(manager, sizeof(set), &set));
}

/* ---- memory ---- */

static int map_executable(void)
{
    void *at =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? -errno : 0;
}
static int map_memory_executable(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, memory, 0);
    return at == MAP_FAILED ? -errno : 0;
}
static int make_executable(void)
{
    void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return FAIL(mprotect(at, 4096, PROT_READ | PROT_EXEC));
}
static int make_memory(void)
{
    return opened(memfd_create("mine", 0));
}
static int share_memory(void)
{
    int id = shmget(IPC_PRIVATE, 4096, 0600);
    int status = FAIL(id);
    if (id >= 0)
        shmctl(id, IPC_RMID, NULL);
    return status;
}
static int fault_handler(void)
{
    return opened((int)syscall(SYS_userfaultfd, 1));
}

/* ---- the kernel ---- */

static int ring(void)
{
    char parameters[256] = {0};
    return opened((int)syscall(SYS_io_uring_setup, 1, parameters));
}
static int load_bpf(void)
{
    uint32_t map[32] = {2, 4, 4, 1}; /* BPF_MAP_CREATE: an array of one word */
    return opened((int)syscall(SYS_bpf, 0, map, sizeof(map)));
}
static int perf_event(void)
{
    uint32_t attributes[32] = {1, 128};
    return opened((int)syscall(SYS_perf_event_open, attributes, 0, -1, -1, 0));
}
static int use_keys(void)
{
    return FAIL(syscall(SYS_keyctl, 0, -3, 1)); /* KEYCTL_GET_KEYRING_ID */
}
static int add_key(void)
{
    return FAIL(syscall(SYS_add_key, "user", "flotilla", "x", 1, -2));
}
static int mount_over(void)
{
    int status = FAIL(mount("none", folder_path, "tmpfs", 0, NULL));
    if (status == 0)
        umount2(folder_path, MNT_DETACH);
    return status;
}
static int clone_mount(void)
{
    return opened((int)syscall(SYS_open_tree, AT_FDCWD, "/", 1));
}
static int change_root(void)
{
    return FAIL(chroot("/"));
}
static int enter_namespace(void)
{
    return FAIL(setns(open("/proc/self/ns/uts", O_RDONLY), 0));
}
static int make_namespace(void)
{
    return FAIL(unshare(CLONE_NEWUTS));
}
static int become_other(void)
{
    return FAIL(syscall(SYS_setuid, 65534));
}
static int leave_groups(void)
{
    return FAIL(syscall(SYS_setgroups, 0, NULL));
}
static int take_capabilities(void)
{
    uint32_t header[2] = {0x20080522, 0}, words[6] = {~0u, ~0u, 0, 0x1ff, 0x1ff, 0};
    if (prctl(PR_CAPBSET_READ, 24) == 0) /* what the machine keeps from all */
        words[0] = words[1] &= ~(1u << 24);
    return FAIL(syscall(SYS_capset, header, words));
}
static int raise_limit(void)
{
    return FAIL(setrlimit(RLIMIT_NOFILE, &(struct rlimit){256, 256}));
}
static int change_personality(void)
{
    return FAIL(syscall(SYS_personality, 0xffffffff));
}
static int another_filter(void)
{
    return prctl(PR_SET_SECCOMP, 2, NULL, 0, 0) < 0 && errno != EFAULT ? -errno : 0;
}
static int rename_host(void)
{
    char name[128];
    gethostname(name, sizeof(name));
    return FAIL(sethostname(name, strlen(name)));
}
static int read_kernel_log(void)
{
    return FAIL(syscall(SYS_syslog, 10, NULL, 0));
}
static int unload_module(void)
{
    return syscall(SYS_delete_module, "no such module", O_NONBLOCK) < 0 && errno != ENOENT ? -errno
                                                                                           : 0;
}
static int call_by_x32(void)
{
#ifdef __x86_64__
    return FAIL(syscall(0x40000000 + SYS_getpid)); /* ENOSYS where the kernel has none */
#else
    return -ENOSYS;
#endif
}
static int call_by_32_bit(void)
{
#ifdef __x86_64__
    long got;
    __asm__ volatile("int $0x80" : "=a"(got) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    return got > 0 ? 0 : (int)got; /* getpid */
#else
    return -ENOSYS;
#endif
}

/* ---- what it needs ---- */

static int keep_recording(void)
{
    struct direct_file file;
    struct direct_probe probe;
    int status = direct_file_probe(folder, ".probe", true, &probe);
    if (status < 0 && probe.refused)
        status = direct_file_probe(folder, ".probe", false, &probe);
    if (status == 0)
        status = direct_file_open(&file, folder, "needed", FILE_CREATE, false);
    if (status < 0)
        return status;
    struct span part = {(const uint8_t *)"datum", 5};
    uint8_t back[5];
    status = direct_file_reserve(&file, 0, 65536);
    if (status == 0)
        status = direct_file_write(&file, &part, 1, 0);
    if (status == 0)
        status = direct_file_read(&file, back, 5, 0) == 5 ? 0 : -EIO;
    if (status == 0)
        status = direct_file_truncate(&file, 3);
    if (status == 0)
        status = direct_file_sync(&file);
    if (status == 0)
        status = direct_file_size(&file) == 3 && direct_file_linked(&file) ? 0 : -EIO;
    direct_file_close(&file);
    if (status == 0)
        status = folder_rename(folder, "needed", "renamed");
    if (status == 0)
        status = FAIL(linkat(folder, "renamed", folder, "needed", 0));
    if (status == 0)
        status = folder_remove(folder, "renamed");
    if (status == 0)
        status = folder_remove(folder, "needed");
    return status == 0 ? folder_sync(folder) : status;
}
static int name_heard(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
    return 0;
}
static int keep_listing(void)
{
    int names = 0;
    int status = folder_list(folder, name_heard, &names);
    return status < 0 ? status : names > 0 ? 0 : -ENOENT;
}
static int keep_reading(void)
{
    return opened(openat(AT_FDCWD, folder_path, O_RDONLY | O_DIRECTORY)) < 0
               ? -errno
               : opened(openat(folder, "file", O_RDONLY));
}
/* What a relay does in its folder and a reader may not. */
static int keep_write_own(void)
{
    return opened(openat(folder, "file", O_RDWR));
}
static int keep_create_own(void)
{
    return opened(openat(folder, "new", O_RDWR | O_CREAT, 0640));
}
static int keep_remove_own(void)
{
    return FAIL(unlinkat(folder, "link", 0));
}
static int keep_relaying(void)
{
    struct sockaddr_in self;
    socklen_t bytes = sizeof(self);
    memcpy(&self, mapped, sizeof(self)); /* where it is bound; noted before the sandbox */
    char byte = 'x', back[4];
    struct iovec out = {&byte, 1}, in = {back, 4};
    struct mmsghdr message = {
        .msg_hdr = {.msg_name = &self, .msg_namelen = bytes, .msg_iov = &out, .msg_iovlen = 1}};
    int queue;
    bytes = sizeof(queue);
    if (getsockopt(udp, SOL_SOCKET, SO_RCVBUF, &queue, &bytes) < 0 ||
        syscall(SYS_sendmmsg, udp, &message, 1, MSG_DONTWAIT) != 1)
        return -errno;
    message = (struct mmsghdr){.msg_hdr = {.msg_iov = &in, .msg_iovlen = 1}};
    if (syscall(SYS_recvmmsg, udp, &message, 1, MSG_DONTWAIT, NULL) != 1)
        return -errno;
    return back[0] == 'x' ? 0 : -EIO;
}
static int keep_memory(void)
{
    int status = shared_memory_release(mapped, 4096);
    void *own_pages = private_memory_map(1 << 20);
    if (own_pages == NULL)
        return -ENOMEM;
    memset(own_pages, 1, 1 << 20);
    private_memory_unmap(own_pages, 1 << 20);
    for (size_t bytes = 1000; bytes < 10u << 20; bytes *= 3) {
        uint8_t *block = malloc(bytes);
        uint8_t *more = block == NULL ? NULL : realloc(block, bytes * 2);
        if (more == NULL)
            return -ENOMEM;
        more[bytes * 2 - 1] = 1;
        free(more);
    }
    return status;
}
static int keep_time_and_chance(void)
{
    uint8_t bytes[16];
    uint64_t now_ns = clock_monotonic_ns();
    clock_sleep_until(now_ns + 1000000);
    return clock_monotonic_ns() > now_ns ? host_random(bytes, sizeof(bytes)) : -EIO;
}
static int keep_log(void)
{
    return fprintf(stderr, "a line\n") > 0 ? 0 : -EIO;
}
static int keep_looking(void)
{
    return folder_possible(folder_path);
}
/* SIGABRT is what is expected of these two. */
static int crash(void)
{
    abort();
}
static int crash_thread(void)
{
    atomic_store(&thread_aborts, 1);
    for (int i = 0; i < 10000; i++) {
        wake_signal(&wake);
        clock_sleep_until(clock_monotonic_ns() + 1000000);
    }
    return -ETIMEDOUT;
}

static const struct {
    const char *name;
    int (*try)(void);
} attempts[] = {
#define ATTEMPT(name)                                                                              \
    {                                                                                              \
#name, name                                                                                \
    }
    ATTEMPT(read_passwd),
    ATTEMPT(read_by_openat),
    ATTEMPT(read_by_dots),
    ATTEMPT(read_by_symlink),
    ATTEMPT(read_own_executable),
    ATTEMPT(open_own_memory),
    ATTEMPT(open_managers_memory),
    ATTEMPT(open_path_only),
    ATTEMPT(read_parent),
    ATTEMPT(create_in_other),
    ATTEMPT(write_others),
    ATTEMPT(cut_others),
    ATTEMPT(remove_others),
    ATTEMPT(link_others),
    ATTEMPT(link_descriptor),
    ATTEMPT(make_symlink),
    ATTEMPT(make_folder),
    ATTEMPT(make_fifo),
    ATTEMPT(make_device),
    ATTEMPT(change_mode_of_others),
    ATTEMPT(change_owner_of_others),
    ATTEMPT(change_times_of_others),
    ATTEMPT(set_attribute_of_others),
    ATTEMPT(watch_other),
    ATTEMPT(change_folder),
    ATTEMPT(open_by_handle),
    ATTEMPT(move_to_other),
    ATTEMPT(move_from_other),
    ATTEMPT(udp_socket),
    ATTEMPT(tcp_connection),
    ATTEMPT(unix_socket),
    ATTEMPT(socket_pair),
    ATTEMPT(packet_socket),
    ATTEMPT(netlink_socket),
    ATTEMPT(connect_inherited),
    ATTEMPT(bind_inherited),
    ATTEMPT(join_group),
    ATTEMPT(listen_inherited),
    ATTEMPT(accept_inherited),
    ATTEMPT(send_to_anybody),
    ATTEMPT(fork_process),
    ATTEMPT(clone3_process),
    ATTEMPT(start_thread),
    ATTEMPT(run_program),
    ATTEMPT(run_own_file),
    ATTEMPT(trace_manager),
    ATTEMPT(read_manager),
    ATTEMPT(write_manager),
    ATTEMPT(signal_manager),
    ATTEMPT(signal_relay),
    ATTEMPT(signal_everybody),
    ATTEMPT(signal_managers_thread),
    ATTEMPT(signal_relays_thread),
    ATTEMPT(signal_by_owner),
    ATTEMPT(open_pidfd),
    ATTEMPT(steal_descriptor),
    ATTEMPT(limit_manager),
    ATTEMPT(slow_manager),
    ATTEMPT(bind_manager_to_processor),
    ATTEMPT(map_executable),
    ATTEMPT(map_memory_executable),
    ATTEMPT(make_executable),
    ATTEMPT(make_memory),
    ATTEMPT(share_memory),
    ATTEMPT(fault_handler),
    ATTEMPT(ring),
    ATTEMPT(load_bpf),
    ATTEMPT(perf_event),
    ATTEMPT(use_keys),
    ATTEMPT(add_key),
    ATTEMPT(mount_over),
    ATTEMPT(clone_mount),
    ATTEMPT(change_root),
    ATTEMPT(enter_namespace),
    ATTEMPT(make_namespace),
    ATTEMPT(become_other),
    ATTEMPT(leave_groups),
    ATTEMPT(take_capabilities),
    ATTEMPT(raise_limit),
    ATTEMPT(change_personality),
    ATTEMPT(another_filter),
    ATTEMPT(rename_host),
    ATTEMPT(read_kernel_log),
    ATTEMPT(unload_module),
    ATTEMPT(call_by_x32),
    ATTEMPT(call_by_32_bit),
    ATTEMPT(keep_recording),
    ATTEMPT(keep_listing),
    ATTEMPT(keep_reading),
    ATTEMPT(keep_write_own),
    ATTEMPT(keep_create_own),
    ATTEMPT(keep_remove_own),
    ATTEMPT(keep_relaying),
    ATTEMPT(keep_memory),
    ATTEMPT(keep_time_and_chance),
    ATTEMPT(keep_log),
    ATTEMPT(keep_looking),
    ATTEMPT(crash),
    ATTEMPT(crash_thread)};

static void second_thread(void *context)
{
    (void)context;
    for (;;) {
        uint32_t seen = wake_seen(&wake);
        if (atomic_load(&thread_aborts))
            abort();
        wake_wait(&wake, seen, -1);
    }
}

static void die(const char *what)
{
    fprintf(stderr, "sandbox_probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_all(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t bytes = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    folder = folder_open(folder_path);
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    memory = shared_memory_create("probe", 65536);
    if (folder < 0 || udp < 0 || memory < 0 || bind(udp, (struct sockaddr *)&at, bytes) < 0 ||
        getsockname(udp, (struct sockaddr *)&at, &bytes) < 0 ||
        shared_memory_map(memory, 65536, &mapped) < 0)
        die("cannot open what a relay has");
    memcpy(mapped, &at, sizeof(at));
}

enum { READ = 3 }; /* as `half`: the sandbox of a reader */

static void shut(int half)
{
    static struct thread thread;
    int lacks = half == READ ? sandbox_only_read(&folder, 1)
                : half >= 1  ? sandbox_enter(folder)
                             : 0;
    if (thread_start(&thread, second_thread, NULL, 65536) < 0)
        die("no thread");
    int more = half >= 2 && half != READ ? sandbox_seal(&thread) : 0;
    if (lacks != 0 || more != 0)
        fprintf(stderr, "sandbox_probe: lacks %d %d\n", lacks, more);
}

/* Nanoseconds of one call, without and with the sandbox, in turn: the sandbox cannot be left, so
 * that each turn is a process of its own. */
static double turn(int half, int which, uint64_t *shut_ns)
{
    enum { CALLS = 300000 };
    int pipe_ends[2];
    double result[2] = {0, 0};
    if (pipe(pipe_ends) < 0)
        die("pipe");
    pid_t child = fork();
    if (child == 0) {
        open_all();
        uint64_t begin_ns = clock_monotonic_ns();
        shut(half);
        result[1] = (double)(clock_monotonic_ns() - begin_ns);
        begin_ns = clock_monotonic_ns();
        for (int i = 0; i < CALLS; i++) {
            if (which == 0)
                syscall(SYS_getpid);
            else if (which == 1)
                syscall(SYS_recvmmsg, udp, NULL, 0, MSG_DONTWAIT, NULL);
            else
                fcntl(udp, F_GETFL); /* its argument is looked at: not remembered by the kernel */
        }
        result[0] = (double)(clock_monotonic_ns() - begin_ns) / CALLS;
        _exit(write(pipe_ends[1], result, sizeof(result)) != (ssize_t)sizeof(result));
    }
    if (read(pipe_ends[0], result, sizeof(result)) != (ssize_t)sizeof(result))
        die("a turn failed");
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    waitpid(child, NULL, 0);
    *shut_ns = (uint64_t)result[1];
    return result[0];
}

static void measure(void)
{
    static const char *const calls[] = {"getpid", "recvmmsg", "fcntl"};
    enum { TURNS = 15 };
    uint64_t shut_ns;
    for (int which = 0; which < 3; which++) {
        double least[2] = {1e9, 1e9};
        uint64_t shut_least[2] = {UINT64_MAX, UINT64_MAX};
        for (int i = 0; i < 2 * TURNS; i++) {
            int half = i % 2 == 0 ? 0 : 2;
            double ns = turn(half, which, &shut_ns);
            least[i % 2] = ns < least[i % 2] ? ns : least[i % 2];
            shut_least[i % 2] = shut_ns < shut_least[i % 2] ? shut_ns : shut_least[i % 2];
        }
        printf("%s %.1f %.1f shut %" PRIu64 " %" PRIu64 "\n", calls[which], least[0], least[1],
               shut_least[0] / 1000, shut_least[1] / 1000);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
            puts(attempts[i].name);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "measure") == 0) {
        folder_path = argv[2];
        measure();
        return 0;
    }
    if (argc != 7)
        return 2;
    folder_path = argv[3];
    other_path = argv[4];
    manager = (pid_t)strtol(argv[5], NULL, 10);
    relay = (pid_t)strtol(argv[6], NULL, 10);
    setvbuf(stdout, NULL, _IONBF, 0);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    open_all();
    shut(strcmp(argv[1], "open") == 0    ? 0
         : strcmp(argv[1], "enter") == 0 ? 1
         : strcmp(argv[1], "read") == 0  ? READ
                                         : 2);
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
        if (strcmp(attempts[i].name, argv[2]) == 0) {
            int status = attempts[i].try();
            if (status == 0)
                printf("reached\n");
            else
                printf("refused %s\n", strerror(-status));
            _exit(0);
        }
    return 2;
}
