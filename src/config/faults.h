/* SPDX-License-Identifier: MIT
 * What is wrong in configuration files: gathered while they are read, printed at once and in order,
 * each with its line and a caret.
 * Relies on the files' texts staying in memory until the faults are printed. */
#ifndef FLOTILLA_CONFIG_FAULTS_H
#define FLOTILLA_CONFIG_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "channel/settings.h"

/* One file as read. */
struct config_file {
    char name[CHANNEL_PATH_BYTES_MAX]; /* as messages call it */
    char
        folder[CHANNEL_PATH_BYTES_MAX]; /* where it really is: what its relative paths start from */
    uint8_t *text;                      /* NUL behind; from malloc */
    size_t bytes;
    uint32_t order; /* among the files of one configuration */
};

/* Where something stands. Lines and columns count from 1, columns in characters; line 0 is the file
 * as a whole. */
struct config_place {
    const struct config_file *file;
    uint32_t line, column;
};

struct config_fault {
    struct config_place place;
    bool warning;
    char *message; /* from malloc */
};

/* All zero to begin with. */
struct config_faults {
    struct config_fault *list; /* from malloc */
    size_t count, room;
    size_t errors;   /* of the faults, those that are no warnings */
    bool incomplete; /* there was no memory for more */
};

/* Bytes of the line end at `at`, 0 if there is none. Lines end where YAML 1.1 ends them: also at a
 * lone carriage return and at the three line ends of Unicode. */
size_t config_line_end(const uint8_t *at, size_t bytes);

/* Keeps an error, or a warning. */
void config_error(struct config_faults *faults, struct config_place place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_warning(struct config_faults *faults, struct config_place place, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));

/* Makes warnings of what was kept behind the first `before`. */
void config_faults_soften(struct config_faults *faults, size_t before);

/* Writes the faults by file, line and column, the same one once:
 *     fleet.yaml:4:5: unknown key "lisen"; did you mean "listen"?
 *         lisen: 239.10.0.1:26000
 *         ^
 * At most 100 of them; then how many more there are. */
void config_faults_write(struct config_faults *faults, struct text *out);

/* Writes the first fault's first line, without an end of line. */
void config_faults_first(struct config_faults *faults, char *text, size_t text_bytes);

void config_faults_free(struct config_faults *faults);

#endif
