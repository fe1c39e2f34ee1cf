/* SPDX-License-Identifier: MIT
 * What other threads hand over stands on a stack each, which the hub's thread takes as a whole when
 * the bell rings. Nothing waits for a lock. */
#include "gateway/hub.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/feed.h"
#include "gateway/jobs.h"
#include "os/bell.h"
#include "os/thread.h"

#define STACK_BYTES (1u << 20)

/* What is handed over, at the front of what it is. */
struct handed {
    struct handed *next;
};

struct stack {
    _Atomic(struct handed *) top;
};

struct hub {
    const struct gateway *gateway;
    struct loop *loop;
    struct loop_watch rung;
    descriptor_t bell;
    struct thread thread;
    struct jobs *jobs;
    struct feeds *feeds;
    struct stack arrivals, done;
    atomic_uint sockets; /* there are, or are on their way */
};

struct arrival {
    struct handed handed;
    const struct dialect *dialect;
    descriptor_t connection;
    size_t early_bytes;
    uint8_t early[];
};

struct work {
    struct handed handed;
    struct hub *hub;
    void (*run)(void *work);
    void (*done)(void *work);
    void *work;
};

/* A socket, and what its dialect has for it. */
struct guest {
    struct hub *hub;
    const struct dialect *dialect;
    struct socket_use use;
    struct socket *socket;
    void *context; /* NULL: its dialect has not taken it */
};

/* ---- handing over ---- */

static void push(struct stack *stack, struct handed *one)
{
    one->next = atomic_load(&stack->top);
    while (!atomic_compare_exchange_weak(&stack->top, &one->next, one))
        ;
}

/* All of it, in the order in which it came. */
static struct handed *take_all(struct stack *stack)
{
    struct handed *one = atomic_exchange(&stack->top, NULL), *first = NULL;
    while (one != NULL) {
        struct handed *next = one->next;
        one->next = first;
        first = one;
        one = next;
    }
    return first;
}

bool hub_has_room(struct hub *hub)
{
    return atomic_load(&hub->sockets) < HUB_SOCKETS_MAX;
}

void hub_take(struct hub *hub, const struct dialect *dialect, descriptor_t connection,
              struct span early)
{
    struct arrival *arrival = malloc(sizeof(*arrival) + early.bytes);
    if (connection < 0 || arrival == NULL || !hub_has_room(hub)) {
        descriptor_close(connection);
        free(arrival);
        return;
    }
    *arrival =
        (struct arrival){.dialect = dialect, .connection = connection, .early_bytes = early.bytes};
    if (early.bytes > 0)
        memcpy(arrival->early, early.at, early.bytes);
    atomic_fetch_add(&hub->sockets, 1);
    push(&hub->arrivals, &arrival->handed);
    bell_ring(hub->bell);
}

/* ---- guests ---- */

static void guest_message(void *context, bool text, struct span message)
{
    struct guest *guest = context;
    if (guest->context != NULL)
        guest->dialect->use.message(guest->context, text, message);
}

static void guest_room(void *context)
{
    struct guest *guest = context;
    if (guest->context != NULL && guest->dialect->use.room != NULL)
        guest->dialect->use.room(guest->context);
}

static void guest_closed(void *context)
{
    struct guest *guest = context;
    if (guest->context != NULL)
        guest->dialect->use.closed(guest->context);
    atomic_fetch_sub(&guest->hub->sockets, 1);
    free(guest);
}

static void open_guest(struct hub *hub, const struct arrival *arrival)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    const struct dialect *dialect = arrival->dialect;
    if (guest != NULL) {
        *guest = (struct guest){.hub = hub,
                                .dialect = dialect,
                                .use = {.message_bytes_max = dialect->use.message_bytes_max,
                                        .queue_bytes_max = dialect->use.queue_bytes_max,
                                        .message = guest_message,
                                        .room = guest_room,
                                        .closed = guest_closed}};
        struct span early = {arrival->early, arrival->early_bytes};
        if (socket_open(&guest->socket, hub->loop, arrival->connection, early, &guest->use,
                        guest) == 0) {
            guest->context = dialect->opened(hub, guest->socket);
            if (guest->context == NULL)
                socket_close(guest->socket, 1013, "no memory");
            return;
        }
    } else {
        descriptor_close(arrival->connection);
    }
    free(guest);
    atomic_fetch_sub(&hub->sockets, 1);
}

/* ---- work ---- */

/* In a thread of those beside it. */
static void run_work(void *job)
{
    struct work *work = job;
    struct hub *hub = work->hub;
    work->run(work->work);
    push(&hub->done, &work->handed);
    bell_ring(hub->bell);
}

bool hub_work(struct hub *hub, void (*run)(void *work), void (*done)(void *work), void *work)
{
    struct work *one = malloc(sizeof(*one));
    if (one == NULL)
        return false;
    *one = (struct work){.hub = hub, .run = run, .done = done, .work = work};
    if (jobs_add(hub->jobs, one))
        return true;
    free(one);
    return false;
}

/* ---- its thread ---- */

struct loop *hub_loop(struct hub *hub)
{
    return hub->loop;
}

struct feeds *hub_feeds(struct hub *hub)
{
    return hub->feeds;
}

const struct gateway *hub_gateway(const struct hub *hub)
{
    return hub->gateway;
}

static void rung(void *context, unsigned events)
{
    struct hub *hub = context;
    struct handed *next;
    (void)events;
    bell_still(hub->bell);
    for (struct handed *one = take_all(&hub->done); one != NULL; one = next) {
        struct work *work = (struct work *)one;
        next = one->next;
        work->done(work->work);
        free(work);
    }
    for (struct handed *one = take_all(&hub->arrivals); one != NULL; one = next) {
        struct arrival *arrival = (struct arrival *)one;
        next = one->next;
        open_guest(hub, arrival);
        free(arrival);
    }
}

static void live(void *context)
{
    struct hub *hub = context;
    int status = loop_run(hub->loop);
    log_line("the live sockets' loop has ended: %s", strerror(-status));
    abort(); /* `flotilla run` starts another gateway */
}

int hub_start(struct hub **made, const struct gateway *gateway)
{
    struct hub *hub = calloc(1, sizeof(*hub));
    if (hub == NULL)
        return -ENOMEM;
    *made = hub;
    hub->gateway = gateway;
    hub->bell = bell_open();
    int status = hub->bell < 0 ? hub->bell : loop_open(&hub->loop);
    hub->rung = (struct loop_watch){.descriptor = hub->bell, .ready = rung, .context = hub};
    if (status == 0)
        status = loop_watch(hub->loop, &hub->rung, LOOP_READ);
    if (status == 0)
        status = jobs_start(&hub->jobs, run_work);
    if (status == 0)
        status = feeds_open(&hub->feeds, hub);
    return status < 0 ? status : thread_start(&hub->thread, live, hub, STACK_BYTES);
}
