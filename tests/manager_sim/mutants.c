/* SPDX-License-Identifier: MIT
 * Managers, holders and relays that are broken on purpose, for a simulation that must find each of
 * them out. Most are functions put in front of the real ones by the linker (--wrap, see
 * meson.build); the fakes ask for the others by name. Nothing in src/ knows of them. */
#include <errno.h>
#include <string.h>

#include "manager/fleet_parts.h"
#include "world.h"

static const char *const names[] = {
    "none",
    "no_quiesce",       /* more comes to a socket that is left */
    "no_resume",        /* nothing more comes to one that is wanted after all */
    "closed_early",     /* the old socket is closed before the ledger says that it is drained */
    "closed_never",     /* or never */
    "draining_lost",    /* the next manager does not take the old socket over */
    "next_stays",       /* what was opened for a change that does not come is not closed */
    "adopt_early",      /* settings are adopted that the memory does not fit */
    "data_forgotten",   /* a channel is given up with data in memory */
    "socket_forgotten", /* and with datagrams in its socket */
    "relay_not_found",  /* the next manager does not find the relay at work */
    "killed_is_clean",  /* a relay that was killed counts as one that has drained */
    "not_asked",        /* a relay that was started to drain is not asked to */
    "no_settings",      /* the ledger is not told of the next settings */
    "not_held",         /* the new socket is not held for the next manager */
    "wrong_order",      /* for a moment nobody holds the old socket */
    "never_settled",    /* nobody is told that all is done */
    "two_relays",       /* nor do relays care whether another one has the channel */
    "not_followed",     /* a socket is not joined on the interface that was made anew */
    "group_believed",   /* an interface that was made anew unseen is taken for the one before */
    "drained_early",    /* a relay says that it has drained before it has */
};
static const char *chosen = "none";

bool mutant_choose(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i], name) == 0)
            chosen = names[i];
    return strcmp(chosen, name) == 0;
}

bool mutant_is(const char *name)
{
    return strcmp(chosen, name) == 0;
}

void __real_receiver_quiesce(struct channel *channel);
void __wrap_receiver_quiesce(struct channel *channel);
void __wrap_receiver_quiesce(struct channel *channel)
{
    if (!mutant_is("no_quiesce"))
        __real_receiver_quiesce(channel);
}

void __real_receiver_resume(struct channel *channel);
void __wrap_receiver_resume(struct channel *channel);
void __wrap_receiver_resume(struct channel *channel)
{
    if (!mutant_is("no_resume"))
        __real_receiver_resume(channel);
}

bool __real_receiver_close_drained(struct channel *channel);
bool __wrap_receiver_close_drained(struct channel *channel);
bool __wrap_receiver_close_drained(struct channel *channel)
{
    if (mutant_is("closed_never"))
        return false;
    if (mutant_is("closed_early") && channel->draining >= 0 && channel->ledger)
        ledger_note_drained(channel->ledger, net_cookie(channel->draining));
    return __real_receiver_close_drained(channel);
}

void __real_receiver_take_over(struct channel *channel, int newest, int before);
void __wrap_receiver_take_over(struct channel *channel, int newest, int before);
void __wrap_receiver_take_over(struct channel *channel, int newest, int before)
{
    if (mutant_is("draining_lost") && newest >= 0)
        channel_close_one(&before);
    __real_receiver_take_over(channel, newest, before);
}

void __real_receiver_close_next(struct channel *channel);
void __wrap_receiver_close_next(struct channel *channel);
void __wrap_receiver_close_next(struct channel *channel)
{
    if (!mutant_is("next_stays"))
        __real_receiver_close_next(channel);
}

bool __real_channel_can_go_on(const struct channel *channel);
bool __wrap_channel_can_go_on(const struct channel *channel);
bool __wrap_channel_can_go_on(const struct channel *channel)
{
    return mutant_is("adopt_early") || __real_channel_can_go_on(channel);
}

bool __real_channel_has_unrecorded_data(const struct channel *channel);
bool __wrap_channel_has_unrecorded_data(const struct channel *channel);
bool __wrap_channel_has_unrecorded_data(const struct channel *channel)
{
    return !mutant_is("data_forgotten") && __real_channel_has_unrecorded_data(channel);
}

bool __real_receiver_waits(const struct channel *channel, bool moves);
bool __wrap_receiver_waits(const struct channel *channel, bool moves);
bool __wrap_receiver_waits(const struct channel *channel, bool moves)
{
    return !mutant_is("socket_forgotten") && __real_receiver_waits(channel, moves);
}

int __real_channel_join_relay(struct channel *channel);
int __wrap_channel_join_relay(struct channel *channel);
int __wrap_channel_join_relay(struct channel *channel)
{
    return mutant_is("relay_not_found") || mutant_is("two_relays")
               ? -ESRCH
               : __real_channel_join_relay(channel);
}

unsigned __real_channel_machine_step(struct channel_machine *machine, enum channel_event event,
                                     long detail, const struct channel_facts *facts,
                                     uint64_t now_ms);
unsigned __wrap_channel_machine_step(struct channel_machine *machine, enum channel_event event,
                                     long detail, const struct channel_facts *facts,
                                     uint64_t now_ms);
unsigned __wrap_channel_machine_step(struct channel_machine *machine, enum channel_event event,
                                     long detail, const struct channel_facts *facts,
                                     uint64_t now_ms)
{
    if (mutant_is("killed_is_clean") && event == CHANNEL_KILLED &&
        machine->step == CHANNEL_DRAINING) {
        event = CHANNEL_EXITED;
        detail = 0;
    }
    unsigned todo = __real_channel_machine_step(machine, event, detail, facts, now_ms);
    if (mutant_is("not_asked") && event == CHANNEL_SPAWNED)
        todo &= ~(unsigned)(CHANNEL_DRAIN | CHANNEL_ARM);
    return todo;
}

void __real_channel_write_ledger(struct channel *channel);
void __wrap_channel_write_ledger(struct channel *channel);
void __wrap_channel_write_ledger(struct channel *channel)
{
    if (!mutant_is("no_settings"))
        __real_channel_write_ledger(channel);
}

void __real_fleet_settle(struct fleet *fleet);
void __wrap_fleet_settle(struct fleet *fleet);
void __wrap_fleet_settle(struct fleet *fleet)
{
    if (!mutant_is("never_settled"))
        __real_fleet_settle(fleet);
}
