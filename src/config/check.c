/* SPDX-License-Identifier: MIT
 * What no single value of a channel shows: values that need or exclude each other, this machine's
 * interfaces and limits, the schema. Relies on schema/ to compile, and on os/net to know the
 * interfaces. */
#include "channel/memory.h"
#include "config/loader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "avro/envelope.h"
#include "base/check.h"
#include "base/units.h"
#include "channel/mounted.h"
#include "channel/overview.h"
#include "channel/staging.h"
#include "os/cgroup.h"
#include "os/file.h"
#include "os/links.h"
#include "os/path.h"
#include "schema/schema.h"

/* Of a relay besides its shared memory: program, stacks, header image, page tables, and the page
 * cache that it writes through where there is no direct I/O. */
#define RELAY_BYTES (8ull << 20)

/* Whether `path` is `folder`, or leads through it, as both are written. */
static bool is_below(const char *path, const char *folder)
{
    size_t bytes = strlen(folder);
    while (bytes > 1 && folder[bytes - 1] == '/')
        bytes--;
    return strncmp(path, folder, bytes) == 0 &&
           (path[bytes] == '\0' || path[bytes] == '/' || folder[bytes - 1] == '/');
}

/* true, or a path from the folder of the file it stands in. */
static void check_mounted(struct loader *loader)
{
    struct config *config = loader->config;
    const struct config_node *said = loader->said[ID_STORAGE_MOUNTED];
    char given[CHANNEL_PATH_BYTES_MAX];
    memcpy(given, config->mounted, sizeof given);
    if (strcmp(given, "false") == 0)
        config->mounted[0] = '\0';
    if (given[0] == '\0' || strcmp(given, "false") == 0 || strcmp(given, MOUNTED_ANY) == 0)
        return;
    if (path_join(said->place.file->folder, given, config->mounted, sizeof config->mounted) < 0)
        config_error(&loader->faults, said->place, "mounted: the path is too long");
    else if (!is_below(config->directory, config->mounted))
        config_error(&loader->faults, said->place,
                     "mounted: %s is not above the directory of the recordings, %s",
                     config->mounted, config->directory);
}

/* Whether a name of a host, as it stands in front of the port: letters, digits, dots and dashes, or
 * an address in brackets. */
static bool is_host(const char *text, size_t bytes)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
    if (bytes > 2 && text[0] == '[' && text[bytes - 1] == ']')
        return strspn(text + 1, "0123456789abcdefABCDEF:.") == bytes - 2;
    return bytes > 0 && strspn(text, plain) >= bytes;
}

/* Whether a scheme and a host, perhaps with a port, and nothing behind. Source: RFC 6454, 6.2. */
static bool is_origin(const char *text, size_t bytes)
{
    size_t scheme = strncmp(text, "https://", 8) == 0  ? 8
                    : strncmp(text, "http://", 7) == 0 ? 7
                                                       : 0;
    size_t end = bytes;
    while (end > scheme && text[end - 1] >= '0' && text[end - 1] <= '9')
        end--;
    if (scheme > 0 && end < bytes && end > scheme && text[end - 1] == ':')
        bytes = end - 1;
    return scheme > 0 && bytes > scheme && is_host(text + scheme, bytes - scheme);
}

static void check_words(struct loader *loader, enum config_key_id id, const char *words,
                        bool (*fits)(const char *text, size_t bytes), const char *what)
{
    for (const char *at = words; *at != '\0';) {
        size_t bytes = strcspn(at, ",");
        if (!fits(at, bytes))
            config_error(&loader->faults, loader->said[id]->place, "%.*s is not %s", (int)bytes, at,
                         what);
        at += bytes + (at[bytes] == ',');
    }
}

static void check_gateway(struct loader *loader)
{
    const struct config *config = loader->config;
    const struct address *listen = &config->gateway;
    if (listen->family == 0)
        return;
    if (address_is_multicast(listen) || listen->port == 0)
        config_error(&loader->faults, loader->said[ID_GATEWAY_LISTEN]->place,
                     "listen: an address of this host and a port are needed");
    else if (!address_is_loopback(listen) && config->gateway_token_file[0] == '\0')
        config_error(&loader->faults, loader->said[ID_GATEWAY_LISTEN]->place,
                     "listen: other computers reach this address: token_file is needed, a file "
                     "with a secret that every request must carry");
    check_words(loader, ID_GATEWAY_HOSTS, config->gateway_hosts, is_host,
                "a host's name: without a port, and no pattern");
    check_words(loader, ID_GATEWAY_ORIGINS, config->gateway_origins, is_origin,
                "an origin: https://NAME or https://NAME:PORT, and no pattern");
}

