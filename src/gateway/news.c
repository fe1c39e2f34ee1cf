/* SPDX-License-Identifier: MIT
 * An answer of the manager is taken apart in the work thread, schemas included, and merged into
 * what is known in the hub's: the one thread never sees what the other works on. */
#include "gateway/news.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "control/client.h"
#include "gateway/hub.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/loop.h"
#include "os/storage.h"

#define ASK_NS     (1 * NS_PER_S)
#define AGAIN_NS   (100 * NS_PER_MS) /* where no thread is free */
#define TIMEOUT_MS 3000u

/* A channel of an answer. */
struct found {
    char name[CHANNEL_NAME_BYTES_MAX + 1];
    struct news_ways ways;
    json_t *status;
    uint64_t image_ns; /* 0: it cannot be read */
    bool image_is_new; /* then it is here */
    uint8_t *image;
    struct layout layout;
    struct schema_file *schema;
};

/* On its way through the thread. */
struct asking {
    struct news *news;
    const struct gateway *gateway;
    struct {
        char name[CHANNEL_NAME_BYTES_MAX + 1];
        uint64_t image_ns;
    } * known; /* what need not be read again */
    size_t known_count;
    uint64_t asked_ns;
    json_t *status; /* NULL: no manager answers */
    char reason[1200];
    struct found *found;
    size_t found_count;
};

struct news {
    struct hub *hub;
    const struct news_use *use;
    void *context;
    struct loop_timer due;
    bool wanted, under_way, known;
    json_t *status;
    char reason[1200];
    struct news_channel **channels;
    size_t channel_count, channel_room;
};

/* ---- in the thread ---- */

static void read_setting(enum setting_id id, const json_t *map, const char *key, void *into)
{
    char error[VALUE_TEXT_BYTES];
    const json_t *value = json_object_get(map, key);
    if (json_is_string(value))
        value_read(&settings_table[id].form, json_string_value(value), into, error, sizeof(error));
    else if (json_is_integer(value) && settings_table[id].form.kind == VALUE_COUNT)
        *(uint32_t *)into = (uint32_t)json_integer_value(value);
}

static void read_ways(const json_t *configuration, struct news_ways *ways)
{
    struct channel_settings *settings = calloc(1, sizeof(*settings));
    const json_t *decimated = json_object_get(configuration, "decimated");
    if (settings == NULL)
        return;
    settings_defaults(settings);
    read_setting(SETTING_INTERFACE, configuration, "interface", settings->interface);
    read_setting(SETTING_SEND_INTERFACE, configuration, "send_interface", settings->send_interface);
    read_setting(SETTING_FULL, configuration, "full", &settings->full);
    read_setting(SETTING_ENCODING, configuration, "encoding", &settings->encoding);
    read_setting(SETTING_SCHEMA_ID, configuration, "schema_id", &settings->schema_id);
    read_setting(SETTING_DECIMATED, decimated, "to", &settings->decimated);
    read_setting(SETTING_FACTOR, decimated, "factor", &settings->factor);
    read_setting(SETTING_ALGORITHM, decimated, "algorithm", &settings->algorithm);
    ways->full = settings->full;
    ways->decimated = settings->decimated;
    snprintf(ways->full_by, sizeof(ways->full_by), "%s",
             settings_send_interface(settings, &settings->full));
    snprintf(ways->decimated_by, sizeof(ways->decimated_by), "%s",
             settings_send_interface(settings, &settings->decimated));
    ways->factor = settings->factor;
    ways->algorithm = settings->algorithm;
    ways->encoding = settings->encoding;
    ways->schema_id = settings->schema_id;
    ways->records = !json_is_false(json_object_get(configuration, "record"));
    free(settings);
}

/* Reads the compiled schema where its file is another than the known one. */
static void read_image(const struct asking *asking, struct found *found)
{
    char path[CHANNEL_PATH_BYTES_MAX + CHANNEL_NAME_BYTES_MAX + 16], error[256];
    struct storage_entry entry;
    size_t bytes = 0;
    snprintf(path, sizeof(path), "%s/%s.layout", asking->gateway->runtime, found->name);
    if (storage_look_at(path, &entry) < 0)
        return;
    found->image_ns = entry.modified_ns;
    for (size_t i = 0; i < asking->known_count; i++)
        if (strcmp(asking->known[i].name, found->name) == 0 &&
            asking->known[i].image_ns == entry.modified_ns)
            return;
    found->image_is_new = true;
    if (file_read_whole(path, LAYOUT_IMAGE_BYTES_MAX, &found->image, &bytes) == 0 &&
        layout_load(&found->layout, (struct span){found->image, bytes}) == 0)
        found->schema = schema_parse(found->layout.schema, error, sizeof(error));
    if (found->schema == NULL) {
        free(found->image);
        found->image = NULL;
        found->image_ns = 0;
    }
}

