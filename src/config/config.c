/* SPDX-License-Identifier: MIT
 * From the trees of fleet.yaml and its includes to a checked config. Reading goes by the tables of
 * config_keys; what no single value shows is checked behind it, channel by channel, then between
 * channels. A value that was refused is taken as not said, so that one slip makes one error.
 * Relies on schema/ to compile, and on os/net to know the interfaces. */
#include "config/config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "avro/envelope.h"
#include "base/check.h"
#include "base/nearest.h"
#include "base/units.h"
#include "channel/staging.h"
#include "config/keys.h"
#include "config/tree.h"
#include "os/cgroup.h"
#include "os/file.h"
#include "os/path.h"
#include "schema/schema.h"

/* Of a relay besides its shared memory: program, stacks, header image, page tables, and the page
 * cache that it writes through where there is no direct I/O. */
#define RELAY_BYTES (8ull << 20)

#define CHANNELS_MAX   10000
#define INCLUDES_MAX   10000
#define KEYS_MAX       32 /* in one map */
#define SYSTEM_FILE    "/etc/flotilla/fleet.yaml"
#define FLAGS_BYTES    (3 * CHANNEL_PATH_BYTES_MAX + 128 * (CHANNEL_SOURCES_MAX + 16))
#define FLAGS_MAX      64
#define MESSAGE_BYTES  1200
#define FILE_OF(place) ((place).file->name)

/* A channel while it is read: its values, and where each of them was said. */
struct draft {
    struct config_channel values;
    const struct config_node *node; /* of the map; its key is the name */
    const struct config_node *said[ID_COUNT];
};

struct loader {
    struct config *config;
    struct config_faults faults;
    struct config_tree **trees; /* the file itself, then its includes */
    size_t tree_count;
    struct draft defaults;
    struct draft *drafts; /* as many as config->channels */
    size_t draft_count, draft_room;
    const struct config_node *said[ID_COUNT]; /* of the fleet */
    bool limits_told;                         /* that this machine has none */
    bool anywhere; /* the interfaces are those of another machine, or not there yet */
    bool no_memory;
};

static struct config_place place_of_file(const struct config_tree *tree)
{
    return (struct config_place){&tree->file, tree->root != NULL ? tree->root->place.line : 1,
                                 tree->root != NULL ? tree->root->place.column : 1};
}

/* ---- reading by the tables ---- */

static void read_map(struct loader *loader, const struct config_node *map,
                     const struct config_key *keys, size_t key_count, void *base,
                     const struct config_node **said);