void check_fleet(struct loader *loader)
{
    struct config *config = loader->config;
    struct config_place whole_file = {&loader->trees[0]->file, 0, 0};
    if (loader->said[ID_RUNTIME] == NULL &&
        path_runtime(config->runtime, sizeof config->runtime) < 0)
        config_error(&loader->faults, whole_file,
                     "runtime is not said, and without it $XDG_RUNTIME_DIR is needed, which is not "
                     "set: set one of them");
    if (loader->said[ID_STORAGE_DIRECTORY] == NULL &&
        path_join(whole_file.file->folder, "recordings", config->directory,
                  sizeof config->directory) < 0)
        config_error(&loader->faults, whole_file, "storage.directory: the path is too long");
    check_gateway(loader);
    if (loader->said[ID_OVERVIEW] != NULL && config->overview_factor == 0)
        config->overview_factor = OVERVIEW_FACTOR;
    check_mounted(loader);
}

static void resolve_channel(struct loader *loader, struct draft *draft)
{
    struct config *config = loader->config;
    struct channel_settings *settings = &draft->values.settings;
    int layout = snprintf(settings->layout, sizeof settings->layout, "%s/%s.layout",
                          config->runtime, settings->name);
    int directory = 0;
    settings->directory[0] = '\0';
    if (draft->values.record)
        directory = snprintf(settings->directory, sizeof settings->directory, "%s/%s",
                             config->directory, settings->name);
    if (layout >= (int)sizeof settings->layout || directory >= (int)sizeof settings->directory)
        config_error(&loader->faults, draft->node->key->place,
                     "the paths of this channel's files are too long");
    settings->mounted[0] = '\0';
    if (draft->values.record)
        memcpy(settings->mounted, config->mounted, sizeof settings->mounted);
    settings->direct_io = config->direct_io;
    settings->sync_ms = config->sync_ms;
    settings->rotate_bytes = config->rotate_bytes;
    settings->rotate_age_ms = config->rotate_age_ms;
}

static void check_decimated(struct loader *loader, struct draft *draft)
{
    struct channel_settings *settings = &draft->values.settings;
    const struct config_node *decimated = draft->said[ID_DECIMATED];
    if (decimated != NULL && draft->said[ID_TO] == NULL &&
        decimated != loader->defaults.said[ID_DECIMATED])
        config_error(&loader->faults, decimated->key->place,
                     "to is missing: where the decimated stream is sent to");
    if (settings->decimated.family == 0) {
        struct channel_settings usual;
        settings_defaults(&usual);
        settings->factor = usual.factor; /* defaults may say them for those who decimate */
        settings->algorithm = usual.algorithm;
    }
}

/* Whether the channel says it itself, and not only in the defaults for all. */
static bool says_itself(const struct loader *loader, const struct draft *draft,
                        enum config_key_id id)
{
    return draft->said[id] != NULL && draft->said[id] != loader->defaults.said[id];
}

static void check_opaque(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    if (says_itself(loader, draft, ID_SCHEMA))
        config_warning(&loader->faults, place_of(draft, ID_SCHEMA),
                       "not used: what encoding: opaque records has a schema of its own");
    if (says_itself(loader, draft, ID_TIME))
        config_error(&loader->faults, place_of(draft, ID_TIME),
                     "encoding: opaque has no fields; its time is that of arrival");
    if (says_itself(loader, draft, ID_SEQUENCE))
        config_error(&loader->faults, place_of(draft, ID_SEQUENCE),
                     "encoding: opaque has no fields to count by");
    if (values->keep[0] != '\0' && draft->said[ID_DECIMATED] != NULL &&
        draft->said[ID_DECIMATED] != loader->defaults.said[ID_DECIMATED])
        config_error(&loader->faults, place_of(draft, ID_KEEP),
                     "encoding: opaque has no fields to keep");
    if (values->settings.decimated.family != 0 &&
        values->settings.algorithm != ALGORITHM_DOWNSAMPLE)
        config_error(&loader->faults, draft->said[ID_DECIMATED]->key->place,
                     "algorithm: %s needs numbers, and encoding: opaque has none; use downsample",
                     algorithm_name(values->settings.algorithm));
    values->schema[0] = values->time[0] = values->sequence[0] = values->keep[0] = '\0';
}

