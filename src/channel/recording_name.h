/* SPDX-License-Identifier: MIT
 * The name of a recording's file, taken apart and put together: the one place that knows its form.
 *
 *     CHANNEL-20260101T000000.000000Z-000001[-rejects].avro[.part|.damaged]
 *     .opening[-rejects]        a file that has no header yet, and so no recording's name
 *
 * Strict: a name is one of ours only if writing what was read gives the same name, for what is not
 * ours is never renamed, removed or counted. Here rather than with what reads recordings, as the
 * relay writes these names. Pure: no allocation, libc only. */
#ifndef FLOTILLA_CHANNEL_RECORDING_NAME_H
#define FLOTILLA_CHANNEL_RECORDING_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/settings.h"

#define RECORDING_NAME_BYTES  160 /* of any name, its NUL included */
#define RECORDING_PART_SUFFIX ".part"

/* What is in it. */
enum recording_lane { RECORDING_DATUMS, RECORDING_REJECTS, RECORDING_LANES };

enum recording_stage {
    RECORDING_OPENING, /* being made; not for readers */
    RECORDING_PART,    /* being written, or left open by a crash */
    RECORDING_DONE,
    RECORDING_DAMAGED, /* header and what stood behind damage in the file without this suffix */
    RECORDING_STAGES
};

struct recording_name {
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    uint64_t stamp_ns; /* realtime; the name has whole microseconds of it */
    uint64_t number;   /* rises from file to file of a lane */
    enum recording_lane lane;
    enum recording_stage stage;
};

/* Whether `text` can be a channel's name: 1 to CHANNEL_NAME_BYTES_MAX of a-z 0-9 _ . -, beginning
 * with a letter or digit. */
bool channel_name_is_valid(const char *text);

/* Writes the file's name, NUL-terminated, and returns `text`. Of RECORDING_OPENING only the lane
 * shows. */
char *recording_name_write(char text[RECORDING_NAME_BYTES], const struct recording_name *name);

/* Reads a file's name (no path). False if it is not one of ours; `name` is then undefined. */
bool recording_name_read(struct recording_name *name, const char *text);

#endif
