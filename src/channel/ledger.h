/* SPDX-License-Identifier: MIT
 * The front of a channel's shared memory: what has to outlive the manager and any one version of
 * Flotilla. The manager notes what the relay at work was told and what memories before this one
 * had counted; the relay shows that it lives, and leaves its totals behind when it ends.
 * Its form never changes but by adding at ends and in gaps, so that the next version's manager can
 * read it where it cannot read the rest. Relies on one writer for each part: manager and relay. */
#ifndef FLOTILLA_CHANNEL_LEDGER_H
#define FLOTILLA_CHANNEL_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "channel/counters.h"
#include "os/descriptor.h"

#define LEDGER_BYTES       (8u << 12)
#define LEDGER_FLAGS_BYTES 8192u

struct ledger_shared; /* opaque */

/* What the manager notes, as a whole. */
struct ledger_notes {
    uint64_t restarts;           /* of the channel's relays, that nobody had asked for */
    uint64_t limit_memory_bytes; /* config_channel's */
    double limit_cpu_percent;
    struct counters carried; /* counted in memories before this one; only what is counted */
    uint64_t layout;         /* a digest of what the flags call --layout; 0: not known */
    uint32_t flags_bytes;
    char flags[LEDGER_FLAGS_BYTES]; /* of settings_write_flags, a NUL behind each */
};

/* Makes fresh memory of LEDGER_BYTES a ledger. 0, or -EBADMSG if it is something else. */
int ledger_make(struct ledger_shared *ledger);
/* Maps the ledger of a channel's memory, whatever version wrote the rest. 0, -EBADMSG, or another
 * negative errno. ledger_unmap ends it. */
int ledger_map(struct ledger_shared **ledger, descriptor_t descriptor);
void ledger_unmap(struct ledger_shared *ledger);

/* Commits the notes as a whole: whenever this process dies, the old or the new are there. */
void ledger_write(struct ledger_shared *ledger, const struct ledger_notes *notes);
/* The current notes. 0, or -EBADMSG if there are none that can be trusted. */
int ledger_read(const struct ledger_shared *ledger, struct ledger_notes *notes);

/* The manager's: the numbers that the interfaces have now which the relay is to send by. Until it
 * says so the first time, what the relay has found by itself holds. */
enum ledger_stream { LEDGER_FULL, LEDGER_DECIMATED, LEDGER_STREAMS };
#define LEDGER_AWAY UINT32_MAX /* there is none of that name */
struct ledger_ways {
    uint32_t index[LEDGER_STREAMS]; /* 0: whichever the routing table chooses, or nobody has said */
};
void ledger_note_ways(struct ledger_shared *ledger, const struct ledger_ways *ways);
/* What was noted; one load. */
struct ledger_ways ledger_ways(const struct ledger_shared *ledger);

/* The relay's: it has opened everything; its id. Forgets what the last one had left. */
void ledger_note_ready(struct ledger_shared *ledger, long id);
/* The id of the relay that was ready last; 0: none was. */
long ledger_ready(const struct ledger_shared *ledger);
/* The relay's, while it goes on: a fresh one is to follow it, which can do what it cannot. */
void ledger_note_wish(struct ledger_shared *ledger, long id);
/* The id of the relay that noted so last; 0: none has. */
long ledger_wish(const struct ledger_shared *ledger);
/* The relay's: it could not trust the rest of the memory, and has emptied it. How often that was.
 */
void ledger_note_reset(struct ledger_shared *ledger);
uint64_t ledger_resets(const struct ledger_shared *ledger);
/* The relay's: it is alive and at work. Once a batch, once a wake-up; one store. */
void ledger_beat(struct ledger_shared *ledger);
uint64_t ledger_beats(const struct ledger_shared *ledger);
/* The last act of the relay `id`: its exit code, and what the memory has counted (NULL where that
 * cannot be told). */
void ledger_note_end(struct ledger_shared *ledger, long id, int exit_code,
                     const struct counters *counters);
/* The exit code of the relay `id`, if it left one and ended since; else -1. */
int ledger_end(const struct ledger_shared *ledger, long id);
/* The totals a relay left behind when it ended. 0, or -ENOENT if it left none. */
int ledger_totals(const struct ledger_shared *ledger, struct counters *counters);

/* The relay's: it has taken all that waited in the socket with this cookie (net_cookie), which was
 * handed down as `draining`, and counted all its drops: both are committed in the memory by then.
 * Said again by each relay that is handed the same socket; a relay that was killed before it could
 * say so is to be followed by one with the same pair of sockets. */
void ledger_note_drained(struct ledger_shared *ledger, uint64_t cookie);
/* The cookie of the socket that was drained last; 0: none was. It stays until another is. A manager
 * may close the socket and its copies once this is its cookie. */
uint64_t ledger_drained(const struct ledger_shared *ledger);

#endif