static void check_encoding(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    enum encoding encoding = values->settings.encoding;
    if (encoding == ENCODING_OPAQUE)
        check_opaque(loader, draft);
    else if (draft->said[ID_SCHEMA] == NULL)
        config_error(&loader->faults, draft->node->key->place,
                     "schema is missing: the Avro schema of the datums");
    if (encoding == ENCODING_CONFLUENT && draft->said[ID_SCHEMA_ID] == NULL)
        config_error(&loader->faults, place_of(draft, ID_ENCODING),
                     "encoding: confluent needs schema_id, the id every datum must carry");
    if (encoding != ENCODING_CONFLUENT) {
        if (says_itself(loader, draft, ID_SCHEMA_ID))
            config_error(&loader->faults, place_of(draft, ID_SCHEMA_ID),
                         "schema_id belongs to encoding: confluent");
        values->settings.schema_id = 0;
    }
}

/* What a relay of these settings may come to use: a limit of memory below that would have it
 * killed.
 */
static uint64_t least_memory_bytes(const struct channel_settings *settings)
{
    return staging_bytes(settings) + RELAY_BYTES;
}

/* A relay that may fill its buffer but not have it would be killed for it when it is needed most.
 */
static void check_limits(struct loader *loader, struct draft *draft)
{
    const struct config_channel *values = &draft->values;
    uint64_t least = least_memory_bytes(&values->settings);
    char limit[UNITS_TEXT_BYTES], buffer[UNITS_TEXT_BYTES], needed[UNITS_TEXT_BYTES];
    if (values->limit_memory_bytes != 0 && values->limit_memory_bytes < least)
        config_error(&loader->faults, place_of(draft, ID_LIMIT_MEMORY),
                     "memory: %s is less than the relay may need with a buffer of %s; allow %s, or "
                     "make the buffer smaller",
                     units_write_bytes(limit, values->limit_memory_bytes),
                     units_write_bytes(buffer, values->settings.buffer_bytes),
                     units_write_bytes(needed, (least + (1u << 20) - 1) >> 20 << 20));
    if (values->limit_cpu_percent > 0 && values->limit_cpu_percent < CGROUP_CPU_PERCENT_MIN)
        config_error(&loader->faults, place_of(draft, ID_LIMIT_CPU),
                     "cpu: less than %g%% cannot be had", CGROUP_CPU_PERCENT_MIN);
    bool memory, cpu, wants_memory = values->limit_memory_bytes != 0;
    bool wants_cpu = values->limit_cpu_percent > 0;
    char why[CGROUP_WHY_BYTES] = "";
    if (loader->machine == CONFIG_ANY_MACHINE || loader->limits_told ||
        (!wants_memory && !wants_cpu))
        return;
    int status = cgroup_supported(cgroup_find(), &memory, &cpu, why);
    if ((!wants_memory || memory) && (!wants_cpu || cpu))
        return;
    loader->limits_told = true;
    if (status == 0)
        snprintf(why, sizeof why, "its kernel has no %s controller in cgroup v2",
                 memory ? "cpu" : "memory");
    config_warning(&loader->faults, draft->said[ID_LIMITS]->key->place,
                   "%s not applied on this machine: %s", status < 0 ? "limits are" : "a limit is",
                   why);
}

/* Whether there is such an interface; `id` is where it was named. */
static void check_interface(struct loader *loader, const struct draft *draft, const char *name,
                            enum config_key_id id)
{
    if (loader->machine != CONFIG_JUDGES_MACHINE || name[0] == '\0')
        return;
    int index = net_interface_index(name);
    if (index == -ENODEV)
        config_error(&loader->faults, place_of(draft, id),
                     "there is no interface \"%s\" on this machine", name);
    else if (index < 0)
        config_error(&loader->faults, place_of(draft, id), "cannot look for interface \"%s\": %s",
                     name, strerror(-index));
}

/* Whether what is sent to a channel's single address can come here. */
static void check_own_address(struct loader *loader, const struct draft *draft, const char *text)
{
    const struct channel_settings *settings = &draft->values.settings;
    const char *interface = settings_listen_interface(settings);
    if (loader->machine != CONFIG_JUDGES_MACHINE ||
        (interface[0] != '\0' && net_interface_index(interface) < 0))
        return; /* told of the interface */
    if (links_has_address(&settings->listen, interface) == -EADDRNOTAVAIL)
        config_error(&loader->faults, place_of(draft, ID_LISTEN),
                     "listen: no interface of this machine has the address of %s", text);
}

