/* SPDX-License-Identifier: MIT
 * flotilla channel: how a channel is configured, and where; and changes to it, for the gateway and
 * for scripts. JSON in and out. Relies on cli/channel_change. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/channel_change.h"
#include "cli/channel_paths.h"
#include "cli/channel_text.h"
#include "cli/verb.h"
#include "command/options.h"
#include "config/keys.h"
#include "control/json_text.h"
#include "os/file.h"

#define BODY_BYTES_MAX (8u << 20)

const char verb_channel_help[] =
    "usage: flotilla channel [NAME] [-c FILE]\n"
    "       flotilla channel NAME (--add BODY | --change BODY | --remove) [--if ETAG] [-c FILE]\n"
    "\n"
    "  flotilla channel engine      where engine is configured, and how: JSON\n"
    "  flotilla channel             whether channels can be added, and all that one can have\n"
    "  flotilla channel engine --add body.json\n"
    "  flotilla channel engine --remove\n"
    "\n"
    "Adds, changes or removes a channel, in a file of its own among those that 'include' names.\n"
    "All of the configuration is checked before, and the manager, if one runs, takes it over; if\n"
    "anything is wrong, all is as it was.\n"
    "\n"
    "  --add BODY     a file (-: standard input) of {\"configuration\": {\"listen\": ...},\n"
    "                 \"schema\": TEXT}; instead of that, \"configuration\" may have a path\n"
    "  --change BODY  the same, in place of all that the channel has\n"
    "  --remove       its recordings stay\n"
    "  --if ETAG      only if its file is still the one that this was told of\n"
    "  -c FILE        the configuration; else ./fleet.yaml, else /etc/flotilla/fleet.yaml\n"
    "\n"
    "Exit: 0 done, 1 refused, 2 usage, 78 bad configuration.\n";

/* ---- showing ---- */

static json_t *default_json(const struct config_key *key, const struct config_channel *usual)
{
    char text[VALUE_TEXT_BYTES];
    if (key->kind != KEY_VALUE)
        return json_null();
    value_write(config_key_form(key), (const char *)usual + config_key_offset(key), text);
    return text[0] != '\0' ? json_of_text(text) : json_null();
}

static void add_keys(json_t *list, const struct config_key *keys, size_t count, const char *inside,
                     const struct config_channel *usual)
{
    char name[80], takes[VALUE_TEXT_BYTES];
    for (size_t i = 0; i < count; i++) {
        const struct config_key *key = &keys[i];
        snprintf(name, sizeof name, "%s%s%s", inside, inside[0] != '\0' ? "." : "", key->name);
        if (key->kind == KEY_MAP) {
            add_keys(list, key->keys, key->key_count, name, usual);
            continue;
        }
        value_describe(config_key_form(key), takes);
        bool several = key->kind == KEY_SOURCES || key->kind == KEY_FIELDS;
        json_array_append_new(list,
                              json_pack("{s:s, s:o, s:b, s:b, s:o, s:o}", "key", name, "takes",
                                        json_of_text(takes), "list", several, "required",
                                        key->required, "default", default_json(key, usual), "help",
                                        json_of_text(config_key_help(key))));
    }
}

static json_t *keys_json(void)
{
    json_t *list = json_array();
    struct config *config = calloc(1, sizeof *config);
    struct config_channel *usual = calloc(1, sizeof *usual);
    if (config != NULL && usual != NULL) {
        config_key_defaults(config, usual);
        add_keys(list, config_channel_keys, config_channel_key_count, "", usual);
    }
    free(config);
    free(usual);
    return list;
}

static json_t *show_all(const struct config_whereabouts *where, const char *config)
{
    char file[CHANNEL_PATH_BYTES_MAX], why[1024];
    bool shut = channel_is_shut_out(where, config, "name", file, why, sizeof why);
    return json_pack("{s:o, s:o, s:b, s:o, s:o}", "file", json_of_text(config), "include",
                     where->include[0] != '\0' ? json_of_text(where->include) : json_null(),
                     "writable", !shut, "reason", shut ? json_of_text(why) : json_null(), "keys",
                     keys_json());
}

