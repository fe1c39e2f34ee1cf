/* SPDX-License-Identifier: MIT
 * A schema's Parsing Canonical Form and its CRC-64-AVRO fingerprint, by which messages in
 * single-object encoding name their schema.
 * Relies on the schema's tree. Never part of the relay, which finds the fingerprint in its layout.
 * Source: Avro 1.11 specification ("Parsing Canonical Form for Schemas", "Schema Fingerprints"). */
#ifndef FLOTILLA_SCHEMA_CANONICAL_H
#define FLOTILLA_SCHEMA_CANONICAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "schema/schema.h"

#define CANONICAL_BYTES_MAX (64u << 20)

/* Writes the canonical form to `*text`, from malloc, NUL-terminated, the caller's to free, and its
 * length to `*bytes`. 0, -ENOMEM, or -EFBIG beyond CANONICAL_BYTES_MAX. */
int schema_canonical(const struct schema_file *file, char **text, size_t *bytes);

/* The fingerprint of the canonical form. In a message it stands as 8 bytes, the lowest first. 0,
 * or -ENOMEM or -EFBIG as above. */
int schema_fingerprint(const struct schema_file *file, uint64_t *fingerprint);

/* CRC-64-AVRO over any bytes. */
uint64_t canonical_crc64(struct span bytes);

#endif
