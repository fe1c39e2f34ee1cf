/* SPDX-License-Identifier: MIT
 * What must come out: every datagram that was made, what the kernel handed over, and from that the
 * counters, both streams and the recordings, worked out without the relay's code. Files are read by
 * reader.c. Knows what a kill, a power cut or a lost memory may cost, and fails the episode for
 * anything more. */
#ifndef FLOTILLA_TESTS_SIM_MODEL_H
#define FLOTILLA_TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "channel/settings.h"
#include "channel/staging.h"

#define DATAGRAMS_MAX 20000u

/* What is sent to the channel. */
struct load {
    uint32_t bytes_low, bytes_high; /* of a payload field; equal: all datums are of one size */
    uint32_t datums_max;            /* in a datagram */
    uint32_t invalid, strangers;    /* per million */
    uint32_t gaps;
};

struct datagram {
    struct span bytes;
    uint32_t first_datum, datum_count; /* of valid ones */
    uint32_t source;                   /* the last byte of 10.0.0.x */
    uint32_t dropped;                  /* as the kernel notes it when it queues the datagram */
    uint64_t dropped_datagrams, dropped_messages; /* as it is */
    uint64_t arrival_ns; /* realtime; its low 20 bits are its message's first number */
    uint8_t reason;      /* enum reject; REJECT_REASONS: any */
    bool handed;
};

enum stream { STREAM_FULL, STREAM_DECIMATED, STREAMS };

/* Begins an episode. `fingerprint` is of the layout. */
void model_begin(const struct channel_settings *settings, uint64_t fingerprint);
void model_load(const struct load *load);
/* Makes a datagram; its number. `alike`: of datums as long as those of the one made before. */
uint32_t model_make(uint64_t realtime_ns, bool alike);
struct datagram *model_at(uint32_t number);
/* Whether there is no room for a longest run more. */
bool model_is_full(void);
/* The datagram came in one message with `first`, and is told to have arrived with it. */
void model_join(uint32_t number, uint32_t first);

/* A call for datagrams begins; the kernel hands one over; the relay sends. */
void model_call(const struct staging *staging);
void model_handed(uint32_t number, uint64_t socket);
void model_sent(enum stream stream, struct span bytes, bool taken);

/* The relay was killed, or has ended. */
void model_life_ends(const struct staging *staging);
/* The channel's memory is about to be lost; with `power`, what was not synced as well. */
void model_memory_lost(const struct staging *staging, bool power);
/* It was garbled: from here on only what is recorded is looked at, not how much. */
void model_garbled(void);
/* A file is about to be removed (`bytes` 0) or cut to so many bytes. */
void model_file_lost(const char *name, size_t bytes);
/* The socket is about to be replaced by another. */
void model_socket_lost(const struct staging *staging);
/* The socket before it is drained, and all its drops counted. */
void model_old_socket_closed(void);
/* A file was cut while it may have been written to: what is written behind the hole is lost. */
void model_harmed(void);
/* From here on drops are checked by their bounds only: messages were not all alike. */
void model_drops_inexact(void);
/* The next relay decimates so, from an empty window on. While none lives. */
void model_decimation(const struct staging *staging, enum algorithm algorithm, uint32_t factor);
bool model_is_loose(void);
/* Of a garbled memory that has settled: from here on what is counted must be what comes. */
void model_epoch_ends(const struct staging *staging);
void model_check_working(const struct staging *staging);
/* Something happened after which a file may hold more than is counted. */
void model_inexact(void);

/* The open files are valid at this instant. */
void model_look(void);
/* Whether all that came is accounted for, so that model_check may be called. */
bool model_is_settled(const struct staging *staging);
/* Says what is not. */
_Noreturn void model_fail_unsettled(const struct staging *staging, uint64_t waited_ns);
/* Everything that must hold at a quiet moment. */
void model_check(const struct staging *staging);
/* No file was left open. */
void model_check_ended(void);
/* How long ago the oldest datum was handed over that is not yet recorded; 0: all are. */
uint64_t model_oldest_ns(const struct staging *staging);

#endif