/* An address, `said` under `id` as `key`, and the interface that `by` names for it: what is but
 * one link's needs one, and there are not two. */
static void check_address(struct loader *loader, const struct draft *draft,
                          const struct address *address, enum config_key_id id, const char *key,
                          enum config_key_id by)
{
    const struct channel_settings *settings = &draft->values.settings;
    const char *direction = by == ID_LISTEN_INTERFACE ? "listen_interface" : "send_interface";
    const char *named =
        by == ID_LISTEN_INTERFACE ? settings->listen_interface : settings->send_interface;
    char text[NET_ADDRESS_TEXT_BYTES];
    if (address->family == 0)
        return;
    net_write_address(text, address);
    if (address_is_mapped(address))
        config_error(&loader->faults, place_of(draft, id),
                     "%s: %s is an IPv4 address: write %u.%u.%u.%u:%u", key, text,
                     address->bytes[12], address->bytes[13], address->bytes[14], address->bytes[15],
                     address->port);
    check_interface(loader, draft, address->zone, id);
    if (address->zone[0] == '\0' && named[0] == '\0' && settings->interface[0] == '\0' &&
        address_is_link_local(address))
        config_error(&loader->faults, place_of(draft, id),
                     "%s: %s is link-local, every link has such an address: name the interface "
                     "behind it (%%eth0), or say %s",
                     key, text, direction);
    else if (address->zone[0] != '\0' && says_itself(loader, draft, by) &&
             strcmp(address->zone, named) != 0)
        config_error(&loader->faults, place_of(draft, id), "%s: %s, but %s is %s", key, text,
                     direction, named);
    else if (id == ID_LISTEN)
        check_own_address(loader, draft, text);
}

/* Senders are on the link that is listened to. */
static void check_source_zones(struct loader *loader, const struct draft *draft)
{
    const struct channel_settings *settings = &draft->values.settings;
    const char *interface = settings_listen_interface(settings);
    char text[NET_ADDRESS_TEXT_BYTES];
    for (uint32_t i = 0; i < settings->source_count; i++) {
        const char *zone = settings->sources[i].address.zone;
        if (zone[0] == '\0' || strcmp(zone, interface) == 0)
            continue;
        net_write_prefix(text, &settings->sources[i]);
        if (interface[0] == '\0')
            config_error(&loader->faults, place_of(draft, ID_SOURCES),
                         "sources: %s is heard on %s only: say listen_interface: %s", text, zone,
                         zone);
        else
            config_error(&loader->faults, place_of(draft, ID_SOURCES),
                         "sources: %s, but the channel listens on %s", text, interface);
    }
}

static void check_interfaces(struct loader *loader, struct draft *draft)
{
    struct channel_settings *settings = &draft->values.settings;
    /* A channel's own word for both comes before the defaults' for one. */
    if (says_itself(loader, draft, ID_INTERFACE)) {
        if (!says_itself(loader, draft, ID_LISTEN_INTERFACE))
            settings->listen_interface[0] = '\0';
        if (!says_itself(loader, draft, ID_SEND_INTERFACE))
            settings->send_interface[0] = '\0';
    }
    check_interface(loader, draft, settings->interface, ID_INTERFACE);
    check_interface(loader, draft, settings->listen_interface, ID_LISTEN_INTERFACE);
    check_interface(loader, draft, settings->send_interface, ID_SEND_INTERFACE);
    check_address(loader, draft, &settings->listen, ID_LISTEN, "listen", ID_LISTEN_INTERFACE);
    check_address(loader, draft, &settings->full, ID_FULL, "full", ID_SEND_INTERFACE);
    check_address(loader, draft, &settings->decimated, ID_TO, "to", ID_SEND_INTERFACE);
    check_source_zones(loader, draft);
    if (address_is_source_specific(&settings->listen) &&
        net_joins_everybody(settings->sources, settings->source_count)) {
        char text[NET_ADDRESS_TEXT_BYTES];
        config_warning(&loader->faults, place_of(draft, ID_LISTEN),
                       "listen: %s is of the source-specific range, which routers and switches "
                       "forward for single senders only: name them in sources, at most %d",
                       net_write_address(text, &settings->listen), NET_JOINED_SOURCES_MAX);
    }
}

