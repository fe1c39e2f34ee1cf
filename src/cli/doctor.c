/* SPDX-License-Identifier: MIT
 * `flotilla doctor`: can this machine do what fleet.yaml asks? This file has the findings, the host
 * and the storage; the network is in doctor_network.c.
 * Relies on os/health for what the system says and on the manager's status where one runs.
 * It sends no datagram and changes nothing; what it makes is gone at once: a file of a page in the
 * recordings' folders and, where no manager runs, a socket at each channel's own address. */
#include "cli/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/units.h"
#include "channel/mounted.h"
#include "channel/recording_name.h"
#include "cli/subject.h"
#include "cli/verb.h"
#include "command/options.h"
#include "control/client.h"
#include "control/json_text.h"
#include "manager/fleet.h"
#include "os/calls.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/health.h"
#include "os/local.h"
#include "os/memory.h"
#include "os/path.h"
#include "os/process.h"
#include "os/sandbox.h"
#include "os/storage.h"

#define STATUS_TIMEOUT_MS 3000u
#define TEXT_BYTES        1400
#define FREE_BYTES_MIN    (256ull << 20) /* a relay reserves up to 64 MiB ahead */
#define SECONDS_PER_DAY   86400.0
#define HOST_FIX_BYTES    (CHANNEL_PATH_BYTES_MAX * 4 + 96) /* a path may have to be quoted */
#define BACKLOG_PACKETS   10000u
#define FOLDER_FIX_BYTES  (8 * CHANNEL_PATH_BYTES_MAX + 64) /* a command that names one twice */

const char verb_doctor_help[] =
    "usage: flotilla doctor [-c FILE] [--json]\n"
    "\n"
    "Looks whether this machine can do what the configuration asks: interfaces, routes, groups,\n"
    "receive queues, clock, direct I/O, room. Below each warning and problem stands what mends "
    "it.\n"
    "\n"
    "  flotilla doctor\n"
    "  flotilla doctor -c fleet.yaml --json | jq '.findings[] | select(.level == \"problem\")'\n"
    "\n"
    "  -c, --config FILE  the configuration; else ./fleet.yaml, else /etc/flotilla/fleet.yaml\n"
    "  --json             the findings, for machines\n"
    "\n"
    "A finding is ok, unknown (cannot be known from here), a warning, or a problem. Where the "
    "fleet\n"
    "runs, its counters are looked at too. Nothing is sent and nothing is changed.\n"
    "\n"
    "Exit: 0 no problem, 1 problems, 2 usage, 78 bad configuration.\n";

static const char *const level_names[DOCTOR_LEVELS] = {"ok", "unknown", "warning", "problem"};

/* ---- findings ---- */

void doctor_examine(struct doctor *doctor, const char *about, const char *name)
{
    doctor->about = about;
    doctor->name = name;
}

void doctor_find(struct doctor *doctor, enum doctor_level level, const char *check, const char *fix,
                 const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    doctor->counts[level]++;
    json_array_append_new(doctor->findings,
                          json_pack("{s:s, s:s, s:o, s:s, s:o, s:o}", "level", level_names[level],
                                    "about", doctor->about, "name", json_of_text(doctor->name),
                                    "check", check, "text", json_of_text(text), "fix",
                                    json_of_text(fix)));
}

void doctor_command(const struct doctor *doctor, char text[DOCTOR_COMMAND_BYTES], const char *words)
{
    char file[DOCTOR_COMMAND_BYTES - 512] = "";
    if (doctor->given != NULL)
        health_quote(file, sizeof file, doctor->given);
    snprintf(text, DOCTOR_COMMAND_BYTES, "flotilla %.400s%s%s", words, file[0] ? " -c " : "", file);
}

static const json_t *find_channel(const json_t *fleet, const char *channel)
{
    size_t index;
    const json_t *one;
    json_array_foreach(json_object_get(fleet, "channels"), index, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (name != NULL && strcmp(name, channel) == 0)
            return one;
    }
    return NULL;
}

static json_t *ask_status(const struct doctor *doctor, char *error, size_t error_bytes)
{
    json_t *request = json_pack("{s:s}", "verb", "status"), *reply = NULL;
    if (request != NULL)
        reply = control_ask(doctor->config->runtime, request, STATUS_TIMEOUT_MS, false, error,
                            error_bytes);
    json_decref(request);
    return reply;
}

const json_t *doctor_status(const struct doctor *doctor, const char *channel)
{
    return find_channel(doctor->fleet, channel);
}

