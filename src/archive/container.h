/* SPDX-License-Identifier: MIT
 * Reads any Avro object container file, datum by datum: codecs null and deflate, from Flotilla or
 * from elsewhere, finished or still being written. A block is in memory at a time, capped.
 * Relies on stdio, zlib and the schema in the file. Source: Avro 1.11, "Object Container Files". */
#ifndef FLOTILLA_ARCHIVE_CONTAINER_H
#define FLOTILLA_ARCHIVE_CONTAINER_H

#include <stdint.h>

#include "avro/layout.h"
#include "base/span.h"
#include "schema/schema.h"

#define CONTAINER_BLOCK_BYTES_MAX (64u << 20) /* of a block, as stored and as decoded */

struct container;

/* Opens `path` and reads its header. 0, or a negative errno with a message for people in `error`
 * that does not repeat the path: "offset 0: not an Avro container file", "No such file ...". The
 * caller ends it with container_close. */
int container_open(const char *path, struct container **container, char *error, size_t error_bytes);

/* The file's schema, and the layout its datums are checked with; valid until the close. */
const struct schema_file *container_schema(const struct container *container);
const struct layout *container_layout(const struct container *container);

/* Takes the next datum, which is valid by the layout. 1 and the datum (its bytes stay until the
 * next call), 0 at the end of the file, or a negative errno with a message as above (-EBADMSG:
 * damaged, -EFBIG: a block over the cap). After an error or the end it returns the same again. */
int container_next(struct container *container, struct span *datum, char *error,
                   size_t error_bytes);

/* Where in the file the block of the newest datum stands: its first byte, and the first behind it.
 * 0 and 0 before the first datum. */
void container_block(const struct container *container, uint64_t *begin, uint64_t *end);

void container_close(struct container *container);

#endif
