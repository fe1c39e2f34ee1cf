/* SPDX-License-Identifier: MIT
 * What a command was given to read. */
#include "command/inputs.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "command/usage.h"
#include "config/config.h"
#include "os/path.h"

int inputs_list(struct catalog *catalog, int count, char *const *paths, enum catalog_lanes lanes)
{
    int code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        long added = catalog_add(catalog, paths[i], lanes);
        if (added > 0)
            continue;
        fprintf(stderr, "%s: %s\n", paths[i],
                added == 0 ? "there are no recordings in this folder" : strerror((int)-added));
        code = EXIT_FAILED;
    }
    return code;
}

/* Whether a word can only be a channel's name. */
static bool is_channel(const char *word)
{
    return strcmp(word, "-") != 0 && channel_name_is_valid(word) && !path_exists(word);
}

/* Lists the folder of the channel `word`. The configuration is read when first asked for. */
static int list_channel(struct catalog *catalog, struct config **config, const char *given,
                        char *word)
{
    struct text messages = {0};
    char near[CHANNEL_NAME_BYTES_MAX + 40];
    const char *path = config_find(given);
    if (given == NULL && !path_exists(path))
        return inputs_list(catalog, 1, &word, CATALOG_DATUMS); /* as if it were a file's name */
    bool good = *config != NULL || config_read(path, CONFIG_ANY_MACHINE, config, &messages) == 0;
    if (good)
        text_free(&messages);
    else
        text_print(&messages, stderr);
    if (!good)
        return EXIT_CONFIG;
    const struct config_channel *channel = config_channel(*config, word);
    char *folder = channel != NULL ? (char *)(uintptr_t)channel->settings.directory : NULL;
    if (folder != NULL && folder[0] != '\0')
        return inputs_list(catalog, 1, &folder, CATALOG_DATUMS);
    if (folder != NULL)
        fprintf(stderr, "%s: channel \"%s\" records nothing\n", path, word);
    else
        fprintf(stderr, "%s: there is no such file, and no such channel in %s%s%s\n", word, path,
                config_nearest(*config, word, near, sizeof(near))[0] != '\0' ? "; " : "", near);
    return EXIT_FAILED;
}

int inputs_list_channels(struct catalog *catalog, const char *given, int count, char *const *words)
{
    struct config *config = NULL;
    int code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        int listed = is_channel(words[i]) ? list_channel(catalog, &config, given, words[i])
                                          : inputs_list(catalog, 1, &words[i], CATALOG_DATUMS);
        code = listed == EXIT_OK ? code : listed;
    }
    if (config != NULL)
        config_free(config);
    return code;
}

int inputs_check_span(const char *verb, const struct time_span *span)
{
    return span->from_ns <= span->to_ns ? EXIT_OK : verb_usage(verb, "--from is later than --to");
}
