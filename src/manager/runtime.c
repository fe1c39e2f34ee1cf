/* SPDX-License-Identifier: MIT
 * That the lock's file is no longer what its path names tells it, whatever became of the folder. */
#include "manager/runtime.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "control/client.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

/* A predecessor that is just ending, or a client that looks whether it has, may hold the lock. */
#define LOCK_TRIES    10
#define LOCK_PAUSE_NS (30 * NS_PER_MS)

/* For people and scripts: that it cannot be written keeps no manager from its work. */
static void write_process_file(const char *path, int folder)
{
    char file[CHANNEL_PATH_BYTES_MAX + 32], text[32];
    int used = snprintf(text, sizeof text, "%ld\n", process_self());
    struct span line = {.at = (const uint8_t *)text, .bytes = (size_t)used};
    snprintf(file, sizeof file, "%s/%s", path, CONTROL_PROCESS_FILE);
    int error = folder_clear(folder, CONTROL_PROCESS_FILE);
    if (error == 0)
        error = file_write_whole(file, line);
    if (error < 0) {
        folder_remove(folder, CONTROL_PROCESS_FILE); /* an earlier manager's says what is not so */
        log_line("cannot write %s: %s", file, strerror(-error));
    }
}

/* Whether the lock is what others would find. */
static bool is_lock_there(const struct runtime *runtime)
{
    char path[CHANNEL_PATH_BYTES_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", runtime->path, CONTROL_LOCK);
    return descriptor_is_at(runtime->lock, path);
}

static int take_lock(int folder)
{
    int lock = folder_lock(folder, CONTROL_LOCK);
    for (int try = 1; try < LOCK_TRIES && lock == -EWOULDBLOCK; try++) {
        clock_sleep_until(clock_monotonic_ns() + LOCK_PAUSE_NS);
        lock = folder_lock(folder, CONTROL_LOCK);
    }
    return lock;
}

int runtime_take(struct runtime *runtime, const char *path, descriptor_t lock)
{
    snprintf(runtime->path, sizeof runtime->path, "%s", path);
    runtime->lock = lock;
    runtime->folder = folder_open(path);
    if (runtime->folder < 0) {
        log_line("cannot open the runtime folder %s: %s", path, strerror(-runtime->folder));
        return runtime->folder;
    }
    if (runtime->lock >= 0 && !is_lock_there(runtime)) {
        descriptor_close(runtime->lock);
        runtime->lock = -1;
    }
    if (runtime->lock < 0)
        runtime->lock = take_lock(runtime->folder);
    int error = runtime->lock;
    char manager[CONTROL_MANAGER_TEXT_BYTES];
    if (error == -EWOULDBLOCK)
        log_line("a manager already runs in %s: %s", path, control_manager(path, manager));
    else if (error < 0)
        log_line("cannot lock %s/%s: %s", path, CONTROL_LOCK, strerror(-error));
    else
        write_process_file(path, runtime->folder);
    return error < 0 ? error : 0;
}

int runtime_look(struct runtime *runtime)
{
    if (is_lock_there(runtime))
        return 0;
    int folder = folder_open(runtime->path);
    if (folder < 0)
        return folder;
    int lock = take_lock(folder);
    if (lock < 0) {
        descriptor_close(folder);
        return lock;
    }
    write_process_file(runtime->path, folder);
    descriptor_close(runtime->lock);
    descriptor_close(runtime->folder);
    runtime->lock = lock;
    runtime->folder = folder;
    return 1;
}

void runtime_release(struct runtime *runtime)
{
    if (runtime->lock >= 0) {
        folder_remove(runtime->folder, CONTROL_PROCESS_FILE);
        descriptor_close(runtime->lock);
    }
    if (runtime->folder >= 0)
        descriptor_close(runtime->folder);
    runtime->folder = runtime->lock = -1;
}
