/* SPDX-License-Identifier: MIT
 * The steps of a change, each of which can be the last one before a kill. A schema that came with
 * the channel is a file of its own, whose name tells its bytes, so that it never changes; those
 * that no channel names are removed at the end of a later change. */
#include "cli/channel_change.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/channel_paths.h"
#include "cli/channel_text.h"
#include "channel/recording_name.h"
#include "cli/verb.h"
#include "control/client.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/path.h"
#include "os/storage.h"
#include "schema/canonical.h"

#define RELOAD_TIMEOUT_MS 60000u
#define LOCK_NS           (5 * NS_PER_S)
#define LOCK_PAUSE_NS     (20 * NS_PER_MS)
#define DIGEST_DIGITS     16u
#define SCHEMA_ENDING     ".avsc"

struct change {
    enum channel_action action;
    const char *config, *name, *tag;
    const json_t *body;
    struct config_whereabouts where;
    char file[CHANNEL_PATH_BYTES_MAX]; /* the channel's, as messages call it */
    char real[CHANNEL_PATH_BYTES_MAX]; /* the real path of its folder */
    descriptor_t folder;               /* the same, open and locked */
    const char *schemas;               /* name of the folder in it where schemas are kept */
    char schema[CHANNEL_PATH_BYTES_MAX]; /* as the file says it; "": there is none */
    char made[CHANNEL_PATH_BYTES_MAX];   /* a schema that was written, and is new; "": none */
    bool uploaded;
    struct channel_text text;
    struct config *next; /* what it comes to */
    json_t *errors, *warnings;
    json_t *answer;
};

