/* SPDX-License-Identifier: MIT
 * The network's part of `flotilla doctor`: for each channel where its datagrams come from and go
 * to, its memberships and its receive queue; then each interface that is used, once. Relies on
 * os/health. Known: a querier behind a switch is not visible to a host. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "avro/framing.h"
#include "avro/layout.h"
#include "base/check.h"
#include "base/units.h"
#include "base/varint.h"
#include "cli/doctor.h"
#include "os/clock.h"
#include "os/health.h"

#define FIX_BYTES           (4 * NET_INTERFACE_BYTES + 400) /* a name may have to be quoted */
#define STREAMS             3     /* a channel's: input, full, decimated */
#define PACKET_BYTES        1500u /* what senders rely on where a datum has no largest size */
#define HEADERS4_BYTES      28u   /* IPv4 and UDP */
#define HEADERS6_BYTES      48u
#define BUDGET_SECONDS      0.1 /* a relay is replaced in less, also on a busy machine */
#define BYTES_UNBOUNDED     UINT64_MAX
#define NODES_LOOKED_AT_MAX (1u << 20)
#define DOUBT_NS            (3000 * NS_PER_MS) /* a second longer than it takes */
#define DOUBT_LOOK_NS       (100 * NS_PER_MS)

/* What is asked of an interface by all channels that use it. */
struct use {
    char name[NET_INTERFACE_BYTES]; /* as it was first named */
    int index;                      /* of the interface, which may have other names; < 0: none */
    bool group, ipv4, ipv6;
    bool receives4;         /* so reverse path filtering matters */
    uint64_t packet_bytes;  /* the largest of all channels */
    const char *packet_for; /* the channel it is of */
    const char *first;      /* the first channel that uses it */
};

struct uses {
    struct use *all;
    uint32_t count;
};

/* ---- sizes ---- */

static uint64_t add_sizes(uint64_t a, uint64_t b)
{
    return a == BYTES_UNBOUNDED || b == BYTES_UNBOUNDED ? BYTES_UNBOUNDED : a + b;
}

/* The longest encoding of a node; BYTES_UNBOUNDED where the schema sets no limit, and where it
 * takes more than `*left` nodes to tell: a type may be used in many places. */
static uint64_t node_bytes_max(const struct layout *layout, uint32_t index, uint32_t depth,
                               uint32_t *left)
{
    const struct layout_node *node = &layout->nodes[index];
    uint64_t bytes = 0, longest = 0;
    if (depth > LAYOUT_DEPTH_MAX || *left == 0)
        return BYTES_UNBOUNDED;
    --*left;
    switch ((enum layout_kind)node->kind) {
    case LAYOUT_NULL:
        return 0;
    case LAYOUT_BOOLEAN:
        return 1;
    case LAYOUT_INT:
        return 5;
    case LAYOUT_LONG:
        return 10;
    case LAYOUT_FLOAT:
        return 4;
    case LAYOUT_DOUBLE:
        return 8;
    case LAYOUT_FIXED:
        return node->count;
    case LAYOUT_ENUM:
        return varint_bytes(node->count > 0 ? (int64_t)node->count - 1 : 0);
    case LAYOUT_UNION:
    case LAYOUT_RECORD:
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t link = layout->links[node->first + i];
            uint64_t part = (link & LAYOUT_LINK_UNNUMBERED) != 0
                                ? BYTES_UNBOUNDED
                                : node_bytes_max(layout, link, depth + 1, left);
            longest = part > longest ? part : longest;
            bytes = add_sizes(bytes, part);
        }
        if (node->kind == LAYOUT_RECORD)
            return bytes;
        return add_sizes(longest, varint_bytes(node->count > 0 ? (int64_t)node->count - 1 : 0));
    case LAYOUT_BYTES:
    case LAYOUT_STRING:
    case LAYOUT_ARRAY:
    case LAYOUT_MAP:
    case LAYOUT_KINDS:
        break;
    }
    return BYTES_UNBOUNDED;
}

/* Bytes of the largest IP packet a channel is to be sent: of its largest datum where the schema
 * tells, else what is customary; and what its datagrams came to on average so far, if more. */
static uint64_t packet_bytes(const struct doctor *doctor, const struct config_channel *channel)
{
    const struct channel_settings *settings = &channel->settings;
    uint64_t headers = settings->listen.family == 4 ? HEADERS4_BYTES : HEADERS6_BYTES;
    uint64_t bytes = PACKET_BYTES;
    struct layout layout;
    struct framing framing;
    /* Flotilla compiled it a moment ago. */
    CHECK(layout_load(&layout, (struct span){channel->layout_image, channel->layout_bytes}) == 0);
    if (settings->encoding != ENCODING_OPAQUE) {
        uint32_t left = NODES_LOOKED_AT_MAX;
        uint64_t datum = node_bytes_max(&layout, layout.root, 0, &left);
        framing_set(&framing, settings->encoding, layout.fingerprint, settings->schema_id);
        if (datum != BYTES_UNBOUNDED)
            bytes = datum + framing.prefix_bytes + headers;
    }
    const json_t *status = doctor_status(doctor, settings->name);
    uint64_t received = (uint64_t)json_integer_value(json_object_get(status, "datagrams_received"));
    if (received > 0) {
        uint64_t usual =
            (uint64_t)json_integer_value(json_object_get(status, "bytes_received")) / received +
            headers;
        bytes = usual > bytes ? usual : bytes;
    }
    return bytes;
}