const json_t *doctor_status_later(struct doctor *doctor, const char *channel)
{
    char error[1024];
    if (doctor->later == NULL) {
        clock_sleep_until(clock_monotonic_ns() + DOCTOR_LOOK_NS);
        doctor->later = ask_status(doctor, error, sizeof error);
    }
    return find_channel(doctor->later, channel);
}

/* ---- the fleet ---- */

/* Why nobody answered: only where nobody can, no manager runs. */
static void examine_silence(struct doctor *doctor, const char *error)
{
    const char *runtime = doctor->config->runtime;
    char fix[DOCTOR_COMMAND_BYTES], place[CHANNEL_PATH_BYTES_MAX + 32];
    struct storage_entry entry;
    int descriptor = local_connect(runtime, CONTROL_SOCKET);
    int managed = control_managed(runtime);
    if (descriptor >= 0)
        descriptor_close(descriptor);
    bool nobody = descriptor == -ENOENT || descriptor == -ECONNREFUSED || descriptor == -ENOTDIR;
    int refused = nobody && managed < 0 ? managed : descriptor;
    if (nobody && managed == 0) {
        doctor->idle = true;
        doctor_find(doctor, DOCTOR_OK, "fleet", NULL,
                    "no manager runs: memberships, drops and rates are not looked at");
        return;
    }
    if (refused == -EACCES || refused == -EPERM) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "fleet", NULL,
                    "whether a manager runs in %s cannot be seen: %s; run it with sudo", runtime,
                    strerror(-refused));
        return;
    }
    long pid = control_process(runtime);
    snprintf(place, sizeof place, "%s/%s", runtime, CONTROL_SOCKET);
    if (pid > 0 && process_suspended(pid))
        snprintf(fix, sizeof fix, "kill -CONT %ld", pid);
    else if (storage_look_at(place, &entry) == 0 && entry.folder)
        health_fix(fix, sizeof fix, HEALTH_IN_THE_WAY, &(struct health_about){.path = place});
    else
        doctor_command(doctor, fix, "status"); /* busy for a while, or ending */
    doctor_find(doctor, DOCTOR_PROBLEM, "fleet", fix, "%s%s", error,
                pid > 0 && process_suspended(pid) ? ": it is suspended" : "");
}

static void examine_fleet(struct doctor *doctor)
{
    char error[1024] = "no memory is left to ask", fix[HOST_FIX_BYTES];
    doctor->fleet = ask_status(doctor, error, sizeof error);
    if (doctor->fleet == NULL) {
        examine_silence(doctor, error);
        return;
    }
    if (json_object_get(doctor->fleet, "channels") == NULL) {
        const char *refusal = json_string_value(json_object_get(doctor->fleet, "error"));
        doctor_find(doctor, DOCTOR_UNKNOWN, "fleet", NULL, "a manager runs, but refuses: %s",
                    refusal != NULL ? refusal : "it has no channels to tell of");
        json_decref(doctor->fleet);
        doctor->fleet = NULL;
        return;
    }
    long pid =
        (long)json_integer_value(json_object_get(json_object_get(doctor->fleet, "manager"), "pid"));
    int same = health_same_network(pid);
    doctor->same_network = same == 1;
    if (same == 1)
        doctor_find(doctor, DOCTOR_OK, "fleet", NULL, "runs, manager %ld", pid);
    else if (same == 0) {
        health_fix(fix, sizeof fix, HEALTH_OTHER_NETWORK,
                   &(struct health_about){.number = (uint64_t)pid, .path = doctor->config->file});
        doctor_find(doctor, DOCTOR_WARNING, "fleet", fix,
                    "manager %ld runs in another network than this command", pid);
    } else {
        doctor_find(doctor, DOCTOR_UNKNOWN, "fleet", NULL,
                    "manager %ld runs; whether in this network cannot be seen: %s", pid,
                    strerror(-same));
    }
}

/* ---- the host ---- */

static void examine_processes(struct doctor *doctor)
{
    char fix[HOST_FIX_BYTES];
    health_fix(fix, sizeof fix, HEALTH_PROCESSES, &(struct health_about){.number = 0});
    if (process_visible())
        doctor_find(doctor, DOCTOR_OK, "processes", NULL, "can be seen");
    else
        doctor_find(doctor, DOCTOR_PROBLEM, "processes", fix,
                    "cannot be seen, as /proc is not mounted: no manager can look after relays, "
                    "and much below is not known");
}

