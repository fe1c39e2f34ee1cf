/* SPDX-License-Identifier: MIT
 * What outlives the manager: a copy of every socket and buffer is held by somebody else, and a
 * manager that is started again gets them back. That is systemd, where it has a store for us
 * ($NOTIFY_SOCKET, and $FDSTORE says how much it takes), else flotilla-keeper, a process of our own
 * that is started at the first need and found again by its socket in the runtime folder.
 * Relies on os/notify for the words and os/loop. Nothing here waits for long on anybody. */
#ifndef FLOTILLA_MANAGER_STORE_H
#define FLOTILLA_MANAGER_STORE_H

#include <stdbool.h>

#include "os/loop.h"
#include "os/notify.h"

struct store; /* opaque; from store_open, freed by store_close */

struct store_options {
    struct loop *loop;   /* must outlive the store */
    const char *runtime; /* copied */
    const char *keeper;  /* path of flotilla-keeper; copied */
    /* Called when what was kept is lost with the keeper: all is to be kept again. */
    void (*lost)(void *context);
    void *context;
    /* Asked before a keeper is started or killed: another manager may have the runtime folder. */
    bool (*in_charge)(void *context);
    void *in_charge_context;
};

/* Calls `found` with each descriptor an earlier manager has left, which is the callee's from then
 * on, of those under one name the newest last, and gets ready to keep others. 0 or a negative
 * errno.
 */
int store_open(struct store **store, const struct store_options *options,
               void (*found)(void *context, const char *name, int descriptor));
/* Keeps a copy under "CHANNEL.KIND", where nothing or the same is kept so. What is not taken now is
 * asked for again by store_look. */
void store_keep(struct store *store, const char *channel, const char *kind, int descriptor);
/* The same, in place of another one. */
void store_replace(struct store *store, const char *channel, const char *kind, int descriptor);
void store_drop(struct store *store, const char *channel, const char *kind);
/* What is kept as `from` is kept as `to` from now on, in place of what was. */
void store_rename(struct store *store, const char *channel, const char *from, const char *to,
                  int descriptor);
/* Lets the keeper know of a channel's relay (a descriptor of pidfd_open(2)), for as long as it
 * lives: a keeper without manager and relays ends. Nothing to systemd. */
void store_know(struct store *store, const char *channel, int process);
/* Waits a moment until what was dropped is closed: an address is free only then. */
void store_settle(struct store *store);
/* To be called about once a second: calls `lost` if something was not taken; has another take the
 * place of a keeper that answers nothing for seconds, and has it make its socket again where that
 * was removed. */
void store_look(struct store *store);
/* Has everything kept where it is found by the program that this process is about to become, if
 * necessary by a keeper of its own. 0 or a negative errno. `lost` is called on the way. */
int store_bridge(struct store *store);
/* It went on as it was: undoes that. */
void store_unbridge(struct store *store);
/* Replaces the keeper by what is then its program; the old one ends when the new one has all. 0, or
 * a negative errno, and then the old one stays. */
int store_renew(struct store *store);
/* Whether systemd keeps. */
bool store_is_system(const struct store *store);
/* The id of the keeper; 0 where systemd keeps. */
long store_keeper(const struct store *store);
/* If the fleet has ended, gives everything up (systemd gives it up itself, unless it starts us
 * anew, and then it is wanted); else leaves all to the next manager, as if this one had been
 * killed. */
void store_close(struct store *store, bool ended);

#endif