/* ---- channels ---- */

static void note_use(struct uses *uses, const char *name, const struct config_channel *channel,
                     const struct address *address, bool receives, uint64_t packet)
{
    struct use *use = NULL;
    int index = net_interface_index(name);
    for (uint32_t i = 0; i < uses->count && use == NULL; i++)
        if (index > 0 ? uses->all[i].index == index : strcmp(uses->all[i].name, name) == 0)
            use = &uses->all[i];
    if (use == NULL) {
        use = &uses->all[uses->count++];
        use->index = index;
        snprintf(use->name, sizeof use->name, "%s", name);
        use->first = channel->settings.name;
    }
    use->group |= address_is_multicast(address);
    use->ipv4 |= address->family == 4;
    use->ipv6 |= address->family == 6;
    use->receives4 |= receives && address->family == 4;
    if (packet > use->packet_bytes) {
        use->packet_bytes = packet;
        use->packet_for = channel->settings.name;
    }
}

/* The interface that is meant: the one that is named, else the likeliest. */
static void choose_interface(char chosen[NET_INTERFACE_BYTES], const char *named, uint8_t family)
{
    snprintf(chosen, NET_INTERFACE_BYTES, "%s", net_loopback_name());
    if (named[0] != '\0')
        snprintf(chosen, NET_INTERFACE_BYTES, "%s", named);
    else
        health_candidate(family, chosen);
}

/* Whether the two name one interface. */
static bool same_interface(const char *one, const char *other)
{
    int index = net_interface_index(one);
    return index > 0 && index == net_interface_index(other);
}

/* Whether the relay will not get the address and port: found out by taking them, for no longer than
 * that, and joining nothing. With a manager at work they are the relay's own. */
static bool is_taken(const struct doctor *doctor, const struct channel_settings *settings)
{
    struct net_receive_options options = {.listen = settings->listen,
                                          .interface = settings_listen_interface(settings),
                                          .queue_bytes = settings->receive_bytes};
    return doctor->idle && net_try_receiver(&options) == -EADDRINUSE;
}

static void tell_taken(struct doctor *doctor, const struct address *listen, const char *text)
{
    char fix[FIX_BYTES];
    health_fix(fix, sizeof fix, HEALTH_LISTENER, &(struct health_about){.address = listen});
    doctor_find(doctor, DOCTOR_PROBLEM, "listen", fix, "%s: another program %s", text,
                address_is_multicast(listen) ? "has its port, for itself alone"
                                             : "listens there already");
}

/* An IPv6 address is looked for on the network for a second or two, before it is used. */
static void wait_for_addresses(const char *name)
{
    struct health_interface interface;
    uint64_t now_ns = clock_monotonic_ns(), end_ns = now_ns + DOUBT_NS;
    while (now_ns < end_ns && health_interface(name, &interface) == 0 && interface.running &&
           interface.doubt.address.family != 0 && !interface.doubt.duplicate) {
        clock_sleep_until(now_ns + DOUBT_LOOK_NS);
        now_ns = clock_monotonic_ns();
    }
}

static void tell_doubt(struct doctor *doctor, enum doctor_level level, const char *check,
                       const char *interface, const struct health_doubt *doubt)
{
    char fix[FIX_BYTES], text[NET_ADDRESS_TEXT_BYTES];
    health_fix(fix, sizeof fix, doubt->duplicate ? HEALTH_DUPLICATE : HEALTH_TENTATIVE,
               &(struct health_about){
                   .interface = interface, .address = &doubt->address, .number = doubt->bits});
    struct prefix prefix = {.address = doubt->address, .bits = doubt->bits};
    doctor_find(doctor, level, check, fix, "%s is not used%s", net_write_prefix(text, &prefix),
                doubt->duplicate ? ": another host has it"
                                 : " as long as another host may have it (tentative)");
}

