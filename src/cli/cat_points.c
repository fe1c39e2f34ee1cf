/* SPDX-License-Identifier: MIT
 * The rows of archive/overview, printed. The channel is called as its folder. */
#include "cli/cat_points.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "archive/overview.h"
#include "base/units.h"
#include "channel/recording_name.h"
#include "cli/verb.h"
#include "os/path.h"

#define PATH_BYTES_MAX 4096

/* The last part of the folder's real path. False if no channel can be called so. */
static bool channel_of(const char *folder, char channel[CHANNEL_NAME_BYTES_MAX + 1])
{
    char inside[PATH_BYTES_MAX + 2], real[PATH_BYTES_MAX];
    snprintf(inside, sizeof(inside), "%.*s/.", PATH_BYTES_MAX - 2, folder);
    if (path_folder(inside, real, sizeof(real)) < 0)
        return false;
    const char *name = strrchr(real, '/') + 1;
    if (!channel_name_is_valid(name))
        return false;
    snprintf(channel, CHANNEL_NAME_BYTES_MAX + 1, "%s", name);
    return true;
}

static void tell_account(const struct overview *overview)
{
    struct overview_account account;
    char bytes[UNITS_TEXT_BYTES];
    overview_told(overview, &account);
    fflush(stdout);
    if (account.exact)
        fprintf(stderr, "flotilla cat: single datums, all there are");
    else if (account.finest == account.coarsest && account.finest <= 1)
        fprintf(stderr, "flotilla cat: minima and maxima of each %.6g s, from the recordings",
                (double)account.point_ns * 1e-9);
    else
        fprintf(stderr,
                "flotilla cat: minima and maxima of each %.6g s, from windows of %" PRIu64
                " datums, of %" PRIu64 " where these end",
                (double)account.point_ns * 1e-9, account.coarsest, account.finest);
    fprintf(stderr, " (%" PRIu64 " rows, %s read in %" PRIu64 " pieces)\n", account.rows_read,
            units_write_bytes(bytes, account.cost.bytes), account.cost.reads);
}

static int print_rows(struct overview *overview, struct printers *printers)
{
    struct overview_event event;
    char error[512];
    int code = EXIT_OK, status;
    while ((status = overview_next(overview, &event)) == 0 && event.kind != OVERVIEW_END) {
        if (event.kind == OVERVIEW_FAULT) {
            printers_flush(printers);
            fprintf(stderr, "%s\n", event.what);
            code = EXIT_FAILED;
        } else if (event.kind == OVERVIEW_SCHEMA) {
            struct span schema = schema_text(overview_schema(overview));
            int begun = printers_begin(printers, schema, false, error, sizeof(error));
            if (begun < 0 && begun != -EIO)
                fprintf(stderr, "flotilla cat: %s\n", error);
            if (begun < 0)
                return EXIT_FAILED;
        } else if (!printers_add(printers, event.datum)) {
            return EXIT_FAILED;
        }
    }
    if (!printers_flush(printers))
        return EXIT_FAILED;
    if (status < 0)
        fprintf(stderr, "flotilla cat: %s\n", strerror(-status));
    return status < 0 ? EXIT_FAILED : code;
}

int cat_points(const char *folder, const struct time_span *span, uint64_t points,
               struct printers *printers)
{
    char channel[CHANNEL_NAME_BYTES_MAX + 1];
    struct overview *overview;
    if (points > OVERVIEW_POINTS_MAX) {
        fprintf(stderr, "flotilla cat: --points: at most %u\n", OVERVIEW_POINTS_MAX);
        return EXIT_USAGE;
    }
    if (!channel_of(folder, channel)) {
        fprintf(stderr, "%s: is no channel's folder\n", folder);
        return EXIT_FAILED;
    }
    int status = overview_open(&overview, folder, channel, span, (uint32_t)points);
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", folder,
                status == -ENOENT ? "there are no recordings in this folder" : strerror(-status));
        return EXIT_FAILED;
    }
    int code = print_rows(overview, printers);
    if (code == EXIT_OK)
        tell_account(overview);
    overview_close(overview);
    return code;
}
