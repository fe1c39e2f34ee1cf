/* SPDX-License-Identifier: MIT
 * The header of a container file, whoever wrote it, read as Java, Python and Go read it: keys of
 * any bytes and length, values of any size, an entry that is there twice counts as the last one
 * says. Pure bytes. Source: Avro 1.11 specification, "Object Container Files". */
#ifndef FLOTILLA_ARCHIVE_HEADER_H
#define FLOTILLA_ARCHIVE_HEADER_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/codec.h"
#include "base/span.h"

#define SCAN_SYNC_BYTES       16u
#define SCAN_HEADER_BYTES_MAX (1u << 30) /* of all its metadata, which is held in memory */

/* What the header says. The spans point into its bytes; `at` is NULL for what is not there. */
struct scan_header {
    struct span image; /* the whole header; empty where it was searched around */
    struct span schema, codec_name, channel, host, started, version, format;
    struct span time, sequence; /* the paths of those fields */
    enum codec codec;
    uint8_t sync[SCAN_SYNC_BYTES];
    bool ours;         /* Flotilla's own format, in a form known here */
    bool packed;       /* in that of archive/packed.h */
    bool sound;        /* as far as can be told: our own have a checksum */
    const char *fault; /* what is wrong with it where it is not sound; else NULL */
};

enum header_kind {
    HEADER_WHOLE,
    HEADER_CUT,  /* the bytes end inside it */
    HEADER_BAD,  /* it is none, or damaged */
    HEADER_OTHER /* another kind of file that is known by its first bytes */
};

struct header_place {
    uint64_t at;     /* from the first byte: where the header was found wrong */
    uint64_t needed; /* of HEADER_CUT: at least so many bytes are it */
    const char *why; /* for people; of HEADER_BAD and HEADER_OTHER */
};

/* Reads the header at the start of `bytes`; `header` holds where it is whole. */
enum header_kind header_read(struct scan_header *header, struct span bytes,
                             struct header_place *place);

#endif