static const struct config_key *find_key(const struct config_key *keys, size_t key_count,
                                         const char *name)
{
    for (size_t i = 0; i < key_count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

static const char a_channel[] = "a channel";

/* The map that knows the key `name`, for keys that stand in the wrong one: "storage.rotate". */
static bool find_home(const struct config_key *keys, size_t key_count, const char *name,
                      const char *inside, char *home, size_t home_bytes)
{
    for (size_t i = 0; i < key_count; i++) {
        char path[100];
        const char *between = inside[0] == '\0' ? "" : inside == a_channel ? "'s " : ".";
        snprintf(path, sizeof path, "%s%s%s", inside, between, keys[i].name);
        if (inside[0] != '\0' && strcmp(keys[i].name, name) == 0) {
            snprintf(home, home_bytes, "%s", inside);
            return true;
        }
        if (keys[i].kind == KEY_MAP &&
            find_home(keys[i].keys, keys[i].key_count, name, path, home, home_bytes))
            return true;
    }
    return false;
}

/* Returns the key that was meant, if that can be told. */
static const struct config_key *unknown_key(struct loader *loader, const struct config_node *key,
                                            const struct config_key *keys, size_t key_count)
{
    const char *best = NULL;
    char known[300] = "", home[100];
    size_t used = 0;
    for (size_t i = 0; i < key_count; i++) {
        nearest_offer(key->text, keys[i].name, &best);
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 keys[i].name);
        CHECK(used < sizeof known);
    }
    if (best != NULL) {
        config_error(&loader->faults, key->place, "unknown key \"%.80s\"; did you mean \"%s\"?",
                     key->text, best);
        return find_key(keys, key_count, best);
    }
    if (find_home(config_fleet_keys, config_fleet_key_count, key->text, "", home, sizeof home) ||
        find_home(config_channel_keys, config_channel_key_count, key->text, a_channel, home,
                  sizeof home))
        config_error(&loader->faults, key->place, "unknown key \"%.80s\" here; it belongs in %s",
                     key->text, home);
    else
        config_error(&loader->faults, key->place, "unknown key \"%.80s\"; known here: %s",
                     key->text, known);
    return NULL;
}

/* The text of a value, or NULL behind an error. */
static const char *read_text(struct loader *loader, const struct config_node *node,
                             const char *name, const struct value_form *form)
{
    char shape[VALUE_TEXT_BYTES];
    if (node->kind != NODE_TEXT) {
        config_error(&loader->faults, node->place, "%s is a single value (%s), found %s", name,
                     value_describe(form, shape), config_node_name(node));
        return NULL;
    }
    if (node->refused)
        return NULL;
    if (node->bytes == 0) {
        config_error(&loader->faults, node->place, "%s needs a value: %s", name,
                     value_describe(form, shape));
        return NULL;
    }
    return node->text;
}

static bool read_value(struct loader *loader, const struct config_node *node, const char *name,
                       const struct value_form *form, void *into)
{
    char message[MESSAGE_BYTES];
    const char *text = read_text(loader, node, name, form);
    if (text != NULL && value_read(form, text, into, message, sizeof message) == 0)
        return true;
    if (text != NULL)
        config_error(&loader->faults, node->place, "%s: %s", name, message);
    if (form->kind == VALUE_ADDRESS) /* lest a default's address clashes in its place */
        memset(into, 0, sizeof(struct address));
    return false;
}

static bool read_path(struct loader *loader, const struct config_node *node,
                      const struct config_key *key, char *into)
{
    char given[CHANNEL_PATH_BYTES_MAX];
    if (!read_value(loader, node, key->name, &key->form, given))
        return false;
    if (path_join(node->place.file->folder, given, into, CHANNEL_PATH_BYTES_MAX) < 0) {
        config_error(&loader->faults, node->place, "%s: the path is too long", key->name);
        into[0] = '\0';
        return false;
    }
    return true;
}

static void read_sources(struct loader *loader, const struct config_node *node,
                         const struct config_key *key, struct channel_settings *settings)
{
    settings->source_count = 0;
    if (node->kind == NODE_MAP) {
        config_error(&loader->faults, node->place, "%s is a list of addresses, found a map",
                     key->name);
        return;
    }
    const struct config_node *item = node->kind == NODE_LIST ? node->first : node;
    for (; item != NULL; item = node->kind == NODE_LIST ? item->next : NULL) {
        if (settings->source_count == CHANNEL_SOURCES_MAX) {
            config_error(&loader->faults, item->place, "%s: at most %d", key->name,
                         CHANNEL_SOURCES_MAX);
            return;
        }
        settings->source_count += read_value(loader, item, key->name, &key->form,
                                             &settings->sources[settings->source_count]);
    }
}

/* Whether a node can be read as a map: nothing at all counts as an empty one, because that is what
 * a map looks like when all its lines are commented out. */
static bool is_map(struct loader *loader, const struct config_node *node, const char *name)
{
    if (node->kind == NODE_MAP)
        return true;
    if (node->kind == NODE_TEXT && node->bytes == 0)
        return !node->refused;
    config_error(&loader->faults, node->place, "%s is a map (key: value), found %s", name,
                 config_node_name(node));
    return false;
}

static void read_key(struct loader *loader, const struct config_node *node,
                     const struct config_key *key, void *base, const struct config_node **said)
{
    void *into = (char *)base + key->offset;
    switch (key->kind) {
    case KEY_VALUE:
        read_value(loader, node, key->name, &key->form, into);
        break;
    case KEY_PATH:
        read_path(loader, node, key, into);
        break;
    case KEY_SOURCES:
        read_sources(loader, node, key, into);
        break;
    case KEY_MAP:
        if (is_map(loader, node, key->name))
            read_map(loader, node, key->keys, key->key_count, base, said);
        break;
    case KEY_DEFAULTS:
        if (is_map(loader, node, key->name))
            read_map(loader, node, config_channel_keys, config_channel_key_count,
                     &loader->defaults.values, loader->defaults.said);
        break;
    case KEY_CHANNELS:
    case KEY_INCLUDE:
        break; /* read behind the defaults, wherever those stand */
    }
}

static void read_map(struct loader *loader, const struct config_node *map,
                     const struct config_key *keys, size_t key_count, void *base,
                     const struct config_node **said)
{
    bool found[KEYS_MAX] = {false};
    CHECK(key_count <= KEYS_MAX);
    for (const struct config_node *entry = map->first; entry != NULL; entry = entry->next) {
        if (entry->key->refused || entry->duplicate)
            continue;
        const struct config_key *key = find_key(keys, key_count, entry->key->text);
        bool known = key != NULL;
        if (!known)
            key = unknown_key(loader, entry->key, keys, key_count);
        if (key == NULL)
            continue;
        /* A key that was misspelt is not missing. */
        found[key - keys] = true;
        if (key->id != ID_NONE && (known || said[key->id] == NULL))
            said[key->id] = entry;
        if (!known)
            continue;
        if (key->warning != NULL)
            config_warning(&loader->faults, entry->key->place, "%s", key->warning);
        read_key(loader, entry, key, base, said);
    }
    /* What a channel must have may come from the defaults: see check_channel. */
    for (size_t i = 0; i < key_count && keys != config_channel_keys; i++)
        if (keys[i].required && !found[i])
            config_error(&loader->faults, map->key->place, "%s is missing: %s", keys[i].name,
                         keys[i].help);
}

/* ---- channels ---- */

static void read_channel(struct loader *loader, const struct config_node *node)
{
    static const struct value_form name_form = {.kind = VALUE_NAME};
    char message[MESSAGE_BYTES];
    if (node->duplicate || node->key->refused)
        return;
    if (loader->draft_count == loader->draft_room) {
        size_t room = loader->draft_room == 0 ? 16 : loader->draft_room * 2;
        struct draft *drafts = realloc(loader->drafts, room * sizeof *drafts);
        if (drafts == NULL) {
            loader->no_memory = true;
            return;
        }
        loader->drafts = drafts;
        loader->draft_room = room;
    }
    struct draft *draft = &loader->drafts[loader->draft_count];
    *draft = loader->defaults;
    struct config_channel *values = &draft->values;
    draft->node = node;
    snprintf(values->file, sizeof values->file, "%s", FILE_OF(node->place));
    values->line = node->key->place.line;
    if (value_read(&name_form, node->key->text, values->settings.name, message, sizeof message) < 0)
        config_error(&loader->faults, node->key->place, "%s", message);
    if (!is_map(loader, node, "a channel"))
        return;
    read_map(loader, node, config_channel_keys, config_channel_key_count, values, draft->said);
    loader->draft_count++;
}

static void read_channels(struct loader *loader, const struct config_node *channels)
{
    if (!is_map(loader, channels, "channels"))
        return;
    for (const struct config_node *node = channels->first; node != NULL; node = node->next) {
        if (loader->draft_count == CHANNELS_MAX) {
            config_error(&loader->faults, node->key->place, "more than %d channels", CHANNELS_MAX);
            return;
        }
        read_channel(loader, node);
    }
}

/* ---- files ---- */

static struct config_tree *read_tree(struct loader *loader, const char *path)
{
    struct config_tree **trees =
        realloc(loader->trees, (loader->tree_count + 1) * sizeof(struct config_tree *));
    if (trees != NULL)
        loader->trees = trees;
    struct config_tree *tree = trees != NULL ? calloc(1, sizeof *tree) : NULL;
    if (tree == NULL) {
        loader->no_memory = true;
        return NULL;
    }
    tree->file.order = (uint32_t)loader->tree_count;
    loader->trees[loader->tree_count++] = tree;
    return config_tree_read(tree, path, &loader->faults) < 0 ? NULL : tree;
}

/* Whether there is a map to read. Behind a syntax error nothing is: what stands before it may be
 * cut in any way, and would only be called wrong for it. */
static bool is_readable(struct loader *loader, const struct config_tree *tree, const char *name)
{
    if (tree->whole && tree->root == NULL)
        config_error(&loader->faults, place_of_file(tree), "%s says nothing", name);
    return tree->whole && tree->root != NULL && is_map(loader, tree->root, name);
}

static int read_include(void *context, const char *path)
{
    struct loader *loader = context;
    const struct config_node *include = loader->said[ID_INCLUDE];
    if (strcmp(path, loader->trees[0]->file.name) == 0)
        return 0; /* a pattern may match the file it stands in */
    if (loader->tree_count > INCLUDES_MAX) {
        config_error(&loader->faults, include->place, "more than %d files", INCLUDES_MAX);
        return 1;
    }
    struct config_tree *tree = read_tree(loader, path);
    if (tree == NULL || !is_readable(loader, tree, "an included file"))
        return loader->no_memory ? -ENOMEM : 0;
    for (const struct config_node *entry = tree->root->first; entry != NULL; entry = entry->next) {
        if (entry->key->refused || entry->duplicate)
            continue;
        if (strcmp(entry->key->text, "channels") != 0)
            config_error(&loader->faults, entry->key->place,
                         "unknown key \"%.80s\"; an included file holds only \"channels\"",
                         entry->key->text);
        else
            read_channels(loader, entry);
    }
    return loader->no_memory ? -ENOMEM : 0;
}

static void read_includes(struct loader *loader)
{
    const struct config_node *include = loader->said[ID_INCLUDE];
    const struct config_key *key = find_key(config_fleet_keys, config_fleet_key_count, "include");
    char pattern[CHANNEL_PATH_BYTES_MAX], folder[CHANNEL_PATH_BYTES_MAX];
    if (!read_value(loader, include, key->name, &key->form, pattern))
        return;
    /* Messages call an included file by the name the user would: from where the first one is. */
    snprintf(folder, sizeof folder, "%s", loader->trees[0]->file.name);
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        folder[0] = '\0';
    else
        slash[slash == folder ? 1 : 0] = '\0';
    size_t before = loader->tree_count;
    int error = path_glob(folder, pattern, read_include, loader);
    if (error < 0 && !loader->no_memory)
        config_error(&loader->faults, include->place, "include: %s", strerror(-error));
    else if (loader->tree_count == before && !path_is_pattern(pattern))
        config_error(&loader->faults, include->place, "include: there is no such file");
}

/* Whether there was a map to read. */
static bool read_file(struct loader *loader, const char *path)
{
    struct config *config = loader->config;
    struct config_tree *tree = read_tree(loader, path);
    if (tree == NULL || !is_readable(loader, tree, "the file"))
        return false;
    read_map(loader, tree->root, config_fleet_keys, config_fleet_key_count, config, loader->said);
    const struct config_node *channels = loader->said[ID_CHANNELS];
    if (channels != NULL && channels->kind == NODE_TEXT && channels->bytes == 0 &&
        loader->said[ID_INCLUDE] == NULL)
        config_warning(&loader->faults, channels->key->place,
                       "channels: there is nothing under it (\"channels: {}\" is a fleet of none)");
    if (channels != NULL)
        read_channels(loader, channels);
    if (loader->said[ID_INCLUDE] != NULL)
        read_includes(loader);
    else if (channels == NULL)
        config_error(&loader->faults, place_of_file(tree), "channels is missing: %s",
                     find_key(config_fleet_keys, config_fleet_key_count, "channels")->help);
    return true;
}

/* ---- what no single value shows ---- */

/* Where to point at: the value, or where it should be. */
static struct config_place place_of(const struct draft *draft, enum config_key_id id)
{
    return draft->said[id] != NULL ? draft->said[id]->place : draft->node->key->place;
}

static void resolve_fleet(struct loader *loader)
{
    struct config *config = loader->config;
    struct config_place whole_file = {&loader->trees[0]->file, 0, 0};
    if (loader->said[ID_RUNTIME] == NULL &&
        path_runtime(config->runtime, sizeof config->runtime) < 0)
        config_error(&loader->faults, whole_file,
                     "runtime is not said, and without it $XDG_RUNTIME_DIR is needed, which is not "
                     "set: set one of them");
    if (loader->said[ID_STORAGE_DIRECTORY] == NULL &&
        path_join(whole_file.file->folder, "recordings", config->directory,
                  sizeof config->directory) < 0)
        config_error(&loader->faults, whole_file, "storage.directory: the path is too long");
}

static void resolve_channel(struct loader *loader, struct draft *draft)
{
    struct config *config = loader->config;
    struct channel_settings *settings = &draft->values.settings;
    int layout = snprintf(settings->layout, sizeof settings->layout, "%s/%s.layout",
                          config->runtime, settings->name);
    int directory = 0;
    settings->directory[0] = '\0';
    if (draft->values.record)
        directory = snprintf(settings->directory, sizeof settings->directory, "%s/%s",
                             config->directory, settings->name);
    if (layout >= (int)sizeof settings->layout || directory >= (int)sizeof settings->directory)
        config_error(&loader->faults, draft->node->key->place,
                     "the paths of this channel's files are too long");
    settings->direct_io = config->direct_io;
    settings->sync_ms = config->sync_ms;
    settings->rotate_bytes = config->rotate_bytes;
    settings->rotate_age_ms = config->rotate_age_ms;
}

static void check_decimated(struct loader *loader, struct draft *draft)
{
    struct channel_settings *settings = &draft->values.settings;
    const struct config_node *decimated = draft->said[ID_DECIMATED];
    if (decimated != NULL && draft->said[ID_TO] == NULL &&
        decimated != loader->defaults.said[ID_DECIMATED])
        config_error(&loader->faults, decimated->key->place,
                     "to is missing: where the decimated stream is sent to");
    if (settings->decimated.family == 0) {
        struct channel_settings usual;
        settings_defaults(&usual);
        settings->factor = usual.factor; /* defaults may say them for those who decimate */
        settings->algorithm = usual.algorithm;
    }
}

/* Whether the channel says it itself, and not only in the defaults for all. */
static bool says_itself(const struct loader *loader, const struct draft *draft,
                        enum config_key_id id)
{
    return draft->said[id] != NULL && draft->said[id] != loader->defaults.said[id];
}

static void check_opaque(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    if (says_itself(loader, draft, ID_SCHEMA))
        config_warning(&loader->faults, place_of(draft, ID_SCHEMA),
                       "not used: what encoding: opaque records has a schema of its own");
    if (says_itself(loader, draft, ID_TIME))
        config_error(&loader->faults, place_of(draft, ID_TIME),
                     "encoding: opaque has no fields; its time is that of arrival");
    if (says_itself(loader, draft, ID_SEQUENCE))
        config_error(&loader->faults, place_of(draft, ID_SEQUENCE),
                     "encoding: opaque has no fields to count by");
    if (values->settings.decimated.family != 0 &&
        values->settings.algorithm != ALGORITHM_DOWNSAMPLE)
        config_error(&loader->faults, draft->said[ID_DECIMATED]->key->place,
                     "algorithm: %s needs numbers, and encoding: opaque has none; use downsample",
                     algorithm_name(values->settings.algorithm));
    values->schema[0] = values->time[0] = values->sequence[0] = '\0';
}

static void check_encoding(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    enum encoding encoding = values->settings.encoding;
    if (encoding == ENCODING_OPAQUE)
        check_opaque(loader, draft);
    else if (draft->said[ID_SCHEMA] == NULL)
        config_error(&loader->faults, draft->node->key->place,
                     "schema is missing: the Avro schema of the datums");
    if (encoding == ENCODING_CONFLUENT && draft->said[ID_SCHEMA_ID] == NULL)
        config_error(&loader->faults, place_of(draft, ID_ENCODING),
                     "encoding: confluent needs schema_id, the id every datum must carry");
    if (encoding != ENCODING_CONFLUENT) {
        if (says_itself(loader, draft, ID_SCHEMA_ID))
            config_error(&loader->faults, place_of(draft, ID_SCHEMA_ID),
                         "schema_id belongs to encoding: confluent");
        values->settings.schema_id = 0;
    }
}

/* What a relay of these settings may come to use: a limit of memory below that would have it
 * killed.
 */
static uint64_t least_memory_bytes(const struct channel_settings *settings)
{
    return staging_bytes(settings) + RELAY_BYTES;
}

/* A relay that may fill its buffer but not have it would be killed for it when it is needed most.
 */
static void check_limits(struct loader *loader, struct draft *draft)
{
    const struct config_channel *values = &draft->values;
    uint64_t least = least_memory_bytes(&values->settings);
    char limit[UNITS_TEXT_BYTES], buffer[UNITS_TEXT_BYTES], needed[UNITS_TEXT_BYTES];
    if (values->limit_memory_bytes != 0 && values->limit_memory_bytes < least)
        config_error(&loader->faults, place_of(draft, ID_LIMIT_MEMORY),
                     "memory: %s is less than the relay may need with a buffer of %s; allow %s, or "
                     "make the buffer smaller",
                     units_write_bytes(limit, values->limit_memory_bytes),
                     units_write_bytes(buffer, values->settings.buffer_bytes),
                     units_write_bytes(needed, (least + (1u << 20) - 1) >> 20 << 20));
    if (values->limit_cpu_percent > 0 && values->limit_cpu_percent < CGROUP_CPU_PERCENT_MIN)
        config_error(&loader->faults, place_of(draft, ID_LIMIT_CPU),
                     "cpu: less than %g%% cannot be had", CGROUP_CPU_PERCENT_MIN);
    bool memory, cpu, wants_memory = values->limit_memory_bytes != 0;
    bool wants_cpu = values->limit_cpu_percent > 0;
    char why[CGROUP_WHY_BYTES] = "";
    if (loader->anywhere || loader->limits_told || (!wants_memory && !wants_cpu))
        return;
    int status = cgroup_supported(cgroup_find(), &memory, &cpu, why);
    if ((!wants_memory || memory) && (!wants_cpu || cpu))
        return;
    loader->limits_told = true;
    if (status == 0)
        snprintf(why, sizeof why, "its kernel has no %s controller in cgroup v2",
                 memory ? "cpu" : "memory");
    config_warning(&loader->faults, draft->said[ID_LIMITS]->key->place,
                   "%s not applied on this machine: %s", status < 0 ? "limits are" : "a limit is",
                   why);
}

static void check_channel(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    struct channel_settings *settings = &values->settings;
    for (size_t i = 0; i < config_channel_key_count; i++)
        if (config_channel_keys[i].required && draft->said[config_channel_keys[i].id] == NULL)
            config_error(&loader->faults, draft->node->key->place, "%s is missing: %s",
                         config_channel_keys[i].name, config_channel_keys[i].help);
    check_decimated(loader, draft);
    if (settings->interface[0] != '\0' && net_interface_index(settings->interface) == 0) {
        if (errno == ENODEV && !loader->anywhere)
            config_error(&loader->faults, place_of(draft, ID_INTERFACE),
                         "there is no interface \"%s\" on this machine", settings->interface);
        else if (errno != ENODEV)
            config_error(&loader->faults, place_of(draft, ID_INTERFACE),
                         "cannot look for interface \"%s\": %s", settings->interface,
                         strerror(errno));
    }
    check_encoding(loader, draft);
    check_limits(loader, draft);
    if (settings->listen.family == 0)
        return;
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (settings->sources[i].address.family != settings->listen.family) {
            config_error(&loader->faults, place_of(draft, ID_SOURCES),
                         "sources: IPv4 and IPv6 differ from listen");
            break;
        }
}

/* The schema of what an opaque channel records is our own. */
static void compile_opaque(struct config_channel *values)
{
    char message[MESSAGE_BYTES];
    struct span text = {(const uint8_t *)opaque_schema, strlen(opaque_schema)};
    struct schema_file *schema = schema_parse(text, message, sizeof message);
    int error = schema == NULL ? -EINVAL
                               : schema_compile(schema, "received", "", &values->layout_image,
                                                &values->layout_bytes, message, sizeof message);
    CHECK(error == 0);
    schema_free(schema);
}

/* Each of them compiled alone first, so that the error can point at the value it comes from. */
static void compile_channel(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    const struct config_node *said = draft->said[ID_SCHEMA];
    if (values->settings.encoding == ENCODING_OPAQUE) {
        compile_opaque(values);
        return;
    }
    if (said == NULL || values->schema[0] == '\0')
        return;
    char message[MESSAGE_BYTES] = "";
    struct span text = {NULL, 0};
    uint8_t *bytes = NULL;
    struct schema_file *schema = NULL;
    struct schema_findings findings = {0};
    int error = file_read_whole(values->schema, LAYOUT_SCHEMA_BYTES_MAX, &bytes, &text.bytes);
    if (error < 0) {
        config_error(&loader->faults, said->place, "%s: %s", said->text, file_error_text(error));
        return;
    }
    text.at = bytes;
    if (text.bytes >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0) {
        config_error(&loader->faults, said->place,
                     "%s: begins with a byte order mark; save it without", said->text);
        free(bytes);
        return;
    }
    schema = schema_read(text, &findings);
    for (size_t i = 0; i < findings.count; i++) {
        const struct schema_finding *one = &findings.list[i];
        (one->warning ? config_warning : config_error)(
            &loader->faults, said->place, "%s:%lu:%lu: %s%s%s", said->text,
            (unsigned long)one->line, (unsigned long)one->column, one->path,
            one->path[0] != '\0' ? ": " : "", one->message);
    }
    loader->no_memory |= findings.errors > 0 && findings.list == NULL;
    schema_findings_free(&findings);
    if (schema == NULL) {
        free(bytes);
        return;
    }
    const struct {
        const char *time, *sequence;
        enum config_key_id id;
    } steps[] = {
        {"", "", ID_SCHEMA},
        {values->time, "", ID_TIME},
        {"", values->sequence, ID_SEQUENCE},
        {values->time, values->sequence, ID_SCHEMA},
    };
    bool good = true;
    for (size_t i = 0; i < ARRAY_COUNT(steps) && (good || steps[i].id != ID_SCHEMA); i++) {
        if ((steps[i].id == ID_TIME && values->time[0] == '\0') ||
            (steps[i].id == ID_SEQUENCE && values->sequence[0] == '\0'))
            continue;
        free(values->layout_image);
        values->layout_image = NULL;
        if (schema_compile(schema, steps[i].time, steps[i].sequence, &values->layout_image,
                           &values->layout_bytes, message, sizeof message) == 0)
            continue;
        values->layout_image = NULL;
        good = false;
        if (steps[i].id == ID_SCHEMA)
            config_error(&loader->faults, said->place, "%s: %s", said->text, message);
        else
            config_error(&loader->faults, place_of(draft, steps[i].id), "%s", message);
        if (i == 0)
            break;
    }
    schema_free(schema);
    free(bytes);
}

/* ---- clashes ---- */

static int compare_names(const void *left, const void *right)
{
    const struct draft *a = *(struct draft *const *)left, *b = *(struct draft *const *)right;
    int order = strcmp(a->values.settings.name, b->values.settings.name);
    return order != 0 ? order : a < b ? -1 : a > b;
}

/* In one file they are duplicate keys, which the tree has found; this is between files. */
static void check_names(struct loader *loader)
{
    if (loader->draft_count < 2)
        return;
    struct draft **sorted = calloc(loader->draft_count, sizeof(struct draft *));
    if (sorted == NULL) {
        loader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < loader->draft_count; i++)
        sorted[i] = &loader->drafts[i];
    qsort(sorted, loader->draft_count, sizeof *sorted, compare_names);
    for (size_t i = 1, first = 0; i < loader->draft_count; i++) {
        const struct config_node *key = sorted[i]->node->key;
        struct config_place place = sorted[first]->node->key->place;
        const char *name = sorted[i]->values.settings.name;
        if (strcmp(name, sorted[first]->values.settings.name) != 0)
            first = i;
        else if (name[0] != '\0')
            config_error(&loader->faults, key->place,
                         "duplicate channel \"%s\"; first at %s:%lu:%lu", name, FILE_OF(place),
                         (unsigned long)place.line, (unsigned long)place.column);
    }
    free(sorted);
}

static bool is_wildcard(const struct address *address)
{
    static const uint8_t zero[16];
    return memcmp(address->bytes, zero, address->family == 4 ? 4 : 16) == 0;
}

/* Whether two inputs would take each other's datagrams, or the second could not be opened. */
static bool same_input(const struct channel_settings *a, const struct channel_settings *b)
{
    if (a->listen.family != b->listen.family || a->listen.port != b->listen.port)
        return false;
    if (net_same_address(&a->listen, &b->listen))
        return !net_is_multicast(&a->listen) || strcmp(a->interface, b->interface) == 0;
    return !net_is_multicast(&a->listen) && !net_is_multicast(&b->listen) &&
           (is_wildcard(&a->listen) || is_wildcard(&b->listen));
}

/* Groups on different interfaces are different places. */
static bool same_output(const struct address *a, const char *a_interface, const struct address *b,
                        const char *b_interface)
{
    return a->family != 0 && net_same_address(a, b) &&
           (!net_is_multicast(a) || a_interface[0] == '\0' || b_interface[0] == '\0' ||
            strcmp(a_interface, b_interface) == 0);
}

struct output {
    const char *name;
    const struct address *address;
    enum config_key_id id;
};

static void outputs_of(const struct draft *draft, struct output outputs[2])
{
    outputs[0] = (struct output){"full", &draft->values.settings.full, ID_FULL};
    outputs[1] = (struct output){"decimated", &draft->values.settings.decimated, ID_TO};
}

__attribute__((format(printf, 4, 5))) static void clash(struct loader *loader,
                                                        struct config_place place,
                                                        struct config_place other,
                                                        const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    config_error(&loader->faults, place, "%s (%s:%lu:%lu)", message, FILE_OF(other),
                 (unsigned long)other.line, (unsigned long)other.column);
}

/* What the outputs of `a` do to the input of `b`, which may be `a` itself. */
static void check_feeding(struct loader *loader, const struct draft *a, const struct draft *b)
{
    const struct channel_settings *from = &a->values.settings, *to = &b->values.settings;
    char text[NET_ADDRESS_TEXT_BYTES];
    struct output outputs[2];
    outputs_of(a, outputs);
    for (size_t i = 0; i < ARRAY_COUNT(outputs); i++) {
        if (!settings_feeds(outputs[i].address, from->interface, &to->listen, to->interface))
            continue;
        net_write_address(text, outputs[i].address);
        if (a == b)
            clash(loader, place_of(a, outputs[i].id), place_of(b, ID_LISTEN),
                  "%s: %s is the channel's own input", outputs[i].name, text);
        else
            clash(loader, place_of(a, outputs[i].id), place_of(b, ID_LISTEN),
                  "%s: %s is the input of channel \"%s\"", outputs[i].name, text, to->name);
    }
}

/* What stands in `b`, behind `a` (or is `a`), and was taken in `a`. */
static void check_sharing(struct loader *loader, const struct draft *a, const struct draft *b)
{
    const struct channel_settings *first = &a->values.settings, *second = &b->values.settings;
    char text[NET_ADDRESS_TEXT_BYTES];
    struct output taken[2], wanted[2];
    outputs_of(a, taken);
    outputs_of(b, wanted);
    if (a != b && first->listen.family != 0 && same_input(first, second))
        clash(loader, place_of(b, ID_LISTEN), place_of(a, ID_LISTEN),
              "listen: %s is the input of channel \"%s\" already",
              net_write_address(text, &second->listen), first->name);
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++)
        for (size_t k = 0; k < (a == b ? i : ARRAY_COUNT(taken)); k++)
            if (same_output(taken[k].address, first->interface, wanted[i].address,
                            second->interface)) {
                clash(loader, place_of(b, wanted[i].id), place_of(a, taken[k].id),
                      "%s: channel \"%s\" sends to %s already", wanted[i].name, first->name,
                      net_write_address(text, wanted[i].address));
                break;
            }
}