static void examine_clock(struct doctor *doctor)
{
    bool synchronised;
    uint64_t error_us;
    char fix[HOST_FIX_BYTES];
    health_fix(fix, sizeof fix, HEALTH_CLOCK, &(struct health_about){.number = 0});
    int status = health_clock(&synchronised, &error_us);
    if (status < 0)
        doctor_find(doctor, DOCTOR_UNKNOWN, "clock", NULL, "cannot be asked: %s",
                    strerror(-status));
    else if (synchronised)
        doctor_find(doctor, DOCTOR_OK, "clock", NULL, "synchronised, off by at most %.1f ms",
                    (double)error_us / 1000);
    else
        doctor_find(doctor, DOCTOR_WARNING, "clock", fix,
                    "not synchronised: file names and arrival times drift");
    const char *doubt = json_string_value(
        json_object_get(json_object_get(doctor->fleet, "manager"), "retention_doubt"));
    if (doubt != NULL && doubt[0] != '\0')
        doctor_find(doctor, DOCTOR_WARNING, "retention", fix,
                    "recordings may be kept for longer than retain.age: %s", doubt);
}

static void examine_descriptors(struct doctor *doctor)
{
    char fix[HOST_FIX_BYTES];
    uint64_t limit = health_descriptor_limit();
    uint64_t wanted = fleet_descriptors(doctor->config);
    if (limit == UINT64_MAX)
        doctor_find(doctor, DOCTOR_OK, "descriptors", NULL, "no limit");
    else if (limit >= wanted)
        doctor_find(doctor, DOCTOR_OK, "descriptors", NULL,
                    "up to %" PRIu64 ", %" PRIu64 " are needed for %" PRIu32 " channels", limit,
                    wanted, doctor->config->channel_count);
    else {
        health_fix(fix, sizeof fix, HEALTH_DESCRIPTORS, &(struct health_about){.number = wanted});
        doctor_find(doctor, DOCTOR_PROBLEM, "descriptors", fix,
                    "at most %" PRIu64 " (%s), %" PRIu64 " are needed for %" PRIu32 " channels",
                    limit, process_descriptor_limit_words(), wanted, doctor->config->channel_count);
    }
}

/* What holds a relay that somebody has taken over; see os/sandbox.h. */
static void examine_sandbox(struct doctor *doctor)
{
    static const enum sandbox_lack known[] = {SANDBOX_FILES, SANDBOX_CALLS};
    int lacks = sandbox_lacks();
    if (lacks == 0)
        doctor_find(doctor, DOCTOR_OK, "sandbox", NULL,
                    "%s: a relay reaches its descriptors and its folder", sandbox_describe());
    for (size_t i = 0; i < ARRAY_COUNT(known); i++)
        if (lacks & (int)known[i]) {
            struct sandbox_lack_text text = sandbox_explain(known[i]);
            doctor_find(doctor, DOCTOR_WARNING, "sandbox", text.fix,
                        "%s: a relay that is broken into could %s", text.what, text.harm);
        }
}

void doctor_limits(struct doctor *doctor, const struct config_channel *channel)
{
    bool memory, cpu;
    char fix[HOST_FIX_BYTES];
    char why[CGROUP_WHY_BYTES] = "this machine has but one of memory and cpu in cgroup v2";
    bool wants_memory = channel->limit_memory_bytes > 0, wants_cpu = channel->limit_cpu_percent > 0;
    if (!wants_memory && !wants_cpu)
        return;
    cgroup_supported(cgroup_find(), &memory, &cpu, why);
    if ((wants_memory && !memory) || (wants_cpu && !cpu)) {
        health_fix(fix, sizeof fix, HEALTH_GROUPS, &(struct health_about){.number = 0});
        doctor_find(doctor, DOCTOR_WARNING, "limits", fix, "not applied: %s", why);
        return;
    }
    long pid = (long)json_integer_value(
        json_object_get(doctor_status(doctor, channel->settings.name), "pid"));
    int held = pid > 0 ? cgroup_holds(pid, channel->settings.name) : 1;
    health_fix(fix, sizeof fix, HEALTH_GROUPS_OURS, &(struct health_about){.number = 0});
    if (held == 0)
        doctor_find(doctor, DOCTOR_WARNING, "limits", fix,
                    "not applied: relay %ld runs without, as the manager has no cgroup of its own",
                    pid);
    else if (held < 0)
        doctor_find(doctor, DOCTOR_UNKNOWN, "limits", NULL,
                    "whether relay %ld has its limits cannot be seen: %s", pid, strerror(-held));
    else
        doctor_find(doctor, DOCTOR_OK, "limits", NULL,
                    pid > 0 ? "applied, by cgroup v2" : "can be applied, by cgroup v2");
}

