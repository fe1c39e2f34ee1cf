/* SPDX-License-Identifier: MIT
 * Points in time as users write them: an RFC 3339 timestamp, one relative to now, or seconds since
 * 1970. Pure text; takes exactly one whole NUL-terminated word. Source: RFC 3339, section 5.6. */
#ifndef FLOTILLA_BASE_TIMESTAMP_H
#define FLOTILLA_BASE_TIMESTAMP_H

#include <stdint.h>

/* What timestamp_read takes, for messages and help. */
#define TIMESTAMP_FORMS "2026-01-31T12:00:00Z, -10min, now, or seconds since 1970"

/* Reads `text` into nanoseconds since 1970, UTC:
 *   "2026-01-31T12:00:00Z", "2026-01-31 12:00:00.25+01:00" (T and Z may be small; second 60 is the
 *   first of the next minute), "now", "-10min", "+2h" (a duration as units_read_duration has it,
 *   from `now_ns`), "1769860800", "1769860800.5".
 * Digits behind the ninth of a fraction are read and left out. 0; -EINVAL if it is none of these,
 * -ERANGE or -EINVAL before 1970 or beyond UINT64_MAX ns (the year 2554). */
int timestamp_read(const char *text, uint64_t now_ns, uint64_t *ns);

#endif
