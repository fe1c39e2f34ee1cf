/* SPDX-License-Identifier: MIT
 * Channels that would take each other's datagrams, or each other's names. Relies on every channel
 * having been checked by itself. */
#include "config/loader.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/units.h"
#include "channel/memory.h"

static int compare_names(const void *left, const void *right)
{
    const struct draft *a = *(struct draft *const *)left, *b = *(struct draft *const *)right;
    int order = strcmp(a->values.settings.name, b->values.settings.name);
    return order != 0 ? order : a < b ? -1 : a > b;
}

/* In one file they are duplicate keys, which the tree has found; this is between files. */
static void check_names(struct loader *loader)
{
    if (loader->draft_count < 2)
        return;
    struct draft **sorted = calloc(loader->draft_count, sizeof(struct draft *));
    if (sorted == NULL) {
        loader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < loader->draft_count; i++)
        sorted[i] = &loader->drafts[i];
    qsort(sorted, loader->draft_count, sizeof *sorted, compare_names);
    for (size_t i = 1, first = 0; i < loader->draft_count; i++) {
        const struct config_node *key = sorted[i]->node->key;
        struct config_place place = sorted[first]->node->key->place;
        const char *name = sorted[i]->values.settings.name;
        if (strcmp(name, sorted[first]->values.settings.name) != 0)
            first = i;
        else if (name[0] != '\0')
            config_error(&loader->faults, key->place,
                         "duplicate channel \"%s\"; first at %s:%lu:%lu", name, FILE_OF(place),
                         (unsigned long)place.line, (unsigned long)place.column);
    }
    free(sorted);
}

/* One interface may have several names. */
static bool same_interface(const struct loader *loader, const char *a, const char *b)
{
    if (strcmp(a, b) == 0)
        return true;
    if (loader->machine == CONFIG_ANY_MACHINE || a[0] == '\0' || b[0] == '\0')
        return false;
    int index = net_interface_index(a);
    return index > 0 && index == net_interface_index(b);
}

/* Whether each interface may have a place of its own at this address. */
static bool is_of_interface(const struct address *address)
{
    return address_is_multicast(address) || address_is_link_local(address);
}

/* Whether one address is two places, as they are listened to on two interfaces. */
static bool may_differ_by_interface(const struct loader *loader, const struct channel_settings *a,
                                    const struct channel_settings *b)
{
    const char *at = settings_listen_interface(a), *other = settings_listen_interface(b);
    if (same_interface(loader, at, other))
        return false;
    return is_of_interface(&a->listen) ||
           ((address_is_wildcard(&a->listen) || address_is_limited_broadcast(&a->listen)) &&
            at[0] != '\0' && other[0] != '\0');
}

/* Whether two inputs would take each other's datagrams, or the second could not be opened. */
static bool same_input(const struct loader *loader, const struct channel_settings *a,
                       const struct channel_settings *b)
{
    if (a->listen.family != b->listen.family || a->listen.port != b->listen.port)
        return false;
    if (address_equal(&a->listen, &b->listen))
        return !may_differ_by_interface(loader, a, b);
    return !address_is_multicast(&a->listen) && !address_is_multicast(&b->listen) &&
           (address_is_wildcard(&a->listen) || address_is_wildcard(&b->listen));
}

static bool same_output(const struct loader *loader, const struct address *a,
                        const char *a_interface, const struct address *b, const char *b_interface)
{
    return a->family != 0 && address_equal(a, b) &&
           (!is_of_interface(a) || a_interface[0] == '\0' || b_interface[0] == '\0' ||
            same_interface(loader, a_interface, b_interface));
}

struct output {
    const char *name;
    const struct address *address;
    const char *interface;
    enum config_key_id id;
};

static void outputs_of(const struct draft *draft, struct output outputs[2])
{
    const struct channel_settings *settings = &draft->values.settings;
    const struct address *full = &settings->full, *decimated = &settings->decimated;
    outputs[0] = (struct output){"full", full, settings_send_interface(settings, full), ID_FULL};
    outputs[1] = (struct output){"decimated", decimated,
                                 settings_send_interface(settings, decimated), ID_TO};
}