/* What the host lost of what reached it. The counts never go back: what is wrong is that they rise,
 * or that nothing was done since about a queue that is known to be short. */
static void examine_losses(struct doctor *doctor)
{
    struct health_losses before, now;
    char fix[HOST_FIX_BYTES];
    if (health_losses(&before) < 0)
        return; /* without /proc, which is told of */
    if (before.backlog + before.checksum > 0)
        clock_sleep_until(clock_monotonic_ns() + DOCTOR_LOOK_NS);
    if (before.backlog + before.checksum == 0 || health_losses(&now) < 0)
        return;
    uint64_t more = now.backlog - before.backlog, backlog = health_backlog();
    uint64_t wanted = more > 0 && 2 * backlog > BACKLOG_PACKETS ? 2 * backlog : BACKLOG_PACKETS;
    health_fix(fix, sizeof fix, HEALTH_BACKLOG, &(struct health_about){.number = wanted});
    bool short_of = more > 0 || backlog < BACKLOG_PACKETS;
    if (now.backlog > 0)
        doctor_find(doctor, short_of ? DOCTOR_WARNING : DOCTOR_OK, "backlog", short_of ? fix : NULL,
                    "%" PRIu64 " packets dropped before any socket since boot, %" PRIu64
                    " in the last second; the queue takes %" PRIu64,
                    now.backlog, more, backlog);
    more = now.checksum - before.checksum;
    health_fix(fix, sizeof fix, HEALTH_CHECKSUM, &(struct health_about){.number = 0});
    if (now.checksum > 0)
        doctor_find(
            doctor, more > 0 ? DOCTOR_WARNING : DOCTOR_UNKNOWN, "checksum", more > 0 ? fix : NULL,
            "%" PRIu64 " datagrams turned away for a wrong UDP checksum since boot, %" PRIu64
            " in the last second",
            now.checksum, more);
}

/* How large the files of the manager's relays may become, against what is asked for. */
static void examine_file_limit(struct doctor *doctor)
{
    char fix[HOST_FIX_BYTES], size[UNITS_TEXT_BYTES], wants[UNITS_TEXT_BYTES];
    long pid =
        (long)json_integer_value(json_object_get(json_object_get(doctor->fleet, "manager"), "pid"));
    uint64_t limit = health_file_limit(pid), largest = 0, buffer = 0;
    for (uint32_t i = 0; i < doctor->config->channel_count; i++) {
        const struct channel_settings *settings = &doctor->config->channels[i].settings;
        /* The memory is a file, too. */
        if (settings->buffer_bytes > buffer)
            buffer = settings->buffer_bytes;
        if (doctor->config->channels[i].record && settings->rotate_bytes > largest)
            largest = settings->rotate_bytes;
    }
    if (limit == 0 || limit == UINT64_MAX || (limit >= largest && limit >= buffer))
        return;
    bool too_small = limit < buffer;
    units_write_bytes(size, limit);
    units_write_bytes(wants, too_small ? buffer : largest);
    health_fix(fix, sizeof fix, HEALTH_FILE_LIMIT, &(struct health_about){.number = 0});
    doctor_find(doctor, too_small ? DOCTOR_PROBLEM : DOCTOR_WARNING, "file size", fix,
                "a file may have at most %s (ulimit -f, LimitFSIZE=), but %s is %s", size,
                too_small ? "buffer" : "rotate.size", wants);
}

static void examine_calls(struct doctor *doctor)
{
    char refused[CALLS_TEXT_BYTES];
    int status = calls_refused(true, refused);
    char *fix = status < 0 ? strstr(refused, "; ") : NULL;
    if (fix == NULL)
        return;
    *fix = '\0';
    doctor_find(doctor, DOCTOR_PROBLEM, "system calls", fix + 2, "%s", refused);
}

static void examine_host(struct doctor *doctor)
{
    doctor_examine(doctor, "host", "");
    examine_calls(doctor);
    examine_processes(doctor);
    examine_fleet(doctor);
    examine_clock(doctor);
    examine_descriptors(doctor);
    examine_file_limit(doctor);
    examine_sandbox(doctor);
    doctor_find(doctor, DOCTOR_OK, "page size", NULL,
                "%" PRIu32 " bytes; recordings are written in pages of 4096", health_page_bytes());
    examine_losses(doctor);
}

/* ---- the storage ---- */

