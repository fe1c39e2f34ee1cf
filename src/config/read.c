/* SPDX-License-Identifier: MIT
 * From the trees of fleet.yaml and its includes to values, by the tables of keys. A value that was
 * refused is taken as not said, so that one slip makes one error. Relies on channel/value. */
#include "config/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/nearest.h"
#include "base/text.h"
#include "os/path.h"

#define CHANNELS_MAX 10000
#define INCLUDES_MAX 10000
#define KEYS_MAX     32 /* in one map */

/* ---- reading by the tables ---- */

static void read_map(struct loader *loader, const struct config_node *map,
                     const struct config_key *keys, size_t key_count, void *base,
                     const struct config_node **said);

const struct config_key *config_key_find(const struct config_key *keys, size_t key_count,
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
        return config_key_find(keys, key_count, best);
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
    char message[CONFIG_MESSAGE_BYTES];
    const char *text = read_text(loader, node, name, form);
    if (text != NULL && value_read(form, text, into, message, sizeof message) == 0)
        return true;
    if (text != NULL)
        config_error(&loader->faults, node->place, "%s: %s", name, message);
    if (form->kind == VALUE_ADDRESS) /* lest a default's address clashes in its place */
        memset(into, 0, sizeof(struct address));
    return false;
}

bool loader_read_path(struct loader *loader, const struct config_node *node,
                      const struct config_key *key, char *into)
{
    char given[CHANNEL_PATH_BYTES_MAX];
    if (!read_value(loader, node, key->name, config_key_form(key), given))
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
        const struct prefix *read = &settings->sources[settings->source_count];
        if (!read_value(loader, item, key->name, config_key_form(key),
                        &settings->sources[settings->source_count]))
            continue;
        for (uint32_t i = 0; i < settings->source_count; i++)
            if (settings->sources[i].bits == read->bits &&
                address_equal(&settings->sources[i].address, &read->address))
                config_error(&loader->faults, item->place, "%s: %s is there twice", key->name,
                             item->text);
        settings->source_count++;
    }
}

/* Joins names by commas, which none of them has: a field's name may not. */
static void read_fields(struct loader *loader, const struct config_node *node,
                        const struct config_key *key, char *fields)
{
    char name[CONFIG_FIELD_BYTES_MAX];
    size_t used = 0;
    fields[0] = '\0';
    if (node->kind == NODE_MAP) {
        config_error(&loader->faults, node->place, "%s is a list of fields, found a map",
                     key->name);
        return;
    }
    const struct config_node *item = node->kind == NODE_LIST ? node->first : node;
    for (; item != NULL; item = node->kind == NODE_LIST ? item->next : NULL) {
        if (!read_value(loader, item, key->name, config_key_form(key), name))
            continue;
        size_t room = CONFIG_KEEP_BYTES_MAX - used;
        if (strchr(name, ',') != NULL)
            config_error(&loader->faults, item->place, "%s: one field each: [a, b]", key->name);
        else if (strlen(name) + 2 > room)
            config_error(&loader->faults, item->place,
                         "%s: at most %u letters in all; a record's "
                         "name stands for all numbers in it",
                         key->name, CONFIG_KEEP_BYTES_MAX - 1);
        else
            used += (size_t)snprintf(fields + used, room, "%s%s", used > 0 ? "," : "", name);
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
    void *into = (char *)base + config_key_offset(key);
    switch (key->kind) {
    case KEY_VALUE:
        read_value(loader, node, key->name, config_key_form(key), into);
        break;
    case KEY_PATH:
        loader_read_path(loader, node, key, into);
        break;
    case KEY_SOURCES:
        read_sources(loader, node, key, &((struct config_channel *)base)->settings);
        break;
    case KEY_FIELDS:
        read_fields(loader, node, key, into);
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
        const struct config_key *key = config_key_find(keys, key_count, entry->key->text);
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
        read_key(loader, entry, key, base, said);
    }
    /* What a channel must have may come from the defaults: see check_channel. */
    for (size_t i = 0; i < key_count && keys != config_channel_keys; i++)
        if (keys[i].required && !found[i])
            config_error(&loader->faults, map->key->place, "%s is missing: %s", keys[i].name,
                         config_key_help(&keys[i]));
}

/* ---- channels ---- */

static void read_channel(struct loader *loader, const struct config_node *node)
{
    static const struct value_form name_form = {.kind = VALUE_NAME};
    char message[CONFIG_MESSAGE_BYTES];
    if (node->duplicate || node->key->refused)
        return;
    struct draft *drafts =
        room_grow(loader->drafts, &loader->draft_room, loader->draft_count + 1, sizeof *drafts);
    if (drafts == NULL) {
        loader->no_memory = true;
        return;
    }
    loader->drafts = drafts;
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

static bool is_changed(const struct loader *loader, const char *path)
{
    return loader->change != NULL && strcmp(path, loader->change->file) == 0;
}

struct config_tree *loader_read_tree(struct loader *loader, const char *path)
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
    if (!is_changed(loader, path))
        return config_tree_read(tree, path, &loader->faults) < 0 ? NULL : tree;
    char *text = text_copy(loader->change->text);
    loader->change_read = true;
    if (text == NULL) {
        loader->no_memory = true;
        return NULL;
    }
    return config_tree_take(tree, path, (uint8_t *)text, strlen(text), &loader->faults) < 0 ? NULL
                                                                                           : tree;
}

/* Whether there is a map to read. Behind a syntax error nothing is: what stands before it may be
 * cut in any way, and would only be called wrong for it. */
bool loader_says_something(struct loader *loader, const struct config_tree *tree, const char *name)
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
    if (is_changed(loader, path) && loader->change->text == NULL)
        return 0; /* it is to be removed */
    if (loader->tree_count > INCLUDES_MAX) {
        config_error(&loader->faults, include->place, "more than %d files", INCLUDES_MAX);
        return 1;
    }
    struct config_tree *tree = loader_read_tree(loader, path);
    if (tree == NULL || !loader_says_something(loader, tree, "an included file"))
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
    const struct config_key *key =
        config_key_find(config_fleet_keys, config_fleet_key_count, "include");
    char pattern[CHANNEL_PATH_BYTES_MAX], folder[CHANNEL_PATH_BYTES_MAX];
    if (!read_value(loader, include, key->name, config_key_form(key), pattern))
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
    if (error == 0 && loader->change != NULL && loader->change->text != NULL &&
        !loader->change_read)
        error = read_include(loader, loader->change->file);
    if (error < 0 && !loader->no_memory)
        config_error(&loader->faults, include->place, "include: %s", strerror(-error));
    else if (loader->tree_count == before && !path_is_pattern(pattern))
        config_error(&loader->faults, include->place, "include: there is no such file");
}

/* Whether there was a map to read. */
bool loader_read_file(struct loader *loader, const char *path)
{
    struct config *config = loader->config;
    struct config_tree *tree = loader_read_tree(loader, path);
    if (tree == NULL || !loader_says_something(loader, tree, "the file"))
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
                     config_key_help(
                         config_key_find(config_fleet_keys, config_fleet_key_count, "channels")));
    return true;
}
