/* SPDX-License-Identifier: MIT
 * The client's side of the control socket. Relies on os/local, and on the lock in the runtime
 * folder. */
#include "control/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "channel/settings.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/process.h"
#include "os/storage.h"

#define GONE_PAUSE_NS (20 * NS_PER_MS)
/* A manager that begins or ends has no socket; one whose folder, lock or socket was removed makes
 * them again when it looks the next time, once a second. */
#define APPEAR_NS (1500 * NS_PER_MS)

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
    int status = storage_look_at(runtime, &entry);
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

/* A relay reads its layout below the folder, a keeper is told the folder. */
static int names_folder(void *context, long id, const char *words, size_t bytes)
{
    static const char flag[] = "--layout=";
    const char *runtime = context;
    size_t length = strlen(runtime);
    (void)id;
    for (const char *word = words; word < words + bytes; word += strlen(word) + 1) {
        const char *path = word + sizeof flag - 1;
        if (strcmp(word, runtime) == 0 ||
            (strncmp(word, flag, sizeof flag - 1) == 0 && strncmp(path, runtime, length) == 0 &&
             path[length] == '/'))
            return 1;
    }
    return 0;
}

bool control_fleet_is_left(const char *runtime)
{
    void *context = (void *)(uintptr_t)runtime;
    return process_each("flotilla-keeper", names_folder, context) == 1 ||
           process_each("flotilla-relay", names_folder, context) == 1;
}

int control_managed_again(const char *runtime)
{
    char lock[CHANNEL_PATH_BYTES_MAX + 32];
    struct storage_entry entry;
    uint64_t end_ns = clock_monotonic_ns() + APPEAR_NS;
    snprintf(lock, sizeof lock, "%s/%s", runtime, CONTROL_LOCK);
    if (storage_look_at(lock, &entry) == -ENOENT && control_fleet_is_left(runtime))
        while (storage_look_at(lock, &entry) == -ENOENT && clock_monotonic_ns() < end_ns)
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
    char piece[16384];
    struct text text = {0};
    for (;;) {
        uint64_t now_ns = clock_monotonic_ns();
        *status = local_wait(descriptor, now_ns < end_ns ? (end_ns - now_ns) / NS_PER_MS : 0);
        if (*status < 0)
            break;
        long got = local_read(descriptor, piece, sizeof piece);
        if (got == 0 || (got == -ECONNRESET && text.bytes && text.at[text.bytes - 1] == '\n')) {
            *bytes = text.bytes;
            *status = -ENOMEM; /* where there is nothing to return */
            return text_take(&text);
        }
        *status = (int)got;
        if (got < 0)
            break;
        text_add_bytes(&text, piece, (size_t)got);
        if (text.failed || text.bytes > CONTROL_REPLY_BYTES_MAX) {
            *status = -EFBIG;
            break;
        }
    }
    text_free(&text);
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

int control_talk_begin(struct control_talk *talk, const char *runtime, const json_t *request,
                       char *error, size_t error_bytes)
{
    *talk = (struct control_talk){.handed = DESCRIPTOR_NONE};
    talk->connection = connect_to(runtime);
    if (talk->connection < 0) {
        tell_unreachable(runtime, talk->connection, error, error_bytes);
        return talk->connection;
    }
    char *line = json_dumps(request, JSON_COMPACT);
    int status = line != NULL ? send_line(talk->connection, line) : -ENOMEM;
    free(line);
    if (status == 0 || status == -EPIPE)
        return 0;
    snprintf(error, error_bytes, "the manager in %s does not answer: %s", runtime,
             strerror(-status));
    return status;
}

/* Takes the first line out of what came; NULL: there is no whole one. */
static json_t *take_line(struct text *came, int *status)
{
    json_error_t fault;
    char *end = came->bytes > 0 ? memchr(came->at, '\n', came->bytes) : NULL;
    if (end == NULL)
        return NULL;
    json_t *line = json_loadb(came->at, (size_t)(end - came->at), 0, &fault);
    size_t left = came->bytes - (size_t)(end - came->at) - 1;
    memmove(came->at, end + 1, left);
    came->bytes = left;
    *status = json_is_object(line) ? 0 : -EBADMSG;
    if (*status == 0)
        return line;
    json_decref(line);
    return NULL;
}

int control_talk_next(struct control_talk *talk, uint64_t timeout_ms, json_t **line)
{
    static const size_t piece = 16384;
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    for (;;) {
        int status = -ETIMEDOUT;
        *line = take_line(&talk->came, &status);
        uint64_t now_ns = clock_monotonic_ns();
        if (*line != NULL || status == -EBADMSG)
            return status;
        status = local_wait(talk->connection, now_ns < end_ns ? (end_ns - now_ns) / NS_PER_MS : 0);
        if (status < 0)
            return status;
        if (talk->came.bytes > CONTROL_REPLY_BYTES_MAX || !text_make_room(&talk->came, piece))
            return -ENOMEM;
        descriptor_t handed = DESCRIPTOR_NONE;
        long got = local_read_handed(talk->connection, talk->came.at + talk->came.bytes, piece,
                                     &handed);
        if (handed >= 0) {
            descriptor_close(talk->handed);
            talk->handed = handed;
        }
        if (got <= 0)
            return got == 0 || got == -ECONNRESET ? -EPIPE : (int)got;
        talk->came.bytes += (size_t)got;
    }
}

void control_talk_end(struct control_talk *talk)
{
    descriptor_close(talk->connection);
    descriptor_close(talk->handed);
    text_free(&talk->came);
    talk->connection = talk->handed = DESCRIPTOR_NONE;
}
