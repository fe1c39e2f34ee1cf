/* SPDX-License-Identifier: MIT
 * Fakes of os/net, os/process, os/memory, os/loop, os/clock, the holder, and the little of
 * channel/staging and the runtime folder that a manager needs. Each of them that changes anything
 * is a place where the manager can be killed. */
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/processor.h"
#include "channel/memory.h"
#include "channel/staging.h"
#include "config/config.h"
#include "manager/fleet_parts.h"
#include "os/file.h"
#include "os/health.h"
#include "os/links.h"
#include "os/memory.h"
#include "os/net.h"
#include "os/path.h"
#include "os/process.h"

#define TIMERS_MAX  64
#define WATCHES_MAX 64
#define NAMES_MAX   16
#define ARENA_BYTES (64u << 20)

enum file_kind { FILE_NONE, FILE_SOCKET, FILE_MEMORY, FILE_PROCESS, FILE_LINKS };
struct file {
    enum file_kind kind;
    struct socket *socket;
    struct memory *memory;
    struct relay *relay;
    long id;
};
struct name {
    char text[64];
    struct file of; /* FILE_NONE: not used */
};

struct world world;
jmp_buf world_dies;
static struct file files[FILES_MAX];
static struct name names[NAMES_MAX];
static struct loop_timer *timers;
static struct loop_watch *watches[WATCHES_MAX];
static struct holder_options holder_options_copy;
static uint8_t arena[ARENA_BYTES];
static size_t arena_used;

void world_fail(const char *format, ...)
{
    va_list arguments;
    if (world.failure[0])
        return;
    va_start(arguments, format);
    vsnprintf(world.failure, sizeof world.failure, format, arguments);
    va_end(arguments);
    if (world.trace)
        printf("    FAILED: %s\n", world.failure);
}

