/* SPDX-License-Identifier: MIT
 * The tables of keys. A new key is one line here, and its member in struct config or
 * config_channel. Relies on the ranges being those of the relay's flags (channel/settings.c), so
 * that what is taken here is taken there. */
#include "config/keys.h"

#include <string.h>

#include "base/check.h"

#define FLEET(member)    offsetof(struct config, member)
#define CHANNEL(member)  offsetof(struct config_channel, member)
#define SETTINGS(member) offsetof(struct config_channel, settings.member)

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

_Static_assert(sizeof(enum encoding) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum on_invalid) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum offload) == sizeof(int), "an enum is an int");
_Static_assert(sizeof(enum latency_mode) == sizeof(int), "an enum is an int");

static const char *const direct_io_names[] = {"auto", "required", "off", NULL};
static const char *const algorithm_names[] = {"downsample", "average", "min-max", "rms", NULL};
static const char *const encoding_names[] = {"datum", "single-object", "confluent", "opaque", NULL};
static const char *const offload_names[] = {"auto", "off", NULL};
static const char *const latency_names[] = {"off", "on", NULL};
static const char *const on_invalid_names[] = {"quarantine", "drop", NULL};

static const struct config_key rotate_keys[] = {
    {.name = "size",
     .form = {.kind = VALUE_BYTES, .low = 4096, .high = PIB, .zero = "never by size"},
     .offset = FLEET(rotate_bytes),
     .help = "a recording that has grown to this is followed by a new one"},
    {.name = "age",
     .form = {.kind = VALUE_DURATION, .low = 100, .high = YEARS_MS(10), .zero = "never by age"},
     .offset = FLEET(rotate_age_ms),
     .help = "a recording that is as old as this is followed by a new one"},
};

static const struct config_key retain_keys[] = {
    {.name = "age",
     .form = {.kind = VALUE_DURATION, .low = 1000, .high = YEARS_MS(100), .zero = "no limit"},
     .offset = FLEET(retain_age_ms),
     .help = "recordings older than this are removed"},
    {.name = "size",
     .form = {.kind = VALUE_BYTES, .low = 4096, .high = 1024 * PIB, .zero = "no limit"},
     .offset = FLEET(retain_bytes),
     .help = "room for all recordings together; the oldest give way within 1 s of each new "
             "recording, else every 30 s"},
    {.name = "free",
     .form = {.kind = VALUE_PERCENT, .zero = "no limit"},
     .offset = FLEET(retain_free_percent),
     .help = "part of the file system to keep free; the oldest recordings give way"},
};

static const struct config_key storage_keys[] = {
    {.name = "directory",
     .kind = KEY_PATH,
     .id = ID_STORAGE_DIRECTORY,
     .form = PATH,
     .offset = FLEET(directory),
     .help = "folder of the recordings; each channel has its own folder in it"},
    {.name = "direct_io",
     .form = {.kind = VALUE_CHOICE, .choices = direct_io_names},
     .offset = FLEET(direct_io),
     .help = "whether recordings are written past the page cache"},
    {.name = "sync",
     .form = {.kind = VALUE_DURATION, .low = 1, .high = 3600000},
     .offset = FLEET(sync_ms),
     .help = "at most this much is lost at a power cut"},
    {.name = "rotate",
     .kind = KEY_MAP,
     .keys = rotate_keys,
     .key_count = ARRAY_COUNT(rotate_keys),
     .help = "when a recording is followed by a new one"},
    {.name = "retain",
     .kind = KEY_MAP,
     .keys = retain_keys,
     .key_count = ARRAY_COUNT(retain_keys),
     .help = "when recordings are removed"},
};