/* The folder itself, or the nearest one above it that is there: that is where it would be made. */
static bool find_existing(const char *directory, char found[CHANNEL_PATH_BYTES_MAX])
{
    snprintf(found, CHANNEL_PATH_BYTES_MAX, "%s", directory);
    while (!path_exists(found)) {
        char *slash = strrchr(found, '/');
        if (slash == NULL)
            snprintf(found, CHANNEL_PATH_BYTES_MAX, ".");
        else if (slash == found)
            found[1] = '\0';
        else
            *slash = '\0';
    }
    return strcmp(found, directory) == 0;
}

/* Tries what a relay does before it decides how to write. 0 or a negative errno. */
static int probe_direct(int folder, bool direct, struct direct_probe *probe)
{
    char name[48];
    snprintf(name, sizeof name, ".doctor-%ld", process_self());
    return direct_file_probe(folder, name, direct, probe);
}

/* What mends that the folder refused with `status`. */
static void write_folder_fix(char *fix, size_t bytes, int status, int folder, const char *path)
{
    struct health_about about = {.path = path};
    struct health_filesystem filesystem;
    bool known = health_filesystem(folder, &filesystem) == 0 && filesystem.mount[0] != '\0';
    if (status == -EROFS && known) {
        about.path = filesystem.mount;
        health_fix(fix, bytes, HEALTH_READ_ONLY, &about);
    } else if (status == -EDQUOT) {
        bool of_folders = known && strcmp(filesystem.type, "btrfs") == 0;
        health_fix(fix, bytes, of_folders ? HEALTH_QUOTA_BTRFS : HEALTH_QUOTA, &about);
    } else if (status == -EFBIG) {
        health_fix(fix, bytes, HEALTH_FILE_LIMIT, &about);
    } else if (storage_is_full(status)) {
        health_fix(fix, bytes, HEALTH_FULL, &about);
    } else if (status == -EPERM) { /* to an owner's folder: it says so itself */
        health_fix(fix, bytes, HEALTH_MUTABLE, &about);
    } else if (status == -EACCES) {
        health_fix(fix, bytes, HEALTH_OWNER, &about);
    } else {
        snprintf(fix, bytes, "set storage.directory to a folder on a disk that can do it");
    }
}

static void tell_refusal(struct doctor *doctor, const struct direct_probe *probe, int status,
                         int folder, const char *path)
{
    char fix[FOLDER_FIX_BYTES];
    write_folder_fix(fix, sizeof fix, status, folder, path);
    doctor_find(doctor, DOCTOR_PROBLEM, "folder", fix, "cannot %s in %s: %s", probe->step, path,
                strerror(-status));
}

/* Whether the folder can be written to, and how. */
static void examine_writing(struct doctor *doctor, int folder, const char *path)
{
    enum direct_mode mode = doctor->config->direct_io;
    struct direct_probe probe;
    int status = probe_direct(folder, mode != DIRECT_OFF, &probe);
    if (status < 0 && probe.refused) {
        int buffered = probe_direct(folder, false, &probe);
        doctor_find(doctor, mode == DIRECT_REQUIRED ? DOCTOR_PROBLEM : DOCTOR_WARNING, "direct I/O",
                    "set storage.directory to a folder on ext4 or xfs; or storage.direct_io: off",
                    "%s refuses it%s", path,
                    mode == DIRECT_REQUIRED ? ", and direct_io is required"
                                            : ": recordings go through the page cache");
        status = buffered;
    } else if (status == 0) {
        if (mode == DIRECT_OFF)
            doctor_find(doctor, DOCTOR_OK, "direct I/O", NULL, "off, as configured");
        else
            doctor_find(doctor, DOCTOR_OK, "direct I/O", NULL,
                        "works, in units of %" PRIu32 " bytes", probe.alignment);
    }
    if (status == 0)
        doctor_find(doctor, DOCTOR_OK, "folder", NULL, "%s can be written to", path);
    else
        tell_refusal(doctor, &probe, status, folder, path);
}

/* A channel's own folder, where there is one already: told of only if it refuses. */
static void examine_channel_folder(struct doctor *doctor, const char *path)
{
    struct direct_probe probe = {.step = "open anything"};
    if (!path_exists(path))
        return;
    int folder = folder_open(path);
    int status = folder < 0 ? folder : probe_direct(folder, false, &probe);
    doctor_examine(doctor, "storage", path);
    if (status == -ENOTDIR) {
        char fix[FOLDER_FIX_BYTES];
        health_fix(fix, sizeof fix, HEALTH_IN_THE_WAY, &(struct health_about){.path = path});
        doctor_find(doctor, DOCTOR_PROBLEM, "folder", fix, "%s is no folder", path);
    } else if (status < 0) {
        tell_refusal(doctor, &probe, status, folder, path);
    }
    descriptor_close(folder);
}