/* A unicast input: is the address one of this host, and free? */
static void examine_own_address(struct doctor *doctor, const struct config_channel *channel,
                                struct uses *uses, uint64_t packet)
{
    const struct channel_settings *settings = &channel->settings;
    const struct address *listen = &settings->listen;
    const char *interface = settings_listen_interface(settings);
    char text[NET_ADDRESS_TEXT_BYTES], fix[FIX_BYTES], chosen[NET_INTERFACE_BYTES];
    struct health_doubt doubt = {.bits = 0};
    net_write_address(text, listen);
    bool loopback = address_is_loopback(listen);
    /* Every link may have the same one. */
    const char *only = address_is_link_local(listen) ? interface : "";
    bool held = health_holder(listen, only, chosen, &doubt) == 0;
    if (held && doubt.address.family != 0) {
        wait_for_addresses(chosen);
        held = health_holder(listen, only, chosen, &doubt) == 0;
    }
    if (interface[0] != '\0')
        note_use(uses, interface, channel, listen, true, packet);
    else if (loopback)
        note_use(uses, net_loopback_name(), channel, listen, true, packet);
    else if (held)
        note_use(uses, chosen, channel, listen, true, packet);
    if (interface[0] != '\0' && net_interface_index(interface) < 0)
        return; /* told of the interface */
    int owned = health_owns(listen);
    if (owned == 0 && is_taken(doctor, settings)) {
        tell_taken(doctor, listen, text);
        return;
    }
    if (held && doubt.address.family != 0) {
        tell_doubt(doctor, DOCTOR_PROBLEM, "listen", chosen, &doubt);
        return;
    }
    if (owned == 0) {
        doctor_find(doctor, DOCTOR_OK, "listen", NULL, "%s is an address of this host", text);
        return;
    }
    if (owned != -EADDRNOTAVAIL) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "listen", NULL,
                    "whether %s is an address of this host cannot be asked: %s", text,
                    strerror(-owned));
        return;
    }
    choose_interface(chosen, interface, listen->family);
    health_fix(fix, sizeof fix, HEALTH_LINK_ADDRESS,
               &(struct health_about){.interface = chosen, .address = listen});
    doctor_find(doctor, DOCTOR_PROBLEM, "listen", fix, "%s: no interface of this host has it",
                text);
}

/* Which interface a stream uses, and whether there is a way. */
static void examine_stream(struct doctor *doctor, const struct config_channel *channel,
                           const char *check, const struct address *address, struct uses *uses,
                           uint64_t packet)
{
    const struct channel_settings *settings = &channel->settings;
    const char *interface = address == &settings->listen
                                ? settings_listen_interface(settings)
                                : settings_send_interface(settings, address);
    bool receives = address == &settings->listen, group = address_is_multicast(address);
    char text[NET_ADDRESS_TEXT_BYTES], found[NET_INTERFACE_BYTES], fix[FIX_BYTES];
    if (address->family == 0)
        return;
    if (receives && !group) {
        examine_own_address(doctor, channel, uses, packet);
        return;
    }
    net_write_address(text, address);
    bool named = interface[0] != '\0';
    if (named)
        note_use(uses, interface, channel, address, receives, packet);
    if (named && net_interface_index(interface) < 0)
        return; /* told of the interface */
    if (receives && is_taken(doctor, settings)) {
        tell_taken(doctor, address, text);
        return;
    }
    int status = health_route(address, interface, found);
    struct health_about way = {.interface = named         ? interface
                                            : status == 0 ? found
                                                          : "",
                               .address = address};
    if (group && same_interface(way.interface, net_loopback_name()) &&
        health_comes_back(address) < 0) {
        health_fix(fix, sizeof fix, HEALTH_ROUTE, &way);
        doctor_find(doctor, DOCTOR_PROBLEM, check, fix,
                    "%s: the loopback interface does not bring IPv6 groups back without a route",
                    text);
        return;
    }
    /* An IPv4 group needs no route where the interface is named (ip(7), IP_MULTICAST_IF), and to
     * join one on a named interface never takes any. */
    if (status < 0 && named && group && (receives || address->family == 4))
        status = 0;
    if (status < 0 && !health_unreachable(status)) {
        doctor_find(doctor, DOCTOR_UNKNOWN, check, NULL, "which way %s is cannot be asked: %s",
                    text, strerror(-status));
        return;
    }
    if (status < 0) {
        choose_interface(found, interface, address->family);
        if (!named && health_is_down(found))
            note_use(uses, found, channel, address, receives, packet);
        way.interface = found;
        health_fix(fix, sizeof fix, HEALTH_ROUTE, &way);
        doctor_find(doctor, DOCTOR_PROBLEM, check, fix, "%s: no route leads there%s%s: %s", text,
                    named ? " by " : "", interface, strerror(-status));
        return;
    }
    if (named) {
        doctor_find(doctor, DOCTOR_OK, check, NULL, "%s on %s, as configured", text, interface);
    } else {
        note_use(uses, found, channel, address, receives, packet);
        doctor_find(doctor, DOCTOR_OK, check, NULL,
                    "%s on %s: no interface is configured, the "
                    "routing table chooses it",
                    text, found);
    }
}

