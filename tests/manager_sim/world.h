/* SPDX-License-Identifier: MIT
 * One channel's world: sockets, memories, processes, a holder, a clock. The manager in it is the
 * real one (src/manager) over fakes of src/os; relays are a model that keeps to what a relay
 * promises. The manager can be killed at each of its effects: it then never returns from the call.
 */
#ifndef FLOTILLA_TESTS_MANAGER_SIM_WORLD_H
#define FLOTILLA_TESTS_MANAGER_SIM_WORLD_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "channel/ledger.h"
#include "channel/settings.h"

#define RUNTIME       "/run/simulated"
#define ADDRESSES     3u
#define SOCKETS_MAX   24
#define MEMORIES_MAX  12
#define PROCESSES_MAX 48
#define FILES_MAX     96
#define FIRST_FILE    100 /* descriptors of the manager count from here */

/* Who may hold an object; a bit each, the relays by their place. */
#define HELD_BY_MANAGER (1ull << 62)
#define HELD_BY_HOLDER  (1ull << 61)

struct socket {
    uint32_t references;
    uint64_t holders_ever; /* HELD_BY_ and relays */
    uint32_t address;
    uint32_t joined; /* the interface that it hears, or heard; 0: none */
    bool quiesced;
    bool worked; /* a relay came up on it: what waits in it is not given up any more */
    uint32_t queued;
    uint64_t cookie;
    int layout; /* of the relay that had it as its own; -1: none has */
};

struct memory {
    uint32_t references;
    uint64_t bytes;
    int owner; /* the process with the record lock; -1: none */
    uint32_t unsynced;
    int layout; /* of what waits in it */
    bool file_open;
    uint64_t batches, recorded;
    _Alignas(64) unsigned char ledger[LEDGER_BYTES];
};

enum process_state {
    PROCESS_FREE,
    PROCESS_BOOTING,
    PROCESS_WORKING,
    PROCESS_LAST_WORK, /* it was asked to end, and has looked at its sockets for the last time */
    PROCESS_DYING,     /* killed, but the disk holds it */
    PROCESS_ENDED
};

struct relay {
    enum process_state state;
    long id;
    uint32_t manager; /* whose child it is */
    struct socket *receive, *draining;
    struct memory *memory;
    uint32_t address; /* as it was told */
    int layout;
    uint64_t buffer_bytes;
    bool terminate, hand_over;
    bool killed;
    int code;
};

#define DOWN_MANAGER 1u
#define DOWN_HOLDER  2u
#define DOWN_RELAY   4u

struct world {
    struct socket sockets[SOCKETS_MAX];
    struct memory memories[MEMORIES_MAX];
    struct relay relays[PROCESSES_MAX];
    uint64_t now_ns, cookies;
    long ids;

    /* The manager. */
    bool manager_alive;
    uint32_t manager;  /* its number */
    uint32_t crash_in; /* it dies at the n-th effect from now on; 0: it does not */
    bool program_missing, layout_blocked;
    uint32_t interface;  /* the one that all groups are on; 0: it is gone */
    uint32_t interfaces; /* there were so far */
    uint32_t gone;       /* number of the one that went, which nobody was told of yet */
    bool untold;         /* nor will be: more has happened than there was room to tell */
    bool news;           /* something has changed since it was last told */

    /* The holder. */
    bool holder_alive, holder_ended_unseen;
    bool holder_whole; /* it has everything that the manager has */
    uint32_t down;     /* which of the three have died since all was well: DOWN_ */

    bool disk_slow;
    uint32_t wanted_address;
    int layout_file; /* what the layout's file in the runtime folder says; -1: nothing */

    uint64_t sent, recorded, given_up;
    uint32_t kills; /* of relays */
    uint32_t spawns;
    uint64_t effects, steps;
    char failure[300];
    bool trace;
};
extern struct world world;
extern jmp_buf world_dies; /* where a manager that is killed goes on */

/* Notes what must not be; the first one counts. */
__attribute__((format(printf, 1, 2))) void world_fail(const char *format, ...);
__attribute__((format(printf, 1, 2))) void world_trace(const char *format, ...);

/* world.c */
void world_reset(bool trace);
void world_send(uint32_t address);
/* The interface goes, or another comes, with another number or the same. */
void world_turn_interface(void);
/* What the kernel and the manager know an interface by. */
uint32_t world_number(uint32_t interface);
/* Everything the manager has open is closed; what it had allocated is gone. */
void world_manager_dies(void);
void world_holder_dies(void);
/* Whether an event waits for the manager: hands out one. */
bool world_manager_turn(void);
/* Moves on to the next timer, and hands it out. */
void world_time(void);
void world_unref_socket(struct socket *socket);
void world_unref_memory(struct memory *memory);
/* How many names the holder has. */
uint32_t world_held(void);
uint32_t world_address(const struct address *address);
/* Whether this may die now, too: of the three no more than two at once. */
bool world_may_die(uint32_t which);

/* relay.c */
struct relay *relay_start(const struct channel_settings *settings, struct socket *receive,
                          struct memory *memory, struct socket *draining);
/* Does one thing. Whether there was something to do. */
bool relay_step(struct relay *relay);
void relay_kill(struct relay *relay);
/* The one that works, if one does; or that is about to. */
struct relay *relay_alive(void);

/* mutants.c or whole.c */
bool mutant_choose(const char *name);
bool mutant_is(const char *name);

#endif
