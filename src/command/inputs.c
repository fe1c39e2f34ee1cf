/* SPDX-License-Identifier: MIT
 * What a command was given to read. */
#include "command/inputs.h"

#include <stdio.h>
#include <string.h>

#include "command/usage.h"

int inputs_list(struct catalog *catalog, int count, char *const *paths, enum catalog_lanes lanes)
{
    int code = EXIT_OK;
    for (int i = 0; i < count; i++) {
        long added = catalog_add(catalog, paths[i], lanes);
        if (added > 0)
            continue;
        fprintf(stderr, "%s: %s\n", paths[i],
                added == 0 ? "there are no recordings in this folder" : strerror((int)-added));
        code = EXIT_FAILED;
    }
    return code;
}

int inputs_check_span(const char *verb, const struct time_span *span)
{
    return span->from_ns <= span->to_ns ? EXIT_OK : verb_usage(verb, "--from is later than --to");
}
