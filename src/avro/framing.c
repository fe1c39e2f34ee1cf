/* SPDX-License-Identifier: MIT
 * Prefixes. */
#include "avro/framing.h"

#include <string.h>

void framing_set(struct framing *framing, enum encoding encoding, uint64_t fingerprint,
                 uint32_t schema_id)
{
    memset(framing, 0, sizeof(*framing));
    framing->encoding = encoding;
    if (encoding == ENCODING_SINGLE_OBJECT) {
        framing->prefix_bytes = 10;
        framing->prefix[0] = 0xc3;
        framing->prefix[1] = 0x01;
        for (int i = 0; i < 8; i++)
            framing->prefix[2 + i] = (uint8_t)(fingerprint >> 8 * i);
    } else if (encoding == ENCODING_CONFLUENT) {
        framing->prefix_bytes = 5;
        for (int i = 0; i < 4; i++)
            framing->prefix[1 + i] = (uint8_t)(schema_id >> (24 - 8 * i));
    }
}

enum reject framing_check(const struct framing *framing, struct span bytes)
{
    size_t marker = framing->encoding == ENCODING_SINGLE_OBJECT ? 2 : 1;
    if (framing->prefix_bytes == 0)
        return REJECT_NONE;
    if (bytes.bytes < framing->prefix_bytes || memcmp(bytes.at, framing->prefix, marker) != 0)
        return REJECT_FRAMING;
    if (memcmp(bytes.at, framing->prefix, framing->prefix_bytes) != 0)
        return framing->encoding == ENCODING_SINGLE_OBJECT ? REJECT_FINGERPRINT : REJECT_SCHEMA_ID;
    return REJECT_NONE;
}
