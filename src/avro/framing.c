/* SPDX-License-Identifier: MIT
 * Prefixes and the opaque datum. */
#include "avro/framing.h"

#include <string.h>

#include "base/check.h"

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

const char opaque_schema[] =
    "{\n"
    "  \"type\": \"record\", \"name\": \"Datagram\", \"namespace\": \"flotilla\",\n"
    "  \"doc\": \"A datagram as it came: kernel arrival time, sender, bytes.\",\n"
    "  \"fields\": [\n"
    "    {\"name\": \"received\", \"type\": {\"type\": \"long\", \"logicalType\": "
    "\"timestamp-nanos\"}},\n"
    "    {\"name\": \"source\", \"type\": \"string\"},\n"
    "    {\"name\": \"payload\", \"type\": \"bytes\"}\n"
    "  ]\n"
    "}\n";

size_t opaque_write_front(uint8_t out[OPAQUE_FRONT_BYTES_MAX], uint64_t received_ns,
                          struct span source, size_t payload_bytes)
{
    CHECK(source.bytes <= OPAQUE_SOURCE_BYTES_MAX);
    uint8_t *at = out;
    at += varint_write(at, (int64_t)received_ns);
    at += varint_write(at, (int64_t)source.bytes);
    memcpy(at, source.at, source.bytes);
    at += source.bytes;
    at += varint_write(at, (int64_t)payload_bytes);
    return (size_t)(at - out);
}