static void examine_filesystem(struct doctor *doctor, int folder)
{
    struct health_filesystem filesystem;
    char fix[FOLDER_FIX_BYTES];
    int status = health_filesystem(folder, &filesystem);
    if (status < 0) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "file system", NULL, "cannot be asked: %s",
                    strerror(-status));
    } else if (filesystem.read_only) {
        health_fix(fix, sizeof fix, HEALTH_READ_ONLY,
                   &(struct health_about){.path = filesystem.mount});
        doctor_find(doctor, DOCTOR_PROBLEM, "file system", fix, "%s at %s is read-only",
                    filesystem.type, filesystem.mount);
    } else if (filesystem.in_memory || filesystem.remote) {
        doctor_find(doctor, DOCTOR_WARNING, "file system",
                    "set storage.directory to a folder on a local disk", "%s at %s: %s",
                    filesystem.type, filesystem.mount,
                    filesystem.in_memory ? "recordings are gone after a reboot"
                                         : "a network that stalls stalls recording");
    } else {
        doctor_find(doctor, DOCTOR_OK, "file system", NULL, "%s at %s", filesystem.type,
                    filesystem.mount);
    }
}

struct held {
    const char *channel;
    int folder;
    uint64_t bytes;
};

static int add_recording(void *context, const char *name)
{
    struct held *held = context;
    struct storage_entry entry;
    struct recording_name read;
    if (recording_name_read(&read, name) && strcmp(read.channel, held->channel) == 0 &&
        (read.stage == RECORDING_DONE || read.stage == RECORDING_PART) &&
        storage_look(held->folder, name, &entry) == 0)
        held->bytes += entry.bytes;
    return 0;
}

/* Bytes of all recordings that retention counts. */
static uint64_t held_bytes(const struct config *config)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < config->channel_count; i++) {
        const struct channel_settings *settings = &config->channels[i].settings;
        if (!config->channels[i].record || !path_exists(settings->directory))
            continue;
        struct held held = {.channel = settings->name};
        held.folder = folder_open(settings->directory);
        if (held.folder < 0)
            continue;
        folder_list(held.folder, add_recording, &held);
        descriptor_close(held.folder);
        bytes += held.bytes;
    }
    return bytes;
}

/* What the fleet writes a second now: each channel's datums a second, at what one has come to in
 * its files so far. False where it cannot be known. */
static bool writing_rate(const struct doctor *doctor, double *bytes_per_second)
{
    size_t index;
    const json_t *channel;
    *bytes_per_second = 0;
    json_array_foreach(json_object_get(doctor->fleet, "channels"), index, channel)
    {
        double datagrams = json_number_value(json_object_get(channel, "datagrams_accepted"));
        double datums = json_number_value(json_object_get(channel, "datums_accepted"));
        double recorded = json_number_value(json_object_get(channel, "datums_recorded"));
        double bytes = json_number_value(json_object_get(channel, "bytes_recorded"));
        if (datagrams > 0 && recorded > 0) /* the disk may be behind by much */
            *bytes_per_second += json_number_value(json_object_get(channel, "rate")) * datums /
                                 datagrams * bytes / recorded;
    }
    return *bytes_per_second > 0;
}

#define GIB(bytes) ((double)(bytes) / (double)(1ull << 30))