/* What mends the cause of `key`, a counter of status, for what is sent to `to`. */
static void write_sending_fix(struct doctor *doctor, char fix[DOCTOR_COMMAND_BYTES],
                              const char *key, const struct channel_settings *settings,
                              const struct address *to)
{
    char found[NET_INTERFACE_BYTES], words[CHANNEL_NAME_BYTES_MAX + 16];
    const char *interface = settings_send_interface(settings, to);
    if (interface[0] == '\0' && health_route(to, "", found) == 0)
        interface = found;
    const struct health_about about = {.interface = interface, .address = to};
    if (strstr(key, "_full") != NULL && interface[0] != '\0')
        health_fix(fix, DOCTOR_COMMAND_BYTES, HEALTH_LINK_SLOW, &about);
    else if (strstr(key, "_large") != NULL)
        snprintf(fix, DOCTOR_COMMAND_BYTES, "make the datums smaller");
    else if (strstr(key, "_no_link") != NULL && interface[0] != '\0')
        health_fix(fix, DOCTOR_COMMAND_BYTES, HEALTH_LINK_UP, &about);
    else if (strstr(key, "_unreachable") != NULL && interface[0] != '\0')
        health_fix(fix, DOCTOR_COMMAND_BYTES, HEALTH_ROUTE, &about);
    else if (strstr(key, "_forbidden") != NULL)
        health_fix(fix, DOCTOR_COMMAND_BYTES, HEALTH_FORBIDDEN, &about);
    else {
        snprintf(words, sizeof words, "restart %s", settings->name);
        doctor_command(doctor, fix, words);
    }
}

/* What was not sent, and of what cause most, where it is counted by cause. The counts never go
 * back: what is wrong is that they rise. */
static void examine_sending(struct doctor *doctor, const struct channel_settings *settings)
{
    static const char all[] = "send_errors", part[] = "send_errors_";
    const struct address *to = settings->full.family != 0 ? &settings->full : &settings->decimated;
    const json_t *before = doctor_status(doctor, settings->name);
    char fix[DOCTOR_COMMAND_BYTES];
    const char *key, *worst = all;
    json_t *count;
    json_int_t most = 0;
    if (to->family == 0 || json_integer_value(json_object_get(before, all)) == 0)
        return;
    json_t *now = (json_t *)(uintptr_t)doctor_status_later(doctor, settings->name);
    json_int_t unsent = json_integer_value(json_object_get(now, all));
    json_int_t more = unsent - json_integer_value(json_object_get(before, all));
    json_object_foreach(now, key, count)
    {
        json_int_t rise =
            json_integer_value(count) - json_integer_value(json_object_get(before, key));
        if (strncmp(key, part, sizeof part - 1) == 0 && rise > most) {
            most = rise;
            worst = key;
        }
    }
    write_sending_fix(doctor, fix, worst, settings, to);
    doctor_find(doctor, more > 0 ? DOCTOR_WARNING : DOCTOR_UNKNOWN, "sending",
                more > 0 ? fix : NULL,
                "%" JSON_INTEGER_FORMAT " datagrams did not leave so far, %" JSON_INTEGER_FORMAT
                " in the last second%s%s",
                unsent, more, most > 0 ? ": " : "", most > 0 ? worst + sizeof part - 1 : "");
}

/* Whether the group is joined where the relay is at work. */
static void examine_membership(struct doctor *doctor, const struct channel_settings *settings)
{
    static const char *const at_work[] = {"running", "silent", "schema_mismatch", "not_recording"};
    const json_t *status = doctor_status(doctor, settings->name);
    const char *state = json_string_value(json_object_get(status, "state"));
    char found[NET_INTERFACE_BYTES], words[CHANNEL_NAME_BYTES_MAX + 16], fix[DOCTOR_COMMAND_BYTES];
    const char *interface = settings_listen_interface(settings);
    bool works = false;
    if (state == NULL || !address_is_multicast(&settings->listen) || !doctor->same_network)
        return;
    for (size_t i = 0; i < ARRAY_COUNT(at_work); i++)
        works = works || strcmp(state, at_work[i]) == 0;
    if (!works)
        return; /* told with its state */
    if (interface[0] != '\0')
        snprintf(found, sizeof found, "%s", interface);
    else if (health_route(&settings->listen, "", found) < 0)
        return; /* told of the route */
    int joined = health_joined(&settings->listen, found);
    snprintf(words, sizeof words, "restart %s", settings->name);
    doctor_command(doctor, fix, words);
    if (joined < 0)
        doctor_find(doctor, DOCTOR_UNKNOWN, "membership", NULL, "cannot be seen: %s",
                    strerror(-joined));
    else if (joined)
        doctor_find(doctor, DOCTOR_OK, "membership", NULL, "the group is joined on %s", found);
    else
        doctor_find(doctor, DOCTOR_PROBLEM, "membership", fix,
                    "the relay runs, but the group is not joined on %s: the interface was made "
                    "anew, or the route changed",
                    found);
}

/* What the kernel charges a queued datagram with: a straight line through what was measured, 832
 * for 64 bytes and 2,305 for 1,400. */
static double charged_bytes(double datagram_bytes)
{
    double charged = 832 + (datagram_bytes - 64) * (2305.0 - 832.0) / (1400.0 - 64.0);
    return charged > 832 ? charged : 832;
}

/* What the kernel dropped of a channel since its queue is as long as it is, and why. The system
 * counts the causes for all of this network together: one that is too rare there is not ours. */