void world_trace(const char *format, ...)
{
    va_list arguments;
    if (!world.trace)
        return;
    printf("    ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

void log_line(const char *format, ...)
{
    va_list arguments;
    if (!world.trace)
        return;
    printf("      log: ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

/* ---- the manager's allocations ---- */

void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void __wrap_free(void *at);

void *__wrap_malloc(size_t bytes)
{
    size_t at = arena_used;
    arena_used += (bytes + 15) & ~(size_t)15;
    if (arena_used > ARENA_BYTES)
        abort();
    return arena + at;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return memset(__wrap_malloc(count * bytes), 0, count * bytes);
}

void __wrap_free(void *at)
{
    (void)at; /* all goes with the manager */
}

/* ---- objects and descriptors ---- */

static void effect(const char *what)
{
    world.effects++;
    if (world.crash_in == 0 || --world.crash_in > 0 || !world_may_die(DOWN_MANAGER))
        return;
    world_trace("the manager is killed before: %s", what);
    longjmp(world_dies, 1);
}

static bool relay_ever(const struct socket *socket)
{
    return (socket->holders_ever & ~(HELD_BY_HOLDER | HELD_BY_MANAGER)) != 0;
}

bool world_may_die(uint32_t which)
{
    /* One that was asked to end is as good as gone. */
    const struct relay *relay = relay_alive();
    bool stays = relay && !relay->terminate && !relay->hand_over;
    uint32_t down = world.down | which | (stays ? 0 : DOWN_RELAY);
    return down != (DOWN_MANAGER | DOWN_HOLDER | DOWN_RELAY);
}

static bool is_excused(void)
{
    return world.kills >= CHANNEL_DRAINS_MAX || world.program_missing;
}

void world_unref_socket(struct socket *socket)
{
    if (--socket->references > 0 || socket->queued == 0)
        return;
    /* A new address no relay has come to yet is with the manager and the holder alone. */
    bool both_dead = !relay_ever(socket) && !world.manager_alive && !world.holder_whole;
    /* And what no relay came up on and is not wanted any more is counted and closed; a manager can
     * be killed in that. */
    bool counted = !socket->worked && !world.manager_alive &&
                   (socket->address != world.wanted_address || world.layout_blocked);
    if (!is_excused() && !both_dead && !counted)
        world_fail("%u datagrams are lost with socket %llu", socket->queued,
                   (unsigned long long)socket->cookie);
    world.given_up += socket->queued;
    socket->queued = 0;
}

void world_unref_memory(struct memory *memory)
{
    if (--memory->references > 0 || memory->unsynced == 0)
        return;
    if (!is_excused())
        world_fail("%u datums are lost with a memory", memory->unsynced);
    world.given_up += memory->unsynced;
    memory->unsynced = 0;
}

static void ref(struct file *file)
{
    if (file->kind == FILE_SOCKET)
        file->socket->references++;
    else if (file->kind == FILE_MEMORY)
        file->memory->references++;
}

static void unref(struct file *file)
{
    struct file was = *file;
    file->kind = FILE_NONE;
    if (was.kind == FILE_SOCKET)
        world_unref_socket(was.socket);
    else if (was.kind == FILE_MEMORY)
        world_unref_memory(was.memory);
    else if (was.kind == FILE_PROCESS && was.relay->id == was.id &&
             was.relay->state == PROCESS_ENDED)
        was.relay->state = PROCESS_FREE;
}

static int put_file(struct file file)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (files[i].kind == FILE_NONE) {
            files[i] = file;
            ref(&files[i]);
            return FIRST_FILE + i;
        }
    world_fail("the manager leaks descriptors");
    return -EMFILE;
}

static struct file *file_of(int descriptor, enum file_kind kind)
{
    CHECK(descriptor >= FIRST_FILE && descriptor < FIRST_FILE + FILES_MAX);
    struct file *file = &files[descriptor - FIRST_FILE];
    CHECK(file->kind == kind);
    return file;
}

static struct socket *socket_of(int descriptor)
{
    return file_of(descriptor, FILE_SOCKET)->socket;
}

static struct memory *memory_of(int descriptor)
{
    return file_of(descriptor, FILE_MEMORY)->memory;
}

void descriptor_close(int descriptor)
{
    if (descriptor < 0)
        return;
    CHECK(files[descriptor - FIRST_FILE].kind != FILE_NONE);
    effect("close");
    unref(&files[descriptor - FIRST_FILE]);
}

/* Whoever ended and nobody is left to ask. */
static void forget_ended(void)
{
    for (int i = 0; i < PROCESSES_MAX && !world.manager_alive; i++)
        if (world.relays[i].state == PROCESS_ENDED)
            world.relays[i].state = PROCESS_FREE;
}

void world_manager_dies(void)
{
    world.manager_alive = false;
    world.crash_in = 0;
    world.down |= DOWN_MANAGER;
    for (int i = 0; i < FILES_MAX; i++)
        unref(&files[i]);
    timers = NULL;
    memset(watches, 0, sizeof watches);
    arena_used = 0;
    forget_ended();
}

void world_holder_dies(void)
{
    world.holder_alive = world.holder_whole = false;
    world.down |= DOWN_HOLDER;
    world.holder_ended_unseen = world.manager_alive;
    for (int i = 0; i < NAMES_MAX; i++)
        unref(&names[i].of);
}

void world_reset(bool trace)
{
    for (int i = 0; i < MEMORIES_MAX; i++)
        world.memories[i].references = 0;
    memset(world.sockets, 0, sizeof world.sockets);
    memset(world.relays, 0, sizeof world - offsetof(struct world, relays));
    memset(files, 0, sizeof files);
    memset(names, 0, sizeof names);
    world.trace = trace;
    world.now_ns = NS_PER_S;
    world.ids = 1000;
    world.layout_file = -1;
    world_manager_dies();
}

/* ---- the clock and the loop ---- */

uint64_t clock_monotonic_ns(void)
{
    return world.now_ns;
}

int loop_watch(struct loop *loop, struct loop_watch *watch, unsigned events)
{
    (void)loop;
    (void)events;
    for (int i = 0; i < WATCHES_MAX; i++)
        if (!watches[i]) {
            watches[i] = watch;
            watch->watched = true;
            return 0;
        }
    return -ENOMEM;
}

void loop_unwatch(struct loop *loop, struct loop_watch *watch)
{
    (void)loop;
    for (int i = 0; i < WATCHES_MAX; i++)
        if (watches[i] == watch)
            watches[i] = NULL;
    watch->watched = false;
}

void loop_disarm(struct loop_timer *timer)
{
    if (!timer->link_from)
        return;
    *timer->link_from = timer->next;
    if (timer->next)
        timer->next->link_from = timer->link_from;
    timer->link_from = NULL;
}

void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns)
{
    (void)loop;
    loop_disarm(timer);
    struct loop_timer **at = &timers;
    while (*at && (*at)->deadline_ns <= deadline_ns)
        at = &(*at)->next;
    timer->deadline_ns = deadline_ns;
    timer->next = *at;
    timer->link_from = at;
    if (timer->next)
        timer->next->link_from = &timer->next;
    *at = timer;
}

bool world_manager_turn(void)
{
    if (world.holder_ended_unseen) {
        world.holder_ended_unseen = false;
        world_trace("the manager starts another holder");
        effect("start of a holder");
        world.holder_alive = true;
        holder_options_copy.put_all(holder_options_copy.context);
        return true;
    }
    for (int i = 0; i < WATCHES_MAX; i++) {
        if (!watches[i])
            continue;
        if (files[watches[i]->descriptor - FIRST_FILE].kind == FILE_LINKS) {
            if (world.news) {
                watches[i]->ready(watches[i]->context, LOOP_READ);
                return true;
            }
            continue;
        }
        const struct file *file = file_of(watches[i]->descriptor, FILE_PROCESS);
        if (file->relay->id != file->id || file->relay->state == PROCESS_ENDED) {
            watches[i]->ready(watches[i]->context, LOOP_READ);
            return true;
        }
    }
    return false;
}

void world_time(void)
{
    struct loop_timer *timer = timers;
    if (!timer)
        return;
    if (world.now_ns < timer->deadline_ns)
        world.now_ns = timer->deadline_ns;
    loop_disarm(timer);
    timer->due(timer->context);
}

/* ---- the holder ---- */

static struct name *find_name(const char *text, bool make)
{
    struct name *empty = NULL;
    for (int i = 0; i < NAMES_MAX; i++) {
        if (names[i].of.kind != FILE_NONE && strcmp(names[i].text, text) == 0)
            return &names[i];
        if (names[i].of.kind == FILE_NONE && !empty)
            empty = &names[i];
    }
    if (!make)
        return NULL;
    CHECK(empty != NULL);
    snprintf(empty->text, sizeof empty->text, "%s", text);
    return empty;
}

uint32_t world_held(void)
{
    uint32_t count = 0;
    for (int i = 0; i < NAMES_MAX; i++)
        count += names[i].of.kind != FILE_NONE;
    return count;
}

int holder_open(struct holder **holder, const struct holder_options *options)
{
    *holder = NULL;
    holder_options_copy = *options;
    for (int i = 0; i < NAMES_MAX; i++)
        if (names[i].of.kind != FILE_NONE)
            options->found(options->context, names[i].text, put_file(names[i].of));
    effect("start of a holder");
    world.holder_alive = true;
    return 0;
}

bool holder_was_lost(const struct holder *holder)
{
    (void)holder;
    return false;
}

void holder_put(struct holder *holder, const char *text, int descriptor)
{
    if (!world.holder_alive)
        return;
    effect("put");
    bool receives = strcmp(text, "engine.receive") == 0;
    if (mutant_is("not_held") && receives && find_name(text, false))
        return;
    if (mutant_is("wrong_order") && receives)
        holder_drop(holder, "engine.draining");
    struct name *name = find_name(text, true);
    struct file old = name->of;
    name->of = files[descriptor - FIRST_FILE];
    ref(&name->of);
    unref(&old);
}

void holder_drop(struct holder *holder, const char *text)
{
    struct name *name = world.holder_alive ? find_name(text, false) : NULL;
    (void)holder;
    if (!name)
        return;
    effect("drop");
    unref(&name->of);
}

void holder_put_process(struct holder *holder, const char *name, int process)
{
    (void)holder;
    (void)name;
    (void)process;
}

int holder_barrier(struct holder *holder, uint64_t wait_ms)
{
    (void)holder;
    (void)wait_ms;
    effect("barrier");
    return 0;
}

void holder_tick(struct holder *holder)
{
    (void)holder;
}

void holder_retake(struct holder *holder)
{
    (void)holder;
}

bool holder_is_system(const struct holder *holder)
{
    (void)holder;
    return false;
}

int holder_exec_begin(struct holder *holder)
{
    (void)holder;
    return 0;
}

void holder_exec_failed(struct holder *holder)
{
    (void)holder;
}

long holder_process(const struct holder *holder)
{
    (void)holder;
    return 1;
}

void holder_close(struct holder *holder, bool ended)
{
    (void)holder;
    if (ended)
        world_holder_dies();
}

/* ---- sockets ---- */

uint32_t world_address(const struct address *address)
{
    return address->bytes[3] - 1u;
}

void world_send(uint32_t address)
{
    for (int i = 0; i < SOCKETS_MAX; i++) {
        struct socket *socket = &world.sockets[i];
        if (!socket->references || socket->address != address || socket->quiesced ||
            world.interface == 0 || socket->joined != world.interface)
            continue;
        socket->queued++;
        world.sent++;
    }
}

/* Some managers are told of what happens to interfaces, others have to look. */
static bool is_told(void)
{
    return world.manager % 2;
}

/* Two in a row have the same number, but for who only looks: it cannot tell them apart. */
uint32_t world_number(uint32_t interface)
{
    return (interface + 1) / 2;
}

void world_turn_interface(void)
{
    bool came = world.interface == 0;
    if (!came)
        world.gone = world_number(world.interface);
    world.interface = came ? ++world.interfaces : 0;
    if (came && world.manager_alive && !is_told() && world.interfaces % 2 == 0)
        world.interface = ++world.interfaces;
    world.untold = world.untold || (came && world.interfaces % 3 == 0);
    world.news = true;
    world_trace("interface %u", world.interface);
}

#define UNBOUND UINT32_MAX /* no world_address */

int net_open_receiver(const struct net_receive_options *options)
{
    uint32_t address = world_address(&options->listen);
    struct socket *made = NULL;
    bool in_use = false;
    effect("make a socket");
    for (int i = 0; i < SOCKETS_MAX; i++) {
        struct socket *socket = &world.sockets[i];
        in_use = in_use || (socket->references && socket->address == address);
        if (!socket->references && !made)
            made = socket;
    }
    CHECK(made != NULL);
    *made = (struct socket){.address = UNBOUND, .cookie = ++world.cookies, .layout = -1};
    int descriptor = put_file((struct file){.kind = FILE_SOCKET, .socket = made});
    if (options->made)
        options->made(options->context, descriptor);
    if (in_use || world.interface == 0) {
        descriptor_close(descriptor);
        return in_use ? -EADDRINUSE : -ENODEV;
    }
    effect("bind a socket");
    made->address = address;
    made->joined = world.interface;
    world_trace("socket %llu at address %u", (unsigned long long)made->cookie, address);
    return descriptor;
}

int net_open_receiver_overlapping(const struct net_receive_options *options, int other)
{
    (void)other;
    return net_open_receiver(options);
}

int net_check_receiver(int descriptor, const struct address *listen)
{
    const struct socket *socket = socket_of(descriptor);
    if (socket->address != world_address(listen))
        return -EADDRNOTAVAIL;
    return socket->quiesced ? -EISCONN : 0;
}

/* Refused where an interface of that number was joined: the socket goes by the number. */
static void join(struct socket *socket)
{
    if (world_number(socket->joined) != world_number(world.interface))
        socket->joined = world.interface;
}

int net_adopt_receiver(int descriptor, const struct net_receive_options *options)
{
    struct socket *socket = socket_of(descriptor);
    if (socket->address != world_address(&options->listen))
        return -EADDRNOTAVAIL;
    join(socket);
    return 0;
}

void net_quiesce(int descriptor)
{
    struct socket *socket = socket_of(descriptor);
    effect("quiesce");
    if (!socket->quiesced)
        world_trace("socket %llu hears nobody", (unsigned long long)socket->cookie);
    socket->quiesced = true;
}

int net_resume(int descriptor)
{
    effect("resume");
    socket_of(descriptor)->quiesced = false;
    world_trace("socket %llu hears again", (unsigned long long)socket_of(descriptor)->cookie);
    return 0;
}

uint64_t net_drain(int descriptor)
{
    struct socket *socket = socket_of(descriptor);
    effect("drain");
    uint32_t waiting = socket->queued;
    socket->quiesced = true;
    socket->queued = 0;
    world.given_up += waiting;
    if (waiting && socket->worked && !is_excused())
        world_fail("%u datagrams in socket %llu are given up", waiting,
                   (unsigned long long)socket->cookie);
    return waiting;
}

uint64_t net_cookie(int descriptor)
{
    return socket_of(descriptor)->cookie;
}

int net_wait(descriptor_t descriptor, bool or_interrupt, int64_t timeout_ns)
{
    (void)or_interrupt;
    (void)timeout_ns;
    return socket_of(descriptor)->queued > 0;
}

void net_look(const int *descriptors, uint32_t count, bool *waiting)
{
    (void)descriptors;
    memset(waiting, 0, count); /* no relay hangs here */
}

void net_set_exclusive(int descriptor)
{
    (void)descriptor;
}

int net_rejoin(int descriptor, const struct net_receive_options *was,
               const struct net_receive_options *is)
{
    (void)descriptor;
    (void)was;
    (void)is;
    return -EINVAL;
}

int net_follow(int descriptor, const struct net_receive_options *options, unsigned was, unsigned is)
{
    struct socket *socket = socket_of(descriptor);
    uint32_t number = world_number(world.interface);
    (void)options;
    effect("follow");
    if (is == 0 && was == world_number(socket->joined))
        socket->joined = 0;
    if (is != 0 && is == number && !mutant_is("not_followed"))
        join(socket);
    return is == 0 || is == number ? 0 : -ENODEV;
}

bool net_listens_by_interface(const struct address *listen, const char *interface)
{
    (void)interface;
    return address_is_multicast(listen);
}

int net_interface_index(const char *name)
{
    (void)name;
    return world.interface != 0 ? (int)world_number(world.interface) : -ENODEV;
}

int health_route(const struct address *to, const char *interface, char found[NET_INTERFACE_BYTES])
{
    (void)to;
    (void)interface;
    snprintf(found, NET_INTERFACE_BYTES, "eth0");
    return 0;
}

int links_open(void)
{
    return is_told() ? put_file((struct file){.kind = FILE_LINKS}) : -EAFNOSUPPORT;
}

bool links_read(int links, void (*gone)(void *context, unsigned index), void *context)
{
    (void)links;
    bool told = world.news;
    if (world.untold)
        gone(context, 0);
    else if (world.gone != 0)
        gone(context, world.gone);
    world.gone = 0;
    world.news = world.untold = false;
    return told;
}

int links_has_group(const struct address *group, unsigned index)
{
    bool found = mutant_is("group_believed");
    for (int i = 0; i < SOCKETS_MAX; i++) {
        const struct socket *socket = &world.sockets[i];
        found = found || (socket->references && socket->address == world_address(group) &&
                          socket->joined != 0 && socket->joined == world.interface);
    }
    return found && index == world_number(world.interface);
}

int links_has_address(const struct address *address, const char *interface)
{
    (void)address;
    (void)interface;
    return 0;
}

void net_set_queue(int descriptor, uint64_t bytes)
{
    (void)descriptor;
    (void)bytes;
}

void channel_note_queue(struct channel *channel)
{
    (void)channel;
}

uint64_t net_queue_bytes(int descriptor)
{
    (void)descriptor;
    return 0; /* not known */
}

uint32_t net_dropped(int descriptor)
{
    (void)descriptor;
    return 0;
}

bool net_joins_everybody(const struct prefix *sources, uint32_t source_count)
{
    (void)sources;
    return source_count == 0;
}

/* ---- memories ---- */

int shared_memory_create(const char *name, size_t bytes)
{
    (void)name;
    effect("make a memory");
    for (int i = 0; i < MEMORIES_MAX; i++) {
        struct memory *memory = &world.memories[i];
        if (memory->references)
            continue;
        memset(memory, 0, sizeof *memory);
        memory->bytes = bytes;
        memory->owner = memory->layout = -1;
        return put_file((struct file){.kind = FILE_MEMORY, .memory = memory});
    }
    world_fail("too many memories");
    return -ENOMEM;
}

int64_t shared_memory_bytes(int descriptor)
{
    return (int64_t)memory_of(descriptor)->bytes;
}

int shared_memory_map(int descriptor, size_t bytes, void **memory)
{
    (void)bytes;
    *memory = memory_of(descriptor)->ledger;
    return 0;
}

void shared_memory_unmap(void *memory, size_t bytes)
{
    (void)memory;
    (void)bytes;
}

long shared_memory_holder(int descriptor)
{
    int owner = memory_of(descriptor)->owner;
    return owner < 0 ? 0 : world.relays[owner].id;
}

size_t staging_bytes(const struct channel_settings *settings)
{
    return LEDGER_BYTES + settings->buffer_bytes;
}

int staging_map(struct staging *staging, int descriptor)
{
    struct memory *memory = memory_of(descriptor);
    memset(staging, 0, sizeof *staging);
    staging->memory = (void *)memory;
    staging->bytes = memory->bytes;
    staging->ledger = (struct ledger_shared *)(void *)memory->ledger;
    return ledger_make(staging->ledger);
}

void staging_unmap(struct staging *staging)
{
    staging->memory = NULL;
}

void staging_move(struct staging *to, struct staging *from)
{
    *to = *from;
}

void staging_read(const struct staging *staging, struct counters *counters)
{
    const struct memory *memory = (const void *)staging->memory;
    memset(counters, 0, sizeof *counters);
    counters->unsynced_datums = memory->unsynced;
    counters->batches = memory->batches;
    counters->datums_recorded = memory->recorded;
    counters->datums_accepted = counters->datagrams_received = memory->recorded + memory->unsynced;
    if (memory->file_open)
        snprintf(counters->file, sizeof counters->file, "/recordings/engine/open.part");
}

void staging_read_disk(const struct staging *staging, struct counters *counters)
{
    (void)staging; /* nothing hangs on it */
    (void)counters;
}

/* A relay here dies between its batches. */
bool staging_has_poison(const struct staging *staging)
{
    (void)staging;
    return false;
}

bool staging_is_at_datagram(const struct staging *staging)
{
    (void)staging;
    return false;
}

uint64_t staging_flight_datagrams(const struct staging *staging)
{
    (void)staging;
    return 0;
}

void staging_copy_receiver(const struct staging *staging, struct receiver_state *state)
{
    (void)staging;
    memset(state, 0, sizeof *state);
}

/* ---- processes ---- */

int process_spawn(struct process *process, const char *path, char *const *words,
                  const struct process_descriptor *descriptors, uint32_t descriptor_count,
                  int group)
{
    struct channel_settings settings;
    char error[512];
    int count = 0;
    (void)path;
    (void)group;
    effect("spawn");
    if (world.program_missing)
        return -ENOENT;
    while (words[count])
        count++;
    settings_defaults(&settings);
    if (settings_read_flags(&settings, count - 1, words + 1, error, sizeof error) < 0)
        world_fail("its flags: %s", error);
    CHECK(strcmp(descriptors[0].name, "receive") == 0 &&
          strcmp(descriptors[1].name, "memory") == 0);
    const struct relay *alive = relay_alive();
    if (alive && alive->memory != memory_of(descriptors[1].descriptor))
        world_fail("a relay is started while relay %ld has the channel", alive->id);
    struct relay *relay = relay_start(
        &settings, socket_of(descriptors[0].descriptor), memory_of(descriptors[1].descriptor),
        descriptor_count > 2 ? socket_of(descriptors[2].descriptor) : NULL);
    if (!relay)
        return -EAGAIN;
    process->id = relay->id;
    process->descriptor =
        put_file((struct file){.kind = FILE_PROCESS, .relay = relay, .id = relay->id});
    world_trace("relay %ld: address %u, schema %d%s", relay->id, relay->address, relay->layout,
                relay->draining ? ", an old socket" : "");
    effect("after spawn");
    return 0;
}

static struct relay *find_relay(long id)
{
    for (int i = 0; i < PROCESSES_MAX; i++)
        if (world.relays[i].id == id && world.relays[i].state != PROCESS_FREE)
            return &world.relays[i];
    return NULL;
}

int process_open(struct process *process, long id, uint64_t start)
{
    struct relay *relay = find_relay(id);
    (void)start;
    if (!relay || relay->state == PROCESS_ENDED)
        return -ESRCH;
    process->id = id;
    process->descriptor = put_file((struct file){.kind = FILE_PROCESS, .relay = relay, .id = id});
    return 0;
}

void process_close(struct process *process)
{
    if (process->descriptor >= 0)
        descriptor_close(process->descriptor);
    *process = (struct process)PROCESS_NONE;
}

int process_reap(struct process *process, struct process_end *end)
{
    struct file *file = file_of(process->descriptor, FILE_PROCESS);
    struct relay *relay = file->relay;
    if (relay->id != file->id || relay->manager != world.manager)
        return -ECHILD;
    if (relay->state != PROCESS_ENDED)
        return -EAGAIN;
    *end = (struct process_end){.killed = relay->killed, .code = relay->code};
    process_close(process);
    return 0;
}

bool process_lacks(int error)
{
    return error == -EMFILE || error == -ENOMEM;
}

static struct relay *signalled(const struct process *process, const char *what)
{
    struct relay *relay = find_relay(process->id);
    effect(what);
    world_trace("relay %ld: %s", process->id, what);
    return relay;
}

int process_terminate(const struct process *process)
{
    struct relay *relay = signalled(process, "terminate");
    if (relay)
        relay->terminate = true;
    return 0;
}

int process_hand_over(const struct process *process)
{
    struct relay *relay = signalled(process, "hand over");
    if (relay)
        relay->hand_over = true;
    return 0;
}

int process_kill(const struct process *process)
{
    struct relay *relay = signalled(process, "kill");
    world.kills += CHANNEL_DRAINS_MAX; /* it was given its time */
    if (relay)
        relay_kill(relay);
    return 0;
}

int process_abort(const struct process *process)
{
    return process_kill(process);
}

int process_wait(const struct process *process, uint64_t timeout_ms)
{
    struct relay *relay = find_relay(process->id);
    (void)timeout_ms;
    while (relay && relay->state != PROCESS_ENDED)
        if (!relay_step(relay))
            return -ETIMEDOUT;
    return 0;
}

int process_each(const char *name,
                 int (*each)(void *context, long id, const char *words, size_t bytes),
                 void *context)
{
    static const char words[] = "flotilla-relay\0--layout=" RUNTIME "/engine.layout";
    int status = 0;
    (void)name;
    for (int i = 0; i < PROCESSES_MAX && status == 0; i++)
        if (world.relays[i].memory && world.relays[i].state != PROCESS_DYING)
            status = each(context, world.relays[i].id, words, sizeof words);
    return status;
}

int process_start_time(long id, uint64_t *start)
{
    *start = 1;
    return find_relay(id) ? 0 : -ESRCH;
}

int process_effort(long id, struct process_effort *effort)
{
    (void)id, (void)effort;
    return -ESRCH;
}

bool process_suspended(long id)
{
    (void)id;
    return false;
}

int process_take_descriptor(const struct process *process, int number)
{
    const struct relay *relay = find_relay(process->id);
    if (!relay || !relay->memory)
        return -ESRCH;
    if (number == PROCESS_FIRST_HANDED)
        return put_file((struct file){.kind = FILE_SOCKET, .socket = relay->receive});
    return put_file((struct file){.kind = FILE_MEMORY, .memory = relay->memory});
}

/* ---- the runtime folder, and what else there is ---- */

int fleet_runtime_path(const struct fleet *fleet, const char *name, const char *ending,
                       char path[CHANNEL_PATH_BYTES_MAX])
{
    snprintf(path, CHANNEL_PATH_BYTES_MAX, "%s/%s%s", fleet->runtime, name, ending);
    return 0;
}

uint64_t channel_layout_digest(const struct config_channel *config)
{
    return 1000u + config->layout_image[0];
}

int channel_prepare_layout(struct channel *channel)
{
    if (!channel->config.layout_image)
        return -ENOENT;
    effect("write a layout");
    world.layout_file = channel->config.layout_image[0];
    return 0;
}

int channel_preflight(struct channel *channel)
{
    if (!world.layout_blocked)
        return 0;
    channel_explain(channel, "cannot write its layout");
    return -EISDIR;
}

int file_read_whole(const char *path, size_t bytes_max, uint8_t **bytes, size_t *byte_count)
{
    (void)path;
    (void)bytes_max;
    *bytes = NULL;
    *byte_count = 0;
    if (world.layout_file < 0)
        return -ENOENT;
    *bytes = __wrap_malloc(1);
    **bytes = (uint8_t)world.layout_file;
    *byte_count = 1;
    return 0;
}

int __wrap_remove(const char *path);
int __wrap_remove(const char *path)
{
    (void)path;
    world.layout_file = -1;
    return 0;
}

bool path_exists(const char *path)
{
    (void)path;
    return world.layout_file >= 0;
}

bool config_same_channel(const struct config_channel *a, const struct config_channel *b)
{
    return address_equal(&a->settings.listen, &b->settings.listen) &&
           a->settings.ttl == b->settings.ttl &&
           a->settings.buffer_bytes == b->settings.buffer_bytes && a->layout_image &&
           a->layout_image[0] == b->layout_image[0];
}

int limits_group(struct limits *limits, const struct config_channel *config)
{
    (void)limits;
    (void)config;
    return -1;
}

void limits_forget(struct limits *limits, const char *channel)
{
    (void)limits;
    (void)channel;
}

void limits_close(struct limits *limits)
{
    (void)limits;
}

/* Where a manager finds out by itself that it has gone wrong. */
void check_failed(const char *file, int line, const char *text)
{
    printf("FAILED: %s:%d: check failed: %s\n", file, line, text);
    exit(1);
}

const char *process_signal_text(int signal)
{
    return signal == 9 ? "Killed" : "a signal";
}

uint32_t processor_features(void)
{
    return 0;
}

void staging_note_sockets(struct staging *staging, const struct socket_drops sockets[SOCKETS],
                          uint32_t coalesced)
{
    (void)staging;
    (void)sockets;
    (void)coalesced;
}
