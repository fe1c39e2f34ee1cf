/* SPDX-License-Identifier: MIT
 * Groups over a made-up hierarchy: folders with the kernel's files in them, made beforehand, so
 * that what would be written is found in them. The joining is done for real where a v2 hierarchy
 * can be written to; its controllers are not needed for that. Relies on cmocka. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/process.h"

static char root[64], self[96];

static const char *at(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(at(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const char *get(const char *name)
{
    static char text[256];
    FILE *file = fopen(at(name), "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static void make_group(const char *name)
{
    static const char *const files[] = {"cgroup.procs", "cgroup.subtree_control", "memory.max",
                                        "cpu.max"};
    char path[256];
    mkdir(at(name), 0755);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", name, files[i]);
        put(path, "");
    }
}

static int make_tree(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/var/tmp/flotilla-cgroup-XXXXXX");
    assert_non_null(mkdtemp(root));
    snprintf(self, sizeof self, "%s/self", root);
    put("cgroup.controllers", "cpuset cpu io memory pids\n");
    make_group("unit");
    put("unit/cgroup.controllers", "cpu memory\n");
    make_group("unit/manager");
    make_group("unit/channel-engine");
    put("self", "3:cpu:/elsewhere\n0::/unit\n");
    return 0;
}

static int remove_tree(void **state)
{
    (void)state;
    char word[] = "rm", flag[] = "-r";
    char *words[] = {word, flag, root, NULL};
    struct process process;
    struct process_end end;
    assert_int_equal(process_spawn(&process, "/bin/rm", words, NULL, 0, -1), 0);
    assert_int_equal(process_wait(&process, 10000), 0);
    return process_reap(&process, &end);
}

static struct cgroup_system made_up(void)
{
    return (struct cgroup_system){root, self};
}

static void test_divides_its_own_group(void **state)
{
    (void)state;
    struct cgroup cgroup;
    char why[CGROUP_WHY_BYTES];
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), 0);
    assert_true(cgroup.memory && cgroup.cpu && cgroup.moved);
    assert_string_equal(get("unit/manager/cgroup.procs"), "0");
    /* Each controller by a write of its own: the second is written over the first here. */
    assert_string_equal(get("unit/cgroup.subtree_control"), "+cpuory");
    struct cgroup_limits limits = {256u << 20, 50};
    int group = cgroup_make(&cgroup, "engine", &limits);
    assert_true(group >= 0);
    assert_string_equal(get("unit/channel-engine/memory.max"), "268435456");
    assert_string_equal(get("unit/channel-engine/cpu.max"), "5000 10000");
    assert_int_equal(cgroup_join(group), 0);
    assert_string_equal(get("unit/channel-engine/cgroup.procs"), "0");
    close(group);
    cgroup_close(&cgroup);
    assert_string_equal(get("unit/cgroup.procs"), "0");
    assert_int_equal(cgroup.folder, -1);
}

static void test_quotas(void **state)
{
    (void)state;
    static const struct {
        double percent;
        const char *text;
    } cases[] = {{100, "10000 10000"}, {10, "1000 10000"},    {9.5, "9500 100000"},
                 {1, "1000 100000"},   {0.5, "5000 1000000"}, {0.1, "1000 1000000"},
                 {0, "max 100000"}};
    struct cgroup cgroup;
    char why[CGROUP_WHY_BYTES];
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        put("unit/channel-engine/cpu.max", "");
        put("unit/channel-engine/memory.max", "");
        struct cgroup_limits limits = {0, cases[i].percent};
        close(cgroup_make(&cgroup, "engine", &limits));
        assert_string_equal(get("unit/channel-engine/cpu.max"), cases[i].text);
        assert_string_equal(get("unit/channel-engine/memory.max"), "max");
    }
    cgroup_close(&cgroup);
}

