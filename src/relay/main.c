/* SPDX-License-Identifier: MIT
 * flotilla-relay: one channel. Flags and signals around relay/relay.h. Ends with 0 when asked to
 * stop, 2 for wrong flags, 75 if another relay has the channel, 78 for settings that cannot work
 * here, 79 to be followed at once by a fresh one, 1 otherwise. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "channel/settings.h"
#include "os/calls.h"
#include "os/clock.h"
#include "os/crash.h"
#include "os/file.h"
#include "os/inherit.h"
#include "os/interrupt.h"
#include "os/notify.h"
#include "os/output.h"
#include "relay/relay.h"

/* systemd starts the next relay at once, as a relay that was at work has to be followed at once.
 * So one that could not even begin ends only after a while. */
#define BACKOFF_NS (1 * NS_PER_S)

static const char usage[] =
    "flotilla-relay: receives one channel, sends it on and records it\n"
    "\n"
    "  flotilla schema engine.avsc -o engine.layout\n"
    "  flotilla-relay --name=engine --layout=engine.layout --listen=239.10.0.1:26000 \\\n"
    "      --interface=lo --full=239.11.0.1:6000 --directory=recordings/engine\n"
    "\n"
    "`flotilla run` starts one for each channel of a fleet. SIGTERM stops it cleanly: everything\n"
    "that was received is recorded, and the file gets its final name.\n"
    "\n";

static void note_crash(void *relay)
{
    relay_note_crash(relay);
}

/* Under systemd, waits before a relay ends that could not begin; or until it is asked to stop.
 * Returns `status`. */
static int exit_after_backoff(const struct relay *relay, int status)
{
    if (notify_send(&relay->notify, "STATUS=Cannot start: see the log") != -ENOENT)
        interrupt_wait(BACKOFF_NS);
    return status;
}

int main(int argc, char **argv)
{
    static struct relay relay;
    char error[CHANNEL_PATH_BYTES_MAX + 200];
    descriptor_fill_standard();
    output_start();
    file_limit_is_error();
    log_use(output_line);
    log_start("flotilla-relay", NULL);
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        settings_print_help();
        return log_end_output();
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("flotilla-relay " FLOTILLA_VERSION);
        return log_end_output();
    }
    int listening = notify_open(&relay.notify);
    if (listening < 0 && listening != -ENOENT)
        log_line("cannot talk to $NOTIFY_SOCKET: %s", strerror(-listening));
    settings_defaults(&relay.settings);
    if (settings_read_flags(&relay.settings, argc - 1, argv + 1, error, sizeof(error)) < 0 ||
        settings_validate(&relay.settings, error, sizeof(error)) < 0) {
        log_line("%s", error);
        log_line("try --help");
        interrupt_install();
        return exit_after_backoff(&relay, EXIT_FLAGS);
    }
    log_start("flotilla-relay", relay.settings.name);
    interrupt_install();
    crash_install(note_crash, &relay);
    int status = EXIT_SETTINGS;
    /* Who was handed a memory runs where a manager, or a relay before it, has asked already. */
    if (inherit_descriptor(INHERIT_MEMORY) < 0 && calls_refused(false, error) < 0)
        log_line("%s", error);
    else
        status = relay_open(&relay);
    if (status == 0) {
        status = relay_work(&relay);
        if (status != EXIT_RENEW) /* else its successor resumes */
            relay_report(&relay);
    } else {
        exit_after_backoff(&relay, status);
    }
    relay_close(&relay, status);
    notify_close(&relay.notify);
    return status;
}
