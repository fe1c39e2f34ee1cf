/* SPDX-License-Identifier: MIT
 * What the machine around a relay does: datagrams that arrive, a disk that keeps or loses, memory
 * that outlives a process. The fakes are the relay's side of it, the simulation is the other. */
#ifndef FLOTILLA_TESTS_SIM_WORLD_H
#define FLOTILLA_TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "os/direct.h"

enum {
    DESCRIPTOR_RECEIVE = 3,
    DESCRIPTOR_FULL,
    DESCRIPTOR_DECIMATED,
    DESCRIPTOR_MEMORY,
    DESCRIPTOR_DRAINING,
    DESCRIPTOR_LOCK,
    DESCRIPTOR_FOLDER = 100 /* the next for each that takes its place */
};

/* ---- the network (fake_net.c) ---- */

/* When something comes next by itself; UINT64_MAX: never. */
uint64_t world_next_ns(void);
/* Lets everything come that is due. */
void world_arrive(void);
/* The relay calls for datagrams. */
void world_call(void);

struct traffic {
    uint64_t interval_ns; /* between bursts; 0: silence */
    uint32_t burst;       /* datagrams at once, at most */
};
void net_traffic(const struct traffic *traffic);
#define NET_SEGMENTS_MAX 64u
/* What the kernel can do. */
struct net_kernel {
    bool offload;            /* coalesce, and take segmented messages */
    bool from_birth;         /* sockets coalesce already when the relay gets them */
    bool drops_are_messages; /* a coalesced message that is dropped counts once */
    uint32_t run;            /* datagrams sent at once, always so many; 0: any number */
};
void net_kernel(const struct net_kernel *is);
/* A socket as it is opened: empty, nothing dropped, with a cookie of its own. */
void net_socket_new(uint64_t queue_bytes);
/* A new one takes its place: nothing more comes to the old one, in which what came waits. A relay
 * that lives goes on with that, the next is handed both. There must be no older one. */
void net_socket_changes(uint64_t queue_bytes);
/* Of the old one: its drops (false: there is none) and what waits in it; and its end. */
struct net_drops;
bool net_old_socket(struct net_drops *drops, uint32_t *waiting);
void net_old_socket_closed(void);
bool net_is_given_old(void); /* the relay was handed the old one, too */
void net_close(int descriptor);
bool net_is_idle(void);
/* Of this socket: as the kernel counts them, which may be messages or datagrams; and both. */
struct net_drops {
    uint64_t socket; /* its cookie */
    uint32_t counted;
    uint64_t messages, datagrams;
};
void net_drops(struct net_drops *drops);
bool net_is_receiving(void); /* a fiber is inside the call */
void net_life_begins(void);

/* ---- the disk (fake_file.c) ---- */

struct disk_settings {
    bool direct;        /* the file system has direct I/O */
    bool refuses_late;  /* else, only once something is written */
    uint32_t alignment; /* which it asks for */
    bool pages_atomic;  /* where that is a page */
    uint64_t room;      /* bytes */
};
void disk_format(const struct disk_settings *settings);
void disk_room(uint64_t bytes);
uint64_t disk_used(void);
/* All descriptors of a process go, and what its last write had begun is done or not. */
void disk_life_ends(void);
/* What was not synced is kept or lost, page by page. */
void disk_power_cut(void);
/* Whether these bytes can be read there already, on the medium or not. */
bool disk_holds(const struct direct_file *file, struct span bytes, uint64_t offset);
/* Somebody removes or cuts a file; before that `lost` is called with what stood in it. */
bool disk_is_writing(void);

struct disk_file {
    const char *name;
    const uint8_t *bytes;
    size_t count;
    const uint8_t *durable; /* what a power cut would surely leave, if its name is left */
    size_t durable_count;
    bool torn;   /* a write was cut short: its end need not be whole */
    bool harmed; /* somebody cut it; or a failed sync that was told once has shown */
    bool early;  /* what waited of another schema went to it, and may note no place */
};
/* The files in the folder, by name. `index` from 0; false behind the last. */
bool disk_file_at(uint32_t index, struct disk_file *file);
void disk_remove(const char *name);
void disk_cut(const char *name, size_t bytes);
void disk_lose_folder(void);
/* The names as a power cut would surely leave them. */
bool disk_is_name_durable(const char *name);

/* ---- memory (fake_memory.c) ---- */

/* `page` is what the system calls a page: 4096 bytes or a multiple. */
void memory_make(size_t bytes, size_t page);
void memory_forget(void); /* it reads as zero */
void memory_garble(size_t from, size_t to, uint32_t bits);
void memory_life_begins(void);
uint8_t *memory_bytes(size_t *bytes);

/* ---- the rest (fake_host.c) ---- */

void host_life_begins(void);
bool host_is_sandboxed(void);
bool host_is_writing_over(void); /* the writing thread has been waited for */
void host_layout(struct span image);

#endif
