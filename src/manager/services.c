/* SPDX-License-Identifier: MIT
 * From a configuration to command lines. */
#include "manager/services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"
#include "control/json_text.h"

static const char *const service_names[SERVICES] = {
    [SERVICE_OVERVIEW] = "overview", [SERVICE_GATEWAY] = "gateway"};

/* ---- words ---- */

/* Words under way: one behind the other, a NUL behind each. */
static char **split(struct text *text, size_t count)
{
    char **words = calloc(count + 1, sizeof *words);
    char *at = words != NULL && !text->failed ? text->at : NULL;
    for (size_t i = 0; i < count && at != NULL; i++) {
        words[i] = at;
        at += strlen(at) + 1;
    }
    if (at == NULL) {
        free(words);
        return NULL;
    }
    return words;
}

static void add_word(struct text *text, size_t *count, const char *flag, const char *value)
{
    text_add(text, "--%s=%s", flag, value);
    text_add_char(text, '\0');
    (*count)++;
}

/* All channels that record; none: it is not to run. */
static size_t overview_words(struct text *text, const struct config *config)
{
    static const char *const direct[] = {"auto", "required", "off"};
    static const char *const codecs[] = COMPACT_CODEC_NAMES;
    char number[UNITS_TEXT_BYTES];
    size_t count = 0;
    uint32_t channels = 0;
    bool overview = config->overview_factor > 0;
    if (!overview && config->compact_ms == 0)
        return 0;
    add_word(text, &count, "directory", config->directory);
    if (config->mounted[0] != '\0')
        add_word(text, &count, "mounted", config->mounted);
    if (overview) {
        snprintf(number, sizeof number, "%u", config->overview_factor);
        add_word(text, &count, "factor", number);
        snprintf(number, sizeof number, "%u", config->overview_levels);
        add_word(text, &count, "levels", number);
        add_word(text, &count, "age", units_write_duration(number, config->overview_age_ms));
    } else {
        add_word(text, &count, "overview", "false");
    }
    if (config->compact_ms > 0) {
        add_word(text, &count, "compact", units_write_duration(number, config->compact_ms));
        add_word(text, &count, "compact-codec", codecs[config->compact_codec]);
    }
    add_word(text, &count, "sync", units_write_duration(number, config->sync_ms));
    add_word(text, &count, "direct-io", direct[config->direct_io]);
    for (uint32_t i = 0; i < config->channel_count; i++) {
        if (!config->channels[i].record)
            continue;
        add_word(text, &count, "channel", config->channels[i].settings.name);
        channels++;
    }
    return channels > 0 ? count : 0;
}

/* A word for each of those that are joined by commas. */
static void add_each(struct text *text, size_t *count, const char *flag, const char *words)
{
    for (const char *at = words; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        text_add(text, "--%s=%.*s", flag, (int)bytes, at);
        text_add_char(text, '\0');
        (*count)++;
        at += bytes + (at[bytes] == ',');
    }
}

static size_t gateway_words(struct text *text, const struct config *config)
{
    char address[NET_ADDRESS_TEXT_BYTES];
    size_t count = 0;
    if (config->gateway.family == 0)
        return 0;
    add_word(text, &count, "listen", net_write_address(address, &config->gateway));
    add_word(text, &count, "directory", config->directory);
    if (config->gateway_token_file[0] != '\0')
        add_word(text, &count, "token-file", config->gateway_token_file);
    add_each(text, &count, "host", config->gateway_hosts);
    add_each(text, &count, "origin", config->gateway_origins);
    if (config->gateway_read_only)
        add_word(text, &count, "read-only", "true");
    return count;
}

/* By their places in service_names. 0: it is not to run. */
static size_t (*const service_words[SERVICES])(struct text *text, const struct config *config) = {
    [SERVICE_OVERVIEW] = overview_words, [SERVICE_GATEWAY] = gateway_words};

/* ---- for the manager ---- */

int services_open(struct services *services, const char *runtime, struct loop *loop,
                  void (*ended)(void *context), void *context)
{
    int status = 0;
    for (int i = 0; i < SERVICES && status == 0; i++)
        status = service_open(&services->list[i], service_names[i], runtime, loop, ended, context);
    return status;
}

static int apply(struct service *service, const struct config *config,
                 size_t (*words_of)(struct text *text, const struct config *config))
{
    struct text text = {0};
    size_t count = config != NULL ? words_of(&text, config) : 0;
    char **words = count > 0 ? split(&text, count) : NULL;
    int status = count > 0 && words == NULL ? -ENOMEM : service_want(service, words);
    free(words);
    text_free(&text);
    return status;
}

int services_apply(struct services *services, const struct config *config)
{
    int status = 0;
    for (int i = 0; i < SERVICES; i++) {
        int applied = apply(&services->list[i], config, service_words[i]);
        status = status < 0 ? status : applied;
    }
    return status;
}

bool services_are_over(const struct services *services)
{
    for (int i = 0; i < SERVICES; i++)
        if (!service_is_over(&services->list[i]))
            return false;
    return true;
}

json_t *services_report(const struct services *services)
{
    json_t *all = json_array();
    for (int i = 0; i < SERVICES; i++) {
        const struct service *service = &services->list[i];
        if (service->words == NULL && service_is_over(service))
            continue;
        json_array_append_new(
            all, json_pack("{s:s, s:s, s:o, s:I, s:o}", "name", service->name, "state",
                           service_state(service), "pid",
                           service->process.id ? json_integer(service->process.id) : json_null(),
                           "restarts", (json_int_t)service->child.restarts, "reason",
                           json_of_text(service->reason)));
    }
    return all;
}

void services_close(struct services *services)
{
    for (int i = 0; i < SERVICES; i++)
        service_close(&services->list[i]);
}
