/* SPDX-License-Identifier: MIT
 * Walks a container file of any origin block by block, judges each, and goes on behind damage: what
 * verify, recover and info see of a file. Memory is one window of the file and one block, unpacked.
 * Pure bytes: reads through a source. Relies on archive/codec, the schema and avro/block for our
 * own format. Known faults: a file cut exactly between two of its blocks is a shorter file that is
 * sound. */
#ifndef FLOTILLA_ARCHIVE_SCAN_H
#define FLOTILLA_ARCHIVE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "archive/header.h"
#include "avro/layout.h"
#include "base/span.h"
#include "schema/schema.h"

#define SCAN_BYTES_UNKNOWN (1ull << 62)

/* Where the bytes come from. */
struct scan_source {
    /* Reads up to `bytes` at `offset`. Returns how many (fewer: the end), or a negative errno. */
    long (*read)(void *context, uint8_t *into, size_t bytes, uint64_t offset);
    /* Whether these bytes are what the medium holds; if not, `why` gets a message. NULL: all are.
     */
    bool (*was_read)(void *context, uint64_t offset, uint64_t bytes, char *why, size_t why_bytes);
    /* The size the file has by now: what the end of one that grows cuts off is no fault. NULL: it
     * does not grow. */
    uint64_t (*bytes_now)(void *context);
    void *context;
    uint64_t bytes; /* the file is judged by this size, even if it grows */
    /* A pipe: every byte is read once, in order, and `bytes` is SCAN_BYTES_UNKNOWN. What stands
     * behind damage cannot be searched then: a fault ends it. */
    bool forward;
};

enum scan_kind {
    SCAN_END,
    SCAN_BLOCK,
    SCAN_FAULT,
    SCAN_UNREAD, /* a block that stands whole, as its front and its end say, and cannot be judged
                    here: `what` names the limit of this program that it is over, or the codec */
    SCAN_HEADER  /* another container file begins here, joined behind: its header holds now */
};

struct scan_event {
    enum scan_kind kind;
    uint64_t offset;
    /* Of the block. Of a fault: what is lost from `offset` on; 0 where nothing is. */
    uint64_t bytes;
    /* Of the block. Of a fault: what the lost bytes claim to be, 0 where they make no claim; of
     * these `lost` are, the others are in `data`. */
    uint64_t count, lost;
    uint64_t kept_bytes; /* of a fault: of its `bytes` those that `data` is made from */
    /* Of a fault: bytes that once stood in front of this offset and do not any more; negative:
     * bytes that stand there and did not. */
    int64_t missing_bytes;
    uint64_t header_bytes; /* of a fault: as many of those were the header's, as far as is known */
    uint64_t arrival_ns;   /* of the block's first datum; our own format only */
    bool ours, cut;        /* in our own format; the file ends inside it */
    bool packed;           /* of our own, in the form of archive/packed.h */
    uint16_t place;        /* block_place when it was written, 0: does not say */
    struct span image;     /* the block as it stands; until the next call */
    struct span data;      /* its datums; until the next call */
    /* How many scan_datum gives: all `count` of a block; of one that is unread those in front of
     * what is over the limit. Of a fault: in a block of others without a packed form, or one that
     * the file's end cuts off, those from its first byte on up to the fault; nothing proves them.
     * With scan_show: all that decode. */
    uint64_t shown;
    char what[160]; /* the fault, for people, without its place */
};

/* What reading took, for figures. All zero to begin with; added to. */
struct scan_cost {
    uint64_t reads, bytes;
};

struct scan;

/* Reads the header and its schema. 0, or a negative errno with a message for people in `error`,
 * beginning with the offset (-EBADMSG: no header that can be read; -ENOMSG: a file of another kind,
 * known by its first bytes; -EFBIG: over a limit of this program). A header whose checksum is
 * wrong is no failure: see scan_header.sound. The scan is freed with scan_close. */
int scan_open(struct scan **scan, const struct scan_source *source, char *error,
              size_t error_bytes);

/* For a file without a header that can be read: searches for a block whose datums are of `schema`,
 * which tells the sync marker and the codec. -ENODATA if there is none, -EINVAL if the schema is
 * wrong, with a message. */
int scan_search(struct scan **scan, const struct scan_source *source, struct span schema,
                char *error, size_t error_bytes);

/* From here on damage is shown rather than skipped: a fault brings what can be decoded of its block
 * (`data`, `ends`, `shown`), though its checksum is wrong, say, and the walk goes on behind the
 * block where its end is where it says, else it ends. Faults do not tell what is lost then. */
void scan_show(struct scan *scan);

/* Goes by another schema than the header's. 0, or -EINVAL or -EFBIG (over a limit) with a message.
 */
int scan_use_schema(struct scan *scan, struct span schema, char *error, size_t error_bytes);

const struct scan_header *scan_header(const struct scan *scan);
const struct schema_file *scan_schema(const struct scan *scan);
const struct layout *scan_layout(const struct scan *scan);
uint64_t scan_bytes(const struct scan *scan); /* the size the file is judged by */

/* Takes the next block that is intact, or the next fault. Blocks come in the order of the file;
 * faults and blocks never overlap. 0 (SCAN_END again and again at the end), or the negative errno
 * of reading or of no memory. */
int scan_next(struct scan *scan, struct scan_event *event);

/* As scan_next, but reads the block's front and its sync marker only: nothing is decoded, and the
 * first fault ends it. For a whole file; not to be mixed with scan_next. */
int scan_next_front(struct scan *scan, struct scan_event *event);

/* Goes on at `offset`, where a block begins or the file ends, and judges the file by the size it
 * has now. 0; -EBADMSG if no sync marker stands in front of it, as in another part of joined files;
 * -ESPIPE in a pipe; or the negative errno of reading. */
int scan_seek(struct scan *scan, uint64_t offset);

/* The front of the last block of Flotilla's own that ends at or before `end`, as scan_next_front
 * has it; SCAN_END if there is none within the longest block's length. Reads backwards from `end`,
 * a page of a small block. Leaves the walk where it is. 0 or the negative errno of reading. */
int scan_front_before(struct scan *scan, uint64_t end, struct scan_event *event);

/* The arrival that the front says which stands behind the newest block or fault. False where there
 * is no block of Flotilla's own, or in a pipe. Moves nothing. */
bool scan_peek_arrival(const struct scan *scan, uint64_t *arrival_ns);

/* Datum `index` < shown of the newest event that has any; until the next call of scan_next. Costs
 * little in order. */
struct span scan_datum(struct scan *scan, const struct scan_event *event, uint64_t index);

void scan_close(struct scan *scan);

/* What a scan came upon. All zero to begin with. */
struct scan_totals {
    uint64_t blocks, datums, block_bytes, data_bytes;
    uint64_t unread_blocks, unread_datums, unread_bytes; /* by their fronts */
    uint64_t partial_blocks, partial_datums;             /* what faults have left of blocks */
    uint64_t faults, lost_bytes;
    uint64_t joined;       /* of the faults: files that were joined behind */
    int64_t missing_bytes; /* what is not there any more, less what is there twice */
    uint64_t first_ns, last_ns;
    uint64_t times_back, back_ns_max, back_offset; /* arrival times that go back, and where first */
    double lost_datums;                            /* estimated; final at SCAN_END */
    /* For the estimate: what is lost since the last block, and that block. */
    double open_bytes, last_count, last_bytes;
    uint64_t missing_header_bytes;
};

/* Counts an event in, SCAN_END included. */
void scan_count(struct scan_totals *totals, const struct scan_event *event);

#endif
