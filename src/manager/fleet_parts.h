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
#include "manager/fleet.h"
#include "manager/limits.h"
#include "manager/takeover.h"
#include "os/clock.h"

#define FLEET_REASON_BYTES    256
#define FLEET_RELAY_WORDS_MAX 64 /* of a relay's command line */

struct channel {
    struct fleet *fleet;
    struct channel *next, **link_from;
    struct config_channel config;   /* in force; owns its layout image */
    struct config_channel *pending; /* to be put in force once the relay has gone */
    bool removed;                   /* to be forgotten once the relay has gone */
    bool seen;                      /* the mark of mark and sweep */
    bool layout_written;
    uint64_t layout_digest; /* of a layout that was taken over without its file; else 0 */
    bool retry; /* could not start while others were being stopped: perhaps because of them */

    struct child child;
    struct process process;
    struct loop_watch ended;
    struct loop_timer timer;

    int receive, memory;
    int pending_receive; /* opened ahead of a change of address, so that nothing is missed; or -1 */
    struct staging staging;       /* maps `memory`; not while another version's relay works in it */
    struct ledger_shared *ledger; /* of `memory`; NULL: there is none */

    struct counters carried; /* what memories before this one had counted; the ledger has it, too */
    uint64_t counted_socket; /* ledger_notes' */
    struct counters found;   /* what the memory had counted when the relay was spawned */
    bool fresh;              /* started by the last fleet_apply or fleet_restart, not yet proven */
    uint64_t sample_ns, sample_received;
    double rate;
    uint32_t sample_file; /* a digest of the open file's name; 0: none was seen yet */
    uint64_t full_ns;     /* monotonic: when a full disk was last told of; 0: it is not full */
    uint64_t active_ns;   /* monotonic: when `active_received` last rose; 0: nothing came yet */
    uint64_t active_received;
    uint64_t sound[REJECT_REASONS]; /* rejected before the present row of rejects ... */
    uint64_t resets;    /* how often the memory had been emptied when it was last looked at */
    uint64_t beats;     /* the relay's sign of life when it last changed */
    uint64_t stuck_ns;  /* monotonic: since when datagrams wait and it has not; 0: all is well */
    bool aborted;       /* it hangs, and was told to end ... */
    bool killed;        /* ... and killed */
    bool renew;         /* its relay is to be replaced: it may be an older program */
    bool kill_sent;     /* the relay did not end in time */
    uint32_t finishers; /* relays started to finish, since one was wanted for work */
    uint64_t given_up;  /* datums that were left when nobody could finish it any more */
    bool swept;         /* one more has looked for what came to a socket that goes meanwhile */
    bool drained;       /* the last relay ended as asked: what it had received is on the disk */
    bool hand_over;     /* the relay that is about to be asked to end leaves all to the next */
    char reason[FLEET_REASON_BYTES];
    char blocked[FLEET_REASON_BYTES]; /* why its relay could not be replaced yet; "": it need not */
    char shown[FLEET_REASON_BYTES + 100]; /* the reason as status gives it */
};