static void check_values(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    struct channel_settings *settings = &values->settings;
    for (size_t i = 0; i < config_channel_key_count; i++)
        if (config_channel_keys[i].required && draft->said[config_channel_keys[i].id] == NULL)
            config_error(&loader->faults, draft->node->key->place, "%s is missing: %s",
                         config_channel_keys[i].name, config_key_help(&config_channel_keys[i]));
    check_decimated(loader, draft);
    check_interfaces(loader, draft);
    check_encoding(loader, draft);
    check_limits(loader, draft);
    if (settings->listen.family == 0)
        return;
    for (uint32_t i = 0; i < settings->source_count; i++)
        if (settings->sources[i].address.family != settings->listen.family) {
            config_error(&loader->faults, place_of(draft, ID_SOURCES),
                         "sources: IPv4 and IPv6 differ from listen");
            break;
        }
}

/* The schema of what an opaque channel records is our own. */
static void compile_opaque(struct config_channel *values)
{
    char message[CONFIG_MESSAGE_BYTES];
    struct span text = {(const uint8_t *)opaque_schema, strlen(opaque_schema)};
    struct schema_file *schema = schema_parse(text, message, sizeof message);
    int error = schema == NULL ? -EINVAL
                               : schema_compile(schema, "received", "", &values->layout_image,
                                                &values->layout_bytes, message, sizeof message);
    CHECK(error == 0);
    schema_free(schema);
}

/* Whether a file that cannot be read now is a state of this machine, such as a disk that is not
 * mounted, and not wrong for good. */
static bool may_be_read_later(const struct loader *loader, int error)
{
    bool runs = loader->machine == CONFIG_RUNS_HERE || loader->machine == CONFIG_TAKES_OVER;
    return runs && error != -EFBIG && error != -ENAMETOOLONG;
}

/* The channel's schema, with everything that is wrong or doubtful about it told; NULL: refused, or
 * not to be read yet. */
static struct schema_file *read_schema(struct loader *loader, const struct config_node *said,
                                       const char *path)
{
    struct span text = {NULL, 0};
    uint8_t *bytes = NULL;
    struct schema_findings findings = {0};
    int error = file_read_whole(path, LAYOUT_SCHEMA_BYTES_MAX, &bytes, &text.bytes);
    loader->unread = error < 0 && may_be_read_later(loader, error) ? error : 0;
    if (loader->unread < 0)
        return NULL;
    if (error < 0) {
        config_error(&loader->faults, said->place, "%s: %s", said->text, file_error_text(error));
        return NULL;
    }
    text.at = bytes;
    if (text.bytes >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0) {
        config_error(&loader->faults, said->place,
                     "%s: begins with a byte order mark; save it without", said->text);
        free(bytes);
        return NULL;
    }
    struct schema_file *schema = schema_read(text, &findings);
    for (size_t i = 0; i < findings.count; i++) {
        const struct schema_finding *one = &findings.list[i];
        (one->warning ? config_warning : config_error)(
            &loader->faults, said->place, "%s:%lu:%lu: %s%s%s", said->text,
            (unsigned long)one->line, (unsigned long)one->column, one->path,
            one->path[0] != '\0' ? ": " : "", one->message);
    }
    loader->no_memory |= findings.errors > 0 && findings.list == NULL;
    schema_findings_free(&findings);
    free(bytes);
    return schema;
}

/* Takes names that are joined by commas apart, in `names`; returns how many. */
static size_t split_fields(const char *joined, char names[CONFIG_KEEP_BYTES_MAX],
                           const char *list[CONFIG_KEEP_BYTES_MAX / 2])
{
    size_t count = 0;
    snprintf(names, CONFIG_KEEP_BYTES_MAX, "%s", joined);
    for (char *at = names; *at != '\0';) {
        list[count++] = at;
        at += strcspn(at, ",");
        if (*at == ',')
            *at++ = '\0';
    }
    return count;
}

/* At the value that it comes from. */
static void tell_refusal(struct loader *loader, struct draft *draft,
                         const struct schema_refusal *refusal, const char *const *kept)
{
    const struct config_node *keep = draft->said[ID_KEEP];
    struct config_place place = place_of(draft, ID_SCHEMA);
    if (refusal->of == SCHEMA_OF_TIME)
        place = place_of(draft, ID_TIME);
    else if (refusal->of == SCHEMA_OF_SEQUENCE)
        place = place_of(draft, ID_SEQUENCE);
    else if (refusal->of == SCHEMA_OF_AVERAGES)
        place = draft->said[ID_DECIMATED]->key->place;
    else if (refusal->of == SCHEMA_OF_KEEP && keep != NULL) {
        place = keep->place;
        for (const struct config_node *item = keep->first; item != NULL; item = item->next)
            if (item->kind == NODE_TEXT && strcmp(item->text, kept[refusal->index]) == 0)
                place = item->place;
    }
    if (refusal->of == SCHEMA_OF_ITSELF || refusal->of == SCHEMA_OF_AVERAGES)
        config_error(&loader->faults, place, "%s:%lu:%lu: %s", draft->said[ID_SCHEMA]->text,
                     (unsigned long)refusal->line, (unsigned long)refusal->column,
                     refusal->message);
    else
        config_error(&loader->faults, place, "%s", refusal->message);
}

