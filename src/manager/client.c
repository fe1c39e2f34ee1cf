/* SPDX-License-Identifier: MIT
 * The control socket, the client's side: finding the manager, asking it one thing, waiting for the
 * answer. Relies on libyaml to find one key; waits, so it is for commands only.
 * Declared in control.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "manager/config.h"
#include "manager/control.h"
#include "manager/fleet.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/path.h"
#include "os/storage.h"

#define CONFIG_BYTES_MAX (16u << 20)
#define GONE_PAUSE_NS    (20 * NS_PER_MS)
/* A manager that begins or ends has no socket; one whose folder, lock or socket was removed makes
 * them again when it looks the next time, once a second. */
#define APPEAR_NS (1500 * NS_PER_MS)

/* ---- the one key ---- */

/* The value of the top-level key `runtime`, as libyaml reads it. 1 found, 0 not there, -1 the file
 * is no YAML before it comes. */
static int find_by_yaml(const uint8_t *text, size_t text_bytes, char *value, size_t value_bytes)
{
    yaml_parser_t parser;
    yaml_event_t event;
    if (!yaml_parser_initialize(&parser))
        return -1;
    yaml_parser_set_input_string(&parser, text, text_bytes);
    int depth = 0, result = 0;
    bool is_key = true, ours = false, done = false;
    while (!done) {
        if (!yaml_parser_parse(&parser, &event)) {
            result = -1;
            break;
        }
        bool top = depth == 1, opened = false;
        switch (event.type) {
        case YAML_MAPPING_START_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            depth++;
            opened = true;
            break;
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT:
            depth--;
            top = depth == 1;
            opened = !top; /* the end of a value at the top is what turns to the next key */
            break;
        case YAML_SCALAR_EVENT:
            if (top && ours && !is_key) {
                snprintf(value, value_bytes, "%s", (const char *)event.data.scalar.value);
                result = 1;
                done = true;
            }
            ours = top && is_key && strcmp((const char *)event.data.scalar.value, "runtime") == 0;
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        default:
            opened = true; /* documents and the stream are neither key nor value */
            break;
        }
        if (top && !opened)
            is_key = !is_key;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return result;
}

/* The same out of a file that is no YAML: a line that begins with "runtime:". */
static bool find_by_line(const char *text, char *value, size_t value_bytes)
{
    static const char key[] = "runtime:";
    const char *at = text;
    while (at && strncmp(at, key, strlen(key)) != 0) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    if (!at)
        return false;
    at += strlen(key);
    at += strspn(at, " \t");
    char quote = *at == '"' || *at == '\'' ? *at++ : '\0';
    size_t length = 0;
    while (at[length] && at[length] != '\n' && at[length] != '\r' &&
           (quote ? at[length] != quote : !(at[length] == '#' && length && at[length - 1] == ' ')))
        length++;
    while (!quote && length && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    int used = snprintf(value, value_bytes, "%.*s", (int)length, at);
    return used > 0 && (size_t)used < value_bytes;
}

int control_find_runtime(const char *given, char runtime[CHANNEL_PATH_BYTES_MAX], char *error,
                         size_t error_bytes)
{
    char value[CHANNEL_PATH_BYTES_MAX], folder[CHANNEL_PATH_BYTES_MAX];
    const char *path = config_find(given);
    uint8_t *text = NULL;
    size_t text_bytes = 0;
    int status = file_read_whole(path, CONFIG_BYTES_MAX, &text, &text_bytes);
    /* Where no file is and none was named, a manager can only run at the default place. */
    if (status < 0 &&
        (given || status != -ENOENT || path_runtime(runtime, CHANNEL_PATH_BYTES_MAX) < 0)) {
        snprintf(error, error_bytes, "cannot read the configuration %s: %s", path,
                 file_error_text(status));
        return -EINVAL;
    }
    if (status < 0)
        return 0;
    int found = find_by_yaml(text, text_bytes, value, sizeof value);
    if (found < 0)
        found = find_by_line((const char *)text, value, sizeof value);
    free(text);
    if (found <= 0) {
        char why[1024];
        if (config_read_runtime(path, runtime, CHANNEL_PATH_BYTES_MAX, why, sizeof why) == 0)
            return 0;
        snprintf(error, error_bytes, "%s; cannot tell which manager is meant", why);
        return -EINVAL;
    }
    status = path_folder(path, folder, sizeof folder);
    if (status == 0)
        status = path_join(folder, value, runtime, CHANNEL_PATH_BYTES_MAX);
    if (status < 0) {
        snprintf(error, error_bytes, "%s: runtime: %.200s: %s", path, value, strerror(-status));
        return -EINVAL;
    }
    return 0;
}

/* ---- asking ---- */

long control_process(const char *runtime)
{
    char path[CHANNEL_PATH_BYTES_MAX + 32];
    uint8_t *text = NULL;
    size_t text_bytes;
    snprintf(path, sizeof path, "%s/%s", runtime, CONTROL_PROCESS_FILE);
    if (file_read_whole(path, 64, &text, &text_bytes) < 0)
        return 0;
    long id = strtol((const char *)text, NULL, 10);
    free(text);
    return id > 0 ? id : 0;
}

const char *control_manager(const char *runtime, char text[CONTROL_MANAGER_TEXT_BYTES])
{
    long id = control_process(runtime);
    snprintf(text, CONTROL_MANAGER_TEXT_BYTES, id ? "process %ld" : "another process", id);
    return text;
}

int control_managed(const char *runtime)
{
    struct storage_entry entry;
    int status = storage_look(STORAGE_HERE, runtime, &entry);
    if (status == 0 && !entry.folder)
        return 0;
    int folder = status < 0 ? status : folder_open(runtime);
    if (folder < 0)
        return folder == -ENOENT || folder == -ENOTDIR ? 0 : folder;
    int lock = storage_look(folder, CONTROL_LOCK, &entry);
    if (lock == 0)
        lock = folder_lock(folder, CONTROL_LOCK);
    descriptor_close(folder);
    if (lock >= 0)
        descriptor_close(lock);
    if (lock == -EWOULDBLOCK)
        return 1;
    return lock >= 0 || lock == -ENOENT ? 0 : lock;
}

int control_managed_again(const char *runtime)
{
    char lock[CHANNEL_PATH_BYTES_MAX + 32];
    struct storage_entry entry;
    uint64_t end_ns = clock_monotonic_ns() + APPEAR_NS;
    snprintf(lock, sizeof lock, "%s/%s", runtime, CONTROL_LOCK);
    if (storage_look(STORAGE_HERE, lock, &entry) == -ENOENT && fleet_is_left(runtime))
        while (storage_look(STORAGE_HERE, lock, &entry) == -ENOENT && clock_monotonic_ns() < end_ns)
            clock_sleep_until(clock_monotonic_ns() + GONE_PAUSE_NS);
    return control_managed(runtime);
}

/* Connects, if need be once a manager that is there has a socket again. */
static int connect_to(const char *runtime)
{
    int descriptor = local_connect(runtime, CONTROL_SOCKET);
    if ((descriptor != -ENOENT && descriptor != -ECONNREFUSED) ||
        control_managed_again(runtime) <= 0)
        return descriptor;
    uint64_t end_ns = clock_monotonic_ns() + APPEAR_NS;
    do {
        clock_sleep_until(clock_monotonic_ns() + GONE_PAUSE_NS);
        descriptor = local_connect(runtime, CONTROL_SOCKET);
    } while ((descriptor == -ENOENT || descriptor == -ECONNREFUSED) &&
             clock_monotonic_ns() < end_ns && control_managed(runtime) > 0);
    return descriptor;
}

static void tell_unreachable(const char *runtime, int status, char *error, size_t error_bytes)
{
    bool nobody_listens = status == -ENOENT || status == -ECONNREFUSED;
    if (nobody_listens && control_managed(runtime) > 0) {
        char manager[CONTROL_MANAGER_TEXT_BYTES];
        snprintf(error, error_bytes,
                 "%s manages %s, but does not listen at %s there: it is suspended, or its log says "
                 "why",
                 control_manager(runtime, manager), runtime, CONTROL_SOCKET);
        return;
    }
    if (status == -ENOENT || status == -ECONNREFUSED || status == -ENOTDIR)
        snprintf(error, error_bytes, "no manager runs in %s; start one with 'flotilla run'",
                 runtime);
    else
        snprintf(error, error_bytes, "cannot reach the manager at %s/%s: %s", runtime,
                 CONTROL_SOCKET, strerror(-status));
}

static int send_line(int descriptor, const char *text)
{
    size_t left = strlen(text);
    while (left) {
        long took = local_write(descriptor, text, left);
        if (took < 0)
            return (int)took;
        text += took;
        left -= (size_t)took;
    }
    return local_write(descriptor, "\n", 1) < 0 ? -EPIPE : 0;
}

/* Reads to the end of the connection. Text from malloc, or NULL with `*status` set. */
static char *read_to_end(int descriptor, uint64_t timeout_ms, size_t *bytes, int *status)
{
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    char *text = NULL;
    size_t used = 0, room = 0;
    for (;;) {
        if (used == room) {
            room = room ? room * 2 : 16384;
            char *more = room <= CONTROL_REPLY_BYTES_MAX ? realloc(text, room) : NULL;
            if (!more) {
                *status = -EFBIG;
                break;
            }
            text = more;
        }
        uint64_t now_ns = clock_monotonic_ns();
        *status = local_wait(descriptor, now_ns < end_ns ? (end_ns - now_ns) / NS_PER_MS : 0);
        if (*status < 0)
            break;
        long got = local_read(descriptor, text + used, room - used);
        if (got == 0 || (got == -ECONNRESET && used && text[used - 1] == '\n')) {
            *bytes = used;
            return text;
        }
        *status = (int)got;
        if (got < 0)
            break;
        used += (size_t)got;
    }
    free(text);
    return NULL;
}

/* The lock is held to the manager's last moment: once it can be had, the manager has gone. */
static void wait_until_gone(const char *runtime, uint64_t timeout_ms)
{
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    int folder = folder_open(runtime);
    while (folder >= 0 && clock_monotonic_ns() < end_ns) {
        int lock = folder_lock(folder, CONTROL_LOCK);
        if (lock >= 0)
            descriptor_close(lock);
        if (lock != -EWOULDBLOCK)
            break;
        clock_sleep_until(clock_monotonic_ns() + GONE_PAUSE_NS);
    }
    if (folder >= 0)
        descriptor_close(folder);
}

json_t *control_ask(const char *runtime, const json_t *request, uint64_t timeout_ms,
                    bool until_gone, char *error, size_t error_bytes)
{
    int descriptor = connect_to(runtime);
    if (descriptor < 0) {
        tell_unreachable(runtime, descriptor, error, error_bytes);
        return NULL;
    }
    char *line = json_dumps(request, JSON_COMPACT);
    int status = line ? send_line(descriptor, line) : -ENOMEM;
    free(line);
    size_t bytes = 0;
    char *text = NULL;
    /* A manager that turns us away has said so before it read the request. */
    if (status == 0 || status == -EPIPE)
        text = read_to_end(descriptor, timeout_ms, &bytes, &status);
    descriptor_close(descriptor);
    if (!text) {
        snprintf(error, error_bytes, "the manager in %s does not answer: %s", runtime,
                 status == -ETIMEDOUT ? "time is up" : strerror(-status));
        return NULL;
    }
    json_error_t fault;
    json_t *reply = json_loadb(text, bytes, 0, &fault);
    free(text);
    if (!json_is_object(reply)) {
        snprintf(error, error_bytes, "the manager in %s %s", runtime,
                 bytes ? "gave an answer that is no JSON object" : "ended without an answer");
        json_decref(reply);
        return NULL;
    }
    if (until_gone && !json_object_get(reply, "error"))
        wait_until_gone(runtime, timeout_ms);
    return reply;
}