static json_t *status_of(const json_t *status, const char *name)
{
    size_t index;
    json_t *channel;
    json_array_foreach(json_object_get(status, "channels"), index, channel)
    {
        const char *one = json_string_value(json_object_get(channel, "name"));
        if (one != NULL && strcmp(one, name) == 0)
            return json_incref(channel);
    }
    return NULL;
}

static void take_descriptions(struct asking *asking, const json_t *channels)
{
    size_t index;
    json_t *channel;
    asking->found = calloc(json_array_size(channels) + 1, sizeof(*asking->found));
    if (asking->found == NULL)
        return;
    json_array_foreach(channels, index, channel)
    {
        struct found *found = &asking->found[asking->found_count];
        const char *name = json_string_value(json_object_get(channel, "name"));
        if (name == NULL || strlen(name) >= sizeof(found->name))
            continue;
        asking->found_count++;
        memcpy(found->name, name, strlen(name) + 1);
        found->status = status_of(asking->status, name);
        read_ways(json_object_get(channel, "configuration"), &found->ways);
        read_image(asking, found);
    }
}

static json_t *ask_for(struct asking *asking, const char *verb)
{
    json_t *request = json_pack("{s:s}", "verb", verb);
    json_t *answer = control_ask(asking->gateway->runtime, request, TIMEOUT_MS, false,
                                 asking->reason, sizeof(asking->reason));
    json_decref(request);
    const char *refusal = json_string_value(json_object_get(answer, "error"));
    if (refusal == NULL)
        return answer;
    snprintf(asking->reason, sizeof(asking->reason), "%s", refusal);
    json_decref(answer);
    return NULL;
}

static void ask(void *work)
{
    struct asking *asking = work;
    asking->asked_ns = clock_realtime_ns();
    asking->status = ask_for(asking, "status");
    json_t *descriptions = asking->status != NULL ? ask_for(asking, "describe") : NULL;
    if (descriptions != NULL)
        take_descriptions(asking, json_object_get(descriptions, "channels"));
    else if (asking->status != NULL) {
        json_decref(asking->status);
        asking->status = NULL;
    }
    json_decref(descriptions);
}

/* ---- in the hub ---- */

static void free_channel(struct news_channel *channel)
{
    json_decref(channel->is);
    json_decref(channel->was);
    schema_free(channel->schema);
    free(channel->image);
    free(channel);
}

static void free_asking(struct asking *asking)
{
    for (size_t i = 0; i < asking->found_count; i++) {
        json_decref(asking->found[i].status);
        schema_free(asking->found[i].schema);
        free(asking->found[i].image);
    }
    free(asking->found);
    free(asking->known);
    json_decref(asking->status);
    free(asking);
}

static struct news_channel *find(const struct news *news, const char *name)
{
    for (size_t i = 0; i < news->channel_count; i++)
        if (strcmp(news->channels[i]->name, name) == 0)
            return news->channels[i];
    return NULL;
}

static struct news_channel *add_channel(struct news *news, const char *name)
{
    struct news_channel *made = calloc(1, sizeof(*made));
    struct news_channel **channels =
        room_grow(news->channels, &news->channel_room, news->channel_count + 1, sizeof(*channels));
    if (channels != NULL)
        news->channels = channels;
    if (made == NULL || channels == NULL) {
        free(made);
        return NULL;
    }
    memcpy(made->name, name, strlen(name) + 1);
    return news->channels[news->channel_count++] = made;
}