static void compile_channel(struct loader *loader, struct draft *draft)
{
    struct config_channel *values = &draft->values;
    const struct config_node *said = draft->said[ID_SCHEMA];
    if (values->settings.encoding == ENCODING_OPAQUE) {
        compile_opaque(values);
        return;
    }
    if (said == NULL || values->schema[0] == '\0')
        return;
    struct schema_file *schema = read_schema(loader, said, values->schema);
    if (schema == NULL)
        return;
    struct schema_refusal refusal;
    const char *kept[CONFIG_KEEP_BYTES_MAX / 2];
    char names[CONFIG_KEEP_BYTES_MAX];
    struct schema_use use = {.time = values->time, .sequence = values->sequence};
    if (values->settings.decimated.family != 0) {
        use.keep = kept;
        use.keep_count = split_fields(values->keep, names, kept);
        use.averages = values->settings.algorithm != ALGORITHM_DOWNSAMPLE;
    }
    bool good = true;
    while (schema_compile_for(schema, &use, &values->layout_image, &values->layout_bytes,
                              &refusal) < 0) {
        good = false;
        tell_refusal(loader, draft, &refusal, kept);
        /* On without it, so that all are told at once. */
        if (refusal.of == SCHEMA_OF_TIME)
            use.time = NULL;
        else if (refusal.of == SCHEMA_OF_SEQUENCE)
            use.sequence = NULL;
        else if (refusal.of == SCHEMA_OF_AVERAGES)
            use.averages = false;
        else if (refusal.of == SCHEMA_OF_KEEP)
            kept[refusal.index] = kept[--use.keep_count];
        else
            break;
    }
    if (!good) {
        free(values->layout_image);
        values->layout_image = NULL;
        values->layout_bytes = 0;
    }
    schema_free(schema);
}

void check_channel(struct loader *loader, struct draft *draft)
{
    resolve_channel(loader, draft);
    check_values(loader, draft);
    size_t before = loader->faults.count;
    compile_channel(loader, draft);
    if (loader->machine == CONFIG_TAKES_OVER)
        config_faults_soften(&loader->faults, before);
}

/* Why there is no layout image, in one line. */
static void explain_schema(const struct loader *loader, const struct config_channel *channel,
                           char *why, size_t why_bytes)
{
    const struct config_faults *faults = &loader->faults;
    snprintf(why, why_bytes, "out of memory");
    if (loader->unread < 0)
        snprintf(why, why_bytes, "cannot read %.160s: %s", channel->schema,
                 file_error_text(loader->unread));
    for (size_t i = faults->count; i-- > 0;)
        if (!faults->list[i].warning)
            snprintf(why, why_bytes, "%s", faults->list[i].message);
}

int config_read_schema(struct config_channel *channel, char *why, size_t why_bytes)
{
    size_t bytes = strlen(channel->schema) + 1;
    struct loader loader = {.machine = CONFIG_RUNS_HERE};
    struct draft *draft = calloc(1, sizeof *draft);
    struct config_file *file = calloc(1, sizeof *file);
    struct config_node *node = calloc(1, sizeof *node + bytes);
    if (draft != NULL && file != NULL && node != NULL) {
        memcpy(file->name, channel->file, sizeof file->name);
        memcpy(node->text, channel->schema, bytes);
        node->place = (struct config_place){file, channel->line, 1};
        node->key = node;
        draft->node = node;
        for (int id = 0; id < ID_COUNT; id++) /* where in the channel, is not known any more */
            draft->said[id] = node;
        draft->values = *channel;
        compile_channel(&loader, draft);
        channel->layout_image = draft->values.layout_image;
        channel->layout_bytes = draft->values.layout_bytes;
    }
    if (channel->layout_image == NULL)
        explain_schema(&loader, channel, why, why_bytes);
    config_faults_free(&loader.faults);
    free(draft);
    free(file);
    free(node);
    return channel->layout_image != NULL ? 0 : loader.unread < 0 ? loader.unread : -EINVAL;
}
