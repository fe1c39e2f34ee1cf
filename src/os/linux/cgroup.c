/* SPDX-License-Identifier: MIT
 * Limits by cgroup v2: a folder a group, a file a word. Relies on being given a group of its own.
 * Known: controllers that are bound to cgroup v1 cannot be had here, nor memory where the machine
 * was booted with cgroup_disable=memory (as a Raspberry Pi is). */
#define _GNU_SOURCE
#include "os/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"

#define PATH_BYTES 4096
#define NAME_BYTES 256

/* ---- words in files ---- */

static int write_word(descriptor_t folder, const char *name, const char *word)
{
    int descriptor = openat(folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor < 0)
        return -errno;
    ssize_t written = write(descriptor, word, strlen(word));
    int error = written < 0 ? -errno : 0;
    close(descriptor);
    return error;
}

/* Reads what fits and closes; NUL behind it. */
static int read_words(descriptor_t descriptor, char *text, size_t text_bytes)
{
    if (descriptor < 0)
        return -errno;
    ssize_t got = read(descriptor, text, text_bytes - 1);
    int error = got < 0 ? -errno : 0;
    close(descriptor);
    text[got < 0 ? 0 : got] = '\0';
    return error;
}

static bool has_word(const char *text, const char *word)
{
    size_t bytes = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += bytes)
        if ((at == text || at[-1] == ' ') && strchr(" \n", at[bytes]) != NULL)
            return true;
    return false;
}

static int read_controllers(descriptor_t folder, bool *memory, bool *cpu)
{
    char text[1024];
    int error =
        read_words(openat(folder, "cgroup.controllers", O_RDONLY | O_CLOEXEC), text, sizeof text);
    *memory = error == 0 && has_word(text, "memory");
    *cpu = error == 0 && has_word(text, "cpu");
    return error;
}

/* The path of a process's group in the hierarchy, from "0::PATH". 0 or a negative errno. */
static int read_group(const char *file, char path[PATH_BYTES])
{
    char text[2 * PATH_BYTES];
    int error = read_words(open(file, O_RDONLY | O_CLOEXEC), text, sizeof text);
    if (error < 0)
        return error;
    for (char *line = text; *line != '\0';) {
        size_t bytes = strcspn(line, "\n");
        char *next = line + bytes + (line[bytes] == '\n');
        line[bytes] = '\0';
        if (strncmp(line, "0::/", 4) == 0 && bytes - 3 < PATH_BYTES) {
            memcpy(path, line + 3, bytes - 2);
            return 0;
        }
        line = next;
    }
    return -ENOENT;
}

/* ---- what there is ---- */

struct cgroup_system cgroup_find(void)
{
    /* The second where the first is a folder of v1 hierarchies, as systemd's hybrid mode has it. */
    static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct cgroup_system system = {NULL, "/proc/self/cgroup"};
    for (size_t i = 0; i < sizeof roots / sizeof roots[0] && system.root == NULL; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/cgroup.controllers", roots[i]);
        if (access(path, F_OK) == 0)
            system.root = roots[i];
    }
    return system;
}

int cgroup_supported(struct cgroup_system system, bool *memory, bool *cpu,
                     char why[CGROUP_WHY_BYTES])
{
    bool has_memory = false, has_cpu = false;
    int root = system.root == NULL ? -1 : open(system.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0) {
        read_controllers(root, &has_memory, &has_cpu);
        close(root);
    }
    if (memory != NULL)
        *memory = has_memory;
    if (cpu != NULL)
        *cpu = has_cpu;
    if (has_memory || has_cpu)
        return 0;
    if (root < 0)
        snprintf(why, CGROUP_WHY_BYTES, "no cgroup v2 hierarchy is mounted");
    else
        snprintf(why, CGROUP_WHY_BYTES,
                 "cgroup v2 in %.200s has neither the memory nor the cpu controller: they are "
                 "bound to v1, or switched off",
                 system.root);
    return -EOPNOTSUPP;
}

/* ---- dividing ---- */

static void remove_leaf(descriptor_t folder)
{
    unlinkat(folder, CGROUP_LEAF, AT_REMOVEDIR);
}

/* Into the leaf; a process may not stand beside the groups it makes. */
static int move_to_leaf(descriptor_t folder)
{
    if (mkdirat(folder, CGROUP_LEAF, 0755) < 0 && errno != EEXIST)
        return -errno;
    int error = write_word(folder, CGROUP_LEAF "/cgroup.procs", "0");
    if (error < 0)
        remove_leaf(folder);
    return error;
}

static int enable_controllers(const struct cgroup *cgroup)
{
    int error =
        cgroup->memory ? write_word(cgroup->folder, "cgroup.subtree_control", "+memory") : 0;
    if (error == 0 && cgroup->cpu)
        error = write_word(cgroup->folder, "cgroup.subtree_control", "+cpu");
    return error;
}

/* The folder of the group to divide: ours, or, where we were started in the leaf, the one above. */
static int open_group(struct cgroup *cgroup, struct cgroup_system system, char *path,
                      size_t path_bytes)
{
    char group[PATH_BYTES];
    int error = system.root == NULL ? -ENOENT : read_group(system.self, group);
    if (error < 0)
        return error;
    if (strstr(group, "/..") != NULL)
        return -EXDEV; /* outside of the namespace */
    char *last = strrchr(group, '/');
    bool in_leaf = last != group && strcmp(last + 1, CGROUP_LEAF) == 0;
    if (in_leaf)
        *last = '\0';
    cgroup->moved = !in_leaf;
    int used =
        snprintf(path, path_bytes, "%s%s", system.root, strcmp(group, "/") == 0 ? "" : group);
    if (used < 0 || (size_t)used >= path_bytes)
        return -ENAMETOOLONG;
    cgroup->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return cgroup->folder < 0 ? -errno : 0;
}

