/* SPDX-License-Identifier: MIT
 * The control socket, the manager's side. Each client has a small buffer for its request, its reply
 * as text, and a timer; nothing here ever waits. No known faults. */
#include "control/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/local.h"
#include "os/storage.h"

#define ACCEPT_PAUSE_NS NS_PER_S
#define FIRST_BYTES     4096u

struct client {
    struct control *control;
    struct client *next, **link_from;
    struct loop_watch watch;
    struct loop_timer patience;
    char first[FIRST_BYTES]; /* of a request; all of most */
    char *request;           /* `first`, or from malloc */
    size_t request_bytes, request_room;
    uint64_t ticket; /* of one that is kept; else 0 */
    json_t *held; /* the reply that waits for control_release, or NULL */
    char *reply;  /* from malloc; NULL while the request is not complete */
    size_t reply_bytes, sent_bytes;
};

struct control {
    struct loop *loop;
    char *runtime;
    struct loop_watch listener;
    struct loop_timer pause;        /* armed while clients cannot be taken in */
    uint64_t out_of_descriptors_ns; /* monotonic: when that was last told; 0: never */
    struct control_calls calls;
    struct client *first;
    uint32_t client_count;
    struct client *asking; /* that `answer` is called for */
    uint64_t tickets;      /* given out so far */
    size_t large_bytes;    /* of all requests that have outgrown `first` */
};

json_t *control_refusal(int exit_code, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* A name quoted from a request may be cut within a character. */
    return json_pack("{s:o, s:i}", "error", json_of_text(text), "exit", exit_code);
}

/* Takes clients in (again). */
static void listen_on(void *context)
{
    struct control *control = context;
    loop_disarm(&control->pause);
    if (loop_watch(control->loop, &control->listener, LOOP_READ) < 0)
        loop_arm(control->loop, &control->pause, clock_monotonic_ns() + ACCEPT_PAUSE_NS);
}

static void free_request(struct client *client)
{
    if (client->request == client->first)
        return;
    client->control->large_bytes -= client->request_room;
    free(client->request);
    client->request = client->first;
    client->request_room = sizeof client->first;
}

static void drop_client(struct client *client)
{
    struct control *control = client->control;
    uint64_t gone = client->reply == NULL ? client->ticket : 0;
    free_request(client);
    loop_unwatch(control->loop, &client->watch);
    loop_disarm(&client->patience);
    descriptor_close(client->watch.descriptor);
    *client->link_from = client->next;
    if (client->next)
        client->next->link_from = client->link_from;
    control->client_count--;
    json_decref(client->held);
    free(client->reply);
    free(client);
    if (control->pause.link_from) /* its descriptor is free for another */
        listen_on(control);
    if (gone != 0 && control->calls.gone != NULL)
        control->calls.gone(control->calls.context, gone);
}

