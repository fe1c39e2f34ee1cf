/* SPDX-License-Identifier: MIT
 * fleet.yaml, read and checked as a whole: every error at once, each with line, column and caret.
 * Relies on libyaml's events (line and column of every scalar) and channel/settings. One table of
 * keys drives parsing, printing, errors and the manual.
 * Memory: one struct owned by the caller, freed by config_free. */
#ifndef FLOTILLA_CONFIG_CONFIG_H
#define FLOTILLA_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/text.h"
#include "channel/overview.h"
#include "channel/settings.h"

#define CONFIG_FIELD_BYTES_MAX 256u
#define CONFIG_KEEP_BYTES_MAX  2048u

struct config_channel {
    struct channel_settings settings;    /* layout and directory are resolved paths */
    char schema[CHANNEL_PATH_BYTES_MAX]; /* resolved path of the .avsc */
    char time[256], sequence[256];       /* field names, dotted for nested records; "" for none */
    char keep[CONFIG_KEEP_BYTES_MAX];    /* field names like those, joined by commas */
    bool record;
    uint64_t limit_memory_bytes; /* 0: none */
    double limit_cpu_percent;    /* 0: none */
    /* The image of the compiled schema (avro/layout.h), from malloc; NULL, and 0 bytes, where the
     * schema could not be read yet (config_read_schema). */
    uint8_t *layout_image;
    size_t layout_bytes;
    /* Where it was said, for later messages. */
    char file[CHANNEL_PATH_BYTES_MAX];
    uint32_t line;
};

struct config {
    char file[CHANNEL_PATH_BYTES_MAX];      /* fleet.yaml as found */
    char runtime[CHANNEL_PATH_BYTES_MAX];   /* resolved */
    char directory[CHANNEL_PATH_BYTES_MAX]; /* of recordings, resolved */
    char mounted[CHANNEL_PATH_BYTES_MAX];   /* see channel/mounted.h */
    enum direct_mode direct_io; /* this and the next three are in every channel's settings */
    uint64_t sync_ms;
    uint64_t rotate_bytes, rotate_age_ms;            /* 0: never */
    uint64_t retain_age_ms, retain_bytes;            /* 0: no limit */
    double retain_free_percent;                      /* 0: no limit */
    struct address gateway;                          /* family 0: none */
    char gateway_token_file[CHANNEL_PATH_BYTES_MAX]; /* resolved; "": none is asked for */
    /* Names of hosts and origins, each joined by commas. */
    char gateway_hosts[CONFIG_KEEP_BYTES_MAX], gateway_origins[CONFIG_KEEP_BYTES_MAX];
    bool gateway_read_only;
    uint32_t overview_factor, overview_levels; /* factor 0: no overviews are kept */
    uint64_t compact_ms;                       /* 0: never */
    enum compact_codec compact_codec;
    uint64_t overview_age_ms;                  /* 0: for ever */
    struct config_channel *channels;           /* in the order of the file, includes behind */
    uint32_t channel_count;
};

/* Finds the configuration: `given` (from -c) if not NULL, else ./fleet.yaml, else
 * /etc/flotilla/fleet.yaml. Returns the path to use. */
const char *config_find(const char *given);

/* What is said of what this machine lacks, such as an interface, or a schema on a disk that is not
 * mounted: it is an error to who checks; to who runs, it is that channel's matter, and may come
 * later; to who takes relays over, so is a schema that is wrong by now; or it is another machine's,
 * of which the schemas alone are looked for. */
enum config_machine {
    CONFIG_JUDGES_MACHINE,
    CONFIG_RUNS_HERE,
    CONFIG_TAKES_OVER,
    CONFIG_ANY_MACHINE
};

/* Reads and checks `path` and its includes, compiles every schema, and looks for clashes between
 * channels (duplicate names, an output that is another channel's input, two with the same input).
 * Every error is added to `messages` as "FILE:LINE:COLUMN: message", the line and a caret; warnings
 * the same with "warning: ". Returns 0 and the config, or -EINVAL after all errors were told (also
 * when the file cannot be read). The caller frees with config_free in the first case. */
int config_read(const char *path, enum config_machine machine, struct config **config,
                struct text *messages);

/* Reads and compiles the schema of a channel that has no layout image because its schema could not
 * be read, or was wrong, when the configuration was. 0, or a negative errno with the reason for
 * people in `why`. */
int config_read_schema(struct config_channel *channel, char *why, size_t why_bytes);

/* Reads only where the fleet keeps its state, for those who talk to a manager and must not fail
 * over an error elsewhere in the file: `runtime` of `path` as config_read resolves it, or the
 * default if the file describes a fleet and does not say. 0, or -EINVAL with a message for people
 * in `error` (also for a file that is empty, cut off, or no fleet's). For tests. */
int config_read_runtime(const char *path, char *runtime, size_t runtime_bytes, char *error,
                        size_t error_bytes);

/* Finds the runtime folder of the configuration that config_find(given) finds: reads no more of it
 * than that key, so that an otherwise broken file does not come between a user and a manager that
 * runs. A file that is empty, cut off or no fleet's, and does not name the folder, is refused
 * rather than taken for the default: another fleet may be there. 0, or -EINVAL with a message for
 * people. */
int config_find_runtime(const char *given, char runtime[CHANNEL_PATH_BYTES_MAX], char *error,
                        size_t error_bytes);

/* Prints every resolved value as YAML that reads back to the same config. */
void config_print(const struct config *config, FILE *out);

/* Prints all keys with what they take, their defaults and their help: the manual's table. */
void config_print_keys(FILE *out);

/* The channel of that name, or NULL. */
struct config_channel *config_channel(const struct config *config, const char *name);

/* Writes "did you mean "NAME"? " for the channel that `name` may have been meant for, else "".
 * Returns `text`. */
const char *config_nearest(const struct config *config, const char *name, char *text,
                           size_t text_bytes);

/* Whether the relay of `a` can go on as the relay of `b`: true if settings, schema, time, sequence
 * and all other values are the same. Of schemas that could not be read: if the words are. */
bool config_same_channel(const struct config_channel *a, const struct config_channel *b);

void config_free(struct config *config);

#endif
