/* SPDX-License-Identifier: MIT
 * Status as JSON. The counters come from the one table of channel/counters. */
#include "manager/report.h"

#include <string.h>

#include "avro/datum.h"
#include "base/calendar.h"
#include "control/json_text.h"
#include "os/clock.h"
#include "os/process.h"

static json_t *report_rejects(const struct counters *counters)
{
    json_t *reasons = json_object();
    for (int reason = 1; reason < REJECT_REASONS; reason++)
        if (counters->rejected[reason])
            json_object_set_new(reasons, datum_reject_name((enum reject)reason),
                                json_integer((json_int_t)counters->rejected[reason]));
    return reasons;
}

static json_t *report_latency(const struct latency_figures *figures)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "count", (json_int_t)figures->count,
                     "p50_us", (json_int_t)figures->p50_us, "p95_us", (json_int_t)figures->p95_us,
                     "p99_us", (json_int_t)figures->p99_us, "p999_us", (json_int_t)figures->p999_us,
                     "max_us", (json_int_t)figures->max_us);
}

/* Those that are not 0, by their bounds. */
static json_t *report_disk(const struct disk_figures *figures)
{
    char bound[DISK_TIMES_TEXT_BYTES];
    uint64_t count = 0;
    json_t *buckets = json_object();
    for (uint32_t i = 0; i <= DISK_TIMES_BOUNDS; i++) {
        count += figures->count[i];
        if (figures->count[i] > 0)
            json_object_set_new(buckets, disk_times_bound(bound, i),
                                json_integer((json_int_t)figures->count[i]));
    }
    return json_pack("{s:I, s:f, s:o}", "count", (json_int_t)count, "sum",
                     (double)figures->sum_ns / 1e9, "buckets", buckets);
}

static json_t *report_channel(const struct channel *channel)
{
    struct channel_view view;
    char text[CALENDAR_TEXT_BYTES];
    fleet_view(channel, &view);
    const struct counters *counters = &view.counters;
    json_t *report = json_object();
    json_object_set_new(report, "name", json_string(view.name));
    json_object_set_new(report, "state", json_string(view.state));
    json_object_set_new(report, "pid", view.pid ? json_integer(view.pid) : json_null());
    json_object_set_new(report, "restarts", json_integer((json_int_t)view.restarts));
    for (size_t i = 0; i < counter_name_count; i++) {
        uint64_t value;
        memcpy(&value, (const char *)counters + counter_names[i].offset, sizeof value);
        json_object_set_new(report, counter_names[i].name,
                            value >= COUNT_UNKNOWN ? json_null() : json_integer((json_int_t)value));
    }
    json_object_set_new(report, "direct_io", json_boolean(counters->direct_io));
    json_object_set_new(report, "file", json_of_text(counters->file));

    json_object_set_new(report, "reason", json_of_text(view.reason));
    json_object_set_new(report, "recording", json_boolean(counters->recording));
    json_object_set_new(report, "last_arrival",
                        counters->last_arrival_ns
                            ? json_string(calendar_write(text, counters->last_arrival_ns, 0))
                            : json_null());
    json_object_set_new(report, "unsynced_datums",
                        json_integer((json_int_t)counters->unsynced_datums));
    json_object_set_new(report, "rejected", report_rejects(counters));
    json_object_set_new(report, "rejects_kept", json_integer((json_int_t)counters->rejects_kept));
    json_object_set_new(report, "buffer_limit_bytes",
                        json_integer((json_int_t)counters->buffer_limit_bytes));
    json_object_set_new(report, "receive_budget_seconds", json_real(view.budget_seconds));
    json_object_set_new(report, "dropped_before_queue",
                        json_integer((json_int_t)view.dropped_before));
    if (counters->latency_on || counters->latency.count > 0)
        json_object_set_new(report, "latency", report_latency(&counters->latency));
    json_object_set_new(report, "write_seconds", report_disk(&counters->disk[DISK_WRITE]));
    json_object_set_new(report, "sync_seconds", report_disk(&counters->disk[DISK_SYNC]));
    json_object_set_new(report, "rate", json_real(view.rate));
    return report;
}

json_t *report_channels(const struct fleet *fleet)
{
    json_t *channels = json_array();
    for (const struct channel *channel = fleet_next(fleet, NULL); channel;
         channel = fleet_next(fleet, channel))
        json_array_append_new(channels, report_channel(channel));
    return channels;
}

json_t *report_fleet(const struct fleet *fleet, uint64_t started_ns, const char *directory,
                     const char *doubt)
{
    char text[CALENDAR_TEXT_BYTES];
    long keeper = fleet_keeper(fleet);
    json_t *manager = json_pack(
        "{s:I, s:s, s:s, s:I, s:o, s:s, s:o, s:I, s:s}", "pid", (json_int_t)process_self(),
        "version", FLOTILLA_VERSION, "started", calendar_write(text, started_ns, 0), "instance",
        (json_int_t)started_ns, "recordings", json_of_text(directory), "retention_doubt", doubt,
        "keeper", keeper ? json_integer(keeper) : json_null(), "restart_pending",
        (json_int_t)fleet_restart_pending(fleet), "restart_failed", fleet_restart_failed(fleet));
    return json_pack("{s:o, s:o}", "manager", manager, "channels", report_channels(fleet));
}
