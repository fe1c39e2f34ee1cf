/* SPDX-License-Identifier: MIT
 * The channels of a running manager: their sockets, memories and relays, and how a new
 * configuration is applied (mark, then sweep). The sockets and memories are the fleet's and
 * outlive every relay; a relay gets them handed down. Never reads a datum.
 * Relies on os/loop: everything happens in its callbacks, in one thread. */
#ifndef FLOTILLA_MANAGER_FLEET_H
#define FLOTILLA_MANAGER_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/counters.h"
#include "config/config.h"
#include "manager/child.h"
#include "os/loop.h"
#include "os/process.h"

#define FLEET_SAMPLE_MS       5000u /* how often the counters are looked at for rates */
#define FLEET_TICK_MS         1000u /* and for rotations and full disks */
#define FLEET_PULSE_MS        250u  /* how often the relays' signs of life are looked at ... */
#define FLEET_SUSPECT_MS      50u   /* ... and while one shows none though datagrams wait */
#define FLEET_HANG_MS         300u  /* for so long, asleep or with a processor: it hangs ... */
#define FLEET_HANG_UNKNOWN_MS 3000u /* ... or for so long, where nobody knows what it had ... */
#define FLEET_SUSPENDED_MS    50u   /* ... or for so long, where it is suspended */
#define FLEET_UNREADY_MS      2000u /* for so long a suspended one may be on its way up */
#define FLEET_ABORT_MS        100u  /* what it is given to note what it was at */
#define FLEET_RESTART_MS      10u   /* how often a replaced relay is looked at for being ready */

#define FLEET_REASON_BYTES 256

struct fleet;   /* opaque; from fleet_open, freed by fleet_close */
struct channel; /* opaque; belongs to its fleet */

struct fleet_options {
    struct loop *loop;   /* must outlive the fleet */
    const char *runtime; /* the folder for layouts and process numbers; copied */
    const char *relay;   /* path of the relay program; copied */
    const char *keeper;  /* path of flotilla-keeper; copied */
    /* Called when nothing is being stopped or replaced any more, and when there may be something
     * to remove: a recording was opened (within FLEET_TICK_MS), or a relay finds no room (then
     * again every FLEET_SAMPLE_MS). `context` goes with both. */
    void (*settled)(void *context);
    void (*rotated)(void *context);
    /* Asked before a relay is started, as that may be before the loop is: whether the runtime
     * folder is still this manager's. Once it is not, the process is to end soon. */
    bool (*in_charge)(void *context);
    void *context;
};

/* An empty fleet. 0 or a negative errno. */
int fleet_open(struct fleet **fleet, const struct fleet_options *options);

/* Makes the fleet what an earlier manager of this runtime folder left behind: its channels with
 * their sockets and buffers, and the relays that still run. A relay of which nothing was kept, and
 * whose descriptors cannot be copied either, is ended, waiting up to CHANNEL_GRACE_MS for all.
 * Before the first fleet_apply, which then changes no more than the configuration asks for. Returns
 * how many channels were taken over, or a negative errno: then nothing was ended. */
int fleet_take_over(struct fleet *fleet);
/* Gives up, and counts, what nobody has taken over of channels that an earlier manager was about to
 * start. fleet_apply does it, too; but there a channel that has no socket yet may want it. */
void fleet_release_left(struct fleet *fleet);
/* Takes what the channels that were taken over lack (layouts) from the configuration, if that is
 * still the same; applies nothing. */
void fleet_recall(struct fleet *fleet, const struct config *config);

enum fleet_change { FLEET_ADDED, FLEET_CHANGED, FLEET_REMOVED, FLEET_UNCHANGED, FLEET_CHANGES };

/* Applies a checked configuration: starts what is new, replaces what changed, stops what is
 * gone, leaves the rest alone (but starts what had failed). Takes the channels' layout images out
 * of `config`, which stays the caller's. `note` is called once a channel. What takes time goes on
 * in the loop until fleet_settled. 0, or -ENOMEM with nothing changed. */
int fleet_apply(struct fleet *fleet, struct config *config,
                void (*note)(void *context, enum fleet_change change, const char *channel),
                void *context);

/* Replaces a channel's relay. 0, or -ENOENT if there is no such channel. */
int fleet_restart(struct fleet *fleet, const char *name);

/* Replaces every relay that runs now, one after the other, each as soon as the one before has come
 * up: by what is then the relay program. */
void fleet_restart_all(struct fleet *fleet);
/* How many of them have not been replaced yet. */
uint32_t fleet_restart_pending(const struct fleet *fleet);
/* The channel whose new relay did not come up, so that no further one was replaced; "": all did. */
const char *fleet_restart_failed(const struct fleet *fleet);
/* Makes sure that the program this process is about to become finds everything. 0 or a negative
 * errno. */
int fleet_bridge(struct fleet *fleet);
/* It did not become that program after all. */
void fleet_unbridge(struct fleet *fleet);
/* The id of the process that keeps what outlives the manager; 0: systemd does. */
long fleet_keeper(const struct fleet *fleet);

/* Writes the layouts again into the runtime folder, which was emptied or another manager's. 0 or a
 * negative errno. */
int fleet_repopulate(struct fleet *fleet);

/* Asks every relay to end; `settled` tells when all have. */
void fleet_stop(struct fleet *fleet);

/* Whether every relay that the last fleet_apply or fleet_restart has started is known to be ready,
 * or to have failed. To be asked again until it is. */
bool fleet_ready(struct fleet *fleet);
/* Why the channel's relay, if fleet_apply or fleet_restart has started it, did not come up, also
 * one that was to finish what a removed channel has received, or why the one at work was not
 * replaced; NULL if it did, or there was none. Good until the loop goes on. */
const char *fleet_trouble(const struct fleet *fleet, const char *name);

/* About how many descriptors a manager of this fleet opens. */
uint64_t fleet_descriptors(const struct config *config);

/* Whether nothing is being stopped or replaced. */
bool fleet_settled(const struct fleet *fleet);
/* Relays that ended otherwise than asked since fleet_stop. */
uint32_t fleet_unclean_ends(const struct fleet *fleet);

/* Frees all. Once fleet_stop is through, or where there is nothing, nothing stays: no keeper, no
 * layout. Else this manager has failed, and leaves the relays at work and what is kept to the next.
 */
void fleet_close(struct fleet *fleet);

/* What status shows of a channel. The names are good until the loop goes on. */
struct channel_view {
    const char *name, *state;
    char reason[FLEET_REASON_BYTES + 64]; /* "" if there is nothing to explain */
    long pid;                             /* 0: none */
    uint64_t restarts;
    double rate;              /* datagrams received a second, over the last 5 to 10 s */
    uint64_t dropped_before;  /* of datagrams_dropped: before the queue became as long as it is */
    double budget_seconds;    /* how long the receive queue lasts without a relay; see fleet_view */
    struct counters counters; /* since the manager started */
};

/* The channels in the order of the configuration: NULL gives the first, NULL comes after the last.
 * A channel that was removed is among them while it cannot be brought to an end, and after a stop
 * that could not either. */
const struct channel *fleet_next(const struct fleet *fleet, const struct channel *channel);
/* Describes a channel from its memory alone, without a word to its relay. The budget is what the
 * receive queue holds of 1,400-byte datagrams (charged 2,305 bytes each) at 100 Mbit/s. */
void fleet_view(const struct channel *channel, struct channel_view *view);

#endif
