/* SPDX-License-Identifier: MIT
 * Pins: spans of time whose recordings retention does not remove. A pin is an empty file in the
 * channel's folder, so that it goes where the recordings go, and says all in its name:
 *     NAME@20260131T120000.000000Z@20260131T120500.000000Z.pin      from, to (UTC)
 * A file named as a recording with ".pin" behind it pins that one file.
 * Strict, as recording_name: only what reads back as it was written is a pin. Pure. */
#ifndef FLOTILLA_CHANNEL_PIN_H
#define FLOTILLA_CHANNEL_PIN_H

#include <stdbool.h>
#include <stdint.h>

#define PIN_SUFFIX          ".pin"
#define PIN_NAME_BYTES_MAX  64u
#define PIN_FILE_NAME_BYTES 128u /* its NUL included */

struct pin {
    char name[PIN_NAME_BYTES_MAX + 1];
    uint64_t from_ns, to_ns; /* realtime, whole microseconds; from_ns <= t < to_ns */
};

/* Whether `text` can be a pin's name: 1 to PIN_NAME_BYTES_MAX of A-Z a-z 0-9 _ . -, beginning with
 * a letter or digit. */
bool pin_name_is_valid(const char *text);
/* Writes the file's name, NUL-terminated: `from_ns` is cut to a microsecond, `to_ns` rounded up.
 * Returns `text`. */
char *pin_write(char text[PIN_FILE_NAME_BYTES], const struct pin *pin);
/* Reads a file's name (no path). False if it is no pin's; `pin` is then undefined. */
bool pin_read(struct pin *pin, const char *text);
/* Whether the pin is over any of what was recorded from `first_ns` to `last_ns`. */
bool pin_covers(const struct pin *pin, uint64_t first_ns, uint64_t last_ns);

#endif
