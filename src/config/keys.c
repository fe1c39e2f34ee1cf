/* SPDX-License-Identifier: MIT
 * The tables of keys. A new key is one line here, and its member in struct config or
 * config_channel. What a relay is told, too, goes by channel/settings' table. */
#include "config/keys.h"

#include <string.h>

#include "base/check.h"
#include "channel/overview.h"

#define FLEET(member)   offsetof(struct config, member)
#define CHANNEL(member) offsetof(struct config_channel, member)
#define SETTING(id)     (&settings_table[SETTING_##id])

#define PATH                                                                                       \
    {                                                                                              \
        .kind = VALUE_PATH, .low = 1, .high = CHANNEL_PATH_BYTES_MAX - 1                           \
    }
#define FIELD                                                                                      \
    {                                                                                              \
        .kind = VALUE_TEXT, .low = 1, .high = 255                                                  \
    }
#define ADDRESS                                                                                    \
    {                                                                                              \
        .kind = VALUE_ADDRESS                                                                      \
    }
#define YEARS_MS(n) ((n)*366ull * 86400000)
#define PIB         (1ull << 50)

static const struct config_key rotate_keys[] = {
    {.name = "size", .setting = SETTING(ROTATE_SIZE), .offset = FLEET(rotate_bytes)},
    {.name = "age", .setting = SETTING(ROTATE_AGE), .offset = FLEET(rotate_age_ms)},
};

static const struct config_key retain_keys[] = {
    {.name = "age",
     .form = {.kind = VALUE_DURATION, .low = 1000, .high = YEARS_MS(100), .zero = "no limit"},
     .offset = FLEET(retain_age_ms),
     .help = "recordings older than this are deleted"},
    {.name = "size",
     .form = {.kind = VALUE_BYTES, .low = 4096, .high = 1024 * PIB, .zero = "no limit"},
     .offset = FLEET(retain_bytes),
     .help = "room for all recordings together; the oldest are deleted within 1 s of each "
             "new recording, else every 30 s"},
    {.name = "free",
     .form = {.kind = VALUE_PERCENT, .zero = "no limit"},
     .offset = FLEET(retain_free_percent),
     .help = "part of the file system to keep free; the oldest recordings are deleted"},
};

static const char *const codec_names[] = COMPACT_CODEC_NAMES;

static const struct config_key storage_keys[] = {
    {.name = "directory",
     .kind = KEY_PATH,
     .id = ID_STORAGE_DIRECTORY,
     .form = PATH,
     .offset = FLEET(directory),
     .help = "folder of the recordings; each channel has its own folder in it"},
    {.name = "mounted",
     .id = ID_STORAGE_MOUNTED,
     .setting = SETTING(MOUNTED),
     .offset = FLEET(mounted)},
    {.name = "direct_io", .setting = SETTING(DIRECT_IO), .offset = FLEET(direct_io)},
    {.name = "sync", .setting = SETTING(SYNC), .offset = FLEET(sync_ms)},
    {.name = "rotate",
     .kind = KEY_MAP,
     .keys = rotate_keys,
     .key_count = ARRAY_COUNT(rotate_keys),
     .help = "when a recording is followed by a new one"},
    {.name = "compact",
     .form = {.kind = VALUE_DURATION, .low = 1000, .high = YEARS_MS(100), .zero = "never"},
     .hide_zero = true,
     .offset = FLEET(compact_ms),
     .help = "finished recordings older than this are rewritten with real compression"},
    {.name = "compact_codec",
     .form = {.kind = VALUE_CHOICE, .choices = codec_names},
     .hide_zero = true,
     .offset = FLEET(compact_codec),
     .help = "by what; not every reader of Avro files reads zstandard"},
    {.name = "retain",
     .kind = KEY_MAP,
     .keys = retain_keys,
     .key_count = ARRAY_COUNT(retain_keys),
     .help = "when recordings are deleted"},
};

