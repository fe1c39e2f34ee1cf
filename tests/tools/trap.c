/* SPDX-License-Identifier: MIT
 * Linked over datum_check (-Wl,--wrap) into a relay for the scenarios: a datagram that holds one
 * magic crashes it in the check, one that holds another makes it check for ever. What is not
 * checked by datum_check goes by: the scenarios' schema has a string, which must be. Where the
 * environment says FLOTILLA_TEST_UNCOUNTED, it is on a system that does not count drops. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "avro/datum.h"
#include "os/net.h"

enum reject __real_datum_check(const struct layout *layout, struct span bytes, size_t *datum_bytes);
enum reject __wrap_datum_check(const struct layout *layout, struct span bytes, size_t *datum_bytes);

enum reject __wrap_datum_check(const struct layout *layout, struct span bytes, size_t *datum_bytes)
{
    static const char crash[] = "flotilla-crash!!", hang[] = "flotilla-hang!!!";
    if (memmem(bytes.at, bytes.bytes, crash, 16) != NULL)
        __builtin_trap();
    if (memmem(bytes.at, bytes.bytes, hang, 16) != NULL)
        for (volatile int forever = 1; forever;)
            continue;
    return __real_datum_check(layout, bytes, datum_bytes);
}

bool __real_net_counts_drops(descriptor_t descriptor);
bool __wrap_net_counts_drops(descriptor_t descriptor);

bool __wrap_net_counts_drops(descriptor_t descriptor)
{
    return getenv("FLOTILLA_TEST_UNCOUNTED") == NULL && __real_net_counts_drops(descriptor);
}