static void examine_drops(struct doctor *doctor, const struct channel_settings *settings,
                          const json_t *status)
{
    char fix[FIX_BYTES], more[UNITS_TEXT_BYTES];
    struct health_losses losses = {.queue_full = 1}; /* the usual cause, where none is known */
    json_int_t all = json_integer_value(json_object_get(status, "datagrams_dropped"));
    json_int_t before = json_integer_value(json_object_get(status, "dropped_before_queue"));
    uint64_t bytes = settings->receive_bytes >= 1u << 29 ? 1u << 30 : settings->receive_bytes * 2;
    if (all <= before) {
        doctor_find(doctor, DOCTOR_OK, "drops", NULL,
                    before > 0 ? "the kernel dropped %" JSON_INTEGER_FORMAT
                                 " datagrams, none since the queue is as long as it is"
                               : "the kernel dropped %" JSON_INTEGER_FORMAT " datagrams",
                    all);
        return;
    }
    health_losses(&losses);
    if (losses.checksum > 0 && 2 * losses.queue_full < (uint64_t)(all - before)) {
        health_fix(fix, sizeof fix, HEALTH_CHECKSUM, &(struct health_about){.number = 0});
        doctor_find(doctor, DOCTOR_WARNING, "drops", fix,
                    "the kernel dropped %" JSON_INTEGER_FORMAT
                    " datagrams, as the UDP checksum of most is wrong",
                    all - before);
        return;
    }
    units_write_bytes(more, bytes);
    health_fix(fix, sizeof fix, HEALTH_QUEUE_LIMIT, &(struct health_about){.number = bytes});
    size_t used = health_queue_limit() < bytes ? strlen(fix) : 0; /* never lowered */
    snprintf(fix + used, sizeof fix - used, "%sset channels.%s.receive_queue: %s",
             used > 0 ? "; " : "", settings->name, more);
    doctor_find(doctor, DOCTOR_WARNING, "drops", fix,
                "the kernel dropped %" JSON_INTEGER_FORMAT " datagrams, as the queue was full%s",
                all - before,
                losses.checksum > 0 ? ", or their UDP checksum wrong: see checksum" : "");
}

/* Bytes of the queue that the channel has, as the manager sees it; 0: it has none. */
static uint64_t queue_at_work(const json_t *status)
{
    double seconds = json_number_value(json_object_get(status, "receive_budget_seconds"));
    /* Told in microseconds, of which one is some 20 bytes. */
    return seconds > 0 ? (uint64_t)((seconds + 0.5e-6) / net_queue_seconds(1) + 0.5) : 0;
}

/* Whether the queue is as long as is asked for: the relay's own, where there is one. It stays as it
 * is when the limit is raised, until another relay asks. */
static void examine_queue_length(struct doctor *doctor, const struct channel_settings *settings,
                                 const json_t *status)
{
    uint64_t wanted = settings->receive_bytes, limit = health_queue_limit();
    uint64_t at_work = queue_at_work(status);
    uint64_t granted = at_work > 0 ? at_work : net_queue_grant(wanted);
    char asked[UNITS_TEXT_BYTES], most[UNITS_TEXT_BYTES], words[CHANNEL_NAME_BYTES_MAX + 16];
    char fix[3 * DOCTOR_COMMAND_BYTES] = "";
    size_t used = 0;
    units_write_bytes(asked, wanted);
    units_write_bytes(most, limit);
    double seconds = net_queue_seconds(granted);
    /* The kernel doubles what is asked for, and counts its own expense in it; of the greatest queue
     * there is, 1GiB, that grants a byte less, as twice that is no int. */
    if (granted / 2 + 1 >= wanted) {
        doctor_find(doctor, DOCTOR_OK, "queue", NULL,
                    limit < wanted ? "receive_queue %s is granted: %.0f ms of 100 Mbit/s; without "
                                     "CAP_NET_ADMIN only %s: %.0f ms"
                                   : "receive_queue %s is granted: %.0f ms of 100 Mbit/s",
                    asked, seconds * 1000, most, net_queue_seconds(2 * limit) * 1000);
        return;
    }
    bool short_limit = limit < wanted;
    if (short_limit) {
        health_fix(fix, sizeof fix, HEALTH_QUEUE_LIMIT, &(struct health_about){.number = wanted});
        used = strlen(fix);
    }
    if (at_work > 0) {
        snprintf(words, sizeof words, "restart %s", settings->name);
        used += (size_t)snprintf(fix + used, 8, "%s", used > 0 ? " && " : "");
        doctor_command(doctor, fix + used, "reload");
        used = strlen(fix);
        used += (size_t)snprintf(fix + used, 8, " && ");
        doctor_command(doctor, fix + used, words);
    }
    doctor_find(doctor, DOCTOR_WARNING, "queue", fix,
                short_limit ? "receive_queue %s, but net.core.rmem_max grants only %s: %.0f ms of "
                              "100 Mbit/s"
                            : "receive_queue %s, and net.core.rmem_max would grant up to %s, but "
                              "the channel's own is for %.0f ms of 100 Mbit/s only",
                asked, most, seconds * 1000);
}

