/* SPDX-License-Identifier: MIT
 * One life of a relay: its parts put together over what it inherits (os/inherit.h) or opens itself,
 * and run. No flags and no signals in here, so that a simulation lives it as the program does. */
#ifndef FLOTILLA_RELAY_RELAY_H
#define FLOTILLA_RELAY_RELAY_H

#include "avro/layout.h"
#include "channel/settings.h"
#include "channel/staging.h"
#include "os/notify.h"
#include "relay/receiver.h"
#include "relay/segment.h"
#include "relay/writer.h"

/* How a relay ends, as its exit status. */
enum relay_exit {
    EXIT_STOPPED = 0,
    EXIT_BROKEN = 1,
    EXIT_FLAGS = 2,
    EXIT_TAKEN = 75,    /* another relay has the channel */
    EXIT_SETTINGS = 78, /* these cannot work here */
    EXIT_RENEW = 79     /* a successor is to be started at once: it resumes where this one was */
};

/* The relay's parts, for one channel and one life of the process. */
struct relay {
    struct notify notify; /* to systemd, where no manager is */
    struct channel_settings settings;
    struct layout layout;
    struct staging staging;
    bool has_memory;      /* taken for this process */
    bool memory_outlives; /* somebody keeps it for the next relay */
    struct channel_folder folder;
    struct segment segments[LANES];
    struct block_format format;
    struct writer_thread writer_thread;
    struct receiver receiver;
};

/* Opens everything that the settings ask for; all but the settings and `notify` must be zero. 0 or
 * an enum relay_exit, and then the reason is logged. relay_close ends it in either case. */
int relay_open(struct relay *relay);
/* Goes on where the last relay stopped, and works until asked to stop (os/interrupt.h). An enum
 * relay_exit. Handed an old socket beside its own (INHERIT_DRAINING), to which nothing must come
 * any more (net_quiesce), it takes what waits there first (receiver_run). So a change of
 * address: open the next socket, quiesce the old one, have the relay hand over, start the next with
 * both, and with both again until ledger_drained is the old one's cookie. Where only the old relay
 * knows what the datagrams are (another schema): quiesce its socket and ask it to stop. With
 * EXIT_STOPPED it has taken all that waited in its sockets, and recorded it. */
int relay_work(struct relay *relay);
/* Logs what was counted. */
void relay_report(const struct relay *relay);
/* Leaves its exit status and totals in the ledger, and frees everything. */
void relay_close(struct relay *relay, int status);
/* For a crash handler: notes what datagram it was at. */
void relay_note_crash(struct relay *relay);

#endif
