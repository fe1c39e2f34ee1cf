/* SPDX-License-Identifier: MIT
 * The control socket, the manager's side. Each client has a small buffer for its request, its reply
 * as text, and a timer; nothing here ever waits. No known faults. */
#include "manager/control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"

struct client {
    struct control *control;
    struct client *next, **link_from;
    struct loop_watch watch;
    struct loop_timer patience;
    char request[CONTROL_REQUEST_BYTES_MAX];
    size_t request_bytes;
    bool held;   /* the reply waits for control_release */
    char *reply; /* from malloc; NULL while the request is not complete */
    size_t reply_bytes, sent_bytes;
};

struct control {
    struct loop *loop;
    char *runtime;
    struct loop_watch listener;
    control_answer *answer;
    void *context;
    struct client *first;
    uint32_t client_count;
};

json_t *control_refusal(int exit_code, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* A name quoted from a request may be cut within a character; JSON takes whole ones only. */
    json_t *reply = json_pack("{s:s, s:i}", "error", text, "exit", exit_code);
    return reply ? reply : json_pack("{s:s, s:i}", "error", "refused", "exit", exit_code);
}

static void drop_client(struct client *client)
{
    struct control *control = client->control;
    loop_unwatch(control->loop, &client->watch);
    loop_disarm(&client->patience);
    descriptor_close(client->watch.descriptor);
    *client->link_from = client->next;
    if (client->next)
        client->next->link_from = client->link_from;
    control->client_count--;
    free(client->reply);
    free(client);
}

static void be_patient(struct client *client)
{
    loop_arm(client->control->loop, &client->patience,
             clock_monotonic_ns() + CONTROL_PATIENCE_MS * NS_PER_MS);
}

/* Sends what the client takes; drops it when that was all, or when it has gone. */
static void send_reply(struct client *client)
{
    while (client->sent_bytes < client->reply_bytes) {
        long took = local_write(client->watch.descriptor, client->reply + client->sent_bytes,
                                client->reply_bytes - client->sent_bytes);
        if (took == -EAGAIN && loop_watch(client->control->loop, &client->watch, LOOP_WRITE) == 0)
            return;
        if (took <= 0)
            break;
        client->sent_bytes += (size_t)took;
    }
    drop_client(client);
}

static void begin_reply(struct client *client)
{
    client->held = false;
    be_patient(client);
    send_reply(client);
}

/* Notes the reply as the line to be sent. False when out of memory. */
static bool set_reply(struct client *client, const json_t *reply)
{
    free(client->reply);
    client->reply = json_dumps(reply, JSON_COMPACT | JSON_REAL_PRECISION(6));
    if (!client->reply)
        return false;
    client->reply_bytes = strlen(client->reply);
    client->reply[client->reply_bytes++] = '\n'; /* in place of the NUL */
    return true;
}

/* The request is complete: it ends at `line_end`. */
static void answer_client(struct client *client, size_t line_bytes)
{
    struct control *control = client->control;
    json_error_t fault;
    bool hold = false;
    json_t *reply;
    json_t *request = json_loadb(client->request, line_bytes, JSON_REJECT_DUPLICATES, &fault);
    if (json_is_object(request))
        reply = control->answer(control->context, request, &hold);
    else
        reply = control_refusal(2, "the request is no JSON object%s%s", request ? "" : ": ",
                                request ? "" : fault.text);
    json_decref(request);
    bool made = reply && set_reply(client, reply);
    json_decref(reply);
    if (!made) {
        drop_client(client); /* out of memory: the client sees the connection end */
        return;
    }
    if (!hold) {
        begin_reply(client);
        return;
    }
    /* From now on only its going away matters; it may have closed its sending side already. */
    client->held = true;
    loop_disarm(&client->patience);
    if (loop_watch(control->loop, &client->watch, 0) < 0)
        drop_client(client);
}

static void read_request(struct client *client)
{
    long got = local_read(client->watch.descriptor, client->request + client->request_bytes,
                          sizeof client->request - client->request_bytes);
    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        drop_client(client);
        return;
    }
    client->request_bytes += (size_t)got;
    const char *line_end = memchr(client->request, '\n', client->request_bytes);
    if (line_end)
        answer_client(client, (size_t)(line_end - client->request));
    else if (client->request_bytes == sizeof client->request)
        drop_client(client); /* no request is as long as this */
}

static void client_ready(void *context, unsigned events)
{
    struct client *client = context;
    (void)events;
    if (!client->reply)
        read_request(client);
    else if (client->held)
        drop_client(client); /* it is watched for nothing but its end */
    else
        send_reply(client);
}

static void patience_over(void *context)
{
    drop_client(context);
}

static void client_arrives(void *context, unsigned events)
{
    struct control *control = context;
    (void)events;
    int descriptor = local_accept(control->listener.descriptor);
    if (descriptor < 0)
        return;
    struct client *client =
        control->client_count < CONTROL_CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
    if (!client) {
        descriptor_close(descriptor);
        return;
    }
    client->control = control;
    client->watch =
        (struct loop_watch){.descriptor = descriptor, .ready = client_ready, .context = client};
    client->patience = (struct loop_timer){.due = patience_over, .context = client};
    client->next = control->first;
    client->link_from = &control->first;
    if (client->next)
        client->next->link_from = &client->next;
    control->first = client;
    control->client_count++;
    be_patient(client);
    if (loop_watch(control->loop, &client->watch, LOOP_READ) < 0)
        drop_client(client);
}

int control_open(struct control **control, struct loop *loop, const char *runtime,
                 control_answer *answer, void *context)
{
    struct control *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    int descriptor = -1, error = 0;
    made->loop = loop;
    made->answer = answer;
    made->context = context;
    made->runtime = strdup(runtime);
    if (!made->runtime)
        error = -ENOMEM;
    if (error == 0) {
        descriptor = local_listen(runtime, CONTROL_SOCKET, 0660);
        error = descriptor < 0 ? descriptor : 0;
    }
    if (error == 0) {
        made->listener =
            (struct loop_watch){.descriptor = descriptor, .ready = client_arrives, .context = made};
        error = loop_watch(loop, &made->listener, LOOP_READ);
    }
    if (error < 0) {
        if (descriptor >= 0)
            descriptor_close(descriptor);
        free(made->runtime);
        free(made);
        return error;
    }
    *control = made;
    return 0;
}

void control_release(struct control *control, const json_t *instead)
{
    for (struct client *client = control->first, *following; client; client = following) {
        following = client->next;
        if (!client->held)
            continue;
        if (instead && !set_reply(client, instead))
            drop_client(client);
        else
            begin_reply(client);
    }
}

void control_close(struct control *control)
{
    if (!control)
        return;
    control_release(control, NULL);
    while (control->first)
        drop_client(control->first);
    loop_unwatch(control->loop, &control->listener);
    descriptor_close(control->listener.descriptor);
    int folder = folder_open(control->runtime);
    if (folder >= 0) {
        folder_remove(folder, CONTROL_SOCKET);
        descriptor_close(folder);
    }
    free(control->runtime);
    free(control);
}
