/* SPDX-License-Identifier: MIT
 * The datums that Flotilla makes itself around bytes that came: what an opaque channel records, and
 * what is set aside of a datagram that was turned away. In both the bytes come last, so that they
 * are copied once, behind a front that is written here. Pure bytes. */
#ifndef FLOTILLA_AVRO_ENVELOPE_H
#define FLOTILLA_AVRO_ENVELOPE_H

#include <stdint.h>

#include "avro/datum.h"
#include "base/span.h"
#include "base/varint.h"

/* {received, source, payload}: nanoseconds since 1970 by the kernel, ADDRESS:PORT, the bytes. */
extern const char opaque_schema[];
/* {time, source, reason, offset, bytes}: as above, the reason by name (datum_reject_name), where in
 * the bytes the fault is. */
extern const char reject_schema[];

#define ENVELOPE_TEXT_BYTES_MAX  64
#define ENVELOPE_FRONT_BYTES_MAX (5 * VARINT_BYTES_MAX + 2 * ENVELOPE_TEXT_BYTES_MAX)

/* Write what stands before the bytes, of which there are `payload_bytes`. Return the front's bytes.
 * `source` is at most ENVELOPE_TEXT_BYTES_MAX long. */
size_t opaque_write_front(uint8_t out[ENVELOPE_FRONT_BYTES_MAX], uint64_t received_ns,
                          struct span source, size_t payload_bytes);
/* The payload of a datum of opaque_schema, which is valid. */
struct span opaque_payload(struct span datum);
size_t reject_write_front(uint8_t out[ENVELOPE_FRONT_BYTES_MAX], uint64_t received_ns,
                          struct span source, enum reject reason, size_t offset,
                          size_t payload_bytes);

#endif