static const struct config_key gateway_keys[] = {
    {.name = "listen",
     .id = ID_GATEWAY_LISTEN,
     .form = ADDRESS,
     .required = true,
     .offset = FLEET(gateway),
     .help = "where REST and metrics are served, by HTTP"},
    {.name = "token_file",
     .kind = KEY_PATH,
     .id = ID_GATEWAY_TOKEN,
     .form = PATH,
     .offset = FLEET(gateway_token_file),
     .help = "file with the token that every request must carry, 16 to 512 letters; needed where "
             "listen is no loopback address"},
    {.name = "allowed_hosts",
     .kind = KEY_FIELDS,
     .id = ID_GATEWAY_HOSTS,
     .form = FIELD,
     .offset = FLEET(gateway_hosts),
     .help = "names, besides localhost and the address itself, by which it may be called"},
    {.name = "origins",
     .kind = KEY_FIELDS,
     .id = ID_GATEWAY_ORIGINS,
     .form = FIELD,
     .offset = FLEET(gateway_origins),
     .help = "origins of web pages of others, such as https://tools.example, that may ask"},
    {.name = "read_only",
     .form = {.kind = VALUE_BOOLEAN},
     .offset = FLEET(gateway_read_only),
     .with_first = true,
     .help = "whether nothing can be changed through it: no channel, no pin, no restart"},
};

static const struct config_key overview_keys[] = {
    {.name = "factor",
     .form = {.kind = VALUE_COUNT, .low = OVERVIEW_FACTOR_MIN, .high = OVERVIEW_FACTOR_MAX},
     .hide_zero = true,
     .offset = FLEET(overview_factor),
     .help = "datums in a window of the first level, and windows of a level in one of the next"},
    {.name = "levels",
     .form = {.kind = VALUE_COUNT, .low = 1, .high = OVERVIEW_LEVELS_MAX},
     .with_first = true,
     .offset = FLEET(overview_levels),
     .help = "how many levels"},
    {.name = "age",
     .form = {.kind = VALUE_DURATION, .low = 1000, .high = YEARS_MS(100), .zero = "no limit"},
     .with_first = true,
     .offset = FLEET(overview_age_ms),
     .help = "levels older than this are deleted; recordings need not be there any more"},
};

const struct config_key config_fleet_keys[] = {
    {.name = "runtime",
     .kind = KEY_PATH,
     .id = ID_RUNTIME,
     .form = PATH,
     .offset = FLEET(runtime),
     .help = "folder of sockets and state"},
    {.name = "storage",
     .kind = KEY_MAP,
     .keys = storage_keys,
     .key_count = ARRAY_COUNT(storage_keys),
     .help = "how and where is recorded"},
    {.name = "gateway",
     .kind = KEY_MAP,
     .keys = gateway_keys,
     .key_count = ARRAY_COUNT(gateway_keys),
     .help = "REST and metrics"},
    {.name = "overview",
     .kind = KEY_MAP,
     .id = ID_OVERVIEW,
     .keys = overview_keys,
     .key_count = ARRAY_COUNT(overview_keys),
     .help = "min-max levels beside the recordings, kept up in the background; without it none"},
    {.name = "include",
     .kind = KEY_INCLUDE,
     .id = ID_INCLUDE,
     .form = PATH,
     .help = "pattern of files with further channels, such as channels.d/*.yaml"},
    {.name = "defaults", .kind = KEY_DEFAULTS, .help = "channel keys that hold for all channels"},
    {.name = "channels",
     .kind = KEY_CHANNELS,
     .id = ID_CHANNELS,
     .help = "the channels, each a map under its name"},
};
const size_t config_fleet_key_count = ARRAY_COUNT(config_fleet_keys);

static const struct config_key decimated_keys[] = {
    {.name = "to", .id = ID_TO, .setting = SETTING(DECIMATED)},
    {.name = "factor", .setting = SETTING(FACTOR), .with_first = true},
    {.name = "algorithm", .setting = SETTING(ALGORITHM), .with_first = true},
    {.name = "keep",
     .kind = KEY_FIELDS,
     .id = ID_KEEP,
     .form = FIELD,
     .offset = CHANNEL(keep),
     .with_first = true,
     .help = "numbers that are not aggregated, such as flags, headings and counters: the window's "
             "last is taken"},
};

