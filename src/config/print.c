/* SPDX-License-Identifier: MIT
 * A config as YAML again, and the list of keys, both by the tables of config/keys.h.
 * Relies on values holding no control characters, which reading refuses. */
#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "channel/overview.h"
#include "config/keys.h"

#define INDENT 2

/* Quotes what YAML could take for more than one plain word. */
static void print_text(const char *text, FILE *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-%";
    const char *colon = strchr(text, ':');
    size_t bytes = strlen(text), first = strspn(text, plain);
    bool port = colon != NULL && text + first == colon && colon[1] != '\0' &&
                strspn(colon + 1, plain) == strlen(colon + 1);
    if (bytes > 0 && text[0] != '-' && text[0] != '%' && (first == bytes || port)) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static bool is_zero(const struct value_form *form, const void *value)
{
    switch (form->kind) {
    case VALUE_BYTES:
    case VALUE_DURATION:
        return *(const uint64_t *)value == 0;
    case VALUE_PERCENT:
        return !(*(const double *)value > 0);
    case VALUE_CHOICE:
        return *(const int *)value == 0;
    case VALUE_COUNT:
        return *(const uint32_t *)value == 0;
    default:
        return false;
    }
}

/* Whether there is anything to print. */
static bool is_set(const struct config_key *key, const void *base)
{
    const void *value = (const char *)base + config_key_offset(key);
    char text[VALUE_TEXT_BYTES];
    switch (key->kind) {
    case KEY_VALUE:
    case KEY_PATH:
        return value_write(config_key_form(key), value, text)[0] != '\0' &&
               !(key->hide_zero && is_zero(config_key_form(key), value));
    case KEY_SOURCES:
        return ((const struct config_channel *)base)->settings.source_count > 0;
    case KEY_FIELDS:
        return ((const char *)value)[0] != '\0';
    case KEY_MAP:
        for (size_t i = 0; i < key->key_count; i++)
            if (is_set(&key->keys[i], base) && !key->keys[i].with_first)
                return true;
        return false;
    case KEY_INCLUDE:
    case KEY_DEFAULTS:
    case KEY_CHANNELS:
        break;
    }
    return false;
}

static void print_sources(const struct config_key *key, const struct channel_settings *settings,
                          FILE *out)
{
    char text[VALUE_TEXT_BYTES];
    for (uint32_t i = 0; i < settings->source_count; i++) {
        fputs(i == 0 ? " [" : ", ", out);
        print_text(value_write(config_key_form(key), &settings->sources[i], text), out);
    }
    fputs("]\n", out);
}

static void print_fields(const char *fields, FILE *out)
{
    char name[CONFIG_FIELD_BYTES_MAX];
    for (const char *at = fields; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        fputs(at == fields ? " [" : ", ", out);
        snprintf(name, sizeof name, "%.*s", (int)bytes, at);
        print_text(name, out);
        at += bytes + (at[bytes] == ',');
    }
    fputs("]\n", out);
}

static void print_map(const struct config_key *keys, size_t key_count, const void *base, int indent,
                      FILE *out)
{
    char text[VALUE_TEXT_BYTES];
    for (size_t i = 0; i < key_count; i++) {
        const struct config_key *key = &keys[i];
        if (!is_set(key, base) || (key->with_first && !is_set(&keys[0], base)))
            continue;
        fprintf(out, "%*s%s:", indent, "", key->name);
        if (key->kind == KEY_MAP) {
            fputc('\n', out);
            print_map(key->keys, key->key_count, base, indent + INDENT, out);
        } else if (key->kind == KEY_SOURCES) {
            print_sources(key, &((const struct config_channel *)base)->settings, out);
        } else if (key->kind == KEY_FIELDS) {
            print_fields((const char *)base + config_key_offset(key), out);
        } else {
            fputc(' ', out);
            print_text(value_write(config_key_form(key),
                                   (const char *)base + config_key_offset(key), text),
                       out);
            fputc('\n', out);
        }
    }
}

void config_print(const struct config *config, FILE *out)
{
    print_map(config_fleet_keys, config_fleet_key_count, config, 0, out);
    fputs(config->channel_count > 0 ? "channels:\n" : "channels: {}\n", out);
    for (uint32_t i = 0; i < config->channel_count; i++) {
        fprintf(out, "%*s", INDENT, "");
        print_text(config->channels[i].settings.name, out);
        fputs(":\n", out);
        print_map(config_channel_keys, config_channel_key_count, &config->channels[i], 2 * INDENT,
                  out);
    }
}

static void print_keys(const struct config_key *keys, size_t key_count, const char *inside,
                       const struct config *config, const struct config_channel *channel, FILE *out)
{
    for (size_t i = 0; i < key_count; i++) {
        const struct config_key *key = &keys[i];
        char path[100], what[VALUE_TEXT_BYTES], usual[VALUE_TEXT_BYTES] = "";
        snprintf(path, sizeof path, "%s%s", inside, key->name);
        const void *base = strncmp(inside, "channel", 7) == 0 ? (const void *)channel : config;
        switch (key->kind) {
        case KEY_MAP:
            fprintf(out, "%s\n    %s\n", path, config_key_help(key));
            snprintf(path, sizeof path, "%s%s.", inside, key->name);
            print_keys(key->keys, key->key_count, path, config, channel, out);
            continue;
        case KEY_DEFAULTS:
        case KEY_CHANNELS:
            fprintf(out, "%s\n    %s\n", path, config_key_help(key));
            continue;
        case KEY_SOURCES:
            snprintf(what, sizeof what, "[ADDRESS[/BITS], ...]");
            break;
        case KEY_FIELDS:
            snprintf(what, sizeof what, "[FIELD, ...]");
            break;
        case KEY_PATH:
        case KEY_INCLUDE:
            snprintf(what, sizeof what, "PATH");
            break;
        case KEY_VALUE:
            value_describe(config_key_form(key), what);
            value_write(config_key_form(key), (const char *)base + config_key_offset(key), usual);
            break;
        }
        fprintf(out, "%s: %s\n    %s", path, what, config_key_help(key));
        if (key->required)
            fputs(" (required)", out);
        else if (usual[0] != '\0')
            fprintf(out, " (default %s)", usual);
        if (config_key_form(key)->zero != NULL)
            fprintf(out, "; 0: %s", config_key_form(key)->zero);
        fputc('\n', out);
    }
}

void config_print_keys(FILE *out)
{
    struct config *config = calloc(1, sizeof *config);
    struct config_channel *channel = calloc(1, sizeof *channel);
    if (config != NULL && channel != NULL) {
        config_key_defaults(config, channel);
        config->overview_factor = OVERVIEW_FACTOR; /* where there is an `overview` */
        print_keys(config_fleet_keys, config_fleet_key_count, "", config, channel, out);
        print_keys(config_channel_keys, config_channel_key_count, "channels.NAME.", config, channel,
                   out);
    }
    free(config);
    free(channel);
}
