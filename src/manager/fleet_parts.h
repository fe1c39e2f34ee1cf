/* SPDX-License-Identifier: MIT
 * What the files of the fleet share: a channel, the fleet, and what each file does for the others.
 * Nobody else includes this; the fleet's manual is manager/fleet.h. */
#ifndef FLOTILLA_MANAGER_FLEET_PARTS_H
#define FLOTILLA_MANAGER_FLEET_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/ledger.h"
#include "channel/staging.h"
#include "holder/holder.h"
#include "manager/channel_machine.h"
#include "manager/fleet.h"
#include "manager/limits.h"
#include "manager/takeover.h"
#include "os/clock.h"

#define FLEET_RELAY_WORDS_MAX 64 /* of a relay's command line */

/* What a channel waits for, of interfaces and addresses that were or are to be there. */
enum away { AWAY_INPUT = 1, AWAY_OUTPUT = 2 };

/* How far a relay that hangs was told to end. */
enum hang { HANG_NONE, HANG_ABORTED, HANG_KILLED };

struct channel {
    struct fleet *fleet;
    struct channel *next, **link_from;
    struct config_channel config;   /* current; owns its layout image */
    struct config_channel *pending; /* what a change waits to adopt, or NULL */
    struct channel_machine machine;
    uint64_t layout_digest; /* of a layout that was taken over without its file; else 0 */
    bool marked;            /* the next configuration has it: mark and sweep */
    bool await_ready;       /* started by the last fleet_apply or fleet_restart, not yet ready */
    bool removed;           /* was being removed when the fleet was to stop */
    bool restart_pending;   /* to be replaced with all others: it may be an older program */

    struct process process;
    struct loop_watch ended;
    struct loop_timer timer;

    descriptor_t receive, next_receive, draining; /* see channel_socket.c; -1: none */
    descriptor_t memory;
    struct staging staging;       /* maps `memory`; not while another version's relay works in it */
    struct ledger_shared *ledger; /* of `memory`; NULL: there is none */

    struct counters carried; /* what memories before this one had counted; the ledger has it, too */
    struct counters found;   /* what the memory had counted when the relay was spawned */
    uint64_t resets;         /* how often the memory had been emptied when it was last looked at */
    uint64_t given_up;       /* datums that were left when nobody could record them any more */

    uint64_t sample_ns, sample_received;
    double rate;
    uint32_t sample_file; /* a digest of the open file's name; 0: none was seen yet */
    uint64_t full_ns;     /* monotonic: when a full disk was last told of; 0: it is not full */
    uint64_t active_ns;   /* monotonic: when `active_received` last rose; 0: nothing came yet */
    uint64_t active_received;
    uint64_t rejected_at_last_accept[REJECT_REASONS];

    uint64_t queue_bytes;    /* what the receive queue was granted when last looked; 0: not yet */
    uint64_t dropped_before; /* datagrams_dropped when that was last raised */

    uint64_t beats;    /* the relay's sign of life when it last changed */
    uint64_t stuck_ns; /* monotonic: since when datagrams wait and it has not; 0: all is well */
    uint64_t stuck_used_ns; /* of a processor, up to then */
    enum hang hang;

    /* See follow.c. */
    unsigned joined; /* number of the interface that `receive` listens on; 0: none, or not known */
    bool left;       /* it has gone, and was joined before */
    bool doubted;    /* it may have been made anew with the same number, and nobody told of it */
    unsigned away;   /* enum away */
    enum ledger_stream away_stream; /* whose interface is, or was, away */
    unsigned was_there;             /* the same, of what was there at any time */
    uint64_t away_ns[AWAY_OUTPUT + 1]; /* monotonic: since when, by enum away */
    uint64_t unsent_before; /* datagrams that could not be sent, before the way out was away */

    bool awaits;                      /* `reason` is an interface or address, whose coming shows */
    bool lacks;                       /* it is a lack of descriptors, processes or memory */
    char told[FLEET_REASON_BYTES];    /* the reason for not starting that was logged last */
    char reason[FLEET_REASON_BYTES];  /* why it is not at work, or not as it is to be */
    char blocked[FLEET_REASON_BYTES]; /* why its relay could not be replaced yet; "": it need not */
};

