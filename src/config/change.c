/* SPDX-License-Identifier: MIT
 * Looks through the trees of fleet.yaml and its includes. Relies on a channel's file and line being
 * kept with it. */
#include "config/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/loader.h"
#include "os/path.h"

/* Whether nothing but this channel is in the file. */
static bool is_alone(const struct config_tree *tree)
{
    const struct config_node *top = tree->whole && tree->root != NULL ? tree->root->first : NULL;
    return top != NULL && top->next == NULL && top->kind == NODE_MAP && top->first != NULL &&
           top->first->next == NULL;
}

static void note_channel(struct config_whereabouts *where, const struct draft *draft)
{
    const struct loader *loader = where->loader;
    memcpy(where->file, draft->values.file, sizeof where->file);
    where->line = draft->values.line;
    where->keys = draft->node;
    for (size_t i = 0; i < loader->tree_count; i++)
        if (strcmp(loader->trees[i]->file.name, where->file) == 0) {
            where->text = &loader->trees[i]->file;
            where->own = i > 0 && is_alone(loader->trees[i]);
        }
}

int config_find_channel(struct config_whereabouts *where, const char *path, const char *name,
                        char *error, size_t error_bytes)
{
    *where = (struct config_whereabouts){.loader = calloc(1, sizeof *where->loader)};
    struct loader *loader = where->loader;
    if (loader != NULL)
        loader->config = calloc(1, sizeof *loader->config);
    if (loader == NULL || loader->config == NULL) {
        snprintf(error, error_bytes, "out of memory");
        return -EINVAL;
    }
    config_key_defaults(loader->config, &loader->defaults.values);
    if (!loader_read_file(loader, path) || loader->no_memory) {
        config_faults_first(&loader->faults, error, error_bytes);
        return -EINVAL;
    }
    const struct config_node *include = loader->said[ID_INCLUDE];
    memcpy(where->base, loader->trees[0]->file.folder, sizeof where->base);
    if (include != NULL && include->kind == NODE_TEXT && !include->refused)
        snprintf(where->include, sizeof where->include, "%s", include->text);
    for (size_t i = 0; i < loader->draft_count && where->file[0] == '\0'; i++)
        if (strcmp(loader->drafts[i].values.settings.name, name) == 0)
            note_channel(where, &loader->drafts[i]);
    return 0;
}

void config_find_free(struct config_whereabouts *where)
{
    if (where->loader != NULL)
        loader_free(where->loader);
    free(where->loader);
    where->loader = NULL;
}

int config_include_path(const char *path, const char *include, const char *name,
                        char file[CHANNEL_PATH_BYTES_MAX])
{
    char folder[CHANNEL_PATH_BYTES_MAX], beside[CHANNEL_PATH_BYTES_MAX];
    const char *slash = strrchr(include, '/'), *last = slash != NULL ? slash + 1 : include;
    size_t bytes = (size_t)(last - include);
    int used = snprintf(beside, sizeof beside, "%.*s%s", (int)bytes, include, name);
    snprintf(folder, sizeof folder, "%.*s", (int)bytes, include);
    if (used < 0 || (size_t)used >= sizeof beside || path_is_pattern(folder) ||
        !path_is_pattern(last) || !path_fits(last, name))
        return -EINVAL;
    snprintf(folder, sizeof folder, "%s", path);
    char *end = strrchr(folder, '/');
    if (end == NULL)
        folder[0] = '\0';
    else
        end[end == folder ? 1 : 0] = '\0';
    return path_join(folder, beside, file, CHANNEL_PATH_BYTES_MAX) < 0 ? -EINVAL : 0;
}
