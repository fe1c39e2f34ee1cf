/* SPDX-License-Identifier: MIT
 * Fuzzes the reader of fleet.yaml. The input is the file, and behind a NUL an included one, beside
 * schemas it may name. What is judged: nothing is refused without an error nor taken with one;
 * every message has its place; what was taken prints as what reads back to the same and prints the
 * same. Relies on libFuzzer and a folder of its own in TMPDIR, gone at the end but after a finding.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char folder[500];
static const char *const names[] = {"fleet.yaml", "more.yaml", "again.yaml", "a.avsc", "b.avsc"};

static const char good[] =
    "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"t\",\"type\":\"long\"},"
    "{\"name\":\"p\",\"type\":{\"type\":\"record\",\"name\":\"P\",\"fields\":["
    "{\"name\":\"n\",\"type\":\"int\"}]}},{\"name\":\"s\",\"type\":\"string\"}]}";
static const char bad[] = "{\"type\":\"record\",\n\"name\":\"1\",\"fields\":[{\"type\":\"lnog\"}]}";

static const char *path_of(unsigned file)
{
    static char path[sizeof folder + 20];
    snprintf(path, sizeof path, "%s/%s", folder, names[file]);
    return path;
}

static void write_file(unsigned file, const void *text, size_t bytes)
{
    FILE *out = fopen(path_of(file), "w");
    CHECK(out != NULL);
    CHECK(fwrite(text, 1, bytes, out) == bytes);
    CHECK(fclose(out) == 0);
}

static void clean_up(void)
{
    for (unsigned i = 0; i < ARRAY_COUNT(names); i++)
        unlink(path_of(i));
    rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *temporary = getenv("TMPDIR");
    (void)argc;
    (void)argv;
    int used = snprintf(folder, sizeof folder, "%s/fuzz_config.XXXXXX",
                        temporary != NULL ? temporary : "/tmp");
    CHECK(used > 0 && (size_t)used < sizeof folder && mkdtemp(folder) != NULL);
    CHECK(setenv("XDG_RUNTIME_DIR", folder, 1) == 0);
    CHECK(atexit(clean_up) == 0);
    write_file(3, good, sizeof good - 1);
    write_file(4, bad, sizeof bad - 1);
    return 0;
}

/* Takes a line off `text`. NULL at its end. */
static char *next_line(char **text)
{
    char *line = *text, *end = strchr(line, '\n');
    if (end == NULL) {
        CHECK(*line == '\0');
        return NULL;
    }
    *end = '\0';
    *text = end + 1;
    return line;
}

/* Reads a file and judges what is said about it. NULL if it was refused. */
static struct config *read_config(unsigned file)
{
    struct config *config = NULL;
    struct text messages = {0};
    size_t errors = 0, warnings = 0;
    int status = config_read(path_of(file), CONFIG_JUDGES_MACHINE, &config, &messages);
    size_t bytes = messages.bytes;
    char *said = text_take(&messages);
    CHECK(said != NULL && (status == 0 || status == -EINVAL));
    for (char *rest = said, *line; (line = next_line(&rest)) != NULL;) {
        unsigned number = 0, column = 0;
        if (strncmp(line, "... and ", 8) == 0) {
            CHECK(*rest == '\0' && status < 0);
            errors++; /* those that are not shown are all that there are, perhaps */
            break;
        }
        const char *message = line + strlen(folder) + 1;
        CHECK(strncmp(line, folder, strlen(folder)) == 0);
        CHECK((message = strchr(message, ':')) != NULL);
        if (sscanf(message, ":%u:%u: ", &number, &column) == 2) {
            message = strstr(message, ": ");
            CHECK(number > 0 && column > 0 && next_line(&rest) != NULL);
            const char *caret = next_line(&rest);
            CHECK(caret != NULL && strspn(caret, " \t") == strlen(caret) - 1);
            CHECK(caret[strlen(caret) - 1] == '^');
        }
        CHECK(message != NULL && message[0] == ':' && message[1] == ' ' && message[2] != '\0');
        for (const char *at = message; *at != '\0'; at++)
            CHECK((unsigned char)*at >= ' ' && *at != 0x7f);
        if (strncmp(message, ": warning: ", 11) == 0)
            warnings++;
        else
            errors++;
    }
    CHECK((status == 0) == (config != NULL));
    CHECK(status == 0 ? errors == 0 && (warnings > 0 || bytes == 0) : errors > 0);
    free(said);
    return config;
}

static char *print(const struct config *config, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    CHECK(out != NULL);
    config_print(config, out);
    CHECK(fclose(out) == 0);
    return text;
}

static void check_same(const struct config *a, const struct config *b)
{
    CHECK(strcmp(a->runtime, b->runtime) == 0 && strcmp(a->directory, b->directory) == 0);
    CHECK(a->direct_io == b->direct_io && a->sync_ms == b->sync_ms);
    CHECK(a->rotate_bytes == b->rotate_bytes && a->rotate_age_ms == b->rotate_age_ms);
    CHECK(a->retain_age_ms == b->retain_age_ms && a->retain_bytes == b->retain_bytes);
    CHECK(memcmp(&a->retain_free_percent, &b->retain_free_percent, sizeof(double)) == 0);
    CHECK(memcmp(&a->gateway, &b->gateway, sizeof a->gateway) == 0);
    CHECK(strcmp(a->gateway_token_file, b->gateway_token_file) == 0);
    CHECK(strcmp(a->gateway_hosts, b->gateway_hosts) == 0);
    CHECK(strcmp(a->gateway_origins, b->gateway_origins) == 0);
    CHECK(a->channel_count == b->channel_count);
    for (uint32_t i = 0; i < a->channel_count; i++) {
        const struct config_channel *one = &a->channels[i];
        const struct config_channel *other = config_channel(b, one->settings.name);
        CHECK(other == &b->channels[i] && config_same_channel(one, other));
        CHECK(strcmp(one->schema, other->schema) == 0 && strcmp(one->time, other->time) == 0);
        CHECK(strcmp(one->sequence, other->sequence) == 0 && one->record == other->record);
    }
}

/* An include that leads out of the folder might match all files there are, for minutes. */
static void stay_inside(char *text, size_t bytes)
{
    static const char key[] = "include";
    if (memmem(text, bytes, key, sizeof key - 1) == NULL)
        return;
    for (size_t i = 0; i < bytes; i++)
        if (text[i] == '/' || text[i] == '\\')
            text[i] = '_';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char runtime[CHANNEL_PATH_BYTES_MAX], error[500] = "";
    size_t printed, again;
    char *text = malloc(size + 1);
    CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    stay_inside(text, size);
    const char *split = memchr(text, 0, size);
    size_t first = split != NULL ? (size_t)(split - text) : size;
    write_file(0, text, first);
    write_file(1, text + first + (split != NULL), size - first - (split != NULL));
    int found = config_read_runtime(path_of(0), runtime, sizeof runtime, error, sizeof error);
    CHECK(found == 0 || (found == -EINVAL && error[0] != '\0'));
    struct config *config = read_config(0);
    if (config != NULL) {
        char *out = print(config, &printed), *same;
        write_file(2, out, printed);
        CHECK(found == 0 && strcmp(runtime, config->runtime) == 0);
        struct config *other = read_config(2);
        CHECK(other != NULL);
        check_same(config, other);
        same = print(other, &again);
        CHECK(printed == again && memcmp(out, same, printed) == 0);
        config_free(other);
        free(same);
        free(out);
    }
    config_free(config);
    free(text);
    return 0;
}
