/* SPDX-License-Identifier: MIT
 * Finds a channel and its schema for a verb, with the messages a person needs to go on.
 * Relies on config/config for everything that fleet.yaml says. */
#include "cli/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/verb.h"
#include "os/file.h"

/* Parses and compiles `text`, which stands in `path`. */
static int take_schema(struct subject *subject, const char *verb, const char *path,
                       struct span text, const char *time, const char *sequence)
{
    char error[512];
    size_t image_bytes;
    subject->schema = schema_parse(text, error, sizeof(error));
    if (subject->schema == NULL || schema_compile(subject->schema, time, sequence, &subject->image,
                                                  &image_bytes, error, sizeof(error)) < 0) {
        fprintf(stderr, "flotilla %s: %s: %s\n", verb, path, error);
        return EXIT_FAILED;
    }
    int status = layout_load(&subject->layout, (struct span){subject->image, image_bytes});
    CHECK(status == 0);
    return EXIT_OK;
}

int subject_open_schema(struct subject *subject, const char *verb, const char *path,
                        const char *time, const char *sequence)
{
    uint8_t *text;
    size_t text_bytes;
    int status = file_read_whole(path, LAYOUT_SCHEMA_BYTES_MAX, &text, &text_bytes);
    if (status < 0) {
        fprintf(stderr, "flotilla %s: %s: %s\n", verb, path, file_error_text(status));
        return EXIT_FAILED;
    }
    int code = take_schema(subject, verb, path, (struct span){text, text_bytes}, time, sequence);
    free(text);
    return code;
}

int subject_read_config(const char *given, enum config_machine machine, struct config **config)
{
    struct text messages = {0};
    const char *path = config_find(given);
    int status = config_read(path, machine, config, &messages);
    text_print(&messages, stderr);
    return status;
}

int subject_open_channel(struct subject *subject, const char *verb, const char *given,
                         const char *name)
{
    if (subject_read_config(given, CONFIG_RUNS_HERE, &subject->config) < 0)
        return EXIT_CONFIG;
    return subject_choose_channel(subject, verb, name);
}

int subject_choose_channel(struct subject *subject, const char *verb, const char *name)
{
    subject->channel = config_channel(subject->config, name);
    if (subject->channel == NULL) {
        char near[CHANNEL_NAME_BYTES_MAX + 40];
        uint32_t count = subject->config->channel_count;
        fprintf(stderr, "flotilla %s: %s has no channel \"%s\"; %sit has %u channel%s\n", verb,
                subject->config->file, name,
                config_nearest(subject->config, name, near, sizeof near), count,
                count == 1 ? "" : "s");
        return EXIT_FAILED;
    }
    const struct channel_settings *settings = &subject->channel->settings;
    int code;
    if (settings->encoding == ENCODING_OPAQUE) {
        struct span text = {(const uint8_t *)opaque_schema, strlen(opaque_schema)};
        code = take_schema(subject, verb, name, text, "received", NULL);
    } else {
        code = subject_open_schema(subject, verb, subject->channel->schema, subject->channel->time,
                                   subject->channel->sequence);
    }
    if (code == EXIT_OK)
        framing_set(&subject->framing, settings->encoding, subject->layout.fingerprint,
                    settings->schema_id);
    return code;
}

void subject_close(struct subject *subject)
{
    schema_free(subject->schema);
    free(subject->image);
    if (subject->config != NULL)
        config_free(subject->config);
    *subject = (struct subject){0};
}
