/* SPDX-License-Identifier: MIT
 * What the files of the scan share, and nobody else: the window on the file (scan_window.c), one
 * block judged (scan_block.c), markers and headers looked for (scan_lost.c), the walk (scan.c). */
#ifndef FLOTILLA_ARCHIVE_SCAN_PARTS_H
#define FLOTILLA_ARCHIVE_SCAN_PARTS_H

#include "archive/codec.h"
#include "archive/scan.h"
#include "avro/block.h"
#include "avro/datum.h"
#include "base/varint.h"

#define WINDOW_BYTES    (1u << 20)
#define BACK_BYTES      (512u << 10) /* a block of our own is at most that long */
#define FRONT_BYTES_MAX (2u * VARINT_BYTES_MAX)

struct scan {
    struct scan_source source;
    struct scan_header header;
    uint8_t *header_image;
    struct schema_file *schema;
    uint8_t *layout_image;
    struct layout layout;

    uint8_t *window; /* file bytes [window_from, window_from + window_bytes) */
    size_t window_room, window_bytes;
    uint64_t window_from;
    size_t ahead; /* how much is read at once */
    struct unpacker *unpacker;
    /* Where some of the datums of the block at hand end: datum `ends_first` begins at `ends_from`,
     * `ends_count` of them are known. */
    uint64_t *ends, ends_first, ends_from;
    uint32_t ends_count, ends_room;

    uint64_t base;         /* where the header at hand begins: 0, but in files joined end to end */
    uint64_t at;           /* where the next block begins */
    bool show;             /* what is damaged, too, as far as it can be decoded */
    bool end_doubted;      /* the header is not sound, and may end elsewhere than it says */
    bool header_lost;      /* the walk begins with the file: no header stands in front of it */
    uint64_t header_taken; /* bytes lost or missing that were put down to the header */
    int64_t shift;         /* how far blocks stand behind the place they were written at */
    bool shift_unknown;    /* until the next one tells, after a seek */
    bool ended;
    struct scan_event waiting[4];
    uint32_t waiting_count, waiting_next;
};

/* ---- the window ---- */

/* Brings file bytes [offset, offset + bytes) into the window, as far as the file goes; `view` is
 * what is there. Earlier views end. 0 or a negative errno. */
int scan_look(struct scan *scan, uint64_t offset, size_t bytes, struct span *view);
/* Whether the sync marker stands at `offset`, without moving the window if it is not there. */
int scan_is_marker(struct scan *scan, uint64_t offset, bool *is);

/* ---- a block ---- */

/* What is known of a block after it was judged. */
struct verdict {
    bool intact;
    bool marked;            /* it ends in the sync marker */
    bool beyond;            /* it cannot be judged here: `event.what` says why */
    bool plausible;         /* its front may be true, by what a datum takes */
    uint64_t claimed_bytes; /* by its front */
    struct scan_event event;
};

/* Judges the block at `offset`. 0, or a negative errno of reading. */
int scan_judge(struct scan *scan, uint64_t offset, struct verdict *verdict);
/* By its front and by the sync marker at its end alone. */
int scan_judge_front(struct scan *scan, uint64_t offset, struct verdict *verdict);
/* Reads a block's front: its datums, its bytes, and the bytes of the front. False with the fault
 * noted if that cannot be one. */
bool scan_read_front(const struct scan *scan, struct span view, struct verdict *verdict,
                     int64_t *size, size_t *front);
/* What of a foreign block at fault is certain: `event` gets the datums from its first byte on up to
 * the fault, as `data` and `shown`; none where nothing says that it is a block. Its end is where it
 * says (`marked`), or it ends at `to` (`cut`). 0 or a negative errno. */
int scan_salvage(struct scan *scan, const struct verdict *fault, uint64_t to,
                 struct scan_event *event);
/* Notes a fault. Returns 0. */
int scan_bad(struct verdict *verdict, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- what is lost, and found ---- */

/* Finds the sync marker from `from` on; `*found` is the file's size if there is none. */
int scan_find_marker(struct scan *scan, uint64_t from, uint64_t *found);
/* Whether an intact block begins behind `from` and ends in the marker at `marker`. */
int scan_find_before(struct scan *scan, uint64_t from, uint64_t marker, struct verdict *verdict);
/* Finds the first "Obj\x01" in [from, to); `*found` is `to` if there is none. */
int scan_find_magic(struct scan *scan, uint64_t from, uint64_t to, uint64_t *found);
/* Looks at every byte for blocks that tell the marker; the header gets the one that most bytes are
 * of, for a piece of another file may stand in this one. */
int scan_search_marker(struct scan *scan, bool *found);
/* The header's sync marker may be what is damaged: where the checksum says so, or it stands nowhere
 * else, the one that the blocks agree on is better. So is their codec, where a header that names
 * none may have lost it and the first block is none as it stands. */
int scan_doubt_marker(struct scan *scan);

#endif