struct fleet {
    struct fleet_options options;
    char *runtime, *relay;
    struct channel *first;
    struct holder *holder;
    struct takeover left; /* what an earlier manager left, until a configuration is in force */
    struct loop_timer sample, pulse, renewal;
    struct channel *renewing;                     /* the one whose new relay has not come up yet */
    uint64_t renewing_ns;                         /* monotonic: since when */
    char unrenewable[CHANNEL_NAME_BYTES_MAX + 1]; /* whose new relay did not come up; "" */
    uint64_t rates_ns;                            /* monotonic: when rates are due */
    struct limits limits;
    bool opened;    /* all that an earlier manager has left was found */
    bool left_lost; /* but not what a holder had that did not answer */
    bool closing;
    bool leaving; /* it closes, and all is left to the next manager */
    bool stopping;
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

/* ---- fleet.c: the list ---- */

/* A channel that is in no list yet and has nothing open; the layout image is then its own. NULL:
 * out of memory. */
struct channel *fleet_make_channel(struct fleet *fleet, const struct config_channel *config);
/* The channel of that name, or NULL. */
struct channel *fleet_find(const struct fleet *fleet, const char *name);
/* Moves the channel to the end of the list, so that the list takes the configuration's order. */
void fleet_move_last(struct fleet *fleet, struct channel *channel);
/* Takes the channel out of the list, closes what it has open, frees it. No relay is there. */
void fleet_forget(struct channel *channel);
/* To be called when nothing is being stopped any more. */
void fleet_settle(struct fleet *fleet);

/* ---- fleet_channel.c: what a channel owns ---- */

/* Notes why the channel is not at work. */
__attribute__((format(printf, 2, 3))) void channel_explain(struct channel *channel,
                                                           const char *format, ...);
/* Closes *descriptor, if it is open, and puts -1 in its place. */
void channel_close_one(int *descriptor);
/* RUNTIME/NAMEENDING. 0 or -ENAMETOOLONG. */
int fleet_runtime_path(const struct fleet *fleet, const char *name, const char *ending,
                       char path[CHANNEL_PATH_BYTES_MAX]);
/* Adds what counts up; gauges stay those of `total`. */
void fleet_add_counters(struct counters *total, const struct counters *more);
/* A copy is held for the next manager, in place of the one there was, or no longer. */
void channel_keep(struct channel *channel, enum takeover_kind kind, int descriptor);
void channel_drop(struct channel *channel, enum takeover_kind kind);
/* The same of its relay's process, for as long as that lives. */
void channel_put_process(struct channel *channel);
/* What the relay is told and what was counted before, into the memory itself. */
void channel_write_ledger(struct channel *channel);
/* What the memory counts; zeros if there is none. */
void channel_read_memory(struct channel *channel, struct counters *counters);
void channel_unmap(struct staging *staging, struct ledger_shared *ledger);
/* A socket as the settings want it, or a negative errno. */
int channel_open_receiver(const struct channel_settings *settings);
/* Where the pending settings listen at another address, that is listened at from now on, and the
 * socket is kept for the next manager, too. On the same one, two sockets would both get each
 * datagram of a group; there the new one is opened when the old relay has gone. */
void channel_open_ahead(struct channel *channel);
void channel_close_ahead(struct channel *channel);
/* The old relay has gone: where the pending settings' address is listened at, nothing more comes to
 * the old socket. What waits in it is for one more relay; a manager killed meanwhile leaves it so.
 */
void channel_move_on(struct channel *channel);
/* The channel is removed or its fleet stops: nothing more comes to its socket, unless somebody
 * keeps that for a later start. Its last relay receives all that waits. */
void channel_leave(struct channel *channel);
/* Whether the channel's sockets are closed once its relay has ended. */
bool channel_gives_up_socket(const struct channel *channel);
/* The address is wanted after all: takes that back, with a relay at work or without. */
void channel_hear_again(struct channel *channel);
/* No relay is there: a receiver that is not at the address of the settings is the next one's. */
void channel_sort_receivers(struct channel *channel);
/* Whether one socket does for both. */
bool channel_same_receiver(const struct channel_settings *a, const struct channel_settings *b);
/* Whether the next relay can go on with what this one has in memory and in its open file: then it
 * takes but a moment, however slow the disk is. */
bool channel_can_hand_over(const struct channel *channel);
/* Puts the pending settings in force. No relay is there. */
void channel_adopt(struct channel *channel);
/* A digest of a layout's image; never 0. */
uint64_t channel_layout_digest(const struct config_channel *config);
/* Writes the layout's file, unless it holds what it is to hold. 0, or a negative errno with the
 * reason noted. */
int channel_prepare_layout(struct channel *channel);
/* Whether the next relay will find its program, and can be given its layout. Changes nothing but an
 * empty folder in the layout's place, which goes. 0, or a negative errno with the reason noted. */
int channel_foresee(struct channel *channel);
/* Makes whatever is missing of what the relay needs. 0, or a negative errno with the reason noted.
 * What could be opened stays open: the socket collects datagrams while the rest is waited for. */
int channel_prepare(struct channel *channel);

/* ---- fleet_relay.c: a channel's relay ---- */

/* Takes what happened to its life, and carries out what that asks for. */
void channel_step(struct channel *channel, enum child_event event, long detail);
void channel_timer_due(void *context);
/* Ends the relay if there is one, and starts the next on what is pending by then. But where it is
 * plain that the next one could not be started, the relay stays, the reason is noted and it is
 * tried again (`blocked`). */
void channel_replace_relay(struct channel *channel);
/* Before a channel without a relay is given up: starts one for what is left. */
void channel_finish_first(struct channel *channel);
/* Whether one was to be started for that, could not be, and is tried again. */
bool channel_is_owing(struct channel *channel);
/* Tells what nobody could finish, and counts what waits in a socket that goes; whether a buffer has
 * anything. */
bool channel_tell_unfinished(struct channel *channel);
/* Notes that the relay has worked, once it has. */
void channel_note_work(struct channel *channel);
/* Makes the relay that has the channel's memory, if there is one, the channel's. 0 or a negative
 * errno (-ESRCH: there is none). */
int channel_join_relay(struct channel *channel);
/* Has the relay looked after, by us and by whoever keeps. */
void channel_watch_life(struct channel *channel);
bool channel_has_failed(const struct channel *channel);
/* Whether the relay at work has opened everything. */
bool channel_is_ready(const struct channel *channel);
/* Looks for relays that hang; arms itself again. */
void fleet_pulse_due(void *context);

/* ---- fleet_renewal.c and fleet_view.c ---- */

/* The next step of a renewal; arms itself again until it is through. */
void fleet_renewal_due(void *context);
/* Looks at the counters, for rates, rotations and full disks; arms itself again. */
void fleet_sample_due(void *context);

#endif