/* What was found takes the place of what was known; the old schema lives until that is told. */
static void take_found(struct news *news, struct found *found, uint64_t asked_ns)
{
    struct news_channel *channel = find(news, found->name);
    if (channel == NULL)
        channel = add_channel(news, found->name);
    if (channel == NULL)
        return;
    struct schema_file *old_schema = NULL;
    uint8_t *old_image = NULL;
    bool changed = !channel->told || memcmp(&channel->ways, &found->ways, sizeof(found->ways)) != 0;
    json_decref(channel->was);
    channel->was = channel->is;
    channel->was_ns = channel->is_ns;
    channel->is = found->status;
    channel->is_ns = asked_ns;
    channel->ways = found->ways;
    channel->seen = true;
    found->status = NULL;
    bool same = channel->schema != NULL && found->schema != NULL &&
                channel->layout.checksum == found->layout.checksum;
    if (found->image_is_new && found->schema != NULL)
        channel->image_ns = found->image_ns;
    if (found->image_is_new && found->schema != NULL && !same) {
        old_schema = channel->schema;
        old_image = channel->image;
        channel->schema = found->schema;
        channel->image = found->image;
        channel->layout = found->layout;
        found->schema = NULL;
        found->image = NULL;
        changed = true;
    }
    channel->told = true;
    if (changed)
        news->use->channel(news->context, channel);
    schema_free(old_schema);
    free(old_image);
}

static void drop_missing(struct news *news)
{
    size_t kept = 0;
    for (size_t i = 0; i < news->channel_count; i++) {
        struct news_channel *channel = news->channels[i];
        if (channel->seen) {
            news->channels[kept++] = channel;
            continue;
        }
        news->use->gone(news->context, channel);
        free_channel(channel);
    }
    news->channel_count = kept;
}

static void answered(void *work)
{
    struct asking *asking = work;
    struct news *news = asking->news;
    news->under_way = false;
    json_decref(news->status);
    news->status = asking->status;
    asking->status = NULL;
    memcpy(news->reason, asking->reason, sizeof(news->reason));
    bool whole = news->status != NULL && asking->found != NULL;
    for (size_t i = 0; i < news->channel_count; i++)
        news->channels[i]->seen = false;
    for (size_t i = 0; i < asking->found_count; i++)
        take_found(news, &asking->found[i], asking->asked_ns);
    if (whole)
        drop_missing(news);
    free_asking(asking);
    news->known = news->wanted;
    if (!news->wanted)
        return;
    news->use->asked(news->context);
    loop_arm(hub_loop(news->hub), &news->due, clock_monotonic_ns() + ASK_NS);
}

static void begin_asking(void *context)
{
    struct news *news = context;
    struct asking *asking = calloc(1, sizeof(*asking));
    if (asking != NULL) {
        asking->news = news;
        asking->gateway = hub_gateway(news->hub);
        asking->known = calloc(news->channel_count + 1, sizeof(*asking->known));
    }
    for (size_t i = 0; asking != NULL && asking->known != NULL && i < news->channel_count; i++) {
        const struct news_channel *channel = news->channels[i];
        memcpy(asking->known[asking->known_count].name, channel->name, sizeof(channel->name));
        asking->known[asking->known_count++].image_ns =
            channel->schema != NULL ? channel->image_ns : 0;
    }
    if (asking != NULL && hub_work(news->hub, ask, answered, asking)) {
        news->under_way = true;
        return;
    }
    if (asking != NULL)
        free_asking(asking);
    loop_arm(hub_loop(news->hub), &news->due, clock_monotonic_ns() + AGAIN_NS);
}

int news_open(struct news **news, struct hub *hub, const struct news_use *use, void *context)
{
    struct news *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return -ENOMEM;
    *made = (struct news){.hub = hub, .use = use, .context = context};
    made->due = (struct loop_timer){.due = begin_asking, .context = made};
    *news = made;
    return 0;
}

void news_want(struct news *news, bool wanted)
{
    if (news->wanted == wanted)
        return;
    news->wanted = wanted;
    if (!wanted) {
        news->known = false;
        loop_disarm(&news->due);
    } else if (!news->under_way) {
        loop_arm(hub_loop(news->hub), &news->due, clock_monotonic_ns());
    }
}

bool news_are_known(const struct news *news)
{
    return news->known;
}

const json_t *news_status(const struct news *news, const char **reason)
{
    *reason = news->status == NULL ? news->reason : "";
    return news->status;
}

const struct news_channel *news_channel(const struct news *news, const char *name)
{
    return find(news, name);
}

const struct news_channel *news_next(const struct news *news, const struct news_channel *channel)
{
    size_t i = 0;
    if (channel != NULL)
        while (news->channels[i++] != channel)
            continue;
    return i < news->channel_count ? news->channels[i] : NULL;
}