static const struct config_key gateway_keys[] = {
    {.name = "listen",
     .form = ADDRESS,
     .required = true,
     .offset = FLEET(gateway),
     .help = "where the web page, REST and metrics are served"},
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
     .warning = "this version has no gateway; nothing listens there",
     .help = "the web page, REST and metrics"},
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
    {.name = "to",
     .id = ID_TO,
     .form = ADDRESS,
     .offset = SETTINGS(decimated),
     .help = "where the decimated stream is sent to"},
    {.name = "factor",
     .form = {.kind = VALUE_COUNT, .low = 1, .high = 1000000000},
     .with_first = true,
     .offset = SETTINGS(factor),
     .help = "datums in a window"},
    {.name = "algorithm",
     .form = {.kind = VALUE_CHOICE, .choices = algorithm_names},
     .with_first = true,
     .offset = SETTINGS(algorithm),
     .help = "what becomes of a window"},
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
    {.name = "listen",
     .id = ID_LISTEN,
     .form = ADDRESS,
     .required = true,
     .offset = SETTINGS(listen),
     .help = "where datagrams arrive; a group is joined"},
    {.name = "interface",
     .id = ID_INTERFACE,
     .form = {.kind = VALUE_INTERFACE},
     .offset = SETTINGS(interface),
     .help = "for joining and sending; else the routing table chooses"},
    {.name = "sources",
     .kind = KEY_SOURCES,
     .id = ID_SOURCES,
     .form = {.kind = VALUE_PREFIX},
     .offset = CHANNEL(settings),
     .help = "who may send; a single address on a group joins source-specifically"},
    {.name = "schema",
     .kind = KEY_PATH,
     .id = ID_SCHEMA,
     .form = PATH,
     .offset = CHANNEL(schema),
     .help = "the Avro schema of the datums; an opaque channel needs none"},
    {.name = "encoding",
     .id = ID_ENCODING,
     .form = {.kind = VALUE_CHOICE, .choices = encoding_names},
     .offset = SETTINGS(encoding),
     .help = "what stands before each datum in a datagram; opaque takes any bytes"},
    {.name = "schema_id",
     .id = ID_SCHEMA_ID,
     .form = {.kind = VALUE_COUNT, .low = 1, .high = UINT32_MAX},
     .hide_zero = true,
     .offset = SETTINGS(schema_id),
     .help = "the schema's id in encoding: confluent"},
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
    {.name = "full",
     .id = ID_FULL,
     .form = ADDRESS,
     .offset = SETTINGS(full),
     .help = "where every datagram is sent on to"},
    {.name = "decimated",
     .kind = KEY_MAP,
     .id = ID_DECIMATED,
     .keys = decimated_keys,
     .key_count = ARRAY_COUNT(decimated_keys),
     .help = "the decimated stream"},
    {.name = "ttl",
     .form = {.kind = VALUE_COUNT, .low = 0, .high = 255},
     .offset = SETTINGS(ttl),
     .help = "hops that what is sent may make"},
    {.name = "record",
     .form = {.kind = VALUE_BOOLEAN},
     .offset = CHANNEL(record),
     .help = "whether the channel is recorded"},
    {.name = "on_invalid",
     .form = {.kind = VALUE_CHOICE, .choices = on_invalid_names},
     .offset = SETTINGS(on_invalid),
     .help = "whether datagrams that do not fit the schema are kept in a file of rejects"},
    {.name = "buffer",
     .form = {.kind = VALUE_BYTES, .low = 1u << 20, .high = 16ull << 30},
     .offset = SETTINGS(buffer_bytes),
     .help = "limit of the memory that bridges a disk stall"},
    {.name = "receive_queue",
     .form = {.kind = VALUE_BYTES, .low = 4096, .high = 1u << 30},
     .offset = SETTINGS(receive_bytes),
     .help = "queue to ask the kernel for: what arrives while a relay is replaced waits there"},
    {.name = "offload",
     .form = {.kind = VALUE_CHOICE, .choices = offload_names},
     .offset = SETTINGS(offload),
     .help = "whether datagrams are taken and sent coalesced where the system can"},
    {.name = "latency",
     .form = {.kind = VALUE_CHOICE, .choices = latency_names},
     .offset = SETTINGS(latency),
     .help = "whether the time from arrival to sending is measured, for status"},
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
}