struct fleet {
    struct fleet_options options;
    char *runtime, *relay;
    struct channel *first;
    struct holder *holder;
    struct takeover left; /* what an earlier manager left, until a configuration was applied */
    struct loop_timer tick, pulse, restart;
    struct loop_watch links; /* tells of changes to interfaces; not watched: nobody does */
    struct loop_timer look;  /* at them */
    uint64_t looked_ns;
    struct channel *restarting; /* of a restart of all: whose new relay has not come up yet */
    uint64_t restarting_ns;     /* monotonic: since when */
    char restart_failed[CHANNEL_NAME_BYTES_MAX + 1]; /* whose new relay did not come up; "" */
    uint64_t rates_ns;                               /* monotonic: when rates are due */
    struct limits limits;
    bool opened;    /* all that an earlier manager has left was found */
    bool left_lost; /* but not what a holder had that did not answer */
    bool closing;
    bool leaving; /* it closes, and all is left to the next manager */
    bool stopping;
    bool busy; /* something was stopped or replaced, and `settled` was not called since */
    uint32_t unclean_ends;
};

static inline uint64_t fleet_now_ms(void)
{
    return clock_monotonic_ns() / NS_PER_MS;
}

static inline const char *channel_name(const struct channel *channel)
{
    return channel->config.settings.name;
}

/* Whether its relay is being stopped, or has to drain the socket before. */
static inline bool channel_is_busy(const struct channel *channel)
{
    return channel_machine_ends(&channel->machine) ||
           (channel->draining >= 0 && child_alive(&channel->machine.child));
}

/* ---- fleet.c: the list ---- */

/* A channel that is in no list yet and has nothing open; the layout image is then its own. NULL:
 * out of memory. */
struct channel *fleet_make_channel(struct fleet *fleet, const struct config_channel *config);
/* The channel of that name, or NULL. */
struct channel *fleet_find(const struct fleet *fleet, const char *name);
/* Moves the channel to the end of the list, so that the list takes the configuration's order. */
void fleet_move_last(struct fleet *fleet, struct channel *channel);
/* A layout that was taken over without its file is the wanted one's, if their digests say so. 0 or
 * -ENOMEM. */
int channel_recall_layout(struct channel *channel, const struct config_channel *wanted);
/* Tells, once, that nothing is being stopped or replaced any more. */
void fleet_settle(struct fleet *fleet);
/* Forgets the channels that were removed and have come to their end. */
void fleet_sweep(struct fleet *fleet);

/* ---- channel_files.c ---- */

/* RUNTIME/NAMEENDING. 0 or -ENAMETOOLONG. */
int fleet_runtime_path(const struct fleet *fleet, const char *name, const char *ending,
                       char path[CHANNEL_PATH_BYTES_MAX]);
/* A digest of a layout's image; never 0. */
uint64_t channel_layout_digest(const struct config_channel *config);
/* Writes the layout's file, unless it holds what it is to hold. 0, or a negative errno with the
 * reason noted. */
int channel_prepare_layout(struct channel *channel);
/* Whether the next relay will find its program, and can be given its layout. Changes nothing but an
 * empty folder in the layout's place, which goes. 0, or a negative errno with the reason noted. */
int channel_preflight(struct channel *channel);

/* ---- channel_memory.c ---- */

/* Adds what counts up; gauges stay those of `total`. */
void fleet_add_counters(struct counters *total, const struct counters *more);
/* What the relay is told and what was counted before, into the memory itself. */
void channel_write_ledger(struct channel *channel);
/* What the memory counts; zeros if there is none. */
void channel_read_memory(const struct channel *channel, struct counters *counters);
/* A relay that finds the memory damaged empties it: carries over what it had counted before. */
void channel_note_reset(struct channel *channel);
void channel_unmap(struct staging *staging, struct ledger_shared *ledger);
/* Makes the memory that the settings need, unless it is there. 0, or a negative errno with the
 * reason noted. */
int channel_prepare_memory(struct channel *channel);
/* Whether a relay with the pending settings can go on with what is in memory and in the open file.
 */
bool channel_can_go_on(const struct channel *channel);
/* Whether a relay ever came up on this memory. Where none did, none would now. */
bool channel_had_relay(const struct channel *channel);
/* Whether datums are in memory alone, or in a file that is open. */
bool channel_has_unrecorded_data(const struct channel *channel);

/* ---- channel_socket.c ---- */

/* Closes *descriptor, if it is open, and puts -1 in its place. */
void channel_close_one(descriptor_t *descriptor);
/* A copy is held for the next manager in place of what was held under that name; -1: none. */
void channel_hold(struct channel *channel, enum takeover_kind kind, descriptor_t descriptor);
/* The same of its relay's process, for as long as that lives. */
void channel_hold_process(struct channel *channel);
/* The same of all its sockets. */
void receiver_hold(struct channel *channel);
/* Whether a socket that an earlier manager opened is what the settings want; it is joined so. */
bool receiver_fits(descriptor_t descriptor, const struct channel_settings *settings);
/* Whether the pending settings need another socket. */
bool receiver_moves(const struct channel *channel);
/* Opens that, if it can be opened beside the present one, and closes one for another address. None
 * is opened while the last one is being drained. */