/* Free room against what is written: days left, or whether retention can keep what it says. */
static void examine_room(struct doctor *doctor, int folder, const char *path)
{
    const struct config *config = doctor->config;
    uint64_t free_bytes, total_bytes, held = held_bytes(config);
    char fix[2 * CHANNEL_PATH_BYTES_MAX + 64];
    double rate;
    int status = storage_room(folder, &free_bytes, &total_bytes);
    if (status < 0) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "room", NULL, "cannot be asked: %s", strerror(-status));
        return;
    }
    bool rated = writing_rate(doctor, &rate);
    double left = rated ? (double)free_bytes / rate / SECONDS_PER_DAY : 0;
    /* With either limit the oldest recordings are deleted before the disk is full. */
    bool kept = config->retain_bytes > 0 || config->retain_free_percent > 0;
    if (free_bytes < FREE_BYTES_MIN) {
        health_fix(fix, sizeof fix, HEALTH_FULL, &(struct health_about){.path = path});
        doctor_find(doctor, DOCTOR_PROBLEM, "room", fix, "%.2f GiB free of %.1f GiB",
                    GIB(free_bytes), GIB(total_bytes));
    } else if (!rated) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "room", NULL,
                    "%.1f GiB free of %.1f GiB; for how long cannot be known while nothing is "
                    "recorded",
                    GIB(free_bytes), GIB(total_bytes));
    } else {
        enum doctor_level level = kept || left >= 7 ? DOCTOR_OK
                                  : left >= 1       ? DOCTOR_WARNING
                                                    : DOCTOR_PROBLEM;
        doctor_find(doctor, level, "room",
                    level == DOCTOR_OK ? NULL : "set storage.retain: {free: 5%}",
                    "%.1f GiB free of %.1f GiB: %.1f days at %.3f MB/s%s", GIB(free_bytes),
                    GIB(total_bytes), left, rate / 1e6,
                    kept ? ", then the oldest recordings are deleted" : "");
    }

    double room = (double)(free_bytes + held);
    char size[UNITS_TEXT_BYTES];
    if (config->retain_bytes > 0 && (double)config->retain_bytes > room) {
        /* In whole MiB, and a twentieth less than there is. */
        uint64_t fits = (uint64_t)(room * 0.95) >> 20 << 20;
        snprintf(fix, sizeof fix, "set storage.retain.size: %s", units_write_bytes(size, fits));
        doctor_find(doctor, DOCTOR_WARNING, "retention", fix,
                    "retain.size is %.1f GiB, but there is only room for %.1f GiB",
                    GIB(config->retain_bytes), room / (double)(1ull << 30));
    } else if (config->retain_free_percent > 0 &&
               (double)free_bytes * 100 < config->retain_free_percent * (double)total_bytes) {
        health_fix(fix, sizeof fix, HEALTH_FULL, &(struct health_about){.path = path});
        doctor_find(doctor, DOCTOR_WARNING, "retention", fix,
                    "less than retain.free (%g%%) is free: the oldest recordings are being removed",
                    config->retain_free_percent);
    } else if (rated && config->retain_age_ms > 0 && !kept &&
               rate * (double)config->retain_age_ms / 1000 > room) {
        doctor_find(doctor, DOCTOR_WARNING, "retention", "set storage.retain.free: 5%",
                    "retain.age needs %.1f GiB at this rate, but there is only room for %.1f GiB",
                    rate * (double)config->retain_age_ms / 1000 / (double)(1ull << 30),
                    room / (double)(1ull << 30));
    } else if (!kept && config->retain_age_ms == 0) {
        doctor_find(doctor, DOCTOR_WARNING, "retention", "set storage.retain: {free: 5%}",
                    "recordings are never removed: recording ends when the disk is full");
    } else {
        doctor_find(doctor, DOCTOR_OK, "retention", NULL, "recordings take %.2f GiB now",
                    GIB(held));
    }
}

/* False where nothing is recorded for now: what is at the path is not what is meant. */
static bool examine_mount(struct doctor *doctor)
{
    const struct config *config = doctor->config;
    char found[CHANNEL_PATH_BYTES_MAX], text[CHANNEL_PATH_BYTES_MAX + 40], fix[FOLDER_FIX_BYTES];
    if (config->mounted[0] == '\0')
        return true;
    if (mounted_is(config->mounted, config->directory, found)) {
        doctor_find(doctor, DOCTOR_OK, "mounted", NULL, "%s is", found);
        return true;
    }
    health_fix(fix, sizeof fix, HEALTH_MOUNT,
               &(struct health_about){.path = strcmp(config->mounted, MOUNTED_ANY) == 0
                                                  ? config->directory
                                                  : config->mounted});
    doctor_find(doctor, DOCTOR_PROBLEM, "mounted", fix, "%s: nothing is recorded until it is",
                mounted_explain(config->mounted, config->directory, text, sizeof text));
    return false;
}

static void examine_storage(struct doctor *doctor)
{
    char path[CHANNEL_PATH_BYTES_MAX], fix[FOLDER_FIX_BYTES];
    bool records = false;
    for (uint32_t i = 0; i < doctor->config->channel_count; i++)
        records = records || doctor->config->channels[i].record;
    if (!records)
        return;
    doctor_examine(doctor, "storage", doctor->config->directory);
    if (!examine_mount(doctor))
        return;
    find_existing(doctor->config->directory, path);
    /* It is there, so nothing is made. */
    int folder = folder_open(path);
    if (folder < 0) {
        if (folder == -ENOTDIR)
            health_fix(fix, sizeof fix, HEALTH_IN_THE_WAY, &(struct health_about){.path = path});
        else
            write_folder_fix(fix, sizeof fix, folder, DESCRIPTOR_NONE, path);
        doctor_find(doctor, DOCTOR_PROBLEM, "folder", fix, "%s cannot be opened: %s", path,
                    strerror(-folder));
        return;
    }
    examine_filesystem(doctor, folder);
    examine_writing(doctor, folder, path);
    examine_room(doctor, folder, path);
    descriptor_close(folder);
    for (uint32_t i = 0; i < doctor->config->channel_count; i++)
        if (doctor->config->channels[i].record)
            examine_channel_folder(doctor, doctor->config->channels[i].settings.directory);
}