static void restart_timeout(struct client *client)
{
    loop_arm(client->control->loop, &client->patience,
             clock_monotonic_ns() + CONTROL_TIMEOUT_MS * NS_PER_MS);
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
    json_decref(client->held);
    client->held = NULL;
    restart_timeout(client);
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

/* From now on only its going away matters; it may have closed its sending side already. */
static void watch_end(struct client *client)
{
    loop_disarm(&client->patience);
    if (loop_watch(client->control->loop, &client->watch, 0) < 0)
        drop_client(client);
}

/* The request is complete: it ends at `line_end`. */
static void answer_client(struct client *client, size_t line_bytes)
{
    struct control *control = client->control;
    json_error_t fault;
    bool hold = false;
    json_t *reply;
    json_t *request = json_loadb(client->request, line_bytes, JSON_REJECT_DUPLICATES, &fault);
    free_request(client);
    control->asking = client;
    if (json_is_object(request))
        reply = control->calls.answer(control->calls.context, request, &hold);
    else
        reply = control_refusal(2, "the request is no JSON object%s%s", request ? "" : ": ",
                                request ? "" : fault.text);
    json_decref(request);
    control->asking = NULL;
    if (client->ticket != 0 && reply == NULL) {
        watch_end(client);
        return;
    }
    client->ticket = 0;
    bool made = reply && set_reply(client, reply);
    if (!made || !hold)
        json_decref(reply);
    if (!made) {
        drop_client(client); /* out of memory: the client sees the connection end */
        return;
    }
    if (!hold) {
        begin_reply(client);
        return;
    }
    client->held = reply;
    watch_end(client);
}

/* Makes room for more of the request; false: the client is on its way out. */
static bool grow_request(struct client *client)
{
    struct control *control = client->control;
    size_t room = 2 * client->request_room;
    if (client->request_room == CONTROL_REQUEST_BYTES_MAX) {
        drop_client(client); /* no request is as long as this */
        return false;
    }
    if (room > CONTROL_REQUEST_BYTES_MAX)
        room = CONTROL_REQUEST_BYTES_MAX;
    char *more = control->large_bytes + room <= CONTROL_LARGE_BYTES_MAX ? malloc(room) : NULL;
    if (more == NULL) {
        json_t *busy = control_refusal(1, "busy: too much is asked of the manager at once; try "
                                          "again");
        if (busy != NULL && set_reply(client, busy))
            begin_reply(client);
        else
            drop_client(client);
        json_decref(busy);
        return false;
    }
    memcpy(more, client->request, client->request_bytes);
    free_request(client);
    client->request = more;
    client->request_room = room;
    control->large_bytes += room;
    return true;
}

static void read_request(struct client *client)
{
    if (client->request_bytes == client->request_room && !grow_request(client))
        return;
    char *at = client->request + client->request_bytes;
    long got =
        local_read(client->watch.descriptor, at, client->request_room - client->request_bytes);
    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        drop_client(client);
        return;
    }
    client->request_bytes += (size_t)got;
    const char *line_end = memchr(at, '\n', (size_t)got);
    if (line_end)
        answer_client(client, (size_t)(line_end - client->request));
    else if (client->request_bytes == CONTROL_REQUEST_BYTES_MAX)
        drop_client(client); /* no request is as long as this */
}

static void client_ready(void *context, unsigned events)
{
    struct client *client = context;
    (void)events;
    if (client->held || (client->ticket != 0 && !client->reply))
        drop_client(client); /* it is watched for nothing but its end */
    else if (!client->reply)
        read_request(client);
    else
        send_reply(client);
}

static void patience_over(void *context)
{
    drop_client(context);
}

/* The client stays in the kernel's queue, and the listener readable: looked at again and again, it
 * would keep the loop from everything else. */
static void cannot_accept(struct control *control, int error)
{
    if (error == EAGAIN)
        return; /* it has gone again */
    uint64_t now_ns = clock_monotonic_ns();
    loop_unwatch(control->loop, &control->listener);
    loop_arm(control->loop, &control->pause, now_ns + ACCEPT_PAUSE_NS);
    if (control->out_of_descriptors_ns &&
        now_ns - control->out_of_descriptors_ns < CONTROL_OUT_OF_DESCRIPTORS_MS * NS_PER_MS)
        return;
    control->out_of_descriptors_ns = now_ns;
    control->calls.out_of_descriptors(control->calls.context, error);
}

/* 0, or the negative errno of having accepted nobody. */
static int accept_client(struct control *control)
{
    int descriptor = local_accept(control->listener.descriptor);
    if (descriptor < 0)
        return descriptor;
    struct client *client =
        control->client_count < CONTROL_CLIENTS_MAX ? calloc(1, sizeof *client) : NULL;
    if (!client) {
        static const char busy[] = "{\"error\": \"busy: too many programs are connected to the "
                                   "manager at once; try again\", \"exit\": 1}\n";
        local_write(descriptor, busy, sizeof busy - 1); /* a fresh socket's buffer takes that */
        descriptor_close(descriptor);
        return 0;
    }
    client->control = control;
    client->request = client->first;
    client->request_room = sizeof client->first;
    client->watch =
        (struct loop_watch){.descriptor = descriptor, .ready = client_ready, .context = client};
    client->patience = (struct loop_timer){.due = patience_over, .context = client};
    client->next = control->first;
    client->link_from = &control->first;
    if (client->next)
        client->next->link_from = &client->next;
    control->first = client;
    control->client_count++;
    restart_timeout(client);
    if (loop_watch(control->loop, &client->watch, LOOP_READ) < 0)
        drop_client(client);
    return 0;
}