static void test_started_in_the_leaf(void **state)
{
    (void)state;
    struct cgroup cgroup;
    char why[CGROUP_WHY_BYTES];
    put("self", "0::/unit/manager\n");
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), 0);
    assert_false(cgroup.moved);
    assert_string_equal(get("unit/manager/cgroup.procs"), "");
    cgroup_close(&cgroup);
    assert_string_equal(get("unit/cgroup.procs"), "");
    struct stat about;
    assert_int_equal(stat(at("unit/manager"), &about), 0);
}

static void test_only_what_was_given(void **state)
{
    (void)state;
    struct cgroup cgroup;
    char why[CGROUP_WHY_BYTES];
    put("unit/cgroup.controllers", "cpuset cpu io\n"); /* "cpuset" is not "cpu" */
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), 0);
    assert_true(cgroup.cpu && !cgroup.memory);
    close(cgroup_make(&cgroup, "engine", &(struct cgroup_limits){1u << 20, 50}));
    assert_string_equal(get("unit/channel-engine/memory.max"), "");
    cgroup_close(&cgroup);
    put("unit/cgroup.controllers", "cpuset io\n");
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), -EOPNOTSUPP);
    assert_non_null(strstr(why, "/unit was given neither memory nor cpu"));
    assert_int_equal(cgroup.folder, -1);
}

static void test_what_cannot_be_had(void **state)
{
    (void)state;
    struct cgroup cgroup;
    bool memory, cpu;
    char why[CGROUP_WHY_BYTES];
    put("self", "0::/../outside\n");
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), -EXDEV);
    put("self", "4:memory:/only/v1\n");
    assert_int_equal(cgroup_open(&cgroup, made_up(), why), -ENOENT);
    cgroup_close(&cgroup); /* of one that failed */
    put("cgroup.controllers", "hugetlb\n");
    assert_int_equal(cgroup_supported(made_up(), &memory, &cpu, why), -EOPNOTSUPP);
    assert_non_null(strstr(why, "bound to v1"));
    assert_false(memory || cpu);
    assert_int_equal(cgroup_supported((struct cgroup_system){NULL, self}, NULL, NULL, why),
                     -EOPNOTSUPP);
    assert_non_null(strstr(why, "no cgroup v2 hierarchy"));
    put("cgroup.controllers", "memory\n");
    assert_int_equal(cgroup_supported(made_up(), &memory, &cpu, why), 0);
    assert_true(memory && !cpu);
    assert_true(cgroup_holds(-5, "engine") < 0);
}

/* A process started in a real group, which the system says, too. */
static void test_joins_for_real(void **state)
{
    (void)state;
    struct cgroup_system system = cgroup_find();
    char path[128];
    snprintf(path, sizeof path, "%s/flotilla-test-%ld", system.root ? system.root : "",
             process_self());
    if (system.root == NULL || mkdir(path, 0755) < 0) {
        print_message("no cgroup v2 hierarchy that can be written to\n");
        skip();
    }
    struct cgroup cgroup = {.folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    int group = cgroup_make(&cgroup, "a.b_c", &(struct cgroup_limits){0});
    char word[] = "sleep", seconds[] = "100";
    char *words[] = {word, seconds, NULL};
    struct process process;
    struct process_end end;
    int spawned = process_spawn(&process, "/bin/sleep", words, NULL, 0, group);
    int holds = cgroup_holds(process.id, "a.b_c"), other = cgroup_holds(process.id, "a");
    cgroup_remove(&cgroup, "a.b_c"); /* which is not empty yet */
    process_kill(&process);
    process_wait(&process, 10000);
    process_reap(&process, &end);
    close(group);
    cgroup_close(&cgroup);
    int removed = rmdir(path);
    assert_int_equal(spawned, 0);
    assert_int_equal(holds, 1);
    assert_int_equal(other, 0);
    assert_true(end.killed && end.code == 9);
    assert_int_equal(removed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_divides_its_own_group, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_quotas, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_started_in_the_leaf, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_only_what_was_given, make_tree, remove_tree),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_had, make_tree, remove_tree),
        cmocka_unit_test(test_joins_for_real),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
