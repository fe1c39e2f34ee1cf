/* SPDX-License-Identifier: MIT
 * libavro as a judge, behind plain C types: its folder of headers and ours are both called
 * avro/, so that no file can include both. Relies on libavro 1.11, whose leaks over bad datums it
 * takes back.
 */
#ifndef FLOTILLA_FUZZ_LIBAVRO_JUDGE_H
#define FLOTILLA_FUZZ_LIBAVRO_JUDGE_H

#include <stddef.h>
#include <stdint.h>

struct libavro_judge;

/* For datums of that schema; it lasts as long as the process. Aborts if libavro refuses it. */
struct libavro_judge *libavro_judge_open(const char *schema);

/* Whether libavro decodes the datum at the start of `at`, of `bytes` bytes: 1 if it takes exactly
 * `used` of them, -1 if another number, 0 if it refuses. Not NULL, `written` is set to the value as
 * libavro writes it (from malloc, the caller's to free) and `written_bytes` to its size. */
int libavro_judge_read(struct libavro_judge *judge, const uint8_t *at, size_t bytes, size_t used,
                       uint8_t **written, size_t *written_bytes);

#endif