__attribute__((format(printf, 4, 5))) static void clash(struct loader *loader,
                                                        struct config_place place,
                                                        struct config_place other,
                                                        const char *format, ...)
{
    char message[CONFIG_MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    config_error(&loader->faults, place, "%s (%s:%lu:%lu)", message, FILE_OF(other),
                 (unsigned long)other.line, (unsigned long)other.column);
}

/* What the outputs of `a` do to the input of `b`, which may be `a` itself. */
static void check_feeding(struct loader *loader, const struct draft *a, const struct draft *b)
{
    const struct channel_settings *to = &b->values.settings;
    char text[NET_ADDRESS_TEXT_BYTES];
    struct output outputs[2];
    outputs_of(a, outputs);
    for (size_t i = 0; i < ARRAY_COUNT(outputs); i++) {
        /* Told of one interface by two names, nobody takes them for two. */
        const char *by = outputs[i].interface, *at = settings_listen_interface(to);
        if (!settings_feeds(outputs[i].address, by, &to->listen,
                            same_interface(loader, by, at) ? by : at))
            continue;
        net_write_address(text, outputs[i].address);
        if (a == b)
            clash(loader, place_of(a, outputs[i].id), place_of(b, ID_LISTEN),
                  "%s: %s is the channel's own input", outputs[i].name, text);
        else
            clash(loader, place_of(a, outputs[i].id), place_of(b, ID_LISTEN),
                  "%s: %s is the input of channel \"%s\"", outputs[i].name, text, to->name);
    }
}

/* What stands in `b`, behind `a` (or is `a`), and was taken in `a`. */
static void check_sharing(struct loader *loader, const struct draft *a, const struct draft *b)
{
    const struct channel_settings *first = &a->values.settings, *second = &b->values.settings;
    char text[NET_ADDRESS_TEXT_BYTES];
    struct output taken[2], wanted[2];
    outputs_of(a, taken);
    outputs_of(b, wanted);
    if (a != b && first->listen.family != 0 && same_input(loader, first, second))
        clash(loader, place_of(b, ID_LISTEN), place_of(a, ID_LISTEN),
              "listen: %s is the input of channel \"%s\" already",
              net_write_address(text, &second->listen), first->name);
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++)
        for (size_t k = 0; k < (a == b ? i : ARRAY_COUNT(taken)); k++)
            if (same_output(loader, taken[k].address, taken[k].interface, wanted[i].address,
                            wanted[i].interface)) {
                clash(loader, place_of(b, wanted[i].id), place_of(a, taken[k].id),
                      "%s: channel \"%s\" sends to %s already", wanted[i].name, first->name,
                      net_write_address(text, wanted[i].address));
                break;
            }
}

/* The manager has the memory of every channel mapped: a program of 32 bits has no room for as many
 * as one likes. Half of what it can address is left for that on every kernel. */
static void check_room(struct loader *loader)
{
    char needed[UNITS_TEXT_BYTES], room[UNITS_TEXT_BYTES];
    uint64_t bytes = 0;
    for (size_t i = 0; i < loader->draft_count; i++)
        bytes += staging_bytes(&loader->drafts[i].values.settings);
    if (bytes > SIZE_MAX / 2)
        config_error(&loader->faults, place_of_file(loader->trees[0]),
                     "channels: %zu with their buffers take %s, and a manager of 32 bits has room "
                     "for %s; lower their `buffer`",
                     loader->draft_count, units_write_bytes(needed, bytes),
                     units_write_bytes(room, (uint64_t)SIZE_MAX / 2 + 1));
}

void check_clashes(struct loader *loader)
{
    check_names(loader);
    check_room(loader);
    for (size_t i = 0; i < loader->draft_count; i++) {
        struct output outputs[2];
        outputs_of(&loader->drafts[i], outputs);
        for (size_t k = 0; k < ARRAY_COUNT(outputs); k++)
            if (outputs[k].address->family != 0 && address_is_wildcard(outputs[k].address))
                config_error(&loader->faults, place_of(&loader->drafts[i], outputs[k].id),
                             "%s: nothing can be sent to the wildcard address", outputs[k].name);
        for (size_t k = 0; k < loader->draft_count; k++) {
            check_feeding(loader, &loader->drafts[i], &loader->drafts[k]);
            if (k <= i)
                check_sharing(loader, &loader->drafts[k], &loader->drafts[i]);
        }
    }
}