static json_t *show_one(const struct config_whereabouts *where, const char *name)
{
    char why[1024], tag[CHANNEL_TAG_BYTES], path[CHANNEL_PATH_BYTES_MAX];
    json_t *keys = channel_text_read(where->keys);
    const char *schema = json_string_value(json_object_get(keys, "schema"));
    bool fixed = channel_is_fixed(where, name, why, sizeof why);
    if (schema != NULL)
        json_object_set_new(keys, "schema",
                            json_of_text(channel_path_from_base(where, schema, path)));
    return json_pack("{s:s, s:o, s:I, s:s, s:b, s:o, s:o}", "name", name, "file",
                     json_of_text(where->file), "line", (json_int_t)where->line, "etag",
                     channel_tag(where->text, tag), "editable", !fixed, "reason",
                     fixed ? json_of_text(why) : json_null(), "configuration", keys);
}

static int show(const char *config, const char *name, json_t **answer)
{
    struct config_whereabouts where;
    char error[1024];
    int code = EXIT_OK;
    if (config_find_channel(&where, config, name != NULL ? name : "", error, sizeof error) < 0) {
        *answer = json_pack("{s:s, s:o}", "refused", "broken", "text", json_of_text(error));
        code = EXIT_CONFIG;
    } else if (name == NULL) {
        *answer = show_all(&where, config);
    } else if (where.file[0] == '\0') {
        snprintf(error, sizeof error, "no channel is called \"%.100s\"", name);
        *answer = json_pack("{s:s, s:o}", "refused", "absent", "text", json_of_text(error));
        code = EXIT_FAILED;
    } else {
        *answer = show_one(&where, name);
    }
    config_find_free(&where);
    return code;
}

/* ---- changing ---- */

static json_t *read_body(const char *path)
{
    uint8_t *text = NULL;
    size_t bytes = 0;
    json_error_t fault;
    int status = file_read_handed(strcmp(path, "-") == 0 ? "/dev/stdin" : path, BODY_BYTES_MAX,
                                  &text, &bytes);
    json_t *body = status == 0 ? json_loadb((const char *)text, bytes, 0, &fault) : NULL;
    free(text);
    if (status < 0)
        fprintf(stderr, "flotilla channel: %s: %s\n", path, file_error_text(status));
    else if (!json_is_object(body))
        fprintf(stderr, "flotilla channel: %s is no JSON object%s%s\n", path,
                body == NULL ? ": " : "", body == NULL ? fault.text : "");
    if (json_is_object(body))
        return body;
    json_decref(body);
    return NULL;
}

static int print(json_t *answer, int code)
{
    const char *text = json_string_value(json_object_get(answer, "text"));
    if (answer == NULL || json_dumpf(answer, stdout, JSON_INDENT(2)) < 0) {
        fprintf(stderr, "flotilla channel: no memory for the answer\n");
        code = code == EXIT_OK ? EXIT_FAILED : code;
    } else if (code != EXIT_OK) {
        fprintf(stderr, "flotilla channel: %s\n", text != NULL ? text : "refused");
    }
    putchar('\n');
    json_decref(answer);
    return code;
}

int verb_channel(int argc, char **argv)
{
    const char *given = NULL, *add = NULL, *change = NULL, *tag = NULL;
    bool remove = false;
    json_t *answer = NULL, *body = NULL;
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &given},
        {.name = "add", .kind = OPTION_TEXT, .into = &add},
        {.name = "change", .kind = OPTION_TEXT, .into = &change},
        {.name = "remove", .kind = OPTION_FLAG, .into = &remove},
        {.name = "if", .kind = OPTION_TEXT, .into = &tag},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    int actions = (add != NULL) + (change != NULL) + remove;
    if (words > 1 || (words == 0 && actions > 0))
        return verb_usage(argv[0], words > 1 ? "one NAME at a time" : "which NAME?");
    if (actions > 1 || (tag != NULL && (actions == 0 || add != NULL)))
        return verb_usage(argv[0], actions > 1 ? "--add, --change or --remove, one of them"
                                               : "--if goes with --change or --remove");
    const char *config = config_find(given), *name = words == 1 ? argv[1] : NULL;
    int code;
    if (actions > 0 && !remove && (body = read_body(add != NULL ? add : change)) == NULL)
        return EXIT_FAILED;
    if (actions == 0)
        code = show(config, name, &answer);
    else
        code = channel_change(add != NULL      ? CHANNEL_ADD
                              : change != NULL ? CHANNEL_CHANGE
                                               : CHANNEL_REMOVE,
                              config, name, body, tag, &answer);
    json_decref(body);
    return print(answer, code);
}
