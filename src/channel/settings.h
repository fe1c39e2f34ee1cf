/* SPDX-License-Identifier: MIT
 * What one relay is told: the same values whether they come from fleet.yaml through the manager or
 * from flags by hand. One table drives the flags, their help and the manager's argument list, so
 * `ps` shows a command line that a person can run. */
#ifndef FLOTILLA_CHANNEL_SETTINGS_H
#define FLOTILLA_CHANNEL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "avro/decimator.h"
#include "avro/framing.h"
#include "channel/value.h"
#include "os/net.h"

#define CHANNEL_NAME_BYTES_MAX 64
#define CHANNEL_SOURCES_MAX    16
#define CHANNEL_PATH_BYTES_MAX 1024
/* Of `buffer`. It is mapped whole, by the relay and by the manager, so of a program of 32 bits it
 * has at most a quarter of what that can address. */
#define SETTINGS_BUFFER_BYTES_MAX                                                                  \
    ((uint64_t)SIZE_MAX / 4 + 1 < 16ull << 30 ? (uint64_t)SIZE_MAX / 4 + 1 : 16ull << 30)

enum on_invalid { ON_INVALID_QUARANTINE, ON_INVALID_DROP };
enum offload { OFFLOAD_AUTO, OFFLOAD_OFF };
enum latency_mode { LATENCY_OFF, LATENCY_ON };
enum direct_mode { DIRECT_AUTO, DIRECT_REQUIRED, DIRECT_OFF };

struct channel_settings {
    char name[CHANNEL_NAME_BYTES_MAX + 1];
    char layout[CHANNEL_PATH_BYTES_MAX];    /* the compiled schema's file */
    char directory[CHANNEL_PATH_BYTES_MAX]; /* the channel's own folder; "" records nothing */
    char mounted[CHANNEL_PATH_BYTES_MAX];   /* what must be, see channel/mounted.h; "": nothing */
    struct address listen;
    /* As they were said; what holds for an address is told by settings_listen_interface and
     * settings_send_interface. "": not said. */
    char interface[NET_INTERFACE_BYTES], listen_interface[NET_INTERFACE_BYTES];
    char send_interface[NET_INTERFACE_BYTES];
    struct prefix sources[CHANNEL_SOURCES_MAX];
    uint32_t source_count;
    struct address full, decimated; /* family 0: none */
    uint32_t factor;                /* datums a window, >= 1 */
    enum algorithm algorithm;
    enum encoding encoding;
    uint32_t schema_id; /* ENCODING_CONFLUENT: the id every datum must carry */
    enum on_invalid on_invalid;
    uint32_t ttl;           /* 0 to 255 */
    uint64_t buffer_bytes;  /* limit of the memory that bridges a disk stall */
    uint64_t receive_bytes; /* socket queue to ask for */
    enum offload offload;
    enum latency_mode latency;
    enum direct_mode direct_io;
    uint64_t sync_ms;
    uint64_t rotate_bytes;  /* 0: never by size */
    uint64_t rotate_age_ms; /* 0: never by age */
};

/* One member of the settings: its flag, where it is and what it takes. The relay's flags and the
 * keys of fleet.yaml go by the same entry, so that what is taken there is taken here. */
struct setting {
    const char *flag; /* without "--" */
    size_t offset;    /* in struct channel_settings */
    struct value_form form;
    const char *help;
};

enum setting_id {
    SETTING_NAME,
    SETTING_LAYOUT,
    SETTING_DIRECTORY,
    SETTING_MOUNTED,
    SETTING_LISTEN,
    SETTING_INTERFACE,
    SETTING_LISTEN_INTERFACE,
    SETTING_SEND_INTERFACE,
    SETTING_SOURCES,
    SETTING_FULL,
    SETTING_DECIMATED,
    SETTING_FACTOR,
    SETTING_ALGORITHM,
    SETTING_ENCODING,
    SETTING_SCHEMA_ID,
    SETTING_ON_INVALID,
    SETTING_TTL,
    SETTING_BUFFER,
    SETTING_RECEIVE_QUEUE,
    SETTING_OFFLOAD,
    SETTING_LATENCY,
    SETTING_DIRECT_IO,
    SETTING_SYNC,
    SETTING_ROTATE_SIZE,
    SETTING_ROTATE_AGE,
    SETTING_COUNT
};

extern const struct setting settings_table[SETTING_COUNT];

/* The interface that `listen` is heard on, and the one that is sent to `to` by (`full` or
 * `decimated`): what stands behind the address counts first, then what was said for that direction,
 * then `interface`. "" leaves it to the routing table. */
static inline const char *settings_listen_interface(const struct channel_settings *settings)
{
    return settings->listen.zone[0] != '\0'        ? settings->listen.zone
           : settings->listen_interface[0] != '\0' ? settings->listen_interface
                                                   : settings->interface;
}
static inline const char *settings_send_interface(const struct channel_settings *settings,
                                                  const struct address *to)
{
    return to->zone[0] != '\0'                   ? to->zone
           : settings->send_interface[0] != '\0' ? settings->send_interface
                                                 : settings->interface;
}

/* The values that hold where nothing is said. */
void settings_defaults(struct channel_settings *settings);

/* Reads a relay's flags ("--name engine --listen 239.10.0.1:26000 ..."; "--flag=value" too) over
 * what is in `settings`; argv[0] is the first flag, not the program. A flag given twice counts as
 * last said, except --source, which adds. 0, or -EINVAL with a message for people in `error`
 * (`error_bytes`). */
int settings_read_flags(struct channel_settings *settings, int argc, char *const *argv, char *error,
                        size_t error_bytes);

/* Checks what no single value shows: names, required flags, an output that is the input.
 * 0, or -EINVAL with a message. */
int settings_validate(const struct channel_settings *settings, char *error, size_t error_bytes);

/* Writes the flags that settings_read_flags reads back to the same values, each as one word
 * "--flag=value", NUL-terminated one behind the other in `text`; defaults are left out. Fills
 * `words` (up to `words_max` pointers into `text`). Returns the number of words, or -ENOSPC. */
int settings_write_flags(const struct channel_settings *settings, char *text, size_t text_bytes,
                         char **words, size_t words_max);

/* Whether what is sent to `output` by one channel arrives at `input` of another (or the same): the
 * same address and port, unless both name different interfaces for what each link has (a group, a
 * link-local address); or the wildcard address as input and loopback as output, on one port. */
bool settings_feeds(const struct address *output, const char *output_interface,
                    const struct address *input, const char *input_interface);

/* Prints the flags, a line each with their help and defaults, to stdout. */
void settings_print_help(void);

const char *algorithm_name(enum algorithm algorithm);

#endif
