/* SPDX-License-Identifier: MIT
 * The blocks that a file of MDF4 consists of, written one behind the other: what links to others
 * comes behind them, so that nothing is written twice but the two blocks in front. Data goes in
 * blocks of a size, compressed on demand, with a list of them at its end. Relies on os/made and
 * export/deflate.
 * Source: ASAM MDF 4.1, of which asammdf's and mdflib's documentation tell the blocks. */
#ifndef FLOTILLA_EXPORT_MDF4_FILE_H
#define FLOTILLA_EXPORT_MDF4_FILE_H

#include "base/text.h"
#include "os/made.h"

struct deflate;

/* The first error is kept in `status`, and everything behind it does nothing. */
struct mdf4_file {
    struct made *made;
    struct deflate *deflate; /* NULL: not compressed */
    struct text out;         /* on its way to the file */
    uint64_t offset;         /* in the file, of what `out` begins with */
    int status;
};

/* All zero but `made`. Writes the block that says what it is, and leaves room for the header.
 * Returns the status. mdf4_file_free also after a failure. */
int mdf4_file_begin(struct mdf4_file *file, struct made *made, unsigned gzip);
void mdf4_file_free(struct mdf4_file *file);
/* Fills the header in, and writes out what is left. */
int mdf4_file_end(struct mdf4_file *file, uint64_t first_group, uint64_t history, uint64_t comment,
                  uint64_t start_ns);

/* Writes a block, "CN" or the like, with its links and then its bytes. Returns where it is: what
 * others link to. */
uint64_t mdf4_block(struct mdf4_file *file, const char *id, const uint64_t *links,
                    uint64_t link_count, const void *bytes, size_t byte_count);
/* The same of a text; 0, which is a link to nothing, where it is NULL or "". */
uint64_t mdf4_text(struct mdf4_file *file, const char *text);
uint64_t mdf4_xml(struct mdf4_file *file, const char *xml);

/* Data of any length: records ("DT"), or texts ("SD"). */
struct mdf4_data {
    const char *id;
    size_t record_bytes; /* of "DT"; blocks are of whole records, equal but for the last */
    size_t block_bytes;
    uint8_t *bytes; /* of the block at hand, or of two that are to be compressed together */
    size_t used, room;
    uint64_t total;
    struct mdf4_place {
        uint64_t offset, first; /* in the file; in the data */
    } * places;
    size_t count, place_room;
};

/* Room for blocks of about `block_bytes`. False without memory. */
bool mdf4_data_begin(const struct mdf4_file *file, struct mdf4_data *data, const char *id,
                     size_t record_bytes, size_t block_bytes);
/* Writes the block at hand, if there is something in it. */
void mdf4_data_flush(struct mdf4_file *file, struct mdf4_data *data);
/* Appends a text with its length; returns where in the data it is. */
uint64_t mdf4_data_add(struct mdf4_file *file, struct mdf4_data *data, const void *bytes,
                       size_t byte_count, size_t zeros);
/* Writes what is left and the list of all blocks. Returns what to link to, 0 where there is no
 * data. The data is freed. */
uint64_t mdf4_data_end(struct mdf4_file *file, struct mdf4_data *data);
void mdf4_data_free(struct mdf4_data *data);

#endif