static void examine_queue(struct doctor *doctor, const struct channel_settings *settings)
{
    const json_t *status = doctor_status(doctor, settings->name);
    char fix[FIX_BYTES];
    examine_queue_length(doctor, settings, status);
    if (status == NULL)
        return;

    double rate = json_number_value(json_object_get(status, "rate"));
    double received = (double)json_integer_value(json_object_get(status, "datagrams_received"));
    if (rate > 0 && received > 0) {
        double each =
            (double)json_integer_value(json_object_get(status, "bytes_received")) / received;
        /* What the relay's own queue was granted, as the manager saw it. */
        double budget = (double)queue_at_work(status) / (rate * charged_bytes(each));
        uint64_t enough = (uint64_t)(rate * charged_bytes(each) * 2 * BUDGET_SECONDS) >> 20;
        snprintf(fix, sizeof fix, "set channels.%s.receive_queue: %" PRIu64 "MiB", settings->name,
                 enough + 1);
        doctor_find(doctor, budget < BUDGET_SECONDS ? DOCTOR_WARNING : DOCTOR_OK, "outage",
                    budget < BUDGET_SECONDS ? fix : NULL,
                    "at its present %.0f datagrams/s of %.0f bytes the queue bridges %.0f ms", rate,
                    each, budget * 1000);
    }
    if (json_is_null(json_object_get(status, "datagrams_dropped"))) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "drops", NULL,
                    "this system does not count what it drops of a socket");
        return;
    }
    examine_drops(doctor, settings, status);
}

static void examine_state(struct doctor *doctor, const struct channel_settings *settings)
{
    static const char *const bad[] = {"failed", "backoff", "not_recording", "schema_mismatch",
                                      "stopped"};
    const json_t *status = doctor_status(doctor, settings->name);
    const char *state = json_string_value(json_object_get(status, "state"));
    const char *reason = json_string_value(json_object_get(status, "reason"));
    char fix[DOCTOR_COMMAND_BYTES + 64], words[CHANNEL_NAME_BYTES_MAX + 40];
    if (doctor->fleet == NULL)
        return;
    if (state == NULL) {
        doctor_command(doctor, fix, "reload");
        doctor_find(doctor, DOCTOR_WARNING, "state", fix,
                    "the manager does not know this channel: the configuration was changed");
        return;
    }
    bool ill = false;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        ill = ill || strcmp(state, bad[i]) == 0;
    bool mismatch = strcmp(state, "schema_mismatch") == 0;
    snprintf(words, sizeof words, mismatch ? "listen %s --input --count 1" : "restart %s",
             settings->name);
    doctor_command(doctor, fix, words);
    if (!mismatch)
        snprintf(fix + strlen(fix), 64, " # at once, when what keeps it from working is mended");
    doctor_find(doctor, ill ? DOCTOR_PROBLEM : DOCTOR_OK, "state", ill ? fix : NULL, "%s%s%s",
                state, reason != NULL && reason[0] != '\0' ? ": " : "",
                reason != NULL ? reason : "");
}

static void examine_sources(struct doctor *doctor, const struct channel_settings *settings)
{
    uint64_t limit;
    char fix[FIX_BYTES], found[NET_INTERFACE_BYTES], text[NET_ADDRESS_TEXT_BYTES];
    const struct address *listen = &settings->listen;
    const char *interface = settings_listen_interface(settings);
    bool single = settings->source_count > 0;
    for (uint32_t i = 0; i < settings->source_count; i++)
        single = single && settings->sources[i].bits == (listen->family == 4 ? 32 : 128);
    if (single && listen->family == 4 && address_is_multicast(listen) &&
        health_source_limit(&limit) == 0 && settings->source_count > limit) {
        health_fix(fix, sizeof fix, HEALTH_SOURCE_LIMIT,
                   &(struct health_about){.number = settings->source_count});
        doctor_find(doctor, DOCTOR_WARNING, "sources", fix,
                    "%" PRIu32 " single sources, but the kernel joins for at most %" PRIu64
                    ": the group is joined for all senders, and others are turned away here",
                    settings->source_count, limit);
    }
    if (listen->family != 4 || interface[0] == '\0' || health_path_filter(interface) != 1)
        return;
    for (uint32_t i = 0; i < settings->source_count; i++) {
        const struct address *source = &settings->sources[i].address;
        if (health_route(source, "", found) == 0 && same_interface(found, interface))
            continue;
        health_fix(fix, sizeof fix, HEALTH_PATH_FILTER,
                   &(struct health_about){.interface = interface});
        doctor_find(doctor, DOCTOR_PROBLEM, "sources", fix,
                    "%s: the way back is not by %s, so its strict rp_filter drops what it sends",
                    net_write_prefix(text, &settings->sources[i]), interface);
    }
}

/* ---- interfaces ---- */

