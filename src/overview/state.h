/* SPDX-License-Identifier: MIT
 * How far a channel's overview is: a small file beside its levels, written as a whole once they are
 * on the medium. What is behind the ends that it names is cut off and made again, so that a level
 * never has a datum twice and never misses one. Of a file that does not pass its checksum nothing
 * is believed. Layout: struct state, little-endian, and CRC-32C of all before it. */
#ifndef FLOTILLA_OVERVIEW_STATE_H
#define FLOTILLA_OVERVIEW_STATE_H

#include <stdint.h>

#include "archive/scan.h"
#include "channel/overview.h"
#include "channel/recording_name.h"
#include "os/descriptor.h"

#define OVERVIEW_REBUILD    ".rebuild" /* a file of this name asks for all to be made again */
#define OVERVIEW_LOCK       ".lock"    /* whoever builds holds it */
#define OVERVIEW_PATH_BYTES 1200u

/* The next datum that is to be taken from recordings. */
struct place {
    uint64_t number; /* of the file; 0: none yet */
    uint8_t sync[SCAN_SYNC_BYTES];
    uint64_t block, index; /* offset of the block, 0: the file's first; and the datum in it */
};

/* A level: made from the recordings, or from the level below. */
struct level_state {
    struct place source;
    uint64_t source_ns;     /* when the newest datum that is in it came in; 0: none is */
    uint64_t number, end;   /* of its open file, and its bytes; end 0: none is open */
    uint64_t stamp_ns;      /* in that file's name */
    uint64_t latest_ns;     /* the newest arrival in its files since ... */
    uint64_t ordered_since; /* ... this one, since which arrivals have not gone back */
    uint64_t datums;        /* that are in all its files together, of the recordings */
};

struct state {
    uint32_t magic, version;
    uint32_t factor, levels;
    struct level_state level[OVERVIEW_LEVELS_MAX];
    uint32_t zero, checksum;
};

/* The path of NAME in the overview of the channel whose folder it is. 0 or -ENAMETOOLONG. */
int state_path(char path[OVERVIEW_PATH_BYTES], const char *folder, const char *name);
/* What the files of a level are called by in place of a channel: "engine-2500". `level` from 1. */
char *state_level_name(char name[RECORDING_NAME_BYTES], const char *channel, uint32_t factor,
                       uint32_t level);

/* 0; -ENOENT; -EBADMSG where it is damaged or of another version; or another negative errno. */
int state_read(struct state *state, const char *folder, const char *channel);
/* `overview` is the open folder of the levels. 0 or a negative errno. */
int state_write(struct state *state, descriptor_t overview, const char *channel);
/* Writes a small file of the overview as a whole, by calls that a sandbox leaves (os/sandbox.h):
 * under another name, synced, renamed over `name`. 0 or a negative errno. */
int state_write_file(descriptor_t overview, const char *name, struct span bytes);

#endif