static void check_clashes(struct loader *loader)
{
    check_names(loader);
    for (size_t i = 0; i < loader->draft_count; i++) {
        struct output outputs[2];
        outputs_of(&loader->drafts[i], outputs);
        for (size_t k = 0; k < ARRAY_COUNT(outputs); k++)
            if (outputs[k].address->family != 0 && is_wildcard(outputs[k].address))
                config_error(&loader->faults, place_of(&loader->drafts[i], outputs[k].id),
                             "%s: nothing can be sent to the wildcard address", outputs[k].name);
        for (size_t k = 0; k < loader->draft_count; k++) {
            check_feeding(loader, &loader->drafts[i], &loader->drafts[k]);
            if (k <= i)
                check_sharing(loader, &loader->drafts[k], &loader->drafts[i]);
        }
    }
}

/* ---- the module's functions ---- */

static int load(struct loader *loader, const char *path)
{
    config_key_defaults(loader->config, &loader->defaults.values);
    snprintf(loader->config->file, sizeof loader->config->file, "%s", path);
    bool readable = read_file(loader, path);
    if (loader->no_memory)
        return -ENOMEM;
    if (!readable)
        return -EINVAL; /* there is nothing to say more about */
    resolve_fleet(loader);
    for (size_t i = 0; i < loader->draft_count; i++) {
        resolve_channel(loader, &loader->drafts[i]);
        check_channel(loader, &loader->drafts[i]);
        compile_channel(loader, &loader->drafts[i]);
    }
    check_clashes(loader);
    if (loader->no_memory)
        return -ENOMEM;
    if (loader->faults.errors > 0)
        return -EINVAL;
    struct config *config = loader->config;
    config->channels = calloc(loader->draft_count + 1, sizeof *config->channels);
    if (config->channels == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < loader->draft_count; i++) {
        config->channels[i] = loader->drafts[i].values;
        loader->drafts[i].values.layout_image = NULL; /* the config's now */
    }
    config->channel_count = (uint32_t)loader->draft_count;
    return 0;
}

