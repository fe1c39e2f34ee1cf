/* SPDX-License-Identifier: MIT
 * The one key that everybody needs who talks to a manager: where its fleet keeps its state. What
 * else is wrong with the file does not matter here. */
#include "config/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/file.h"
#include "os/path.h"

#define CONFIG_BYTES_MAX (16u << 20)

int config_read_runtime(const char *path, char *runtime, size_t runtime_bytes, char *error,
                        size_t error_bytes)
{
    struct loader loader = {.config = calloc(1, sizeof *loader.config)};
    const struct config_node *said = NULL;
    int result = -EINVAL;
    struct config_tree *tree = loader.config != NULL ? loader_read_tree(&loader, path) : NULL;
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
        if (!loader_says_something(&loader, tree, "the file"))
            goto out;
        if (!fleet) {
            config_error(&loader.faults, place_of_file(tree), "says neither runtime nor channels");
            goto out;
        }
    }
    const struct config_key *key =
        config_key_find(config_fleet_keys, config_fleet_key_count, "runtime");
    char found[CHANNEL_PATH_BYTES_MAX];
    if (said != NULL) {
        if (!loader_read_path(&loader, said, key, found))
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

/* The value of a line that begins with "runtime:", for a file whose syntax is broken before it. */
static bool find_by_line(const char *text, char *value, size_t value_bytes)
{
    static const char key[] = "runtime:";
    const char *at = text;
    while (at && strncmp(at, key, strlen(key)) != 0) {
        at = strchr(at, '\n');
        at = at ? at + 1 : NULL;
    }
    if (!at)
        return false;
    at += strlen(key);
    at += strspn(at, " \t");
    char quote = *at == '"' || *at == '\'' ? *at++ : '\0';
    size_t length = 0;
    while (at[length] && at[length] != '\n' && at[length] != '\r' &&
           (quote ? at[length] != quote : !(at[length] == '#' && length && at[length - 1] == ' ')))
        length++;
    while (!quote && length && (at[length - 1] == ' ' || at[length - 1] == '\t'))
        length--;
    int used = snprintf(value, value_bytes, "%.*s", (int)length, at);
    return used > 0 && (size_t)used < value_bytes;
}

int config_find_runtime(const char *given, char runtime[CHANNEL_PATH_BYTES_MAX], char *error,
                        size_t error_bytes)
{
    char value[CHANNEL_PATH_BYTES_MAX], folder[CHANNEL_PATH_BYTES_MAX], why[1024];
    const char *path = config_find(given);
    uint8_t *text = NULL;
    size_t text_bytes = 0;
    int status = file_read_whole(path, CONFIG_BYTES_MAX, &text, &text_bytes);
    /* Where no file is and none was named, a manager can only run at the default place. */
    if (status == -ENOENT && !given && path_runtime(runtime, CHANNEL_PATH_BYTES_MAX) == 0)
        return 0;
    if (status < 0) {
        snprintf(error, error_bytes, "cannot read the configuration %s: %s", path,
                 file_error_text(status));
        return -EINVAL;
    }
    status = config_read_runtime(path, runtime, CHANNEL_PATH_BYTES_MAX, why, sizeof why);
    bool found = status < 0 && find_by_line((const char *)text, value, sizeof value);
    free(text);
    if (status == 0)
        return 0;
    if (!found) {
        snprintf(error, error_bytes, "%s; cannot tell which manager is meant", why);
        return -EINVAL;
    }
    status = path_folder(path, folder, sizeof folder);
    if (status == 0)
        status = path_join(folder, value, runtime, CHANNEL_PATH_BYTES_MAX);
    if (status < 0) {
        snprintf(error, error_bytes, "%s: runtime: %.200s: %s", path, value, strerror(-status));
        return -EINVAL;
    }
    return 0;
}