int cgroup_open(struct cgroup *cgroup, struct cgroup_system system, char why[CGROUP_WHY_BYTES])
{
    char path[2 * PATH_BYTES];
    *cgroup = (struct cgroup){.folder = -1};
    int error = cgroup_supported(system, NULL, NULL, why);
    if (error < 0)
        return error;
    error = open_group(cgroup, system, path, sizeof path);
    if (error < 0) {
        snprintf(why, CGROUP_WHY_BYTES, "the manager's own group cannot be opened: %s",
                 strerror(-error));
        cgroup->moved = false;
        return error;
    }
    error = read_controllers(cgroup->folder, &cgroup->memory, &cgroup->cpu);
    if (error == 0 && !cgroup->memory && !cgroup->cpu)
        error = -EOPNOTSUPP;
    if (error == 0 && cgroup->moved) {
        error = move_to_leaf(cgroup->folder);
        cgroup->moved = error == 0;
    }
    if (error == 0)
        error = enable_controllers(cgroup);
    if (error == 0)
        return 0;
    snprintf(why, CGROUP_WHY_BYTES,
             "%.300s %s; give the manager a group of its own (systemd: "
             "Delegate=memory cpu)",
             path,
             error == -EBUSY                       ? "holds other processes, too"
             : error == -EOPNOTSUPP                ? "was given neither memory nor cpu to divide"
             : error == -EACCES || error == -EPERM ? "is not the manager's to divide"
                                                   : strerror(-error));
    cgroup_close(cgroup);
    return error;
}

/* ---- groups ---- */

static int group_name(const char *name, char group[NAME_BYTES])
{
    int used = snprintf(group, NAME_BYTES, CGROUP_PREFIX "%s", name);
    return used < 0 || used >= NAME_BYTES ? -ENAMETOOLONG : 0;
}

/* "QUOTA PERIOD" in microseconds. A short period, as a process that has used up its quota stands
 * still to its end while datagrams queue; but the kernel takes no quota below a millisecond. */
static void write_cpu(char text[64], double percent)
{
    unsigned long period_us = percent >= 10 ? 10000 : percent >= 1 ? 100000 : 1000000;
    double quota_us = percent / 100 * (double)period_us;
    snprintf(text, 64, "%lu %lu", quota_us < 1000 ? 1000 : (unsigned long)(quota_us + 0.5),
             period_us);
}

static int set_limits(const struct cgroup *cgroup, descriptor_t group,
                      const struct cgroup_limits *limits)
{
    char text[64] = "max";
    int error = 0;
    if (cgroup->memory) {
        if (limits->memory_bytes != 0)
            snprintf(text, sizeof text, "%llu", (unsigned long long)limits->memory_bytes);
        error = write_word(group, "memory.max", text);
    }
    if (error == 0 && cgroup->cpu) {
        snprintf(text, sizeof text, "max 100000");
        if (limits->cpu_percent > 0)
            write_cpu(text, limits->cpu_percent);
        error = write_word(group, "cpu.max", text);
    }
    return error;
}

descriptor_t cgroup_make(const struct cgroup *cgroup, const char *name,
                         const struct cgroup_limits *limits)
{
    char path[NAME_BYTES];
    int error = group_name(name, path);
    if (error == 0 && mkdirat(cgroup->folder, path, 0755) < 0 && errno != EEXIST)
        error = -errno;
    if (error < 0)
        return error;
    int group = openat(cgroup->folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (group < 0)
        return -errno;
    error = set_limits(cgroup, group, limits);
    int descriptor = error < 0 ? error : openat(group, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (error == 0 && descriptor < 0)
        descriptor = -errno;
    close(group);
    return descriptor;
}

int cgroup_join(descriptor_t descriptor)
{
    return write(descriptor, "0", 1) < 0 ? -errno : 0; /* 0: whoever writes */
}

void cgroup_remove(const struct cgroup *cgroup, const char *name)
{
    char path[NAME_BYTES];
    if (cgroup->folder >= 0 && group_name(name, path) == 0)
        unlinkat(cgroup->folder, path, AT_REMOVEDIR);
}

static int remove_one(void *context, const char *name)
{
    const struct cgroup *cgroup = context;
    if (strncmp(name, CGROUP_PREFIX, strlen(CGROUP_PREFIX)) == 0)
        unlinkat(cgroup->folder, name, AT_REMOVEDIR); /* fails while a process is in it */
    return 0;
}

void cgroup_close(struct cgroup *cgroup)
{
    if (cgroup->folder < 0)
        return;
    folder_list(cgroup->folder, remove_one, cgroup);
    if (cgroup->moved) {
        /* No process may enter a group whose controllers are handed on. */
        write_word(cgroup->folder, "cgroup.subtree_control", "-memory");
        write_word(cgroup->folder, "cgroup.subtree_control", "-cpu");
        if (write_word(cgroup->folder, "cgroup.procs", "0") == 0)
            remove_leaf(cgroup->folder);
    }
    close(cgroup->folder);
    *cgroup = (struct cgroup){.folder = -1};
}

int cgroup_holds(long id, const char *name)
{
    char file[64], path[PATH_BYTES], group[NAME_BYTES];
    snprintf(file, sizeof file, "/proc/%ld/cgroup", id);
    int error = group_name(name, group);
    if (error == 0)
        error = read_group(file, path);
    if (error < 0)
        return error;
    const char *last = strrchr(path, '/');
    return last != NULL && strcmp(last + 1, group) == 0;
}
