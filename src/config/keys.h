/* SPDX-License-Identifier: MIT
 * The keys of fleet.yaml: one table a map. Reading, printing, errors and the manual use the same.
 * Relies on channel/value for what a single value looks like. */
#ifndef FLOTILLA_CONFIG_KEYS_H
#define FLOTILLA_CONFIG_KEYS_H

#include "channel/value.h"
#include "config/config.h"

enum config_key_kind {
    KEY_VALUE,    /* one value, of `form` */
    KEY_PATH,     /* a path, from the folder of the file it stands in [char array] */
    KEY_SOURCES,  /* one prefix or a list of them */
    KEY_FIELDS,   /* one word (a field, a host) or a list of them [char array: joined by commas] */
    KEY_MAP,      /* a map with keys of its own, read into the same struct */
    KEY_INCLUDE,  /* a pattern of further files */
    KEY_DEFAULTS, /* channel keys for all channels */
    KEY_CHANNELS  /* a map of channels */
};

/* A channel's values whose places are needed behind the reading of them. */
enum config_key_id {
    ID_NONE,
    ID_LISTEN,
    ID_INTERFACE,
    ID_LISTEN_INTERFACE,
    ID_SEND_INTERFACE,
    ID_SOURCES,
    ID_SCHEMA,
    ID_ENCODING,
    ID_SCHEMA_ID,
    ID_TIME,
    ID_SEQUENCE,
    ID_FULL,
    ID_DECIMATED,
    ID_TO,
    ID_KEEP,
    ID_RUNTIME,
    ID_STORAGE_DIRECTORY,
    ID_STORAGE_MOUNTED,
    ID_CHANNELS,
    ID_INCLUDE,
    ID_LIMITS,
    ID_LIMIT_MEMORY,
    ID_LIMIT_CPU,
    ID_OVERVIEW,
    ID_GATEWAY_LISTEN,
    ID_GATEWAY_TOKEN,
    ID_GATEWAY_HOSTS,
    ID_GATEWAY_ORIGINS,
    ID_COUNT
};

struct config_key {
    const char *name;
    enum config_key_kind kind;
    enum config_key_id id;
    const struct setting *setting; /* what a relay is told, too; NULL: the next two and `help` */
    struct value_form form;        /* of KEY_VALUE and KEY_PATH */
    size_t offset;                 /* in struct config or struct config_channel */
    const struct config_key *keys; /* of KEY_MAP */
    size_t key_count;
    bool required;       /* a map that is there must have it */
    bool hide_zero;      /* printed only if it is not 0 */
    bool with_first;     /* printed only if the map's first key is set */
    const char *help;
};

extern const struct config_key config_fleet_keys[];   /* offsets in struct config */
extern const struct config_key config_channel_keys[]; /* offsets in struct config_channel */
extern const size_t config_fleet_key_count, config_channel_key_count;

const struct value_form *config_key_form(const struct config_key *key);
const char *config_key_help(const struct config_key *key);
/* Where its value is in struct config or config_channel, by the table the key is of. */
size_t config_key_offset(const struct config_key *key);

/* Puts the defaults of everything that has one into a config and a channel that are all zero. */
void config_key_defaults(struct config *config, struct config_channel *channel);

#endif