/* ---- telling ---- */

static const char *text_of(const json_t *finding, const char *key)
{
    const char *text = json_string_value(json_object_get(finding, key));
    return text != NULL ? text : "";
}

static void print_findings(const struct doctor *doctor)
{
    const char *about = "", *name = "";
    size_t index;
    const json_t *finding;
    json_array_foreach(doctor->findings, index, finding)
    {
        if (strcmp(about, text_of(finding, "about")) != 0 ||
            strcmp(name, text_of(finding, "name")) != 0) {
            about = text_of(finding, "about");
            name = text_of(finding, "name");
            printf("%s%s%s%s\n", index > 0 ? "\n" : "", about, name[0] != '\0' ? " " : "", name);
        }
        printf("  %-8s %-12s %s\n", text_of(finding, "level"), text_of(finding, "check"),
               text_of(finding, "text"));
        if (text_of(finding, "fix")[0] != '\0')
            printf("  %-8s %-12s -> %s\n", "", "", text_of(finding, "fix"));
    }
    printf("\n%u problem%s, %u warning%s, %u unknown, %u ok\n", doctor->counts[DOCTOR_PROBLEM],
           doctor->counts[DOCTOR_PROBLEM] == 1 ? "" : "s", doctor->counts[DOCTOR_WARNING],
           doctor->counts[DOCTOR_WARNING] == 1 ? "" : "s", doctor->counts[DOCTOR_UNKNOWN],
           doctor->counts[DOCTOR_OK]);
}

static bool print_json(const struct doctor *doctor)
{
    /* null: not known, as nobody answered. */
    json_t *running = doctor->fleet != NULL ? json_true()
                      : doctor->idle        ? json_false()
                                            : json_null();
    json_t *all =
        json_pack("{s:o, s:o, s:i, s:i, s:O}", "file", json_of_text(doctor->config->file),
                  "running", running, "problems", (int)doctor->counts[DOCTOR_PROBLEM], "warnings",
                  (int)doctor->counts[DOCTOR_WARNING], "findings", doctor->findings);
    bool good = all != NULL && json_dumpf(all, stdout, JSON_INDENT(2)) == 0;
    putchar('\n');
    json_decref(all);
    return good;
}

int verb_doctor(int argc, char **argv)
{
    const char *given = NULL;
    bool json = false, good = true;
    const struct option_rule rules[] = {
        {.name = "config", .letter = 'c', .kind = OPTION_TEXT, .into = &given},
        {.name = "json", .kind = OPTION_FLAG, .into = &json},
    };
    int words = options_read(rules, ARRAY_COUNT(rules), argc, argv);
    if (words < 0)
        return EXIT_USAGE;
    if (words > 0)
        return verb_usage(argv[0], "unexpected argument \"%s\"; a file is given with -c", argv[1]);
    struct config *config;
    if (subject_read_config(given, CONFIG_ANY_MACHINE, &config) < 0)
        return EXIT_CONFIG;
    struct doctor doctor = {.config = config, .given = given, .findings = json_array()};
    examine_host(&doctor);
    examine_storage(&doctor);
    doctor_network(&doctor);
    if (json)
        good = print_json(&doctor);
    else
        print_findings(&doctor);
    /* A finding that found no memory was not told. */
    good = good && json_array_size(doctor.findings) ==
                       doctor.counts[DOCTOR_OK] + doctor.counts[DOCTOR_UNKNOWN] +
                           doctor.counts[DOCTOR_WARNING] + doctor.counts[DOCTOR_PROBLEM];
    if (!good)
        fprintf(stderr, "flotilla doctor: not every finding could be told\n");
    unsigned problems = doctor.counts[DOCTOR_PROBLEM];
    fflush(stdout); /* what is said of it stands behind */
    if (problems > 0)
        fprintf(stderr, "flotilla doctor: this machine cannot do all of it: %u problem%s\n",
                problems, problems == 1 ? "" : "s");
    int code = !good || problems > 0 ? EXIT_FAILED : EXIT_OK;
    json_decref(doctor.findings);
    json_decref(doctor.fleet);
    json_decref(doctor.later);
    config_free(config);
    return code;
}