/* An exit code: nothing is changed, `word` says what kind of reason there is. */
static int refuse(struct change *change, int code, const char *word, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static int refuse(struct change *change, int code, const char *word, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    json_decref(change->answer);
    change->answer = json_pack("{s:s, s:o}", "refused", word, "text", json_of_text(text));
    if (json_array_size(change->errors) > 0)
        json_object_set(change->answer, "errors", change->errors);
    return code;
}

static int fail(struct change *change, const char *what, int status)
{
    return refuse(change, EXIT_FAILED, "failed", "%s: %s", what, strerror(-status));
}

/* ---- where ---- */

static int locate(struct change *change)
{
    char error[1024];
    config_find_free(&change->where);
    if (config_find_channel(&change->where, change->config, change->name, error, sizeof error) < 0)
        return refuse(change, EXIT_CONFIG, "broken", "%s", error);
    return EXIT_OK;
}

/* The channel's file, and whether it may be written. */
static int choose_file(struct change *change)
{
    const struct config_whereabouts *where = &change->where;
    char why[1024];
    bool there = where->file[0] != '\0';
    if (change->action != CHANNEL_ADD && !there)
        return refuse(change, EXIT_FAILED, "absent", "no channel is called \"%.100s\"",
                      change->name);
    if (change->action == CHANNEL_ADD && there)
        return refuse(change, EXIT_FAILED, "exists", "%s is there already, at %s:%u", change->name,
                      where->file, where->line);
    if (there && channel_is_fixed(where, change->name, why, sizeof why))
        return refuse(change, EXIT_FAILED, "elsewhere", "%s", why);
    if (there)
        memcpy(change->file, where->file, sizeof change->file);
    else if (channel_is_shut_out(where, change->config, change->name, change->file, why,
                                 sizeof why))
        return refuse(change, EXIT_FAILED, "elsewhere", "%s", why);
    else if (path_exists(change->file))
        return refuse(change, EXIT_FAILED, "exists",
                      "the file %s is there, and does not hold the channel %s", change->file,
                      change->name);
    return EXIT_OK;
}

/* The schemas' folder must not be taken for an included file. */
static void name_schemas(struct change *change)
{
    const char *include = change->where.include, *slash = strrchr(include, '/');
    bool found = path_fits(slash != NULL ? slash + 1 : include, "schemas");
    change->schemas = found ? ".schemas" : "schemas";
}

/* Opens and locks the folder that the file is in, made where it is missing. */
static int take_folder(struct change *change)
{
    char folder[CHANNEL_PATH_BYTES_MAX];
    snprintf(folder, sizeof folder, "%s", change->file);
    char *slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    else
        snprintf(folder, sizeof folder, ".");
    change->folder = folder_open(folder[0] != '\0' ? folder : "/");
    if (change->folder < 0)
        return fail(change, folder, change->folder);
    uint64_t end_ns = clock_monotonic_ns() + LOCK_NS;
    int status;
    while ((status = folder_hold(change->folder)) == -EWOULDBLOCK && clock_monotonic_ns() < end_ns)
        clock_sleep_until(clock_monotonic_ns() + LOCK_PAUSE_NS);
    if (status == -EWOULDBLOCK)
        return refuse(change, EXIT_FAILED, "busy", "another change is under way in %s", folder);
    if (status == 0)
        status = path_folder(change->file, change->real, sizeof change->real);
    return status < 0 ? fail(change, folder, status) : EXIT_OK;
}

/* By whom it was changed meanwhile is not known, only that it was. */
static int compare_tag(struct change *change)
{
    char now[CHANNEL_TAG_BYTES];
    size_t bytes = change->tag != NULL ? strcspn(change->tag + (change->tag[0] == '"'), "\"") : 0;
    if (change->tag == NULL || change->where.text == NULL)
        return EXIT_OK;
    channel_tag(change->where.text, now);
    if (bytes == DIGEST_DIGITS &&
        strncmp(now + 1, change->tag + (change->tag[0] == '"'), bytes) == 0)
        return EXIT_OK;
    return refuse(change, EXIT_FAILED, "changed",
                  "%s has been changed since it was looked at; look at it again", change->file);
}

/* ---- what it is to be ---- */

static int fault(struct change *change, const char *pointer, const char *detail)
{
    channel_text_fault(change->errors, pointer, false, detail);
    return refuse(change, EXIT_CONFIG, "invalid", "%s", detail);
}

/* A path: from fleet.yaml's folder and below it, or what the channel has already. */
static int take_path(struct change *change, const char *said)
{
    const struct config_whereabouts *where = &change->where;
    char whole[CHANNEL_PATH_BYTES_MAX], now[CHANNEL_PATH_BYTES_MAX] = "";
    const struct config_node *keys = where->keys;
    for (const struct config_node *key = keys != NULL ? keys->first : NULL; key; key = key->next)
        if (strcmp(key->key->text, "schema") == 0 && key->kind == NODE_TEXT)
            channel_path_whole(where->text->folder, key->text, now);
    if (!channel_path_whole(where->base, said, whole))
        return fault(change, "/configuration/schema", "schema: the path is too long");
    if (!channel_path_is_below(whole, where->base) && strcmp(whole, now) != 0)
        return fault(change, "/configuration/schema",
                     "schema: a path from the folder of fleet.yaml, and below it");
    channel_path_from(change->real, where->base, whole, change->schema);
    return EXIT_OK;
}

/* A text that came with it: written, under a name that tells what it is. */
static int take_text(struct change *change, const json_t *schema)
{
    char folder[CHANNEL_PATH_BYTES_MAX], beside[CHANNEL_PATH_BYTES_MAX];
    char *text = json_is_string(schema) ? text_copy(json_string_value(schema))
                                        : json_dumps(schema, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    if (text == NULL)
        return fail(change, "schema", -ENOMEM);
    struct span bytes = {(const uint8_t *)text, strlen(text)};
    snprintf(change->schema, sizeof change->schema, "%s/%s-%016llx" SCHEMA_ENDING, change->schemas,
             change->name, (unsigned long long)canonical_crc64(bytes));
    int status = path_join(change->real, change->schemas, folder, sizeof folder);
    if (status == 0)
        status = path_join(folder, ".schema.unfinished", beside, sizeof beside);
    if (status == 0)
        status = path_join(change->real, change->schema, change->made, sizeof change->made);
    bool there = status == 0 && path_exists(change->made);
    descriptor_t kept = status == 0 && !there ? folder_open(folder) : DESCRIPTOR_NONE;
    if (kept >= 0)
        status = file_put(kept, change->made, beside, change->config, bytes);
    else if (status == 0 && !there)
        status = kept;
    if (status == 0 && !there) /* the folder, too, may be new */
        status = folder_sync(change->folder);
    descriptor_close(kept);
    free(text);
    if (there || status < 0)
        change->made[0] = '\0';
    change->uploaded = true;
    return status < 0 ? fail(change, folder, status) : EXIT_OK;
}

static int take_schema(struct change *change)
{
    const json_t *said = json_object_get(json_object_get(change->body, "configuration"), "schema");
    const json_t *text = json_object_get(change->body, "schema");
    bool is_said = said != NULL && !json_is_null(said);
    if (text == NULL || json_is_null(text)) {
        if (is_said && !json_is_string(said))
            return fault(change, "/configuration/schema", "schema: a path");
        return is_said ? take_path(change, json_string_value(said)) : EXIT_OK;
    }
    if (is_said)
        return fault(change, "/schema",
                     "either a schema comes with the channel, or its configuration has a path");
    return take_text(change, text);
}

static int write_text(struct change *change)
{
    struct span head = {0};
    const json_t *configuration = json_object_get(change->body, "configuration");
    if (!json_is_object(configuration))
        return fault(change, "/configuration", "configuration is missing: the channel's keys");
    name_schemas(change);
    int code = take_schema(change);
    if (code != EXIT_OK)
        return code;
    if (change->where.text != NULL)
        head = channel_text_head(change->where.text);
    if (!channel_text_write(&change->text, head, change->name, configuration,
                            change->schema[0] != '\0' ? change->schema : NULL, change->errors))
        return fail(change, change->file, -ENOMEM);
    return json_array_size(change->errors) > 0
               ? refuse(change, EXIT_CONFIG, "invalid", "the channel is not valid")
               : EXIT_OK;
}

/* ---- checking ---- */

struct judging {
    struct change *change;
    unsigned own, others; /* errors in the channel's file, and elsewhere */
};

static void note_fault(void *context, const struct config_fault *fault)
{
    struct judging *judging = context;
    struct change *change = judging->change;
    char pointer[512] = "", detail[2048];
    bool own = strcmp(fault->place.file->name, change->file) == 0;
    const char *part = own ? channel_text_pointer(&change->text, fault->place.line) : "";
    judging->own += own && !fault->warning;
    judging->others += !own && !fault->warning;
    if (fault->warning && !own)
        return;
    if (own && change->uploaded && strcmp(part, "/schema") == 0)
        snprintf(pointer, sizeof pointer, "/schema");
    else if (own)
        snprintf(pointer, sizeof pointer, "/configuration%.400s", part);
    if (own)
        snprintf(detail, sizeof detail, "%s", fault->message);
    else
        snprintf(detail, sizeof detail, "%s:%u: %s", fault->place.file->name, fault->place.line,
                 fault->message);
    if (fault->warning)
        json_array_append_new(change->warnings, json_of_text(detail));
    else
        channel_text_fault(change->errors, pointer, false, detail);
}

/* As `flotilla check`; but what this machine lacks for other channels is no reason. */
static int check(struct change *change)
{
    struct config_change to = {change->file,
                               change->action == CHANNEL_REMOVE ? NULL : change->text.yaml.at};
    struct judging judging = {.change = change};
    int status = config_read_changed(change->config, CONFIG_JUDGES_MACHINE, &to, &change->next,
                                     note_fault, &judging);
    if (status == -EINVAL && judging.own == 0) {
        judging = (struct judging){.change = change};
        json_array_clear(change->errors);
        json_array_clear(change->warnings);
        status = config_read_changed(change->config, CONFIG_RUNS_HERE, &to, &change->next,
                                     note_fault, &judging);
    }
    if (status == 0)
        return EXIT_OK;
    if (status != -EINVAL)
        return fail(change, change->config, status);
    const char *first = json_string_value(
        json_object_get(json_array_get(change->errors, 0), "detail"));
    return refuse(change, EXIT_CONFIG, "invalid", "%s%s", first != NULL ? first : "not valid",
                  judging.own + judging.others > 1 ? "; and more" : "");
}

/* ---- on the disk, and in the manager ---- */

/* Has `text` stand in the file, or nothing. 0 or a negative errno. */
static int put(const struct change *change, struct span text, bool there)
{
    char beside[CHANNEL_PATH_BYTES_MAX];
    const char *like = path_exists(change->file) ? change->file : change->config;
    const char *slash = strrchr(change->file, '/');
    int bytes = slash != NULL ? (int)(slash - change->file) + 1 : 0;
    if (!there) {
        int status = folder_remove(change->folder, slash != NULL ? slash + 1 : change->file);
        return status < 0 && status != -ENOENT ? status : folder_sync(change->folder);
    }
    if (snprintf(beside, sizeof beside, "%.*s.channel.unfinished", bytes, change->file) >=
        (int)sizeof beside)
        return -ENAMETOOLONG;
    return file_put(change->folder, change->file, beside, like, text);
}

/* The manager's answer; NULL without a fleet that runs. False: it has refused. */
static bool reload(struct change *change, json_t **answer, int *code)
{
    char error[2048];
    const char *runtime = change->next->runtime;
    *answer = NULL;
    if (control_managed_again(runtime) == 0)
        return true;
    json_t *request = json_pack("{s:s}", "verb", "reload");
    *answer = request != NULL ? control_ask(runtime, request, RELOAD_TIMEOUT_MS, false, error,
                                            sizeof error)
                              : NULL;
    json_decref(request);
    const char *refusal = json_string_value(json_object_get(*answer, "error"));
    if (*answer != NULL && refusal == NULL)
        return true;
    bool invalid = json_integer_value(json_object_get(*answer, "exit")) == EXIT_CONFIG;
    *code = refuse(change, invalid ? EXIT_CONFIG : EXIT_FAILED, invalid ? "invalid" : "failed",
                   "%s", refusal != NULL ? refusal : error);
    json_decref(*answer);
    return false;
}

static int apply(struct change *change)
{
    const struct config_file *before = change->where.text;
    struct span text = {(const uint8_t *)change->text.yaml.at, change->text.yaml.bytes};
    struct span old = {NULL, 0};
    json_t *answer;
    int code = EXIT_OK;
    if (before != NULL)
        old = (struct span){before->text, before->bytes};
    int status = put(change, text, change->action != CHANNEL_REMOVE);
    if (status < 0) {
        put(change, old, before != NULL); /* it may be only that the folder could not be synced */
        return fail(change, change->file, status);
    }
    if (!reload(change, &answer, &code)) {
        status = put(change, old, before != NULL);
        return status == 0 ? code
                           : refuse(change, EXIT_FAILED, "failed",
                                    "the manager refuses it, and %s could not be put back: %s",
                                    change->file, strerror(-status));
    }
    change->answer = answer != NULL ? answer : json_object();
    return EXIT_OK;
}

/* ---- schemas that nobody needs ---- */

static int remove_unused(void *context, const char *name)
{
    const struct change *change = context;
    char folder[CHANNEL_PATH_BYTES_MAX], path[CHANNEL_PATH_BYTES_MAX];
    char whole[CHANNEL_PATH_BYTES_MAX];
    size_t bytes = strlen(name), behind = DIGEST_DIGITS + sizeof SCHEMA_ENDING - 1;
    if (bytes <= behind + 1 || name[bytes - behind - 1] != '-' ||
        strspn(name + bytes - behind, "0123456789abcdef") != DIGEST_DIGITS ||
        strcmp(name + bytes - sizeof SCHEMA_ENDING + 1, SCHEMA_ENDING) != 0)
        return 0;
    if (path_join(change->real, change->schemas, folder, sizeof folder) < 0 ||
        path_join(folder, name, path, sizeof path) < 0)
        return 0;
    for (uint32_t i = 0; i < change->next->channel_count; i++)
        if (channel_path_whole("/", change->next->channels[i].schema, whole) &&
            strcmp(whole, path) == 0)
            return 0;
    folder_remove(change->folder, path); /* which is absolute */
    return 0;
}

static void tidy_schemas(struct change *change)
{
    char folder[CHANNEL_PATH_BYTES_MAX];
    name_schemas(change);
    descriptor_t schemas = DESCRIPTOR_NONE;
    if (path_join(change->real, change->schemas, folder, sizeof folder) == 0)
        schemas = folder_open_there(folder);
    if (schemas >= 0)
        folder_list(schemas, remove_unused, change);
    descriptor_close(schemas);
}

/* A refused one leaves no schema behind, nor a folder for it alone. */
static void withdraw_schema(const struct change *change)
{
    if (change->made[0] == '\0')
        return;
    folder_remove(change->folder, change->schema);
    folder_clear(change->folder, change->schemas);
}

/* ---- the whole ---- */

static void finish_answer(struct change *change)
{
    char tag[CHANNEL_TAG_BYTES];
    struct config_file file = {.text = (uint8_t *)change->text.yaml.at,
                               .bytes = change->text.yaml.bytes};
    json_object_set_new(change->answer, "name", json_string(change->name));
    json_object_set_new(change->answer, "file", json_of_text(change->file));
    json_object_set(change->answer, "warnings", change->warnings);
    if (json_object_get(change->answer, "failed") == NULL)
        json_object_set_new(change->answer, "failed", json_array());
    if (change->action != CHANNEL_REMOVE)
        json_object_set_new(change->answer, "etag", json_string(channel_tag(&file, tag)));
}

static int carry_out(struct change *change)
{
    int code = locate(change);
    if (code == EXIT_OK)
        code = choose_file(change);
    if (code == EXIT_OK)
        code = take_folder(change);
    if (code == EXIT_OK)
        code = locate(change); /* what holds under the lock */
    if (code == EXIT_OK)
        code = choose_file(change);
    if (code == EXIT_OK)
        code = compare_tag(change);
    if (code == EXIT_OK && change->action != CHANNEL_REMOVE)
        code = write_text(change);
    if (code == EXIT_OK)
        code = check(change);
    if (code == EXIT_OK)
        code = apply(change);
    if (code != EXIT_OK) {
        withdraw_schema(change);
        return code;
    }
    tidy_schemas(change);
    finish_answer(change);
    return EXIT_OK;
}

int channel_change(enum channel_action action, const char *config, const char *name,
                   const json_t *body, const char *tag, json_t **answer)
{
    struct change change = {.action = action,
                            .config = config,
                            .name = name,
                            .body = body,
                            .tag = tag,
                            .folder = DESCRIPTOR_NONE,
                            .errors = json_array(),
                            .warnings = json_array(),
                            .schemas = "schemas"};
    int code = channel_name_is_valid(name)
                   ? carry_out(&change)
                   : refuse(&change, EXIT_CONFIG, "invalid",
                            "no channel can be called \"%.100s\": small letters, digits, _ . -, "
                            "at most 64",
                            name);
    *answer = change.answer;
    config_free(change.next);
    config_find_free(&change.where);
    channel_text_free(&change.text);
    descriptor_close(change.folder);
    json_decref(change.errors);
    json_decref(change.warnings);
    return code;
}