static void loader_free(struct loader *loader)
{
    for (size_t i = 0; i < loader->draft_count; i++)
        free(loader->drafts[i].values.layout_image);
    free(loader->drafts);
    for (size_t i = 0; i < loader->tree_count; i++) {
        config_tree_free(loader->trees[i]);
        free(loader->trees[i]);
    }
    free(loader->trees);
    config_faults_free(&loader->faults);
    config_free(loader->config);
}

const char *config_find(const char *given)
{
    return given != NULL ? given : path_exists("fleet.yaml") ? "fleet.yaml" : SYSTEM_FILE;
}

static int read_whole(const char *path, bool anywhere, struct config **config, FILE *errors)
{
    struct loader loader = {.config = calloc(1, sizeof *loader.config), .anywhere = anywhere};
    int error = loader.config != NULL ? load(&loader, path) : -ENOMEM;
    config_faults_print(&loader.faults, errors);
    if (error == -ENOMEM)
        fprintf(errors, "%s: out of memory\n", path);
    else if (error < 0 && strcmp(path, SYSTEM_FILE) == 0 && !path_exists(path))
        fprintf(errors, "No ./fleet.yaml either; say where it is with -c FILE.\n");
    if (error == 0) {
        *config = loader.config;
        loader.config = NULL;
    }
    loader_free(&loader);
    return error < 0 ? -EINVAL : 0;
}

