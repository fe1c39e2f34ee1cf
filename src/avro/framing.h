/* SPDX-License-Identifier: MIT
 * What stands before a datum in a datagram, by the channel's encoding. Pure bytes. Never guessed: a
 * plain datum may begin with any bytes. Sources: Avro 1.11 specification ("Single-object encoding
 * specification"); Confluent Schema Registry documentation ("Wire format"). */
#ifndef FLOTILLA_AVRO_FRAMING_H
#define FLOTILLA_AVRO_FRAMING_H

#include <stdint.h>

#include "avro/datum.h"
#include "base/span.h"

enum encoding {
    ENCODING_DATUM,         /* bare datums, one or several back to back */
    ENCODING_SINGLE_OBJECT, /* each behind C3 01 and the fingerprint, 8 bytes, little-endian */
    ENCODING_CONFLUENT,     /* each behind 00 and the schema's id, 4 bytes, big-endian */
    ENCODING_OPAQUE,        /* any bytes, one datum a datagram */
};

#define FRAMING_PREFIX_BYTES_MAX 10

struct framing {
    enum encoding encoding;
    uint8_t prefix_bytes; /* 0, 10, 5, 0 */
    uint8_t prefix[FRAMING_PREFIX_BYTES_MAX];
};

/* Sets the prefix that every datum must have: of `fingerprint` (CRC-64-AVRO) or `schema_id`, as the
 * encoding has it. */
void framing_set(struct framing *framing, enum encoding encoding, uint64_t fingerprint,
                 uint32_t schema_id);

/* Whether `bytes` begins with the prefix: REJECT_NONE; REJECT_FRAMING if it is of another encoding
 * or cut short, REJECT_FINGERPRINT or REJECT_SCHEMA_ID if it names another schema. */
enum reject framing_check(const struct framing *framing, struct span bytes);

#endif
