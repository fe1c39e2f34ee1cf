/* SPDX-License-Identifier: MIT
 * The one key that everybody needs who talks to a manager: where its fleet keeps its state.
 * Relies on libyaml's events, and on the text itself where the file is no YAML. */
#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "os/file.h"
#include "os/path.h"

#define CONFIG_BYTES_MAX (16u << 20)

/* The value of the top-level key `runtime`, as libyaml reads it. 1 found, 0 not there, -1 the file
 * is no YAML before it comes. */
static int find_by_yaml(const uint8_t *text, size_t text_bytes, char *value, size_t value_bytes)
{
    yaml_parser_t parser;
    yaml_event_t event;
    if (!yaml_parser_initialize(&parser))
        return -1;
    yaml_parser_set_input_string(&parser, text, text_bytes);
    int depth = 0, result = 0;
    bool is_key = true, ours = false, done = false;
    while (!done) {
        if (!yaml_parser_parse(&parser, &event)) {
            result = -1;
            break;
        }
        bool top = depth == 1, opened = false;
        switch (event.type) {
        case YAML_MAPPING_START_EVENT:
        case YAML_SEQUENCE_START_EVENT:
            depth++;
            opened = true;
            break;
        case YAML_MAPPING_END_EVENT:
        case YAML_SEQUENCE_END_EVENT:
            depth--;
            top = depth == 1;
            opened = !top; /* the end of a value at the top is what turns to the next key */
            break;
        case YAML_SCALAR_EVENT:
            if (top && ours && !is_key) {
                snprintf(value, value_bytes, "%s", (const char *)event.data.scalar.value);
                result = 1;
                done = true;
            }
            ours = top && is_key && strcmp((const char *)event.data.scalar.value, "runtime") == 0;
            break;
        case YAML_STREAM_END_EVENT:
            done = true;
            break;
        default:
            opened = true; /* documents and the stream are neither key nor value */
            break;
        }
        if (top && !opened)
            is_key = !is_key;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return result;
}

/* The same out of a file that is no YAML: a line that begins with "runtime:". */
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
    char value[CHANNEL_PATH_BYTES_MAX], folder[CHANNEL_PATH_BYTES_MAX];
    const char *path = config_find(given);
    uint8_t *text = NULL;
    size_t text_bytes = 0;
    int status = file_read_whole(path, CONFIG_BYTES_MAX, &text, &text_bytes);
    /* Where no file is and none was named, a manager can only run at the default place. */
    if (status < 0 &&
        (given || status != -ENOENT || path_runtime(runtime, CHANNEL_PATH_BYTES_MAX) < 0)) {
        snprintf(error, error_bytes, "cannot read the configuration %s: %s", path,
                 file_error_text(status));
        return -EINVAL;
    }
    if (status < 0)
        return 0;
    int found = find_by_yaml(text, text_bytes, value, sizeof value);
    if (found < 0)
        found = find_by_line((const char *)text, value, sizeof value);
    free(text);
    if (found <= 0) {
        char why[1024];
        if (config_read_runtime(path, runtime, CHANNEL_PATH_BYTES_MAX, why, sizeof why) == 0)
            return 0;
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
