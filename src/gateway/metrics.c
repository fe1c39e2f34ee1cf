/* SPDX-License-Identifier: MIT
 * The manager's status as metrics: Prometheus' text, or OpenMetrics where Accept asks for it. What
 * the system does not count is left out, never 0. Without a manager flotilla_up alone is there.
 * Sources: Prometheus' exposition formats, 0.0.4; OpenMetrics 1.0. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "channel/counters.h"
#include "gateway/router.h"
#include "os/folder.h"
#include "os/storage.h"

struct page {
    struct text *text;
    bool open_metrics;
    const json_t *channels; /* of the status; NULL: no manager answers */
};

static void add_family(struct page *page, const char *name, const char *type, const char *help)
{
    bool total = strcmp(type, "counter") == 0 && !page->open_metrics;
    text_add(page->text, "# HELP flotilla_%s%s %s\n# TYPE flotilla_%s%s %s\n", name,
             total ? "_total" : "", help, name, total ? "_total" : "", type);
}

/* A value in quotes, as both formats escape it. */
static void add_label(struct page *page, const char *name, const char *value)
{
    text_add(page->text, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"')
            text_add_char(page->text, '\\');
        if (*value == '\n')
            text_add_string(page->text, "\\n");
        else
            text_add_char(page->text, *value);
    }
    text_add_char(page->text, '"');
}

static void add_number(struct page *page, const json_t *value)
{
    if (json_is_integer(value))
        text_add(page->text, " %" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
    else
        text_add(page->text, " %.17g\n", json_number_value(value));
}

static const char *name_of(const json_t *channel)
{
    const char *name = json_string_value(json_object_get(channel, "name"));
    return name != NULL ? name : "";
}

/* One sample a channel: the member of its status called `key`. */
static void add_of_each(struct page *page, const char *metric, const char *key)
{
    size_t index;
    json_t *channel;
    json_array_foreach(page->channels, index, channel)
    {
        const json_t *value = json_object_get(channel, key);
        if (!json_is_number(value))
            continue;
        text_add(page->text, "flotilla_%s{", metric);
        add_label(page, "channel", name_of(channel));
        text_add_char(page->text, '}');
        add_number(page, value);
    }
}

static void add_counters(struct page *page)
{
    char metric[80];
    for (size_t i = 0; i < counter_name_count; i++) {
        const char *name = counter_names[i].name;
        add_family(page, name, counter_names[i].gauge ? "gauge" : "counter",
                   "As flotilla status has it, of the channel.");
        snprintf(metric, sizeof(metric), "%s%s", name, counter_names[i].gauge ? "" : "_total");
        add_of_each(page, metric, name);
    }
}

static void add_rejects(struct page *page)
{
    size_t index;
    json_t *channel, *count;
    const char *reason;
    add_family(page, "datums_rejected", "counter", "Datagrams that did not fit, by why.");
    json_array_foreach(page->channels, index, channel)
    {
        json_object_foreach(json_object_get(channel, "rejected"), reason, count)
        {
            text_add_string(page->text, "flotilla_datums_rejected_total{");
            add_label(page, "channel", name_of(channel));
            add_label(page, ",reason", reason);
            text_add_char(page->text, '}');
            add_number(page, count);
        }
    }
}

static void add_states(struct page *page)
{
    static const char *const states[] = {"starting", "running", "silent",          "backoff",
                                         "stopped",  "failed",  "schema_mismatch", "not_recording"};
    size_t index;
    json_t *channel;
    add_family(page, "channel_state", "gauge", "1 for the state that the channel is in, else 0.");
    json_array_foreach(page->channels, index, channel)
    {
        const char *now = json_string_value(json_object_get(channel, "state"));
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
            text_add_string(page->text, "flotilla_channel_state{");
            add_label(page, "channel", name_of(channel));
            add_label(page, ",state", states[i]);
            text_add(page->text, "} %d\n", now != NULL && strcmp(now, states[i]) == 0);
        }
    }
}