static const struct config_key limits_keys[] = {
    {.name = "memory",
     .id = ID_LIMIT_MEMORY,
     .form = {.kind = VALUE_BYTES, .low = 1u << 20, .high = PIB, .zero = "no limit"},
     .hide_zero = true,
     .offset = CHANNEL(limit_memory_bytes),
     .help = "of the channel's relay; at least its buffer and 16MiB"},
    {.name = "cpu",
     .id = ID_LIMIT_CPU,
     .form = {.kind = VALUE_PERCENT, .zero = "no limit"},
     .hide_zero = true,
     .offset = CHANNEL(limit_cpu_percent),
     .help = "of one processor, for the channel's relay"},
};

const struct config_key config_channel_keys[] = {
    {.name = "listen", .id = ID_LISTEN, .setting = SETTING(LISTEN), .required = true},
    {.name = "interface", .id = ID_INTERFACE, .setting = SETTING(INTERFACE)},
    {.name = "listen_interface", .id = ID_LISTEN_INTERFACE, .setting = SETTING(LISTEN_INTERFACE)},
    {.name = "send_interface", .id = ID_SEND_INTERFACE, .setting = SETTING(SEND_INTERFACE)},
    {.name = "sources", .kind = KEY_SOURCES, .id = ID_SOURCES, .setting = SETTING(SOURCES)},
    {.name = "schema",
     .kind = KEY_PATH,
     .id = ID_SCHEMA,
     .form = PATH,
     .offset = CHANNEL(schema),
     .help = "the Avro schema of the datums; an opaque channel needs none"},
    {.name = "encoding", .id = ID_ENCODING, .setting = SETTING(ENCODING)},
    {.name = "schema_id", .id = ID_SCHEMA_ID, .setting = SETTING(SCHEMA_ID), .hide_zero = true},
    {.name = "time",
     .id = ID_TIME,
     .form = FIELD,
     .offset = CHANNEL(time),
     .help = "the field that is the abscissa"},
    {.name = "sequence",
     .id = ID_SEQUENCE,
     .form = FIELD,
     .offset = CHANNEL(sequence),
     .help = "a field that counts up by one, for gaps"},
    {.name = "full", .id = ID_FULL, .setting = SETTING(FULL)},
    {.name = "decimated",
     .kind = KEY_MAP,
     .id = ID_DECIMATED,
     .keys = decimated_keys,
     .key_count = ARRAY_COUNT(decimated_keys),
     .help = "the decimated stream"},
    {.name = "ttl", .setting = SETTING(TTL)},
    {.name = "record",
     .form = {.kind = VALUE_BOOLEAN},
     .offset = CHANNEL(record),
     .help = "whether the channel is recorded"},
    {.name = "on_invalid", .setting = SETTING(ON_INVALID)},
    {.name = "buffer", .setting = SETTING(BUFFER)},
    {.name = "receive_queue", .setting = SETTING(RECEIVE_QUEUE)},
    {.name = "offload", .setting = SETTING(OFFLOAD)},
    {.name = "latency", .setting = SETTING(LATENCY)},
    {.name = "limits",
     .kind = KEY_MAP,
     .id = ID_LIMITS,
     .keys = limits_keys,
     .key_count = ARRAY_COUNT(limits_keys),
     .help = "limits of the channel's relay, by cgroup v2"},
};
const size_t config_channel_key_count = ARRAY_COUNT(config_channel_keys);

void config_key_defaults(struct config *config, struct config_channel *channel)
{
    struct channel_settings *settings = &channel->settings;
    settings_defaults(settings);
    channel->record = true;
    config->direct_io = settings->direct_io;
    config->sync_ms = settings->sync_ms;
    config->rotate_bytes = settings->rotate_bytes;
    config->rotate_age_ms = settings->rotate_age_ms;
    config->overview_levels = OVERVIEW_LEVELS;
    config->overview_age_ms = 2 * 365 * 86400000ull;
}

const struct value_form *config_key_form(const struct config_key *key)
{
    return key->setting ? &key->setting->form : &key->form;
}

const char *config_key_help(const struct config_key *key)
{
    return key->setting ? key->setting->help : key->help;
}

size_t config_key_offset(const struct config_key *key)
{
    return key->setting && key->offset == 0
               ? offsetof(struct config_channel, settings) + key->setting->offset
               : key->offset;
}