int config_read(const char *path, struct config **config, FILE *errors)
{
    return read_whole(path, false, config, errors);
}

int config_read_anywhere(const char *path, struct config **config, FILE *errors)
{
    return read_whole(path, true, config, errors);
}

int config_read_runtime(const char *path, char *runtime, size_t runtime_bytes, char *error,
                        size_t error_bytes)
{
    struct loader loader = {.config = calloc(1, sizeof *loader.config)};
    const struct config_node *said = NULL;
    int result = -EINVAL;
    struct config_tree *tree = loader.config != NULL ? read_tree(&loader, path) : NULL;
    if (tree == NULL)
        goto out;
    bool fleet = false;
    if (tree->root != NULL && tree->root->kind == NODE_MAP)
        for (const struct config_node *entry = tree->root->first; entry != NULL;
             entry = entry->next) {
            const char *name = entry->key->text;
            fleet = fleet || strcmp(name, "channels") == 0 || strcmp(name, "include") == 0;
            if (said == NULL && strcmp(name, "runtime") == 0)
                said = entry;
        }
    if (said == NULL && tree->whole) {
        /* Empty, or saved in part: no manager runs on such a file, so it is no word on where. */
        if (!is_readable(&loader, tree, "the file"))
            goto out;
        if (!fleet) {
            config_error(&loader.faults, place_of_file(tree), "says neither runtime nor channels");
            goto out;
        }
    }
    const struct config_key *key = find_key(config_fleet_keys, config_fleet_key_count, "runtime");
    char found[CHANNEL_PATH_BYTES_MAX];
    if (said != NULL) {
        if (!read_path(&loader, said, key, found))
            goto out;
    } else if (!tree->whole || path_runtime(found, sizeof found) < 0) {
        /* Behind a syntax error the file might say it still, so the default might be wrong. */
        if (tree->whole)
            config_error(&loader.faults, (struct config_place){&tree->file, 0, 0},
                         "runtime is not said, and $XDG_RUNTIME_DIR is not set");
        goto out;
    }
    int used = snprintf(runtime, runtime_bytes, "%s", found);
    if (used >= 0 && (size_t)used < runtime_bytes)
        result = 0;
    else
        config_error(&loader.faults, (struct config_place){&tree->file, 0, 0},
                     "runtime: the path is too long");
out:
    if (result < 0)
        config_faults_first(&loader.faults, error, error_bytes);
    loader_free(&loader);
    return result;
}