static void examine_addresses(struct doctor *doctor, const struct use *use,
                              const struct health_interface *interface)
{
    char fix[FIX_BYTES];
    const struct {
        bool wanted, there;
        const char *name;
    } families[] = {{use->ipv4, interface->has_ipv4, "IPv4"},
                    {use->ipv6, interface->has_ipv6, "IPv6"}};
    bool doubtful = use->ipv6 && interface->doubt.address.family != 0;
    if (doubtful)
        tell_doubt(doctor, interface->has_ipv6 ? DOCTOR_WARNING : DOCTOR_PROBLEM, "address",
                   use->name, &interface->doubt);
    for (size_t i = 0; i < ARRAY_COUNT(families); i++) {
        if (!families[i].wanted || (i == 1 && doubtful))
            continue;
        if (families[i].there) {
            doctor_find(doctor, DOCTOR_OK, "address", NULL, "has an %s address", families[i].name);
            continue;
        }
        const struct address any = {.family = i == 0 ? 4 : 6};
        health_fix(fix, sizeof fix, HEALTH_LINK_ADDRESS,
                   &(struct health_about){.interface = use->name, .address = &any});
        doctor_find(doctor, DOCTOR_PROBLEM, "address", fix, "has no %s address", families[i].name);
    }
}

static void examine_querier(struct doctor *doctor, const struct use *use,
                            const struct health_interface *interface)
{
    char fix[FIX_BYTES];
    if (!use->group || interface->loopback)
        return;
    bool heard = (!use->ipv4 || interface->querier4 ||
                  (interface->igmp_version >= 1 && interface->igmp_version <= 2)) &&
                 (!use->ipv6 || interface->querier6);
    if (interface->bridge[0] != '\0' && !interface->snooping) {
        doctor_find(doctor, DOCTOR_OK, "querier", NULL,
                    "bridge %s does not snoop: groups go to every port; none is needed in it",
                    interface->bridge);
    } else if (heard || (interface->bridge[0] != '\0' && interface->queries)) {
        doctor_find(doctor, DOCTOR_OK, "querier", NULL, "%s",
                    heard ? "one was heard" : "the bridge asks for members itself");
    } else if (interface->bridge[0] != '\0') {
        health_fix(fix, sizeof fix, HEALTH_QUERIER,
                   &(struct health_about){.interface = interface->bridge});
        doctor_find(doctor, DOCTOR_WARNING, "querier", fix,
                    "bridge %s snoops, but knows no querier: groups may stop after some minutes",
                    interface->bridge);
    } else {
        doctor_find(doctor, DOCTOR_UNKNOWN, "querier", NULL,
                    "a host cannot see whether one is on the network; behind a switch that snoops, "
                    "groups stop after some minutes without");
    }
}

static void examine_path_filter(struct doctor *doctor, const struct use *use,
                                const struct health_interface *interface)
{
    static const char *const names[] = {"off", "strict", "loose"};
    char fix[FIX_BYTES];
    if (!use->receives4 || interface->loopback)
        return;
    int filter = health_path_filter(use->name);
    if (filter < 0) {
        doctor_find(doctor, DOCTOR_UNKNOWN, "rp_filter", NULL, "cannot be read: %s",
                    strerror(-filter));
        return;
    }
    health_fix(fix, sizeof fix, HEALTH_PATH_FILTER, &(struct health_about){.interface = use->name});
    doctor_find(doctor, filter == 1 ? DOCTOR_WARNING : DOCTOR_OK, "rp_filter",
                filter == 1 ? fix : NULL, "%s%s", names[filter],
                filter == 1 ? ": senders that the routing table does not reach by this interface "
                              "are dropped"
                            : "");
}

static void examine_mtu(struct doctor *doctor, const struct use *use,
                        const struct health_interface *interface)
{
    char fix[FIX_BYTES];
    if (use->packet_bytes <= interface->mtu) {
        doctor_find(doctor, DOCTOR_OK, "mtu", NULL,
                    "%" PRIu32 ", %" PRIu64 " are needed for channel %s", interface->mtu,
                    use->packet_bytes, use->packet_for);
        return;
    }
    if (interface->mtu_max > 0 && use->packet_bytes > interface->mtu_max)
        snprintf(fix, sizeof fix, "make the datums smaller: it takes %" PRIu32 " at most",
                 interface->mtu_max);
    else
        health_fix(fix, sizeof fix, HEALTH_LINK_MTU,
                   &(struct health_about){.interface = use->name, .number = use->packet_bytes});
    doctor_find(doctor, DOCTOR_WARNING, "mtu", fix,
                "%" PRIu32 ", but packets of channel %s can have %" PRIu64
                ": they travel in fragments, and one lost loses all",
                interface->mtu, use->packet_for, use->packet_bytes);
}

/* What the interface loses on the way in and out. The counts never go back: what is wrong is that
 * they rise, or that nothing was done since. */
