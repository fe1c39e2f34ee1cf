/* SPDX-License-Identifier: MIT
 * From fleet.yaml to a checked config: read.c reads values, check.c and clash.c judge them. */
#include "config/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/nearest.h"
#include "os/path.h"

#define SYSTEM_FILE "/etc/flotilla/fleet.yaml"
#define FLAGS_BYTES (3 * CHANNEL_PATH_BYTES_MAX + 128 * (CHANNEL_SOURCES_MAX + 16))
#define FLAGS_MAX   64

static int load(struct loader *loader, const char *path)
{
    config_key_defaults(loader->config, &loader->defaults.values);
    snprintf(loader->config->file, sizeof loader->config->file, "%s", path);
    bool readable = loader_read_file(loader, path);
    if (loader->no_memory)
        return -ENOMEM;
    if (!readable)
        return -EINVAL; /* there is nothing to say more about */
    check_fleet(loader);
    for (size_t i = 0; i < loader->draft_count; i++)
        check_channel(loader, &loader->drafts[i]);
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

void loader_free(struct loader *loader)
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

int config_read_changed(const char *path, enum config_machine machine,
                        const struct config_change *change, struct config **config,
                        void (*tell)(void *context, const struct config_fault *fault),
                        void *context)
{
    struct loader loader = {
        .config = calloc(1, sizeof *loader.config), .machine = machine, .change = change};
    int error = loader.config != NULL ? load(&loader, path) : -ENOMEM;
    for (size_t i = 0; i < loader.faults.count; i++)
        tell(context, &loader.faults.list[i]);
    if (error == 0) {
        *config = loader.config;
        loader.config = NULL;
    }
    loader_free(&loader);
    return error;
}

int config_read(const char *path, enum config_machine machine, struct config **config,
                struct text *messages)
{
    struct loader loader = {.config = calloc(1, sizeof *loader.config), .machine = machine};
    int error = loader.config != NULL ? load(&loader, path) : -ENOMEM;
    config_faults_write(&loader.faults, messages);
    if (error == -ENOMEM)
        text_add(messages, "%s: out of memory\n", path);
    else if (error < 0 && strcmp(path, SYSTEM_FILE) == 0 && !path_exists(path))
        text_add(messages, "No ./fleet.yaml either; say where it is with -c FILE.\n");
    if (error == 0) {
        *config = loader.config;
        loader.config = NULL;
    }
    loader_free(&loader);
    return error < 0 ? -EINVAL : 0;
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

static bool same_schema(const struct config_channel *a, const struct config_channel *b)
{
    if (a->layout_image == NULL || b->layout_image == NULL)
        return a->layout_image == b->layout_image && strcmp(a->schema, b->schema) == 0 &&
               strcmp(a->time, b->time) == 0 && strcmp(a->sequence, b->sequence) == 0 &&
               strcmp(a->keep, b->keep) == 0;
    /* The image holds the schema's text and the numbers of the time and sequence fields. */
    return a->layout_bytes == b->layout_bytes &&
           memcmp(a->layout_image, b->layout_image, a->layout_bytes) == 0;
}

bool config_same_channel(const struct config_channel *a, const struct config_channel *b)
{
    /* As flags, because that is all a relay is told, and because memory behind a text's end or a
     * list's may differ where nothing else does. */
    char a_text[FLAGS_BYTES], b_text[FLAGS_BYTES];
    size_t a_bytes = write_flags(&a->settings, a_text), b_bytes = write_flags(&b->settings, b_text);
    return a_bytes == b_bytes && memcmp(a_text, b_text, a_bytes) == 0 &&
           a->limit_memory_bytes == b->limit_memory_bytes &&
           memcmp(&a->limit_cpu_percent, &b->limit_cpu_percent, sizeof a->limit_cpu_percent) == 0 &&
           same_schema(a, b);
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