/* The buckets of one channel, each with those below it, as Prometheus has them. */
static void add_buckets(struct page *page, const char *metric, const json_t *channel)
{
    const json_t *times = json_object_get(channel, metric);
    json_int_t below = 0;
    char bound[DISK_TIMES_TEXT_BYTES];
    if (times == NULL)
        return;
    for (uint32_t i = 0; i <= DISK_TIMES_BOUNDS; i++) {
        disk_times_bound(bound, i);
        below += json_integer_value(json_object_get(json_object_get(times, "buckets"), bound));
        text_add(page->text, "flotilla_%s_bucket{", metric);
        add_label(page, "channel", name_of(channel));
        text_add(page->text, ",le=\"%s\"} %" JSON_INTEGER_FORMAT "\n", bound, below);
    }
    text_add(page->text, "flotilla_%s_sum{", metric);
    add_label(page, "channel", name_of(channel));
    text_add_char(page->text, '}');
    add_number(page, json_object_get(times, "sum"));
    text_add(page->text, "flotilla_%s_count{", metric);
    add_label(page, "channel", name_of(channel));
    text_add(page->text, "} %" JSON_INTEGER_FORMAT "\n", below);
}

static void add_histogram(struct page *page, const char *metric, const char *help)
{
    size_t index;
    json_t *channel;
    add_family(page, metric, "histogram", help);
    json_array_foreach(page->channels, index, channel) add_buckets(page, metric, channel);
}

static void add_fleet(struct page *page, const struct gateway *gateway)
{
    uint64_t free_bytes, total_bytes;
    add_family(page, "up", "gauge", "1 if the manager answers, else 0.");
    text_add(page->text, "flotilla_up %d\n", page->channels != NULL);
    descriptor_t folder = folder_open_there(gateway->directory);
    if (folder >= 0 && storage_room(folder, &free_bytes, &total_bytes) == 0) {
        add_family(page, "storage_free_bytes", "gauge", "Free where recordings go.");
        text_add(page->text, "flotilla_storage_free_bytes %" PRIu64 "\n", free_bytes);
        add_family(page, "storage_bytes", "gauge", "Of the file system where recordings go.");
        text_add(page->text, "flotilla_storage_bytes %" PRIu64 "\n", total_bytes);
    }
    descriptor_close(folder);
    add_family(page, "build_info", "gauge", "Always 1; the label tells the version.");
    text_add_string(page->text, "flotilla_build_info{version=\"" FLOTILLA_VERSION "\"} 1\n");
}

void rest_metrics(const struct request *request, struct reply *reply)
{
    struct reply refusal = {.file = DESCRIPTOR_NONE};
    json_t *status = ask_status(request->gateway, &refusal);
    struct page page = {.text = &reply->body,
                        .open_metrics =
                            strstr(request->accept, "application/openmetrics-text") != NULL,
                        .channels = json_object_get(status, "channels")};
    if (page.channels != NULL) {
        add_counters(&page);
        add_rejects(&page);
        add_states(&page);
        add_family(&page, "relay_restarts", "counter",
                   "How often the channel's relay was started "
                   "again.");
        add_of_each(&page, "relay_restarts_total", "restarts");
        add_family(&page, "receive_budget_seconds", "gauge",
                   "How long the socket's queue lasts at the rate of now.");
        add_of_each(&page, "receive_budget_seconds", "receive_budget_seconds");
        add_family(&page, "receive_rate", "gauge", "Datagrams a second.");
        add_of_each(&page, "receive_rate", "rate");
        add_histogram(&page, "write_seconds", "How long writes to recordings took.");
        add_histogram(&page, "sync_seconds", "How long it took until a disk had what was written.");
    }
    add_fleet(&page, request->gateway);
    if (page.open_metrics)
        text_add_string(&reply->body, "# EOF\n");
    reply->status = 200;
    reply->type = page.open_metrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                    : "text/plain; version=0.0.4; charset=utf-8";
    json_decref(status);
    text_free(&refusal.body);
}
