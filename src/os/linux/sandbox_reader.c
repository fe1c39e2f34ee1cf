/* SPDX-License-Identifier: MIT
 * The reader's sandbox on Linux: capabilities, no_new_privs, Landlock. */
#define _GNU_SOURCE
#include "os/sandbox_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "os/linux/landlock.h"
#include "os/sandbox.h"

#define CAPABILITY_VERSION   0x20080522u /* the third: two words each */
#define CAPABILITY_READ      (1u << 2)   /* CAP_DAC_READ_SEARCH, in the first word */
#define CAPABILITIES_MAX     64ul
#define PRIVILEGES_NEW_NEVER 38 /* PR_SET_NO_NEW_PRIVS */

struct capabilities {
    struct {
        uint32_t version;
        int pid;
    } header;
    struct {
        uint32_t effective, permitted, inheritable;
    } words[2];
};

static int keep_reading(void)
{
    struct capabilities all;
    memset(&all, 0, sizeof(all));
    all.header.version = CAPABILITY_VERSION;
    if (syscall(SYS_capget, &all.header, all.words) < 0)
        return -errno;
    /* Needs CAP_SETPCAP; without new privileges nothing could be drawn from the set anyway. */
    for (unsigned long i = 0; i < CAPABILITIES_MAX; i++)
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0)
            break;
    uint32_t kept = all.words[0].permitted & CAPABILITY_READ;
    memset(all.words, 0, sizeof(all.words));
    all.words[0].effective = all.words[0].permitted = kept;
    return syscall(SYS_capset, &all.header, all.words) < 0 ? -errno : 0;
}

static int shut_files(const descriptor_t *folders, uint32_t count)
{
    long version = landlock_version();
    if (version == 0)
        return SANDBOX_FILES;
    struct landlock_rules rules = rules_of(version);
    long set = syscall(LANDLOCK_CREATE, &rules, sizeof(rules), 0);
    if (set < 0)
        return -errno;
    int status = 0;
    for (uint32_t i = 0; i < count && status == 0; i++) {
        struct landlock_beneath beneath = {.allowed = RIGHT_READ | RIGHT_LIST,
                                           .folder = folders[i]};
        if (syscall(LANDLOCK_ADD, set, LANDLOCK_PATH_BENEATH, &beneath, 0) < 0)
            status = -errno;
    }
    if (status == 0 && syscall(LANDLOCK_RESTRICT, set, 0) < 0)
        status = -errno;
    close((int)set);
    return status;
}

int sandbox_only_read(const descriptor_t *folders, uint32_t count)
{
    int status = keep_reading();
    if (status < 0)
        return status;
    if (prctl(PRIVILEGES_NEW_NEVER, 1, 0, 0, 0) < 0)
        return -errno;
    return shut_files(folders, count);
}
