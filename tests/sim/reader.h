/* SPDX-License-Identifier: MIT
 * A reader of Avro object container files that knows nothing of Flotilla's: header, blocks, sync
 * markers, deflate by zlib. Source: Avro 1.11 specification, "Object container files". */
#ifndef FLOTILLA_TESTS_SIM_READER_H
#define FLOTILLA_TESTS_SIM_READER_H

#include <stddef.h>
#include <stdint.h>

/* Reads an Avro long at `*at`; false at the end. */
int reader_long(const uint8_t **at, const uint8_t *end, int64_t *value);

/* Calls `block` for each block with its datums' bytes. Returns how many bytes of the file are
 * whole: `count` if all is well, 0 if not even the header is. */
size_t reader_walk(const uint8_t *bytes, size_t count,
                   void (*block)(void *context, const uint8_t *data, size_t data_bytes,
                                 int64_t datums, size_t at),
                   void *context);

#endif
