/* SPDX-License-Identifier: MIT
 * deny ERRNO NUMBER[,NUMBER...] PROGRAM ARGUMENT...: the program, and all that it starts, with
 * system calls that fail, as the seccomp profile of a container that does not know them, or an old
 * kernel, has it. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CALLS_MAX = 32 };

int main(int argc, char **argv)
{
    struct sock_filter rules[2 * CALLS_MAX + 2] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    unsigned short count = 1;
    if (argc < 4)
        return 2;
    unsigned error = (unsigned)strtoul(argv[1], NULL, 10);
    for (char *at = argv[2]; *at != '\0' && count < 2 * CALLS_MAX;) {
        unsigned number = (unsigned)strtoul(at, &at, 10);
        at += *at == ',';
        rules[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
        rules[count++] =
            (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
    }
    rules[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {count, rules};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        perror("deny");
        return 77;
    }
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