struct config_channel *config_channel(const struct config *config, const char *name)
{
    for (uint32_t i = 0; i < config->channel_count; i++)
        if (strcmp(config->channels[i].settings.name, name) == 0)
            return &config->channels[i];
    return NULL;
}

const char *config_nearest(const struct config *config, const char *name, char *text,
                           size_t text_bytes)
{
    const char *nearest = NULL;
    for (uint32_t i = 0; i < config->channel_count; i++)
        nearest_offer(name, config->channels[i].settings.name, &nearest);
    text[0] = '\0';
    if (nearest != NULL)
        snprintf(text, text_bytes, "did you mean \"%s\"? ", nearest);
    return text;
}

static size_t write_flags(const struct channel_settings *settings, char text[FLAGS_BYTES])
{
    char *words[FLAGS_MAX];
    int count = settings_write_flags(settings, text, FLAGS_BYTES, words, FLAGS_MAX);
    CHECK(count > 0); /* room for the longest paths and all sources */
    return (size_t)(words[count - 1] - text) + strlen(words[count - 1]) + 1;
}

bool config_same_channel(const struct config_channel *a, const struct config_channel *b)
{
    /* As flags, because that is all a relay is told, and because memory behind a text's end or a
     * list's may differ where nothing else does. */
    char a_text[FLAGS_BYTES], b_text[FLAGS_BYTES];
    size_t a_bytes = write_flags(&a->settings, a_text), b_bytes = write_flags(&b->settings, b_text);
    /* The image holds the schema's text and the numbers of the time and sequence fields. */
    return a_bytes == b_bytes && memcmp(a_text, b_text, a_bytes) == 0 &&
           a->limit_memory_bytes == b->limit_memory_bytes &&
           memcmp(&a->limit_cpu_percent, &b->limit_cpu_percent, sizeof a->limit_cpu_percent) == 0 &&
           a->layout_bytes == b->layout_bytes &&
           memcmp(a->layout_image, b->layout_image, a->layout_bytes) == 0;
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (uint32_t i = 0; i < config->channel_count; i++)
        free(config->channels[i].layout_image);
    free(config->channels);
    free(config);
}
