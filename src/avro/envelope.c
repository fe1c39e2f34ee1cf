/* SPDX-License-Identifier: MIT
 * Fronts and schemas of Flotilla's own datums. */
#include "avro/envelope.h"

#include <string.h>

#include "base/check.h"

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

const char reject_schema[] =
    "{\n"
    "  \"type\": \"record\", \"name\": \"Reject\", \"namespace\": \"flotilla\",\n"
    "  \"doc\": \"A datagram that was turned away: when, from whom, why, where in it, its "
    "bytes.\",\n"
    "  \"fields\": [\n"
    "    {\"name\": \"time\", \"type\": {\"type\": \"long\", \"logicalType\": "
    "\"timestamp-nanos\"}},\n"
    "    {\"name\": \"source\", \"type\": \"string\"},\n"
    "    {\"name\": \"reason\", \"type\": \"string\"},\n"
    "    {\"name\": \"offset\", \"type\": \"int\"},\n"
    "    {\"name\": \"bytes\", \"type\": \"bytes\"}\n"
    "  ]\n"
    "}\n";

static uint8_t *write_text(uint8_t *at, struct span text)
{
    CHECK(text.bytes <= ENVELOPE_TEXT_BYTES_MAX);
    at += varint_write(at, (int64_t)text.bytes);
    memcpy(at, text.at, text.bytes);
    return at + text.bytes;
}

size_t opaque_write_front(uint8_t out[ENVELOPE_FRONT_BYTES_MAX], uint64_t received_ns,
                          struct span source, size_t payload_bytes)
{
    uint8_t *at = out;
    at += varint_write(at, (int64_t)received_ns);
    at = write_text(at, source);
    at += varint_write(at, (int64_t)payload_bytes);
    return (size_t)(at - out);
}

size_t reject_write_front(uint8_t out[ENVELOPE_FRONT_BYTES_MAX], uint64_t received_ns,
                          struct span source, enum reject reason, size_t offset,
                          size_t payload_bytes)
{
    const char *name = datum_reject_name(reason);
    uint8_t *at = out;
    at += varint_write(at, (int64_t)received_ns);
    at = write_text(at, source);
    at = write_text(at, (struct span){(const uint8_t *)name, strlen(name)});
    at += varint_write(at, (int64_t)offset);
    at += varint_write(at, (int64_t)payload_bytes);
    return (size_t)(at - out);
}

struct span opaque_payload(struct span datum)
{
    const uint8_t *end = datum.at + datum.bytes;
    int64_t value = 0;
    datum.at += varint_read(datum.at, end, &value); /* received */
    datum.at += varint_read(datum.at, end, &value);
    datum.at += value; /* source */
    datum.at += varint_read(datum.at, end, &value);
    return (struct span){datum.at, (size_t)value};
}