static void examine_traffic(struct doctor *doctor, const struct use *use,
                            const struct health_interface *before)
{
    struct health_interface now;
    char fix[FIX_BYTES];
    struct health_about about = {.interface = use->name, .number = before->ring_max};
    if (before->missed + before->refused == 0)
        return;
    clock_sleep_until(clock_monotonic_ns() + DOCTOR_LOOK_NS);
    if (health_interface(use->name, &now) < 0)
        return; /* it has just gone */
    uint64_t missed = now.missed - before->missed, refused = now.refused - before->refused;
    bool larger = now.ring < now.ring_max;
    if (larger)
        health_fix(fix, sizeof fix, HEALTH_LINK_RING, &about);
    else
        snprintf(fix, sizeof fix, "send fewer and larger datagrams, or use a faster card");
    if (now.missed > 0)
        doctor_find(doctor, missed > 0 || larger ? DOCTOR_WARNING : DOCTOR_OK, "card",
                    missed > 0 || larger ? fix : NULL,
                    "had no room for %" PRIu64 " packets since boot, for %" PRIu64
                    " in the last second",
                    now.missed, missed);
    health_fix(fix, sizeof fix, HEALTH_LINK_SLOW, &about);
    if (now.refused > 0)
        doctor_find(doctor, refused > 0 ? DOCTOR_WARNING : DOCTOR_UNKNOWN, "way out",
                    refused > 0 ? fix : NULL,
                    "more was sent by it than it takes: %" PRIu64
                    " packets were dropped before they left, %" PRIu64 " in the last second",
                    now.refused, refused);
}

static void examine_interface(struct doctor *doctor, const struct use *use)
{
    struct health_interface interface;
    struct health_about about = {.interface = use->name};
    char fix[FIX_BYTES];
    doctor_examine(doctor, "interface", use->name);
    if (use->ipv6)
        wait_for_addresses(use->name);
    int status = health_interface(use->name, &interface);
    if (status < 0) {
        if (status != -ENODEV) {
            doctor_find(doctor, DOCTOR_UNKNOWN, "link", NULL, "cannot be asked: %s",
                        strerror(-status));
            return;
        }
        health_fix(fix, sizeof fix, HEALTH_LINK_LIST, &about);
        snprintf(fix + strlen(fix), sizeof fix - strlen(fix),
                 "; set channels.%s.interface to one of these", use->first);
        doctor_find(doctor, DOCTOR_PROBLEM, "link", fix, "there is no such interface");
        return;
    }
    health_fix(fix, sizeof fix, HEALTH_LINK_UP, &about);
    if (!interface.up)
        doctor_find(doctor, DOCTOR_PROBLEM, "link", fix, "is down");
    else if (!interface.running)
        doctor_find(doctor, DOCTOR_WARNING, "link", "plug the cable in, or start the other end",
                    "is up, but has no carrier");
    else
        doctor_find(doctor, DOCTOR_OK, "link", NULL, "is up");
    examine_addresses(doctor, use, &interface);
    /* The loopback interface brings IPv4 groups back without the flag. */
    if (use->group && !interface.loopback) {
        health_fix(fix, sizeof fix, HEALTH_LINK_MULTICAST, &about);
        doctor_find(doctor, interface.multicast ? DOCTOR_OK : DOCTOR_PROBLEM, "multicast",
                    interface.multicast ? NULL : fix,
                    interface.multicast ? "is on" : "is off, but groups are to use it");
    }
    examine_mtu(doctor, use, &interface);
    examine_querier(doctor, use, &interface);
    examine_path_filter(doctor, use, &interface);
    examine_traffic(doctor, use, &interface);
}

void doctor_network(struct doctor *doctor)
{
    char fix[FIX_BYTES];
    const struct config *config = doctor->config;
    struct uses uses = {.all =
                            calloc((size_t)config->channel_count * STREAMS + 1, sizeof *uses.all)};
    if (uses.all == NULL) {
        doctor_examine(doctor, "host", "");
        health_fix(fix, sizeof fix, HEALTH_MEMORY, &(struct health_about){.number = 0});
        doctor_find(doctor, DOCTOR_PROBLEM, "memory", fix, "there is none left to look");
        return;
    }
    /* Interfaces are told of first: what mends them comes before what needs them. */
    json_t *findings = doctor->findings;
    doctor->findings = json_array();
    for (uint32_t i = 0; i < config->channel_count; i++) {
        const struct config_channel *channel = &config->channels[i];
        const struct channel_settings *settings = &channel->settings;
        uint64_t packet = packet_bytes(doctor, channel);
        doctor_examine(doctor, "channel", settings->name);
        examine_state(doctor, settings);
        examine_stream(doctor, channel, "listen", &settings->listen, &uses, packet);
        examine_stream(doctor, channel, "full", &settings->full, &uses, packet);
        examine_stream(doctor, channel, "decimated", &settings->decimated, &uses, packet);
        examine_sources(doctor, settings);
        examine_membership(doctor, settings);
        examine_sending(doctor, settings);
        examine_queue(doctor, settings);
        doctor_limits(doctor, channel);
    }
    json_t *of_channels = doctor->findings;
    doctor->findings = findings;
    for (uint32_t i = 0; i < uses.count; i++)
        examine_interface(doctor, &uses.all[i]);
    json_array_extend(findings, of_channels);
    json_decref(of_channels);
    free(uses.all);
}