void receiver_open_next(struct channel *channel);
/* The change does not come. What that socket got counts as dropped. */
void receiver_close_next(struct channel *channel);
/* Nothing more comes to the socket; what waits in it stays. And back. */
void receiver_quiesce(struct channel *channel);
void receiver_resume(struct channel *channel);
/* To be called before the pending settings become the current ones. */
void receiver_adopt(struct channel *channel, const struct channel_settings *next);
/* Has the socket listen on the interface of that number (0: on none) in place of `joined`. 0 or a
 * negative errno. */
int receiver_follow(struct channel *channel, unsigned index);
/* Opens the socket if there is none. 0, or a negative errno with the reason noted. */
int receiver_prepare(struct channel *channel);
/* Closes the old socket, if the relay has drained it. Whether it did. */
bool receiver_close_drained(struct channel *channel);
/* Whether datagrams wait in the old socket or, if that goes, in the present one. */
bool receiver_waits(const struct channel *channel, bool moves);
/* Closes those, and counts what waits as dropped. */
void receiver_give_up(struct channel *channel, bool moves);
/* Sorts out what an earlier manager held: the newest socket, and the one before it (-1: none). */
void receiver_take_over(struct channel *channel, descriptor_t newest, descriptor_t before);

/* ---- channel_actions.c: what the machine asks for ---- */

/* Notes why the channel is not at work. */
__attribute__((format(printf, 2, 3))) void channel_explain(struct channel *channel,
                                                           const char *format, ...);
/* Takes what happened, and carries out what that asks for. */
void channel_step(struct channel *channel, enum channel_event event, long detail);
/* The same of what is wanted from now on. */
void channel_want(struct channel *channel, enum channel_goal goal);
void channel_timer_due(void *context);

/* ---- fleet_relay.c: a channel's relay ---- */

/* Starts it. 0, or a negative errno with the reason noted. */
int channel_spawn_relay(struct channel *channel);
/* Notes that the relay has worked, once it has. */
void channel_note_work(struct channel *channel);
/* Notes what was dropped before the receive queue was made longer: that is mended. Once a second.
 */
void channel_note_queue(struct channel *channel);
/* Makes the relay that has the channel's memory, if there is one, the channel's. 0 or a negative
 * errno (-ESRCH: there is none). */
int channel_join_relay(struct channel *channel);
bool channel_has_failed(const struct channel *channel);
/* Whether the relay at work has opened everything. */
bool channel_is_ready(const struct channel *channel);

/* ---- hang.c ---- */

/* Has the relay looked after, by us and by whoever holds for the next manager. */
void channel_watch_life(struct channel *channel);
/* Looks for relays that hang, and for old sockets that are drained; arms itself again. */
void fleet_pulse_due(void *context);

/* ---- follow.c ---- */

/* Nothing was away before now, as far as is known: other ways, or another manager's channel. */
void channel_follow_anew(struct channel *channel);
/* Looks where the channel's interfaces and addresses are. */
void channel_follow(struct channel *channel);
/* What is away; "" if all is there. */
void channel_write_away(const struct channel *channel, char *text, size_t text_bytes);
/* From now on changes are noticed; what does not show by itself, by the tick. */
void fleet_follow_begin(struct fleet *fleet);
void fleet_follow_tick(struct fleet *fleet);
/* Gives its descriptor back, until no channel is short of one any more. */
void fleet_follow_less(struct fleet *fleet);
void fleet_follow_end(struct fleet *fleet);

/* ---- fleet_takeover.c ---- */

/* A relay of this fleet works on another memory of the channel: of two managers that started at
 * once, the one that has left meanwhile started it. It ends, and brings to the disk what it has. */
void channel_end_stray(struct channel *channel);
/* A channel that an earlier manager was about to start, and had no memory yet: takes its socket,
 * which collects already. */
void channel_take_begun(struct channel *channel);

/* ---- fleet_restart.c and tick.c ---- */

/* The next step of a restart of all; arms itself again until it is through. */
void fleet_restart_due(void *context);
/* Looks at the counters, for rates, rotations and full disks; arms itself again. */
void fleet_tick_due(void *context);

#endif