static void client_arrives(void *context, unsigned events)
{
    struct control *control = context;
    (void)events;
    int error = accept_client(control);
    if (error < 0)
        cannot_accept(control, -error);
}

int control_open(struct control **control, struct loop *loop, const char *runtime,
                 const struct control_calls *calls)
{
    struct control *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    int descriptor = -1, error = 0;
    made->loop = loop;
    made->calls = *calls;
    made->pause = (struct loop_timer){.due = listen_on, .context = made};
    made->runtime = text_copy(runtime);
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

int control_mend(struct control *control)
{
    struct storage_entry entry;
    int folder = folder_open(control->runtime);
    if (folder < 0)
        return folder;
    int status = storage_look(folder, CONTROL_SOCKET, &entry);
    descriptor_close(folder);
    if (status != -ENOENT && (status < 0 || entry.socket))
        return status;
    int descriptor = local_listen(control->runtime, CONTROL_SOCKET, 0660);
    if (descriptor < 0)
        return descriptor;
    while (accept_client(control) == 0) /* who is connected to the old one by now */
        ;
    loop_disarm(&control->pause);
    loop_unwatch(control->loop, &control->listener);
    descriptor_close(control->listener.descriptor);
    control->listener.descriptor = descriptor;
    listen_on(control);
    return 1;
}

uint64_t control_keep(struct control *control)
{
    control->asking->ticket = ++control->tickets;
    return control->asking->ticket;
}

/* A line that a descriptor goes with, at once or not at all. */
static bool hand(struct client *client, const json_t *line, descriptor_t handed)
{
    char *text = json_dumps(line, JSON_COMPACT);
    size_t bytes = text != NULL ? strlen(text) : 0;
    long took = -ENOMEM;
    if (text != NULL) {
        text[bytes] = '\n';
        took = handed >= 0 ? local_hand(client->watch.descriptor, text, bytes + 1, handed)
                           : local_write(client->watch.descriptor, text, bytes + 1);
    }
    free(text);
    return took == (long)bytes + 1;
}

void control_tell(struct control *control, uint64_t ticket, const json_t *line,
                  descriptor_t handed, bool last)
{
    struct client *client = control->first;
    while (client != NULL && (client->ticket != ticket || client->reply != NULL))
        client = client->next;
    if (client == NULL)
        return;
    if (handed >= 0 || !last) {
        bool told = hand(client, line, handed);
        if (last)
            client->ticket = 0;
        if (!told || last)
            drop_client(client);
        return;
    }
    client->ticket = 0;
    if (set_reply(client, line))
        begin_reply(client);
    else
        drop_client(client);
}

void control_release(struct control *control, const json_t *instead)
{
    for (struct client *client = control->first, *following; client; client = following) {
        following = client->next;
        if (!client->held)
            continue;
        if (!instead)
            control->calls.complete(control->calls.context, client->held);
        if (!set_reply(client, instead ? instead : client->held))
            drop_client(client);
        else
            begin_reply(client);
    }
}

void control_turn_away(struct control *control, const json_t *refusal)
{
    for (struct client *client = control ? control->first : NULL, *following; client;
         client = following) {
        following = client->next;
        if (client->reply && !client->held)
            continue; /* it is being answered */
        uint64_t gone = client->ticket;
        client->ticket = 0;
        if (gone != 0 && control->calls.gone != NULL)
            control->calls.gone(control->calls.context, gone);
        if (!set_reply(client, refusal))
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
    loop_disarm(&control->pause);
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
