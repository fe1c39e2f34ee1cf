/* SPDX-License-Identifier: MIT
 * The tables of keys, walked once more: values as JSON where config/print has them as YAML. */
#include "manager/describe.h"

#include <string.h>

#include "config/keys.h"
#include "control/json_text.h"

static json_t *value_json(const struct config_key *key, const void *from)
{
    const struct value_form *form = config_key_form(key);
    char text[VALUE_TEXT_BYTES];
    if (form->kind == VALUE_BOOLEAN)
        return json_boolean(*(const bool *)from);
    if (form->kind == VALUE_COUNT)
        return json_integer(*(const uint32_t *)from);
    value_write(form, from, text);
    if (text[0] == '\0' || (key->hide_zero && strpbrk(text, "123456789") == NULL))
        return NULL;
    return json_of_text(text);
}

static json_t *words_json(const char *words)
{
    json_t *list = json_array();
    for (const char *at = words; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        json_array_append_new(list, json_of_bytes(at, bytes));
        at += bytes + (at[bytes] == ',');
    }
    return list;
}

static json_t *sources_json(const struct config_key *key, const struct channel_settings *settings)
{
    char text[VALUE_TEXT_BYTES];
    json_t *list = json_array();
    for (uint32_t i = 0; i < settings->source_count; i++)
        json_array_append_new(
            list, json_string(value_write(config_key_form(key), &settings->sources[i], text)));
    return list;
}

static json_t *map_json(const struct config_key *keys, size_t key_count,
                        const struct config_channel *channel)
{
    json_t *map = json_object();
    for (size_t i = 0; i < key_count; i++) {
        const struct config_key *key = &keys[i];
        const void *from = NULL;
        json_t *value = NULL;
        switch (key->kind) {
        case KEY_VALUE:
        case KEY_PATH:
            from = (const char *)channel + config_key_offset(key);
            value = value_json(key, from);
            break;
        case KEY_FIELDS:
            value = words_json((const char *)channel + config_key_offset(key));
            break;
        case KEY_SOURCES:
            value = sources_json(key, &channel->settings);
            break;
        case KEY_MAP:
            value = map_json(key->keys, key->key_count, channel);
            break;
        case KEY_INCLUDE:
        case KEY_DEFAULTS:
        case KEY_CHANNELS:
            break;
        }
        /* What goes with the map's first key, such as where to, says nothing without it. */
        if (value != NULL && key->with_first && json_object_get(map, keys[0].name) == NULL) {
            json_decref(value);
            continue;
        }
        if (value != NULL && !json_is_number(value) && !json_is_boolean(value) &&
            !json_is_string(value) && json_array_size(value) + json_object_size(value) == 0) {
            json_decref(value);
            continue;
        }
        if (value != NULL)
            json_object_set_new(map, key->name, value);
    }
    return map;
}

static json_t *channel_json(const struct config_channel *channel)
{
    return json_pack("{s:s, s:o}", "name", channel->settings.name, "configuration",
                     map_json(config_channel_keys, config_channel_key_count, channel));
}

json_t *describe(const struct config *config, const char *name)
{
    if (name != NULL) {
        const struct config_channel *channel = config_channel(config, name);
        return channel != NULL ? channel_json(channel) : json_object();
    }
    json_t *list = json_array();
    for (uint32_t i = 0; i < config->channel_count; i++)
        json_array_append_new(list, channel_json(&config->channels[i]));
    return json_pack("{s:o}", "channels", list);
}
