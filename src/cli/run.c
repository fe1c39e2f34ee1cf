/* SPDX-License-Identifier: MIT
 * flotilla run: the manager, in the foreground. The work is in src/manager. */
#include "cli/ask.h"
#include "cli/verb.h"
#include "config/config.h"
#include "manager/manager.h"

const char verb_run_help[] =
    "usage: flotilla run [-c FILE] [--renew]\n"
    "\n"
    "  flotilla run                 the fleet of ./fleet.yaml, until Ctrl-C\n"
    "  flotilla run -c /etc/flotilla/fleet.yaml\n"
    "\n"
    "Starts one relay for each channel and looks after them, in the foreground; its log goes to\n"
    "stderr. SIGHUP (or 'flotilla reload') reads the configuration again; SIGTERM and SIGINT (or\n"
    "'flotilla stop') end everything cleanly: recordings are flushed and get their final names.\n"
    "If the manager itself is killed, the relays go on; the next 'flotilla run' takes them over,\n"
    "and nothing is lost: a small process, flotilla-keeper, holds sockets and buffers meanwhile\n"
    "(systemd does, where it starts the manager).\n"
    "\n"
    "  -c FILE   the configuration; else ./fleet.yaml, else /etc/flotilla/fleet.yaml\n"
    "  --renew   replace the relays taken over, one after the other, by the present program\n"
    "\n"
    "Exit: 0 stopped cleanly, 1 failed or a relay did not end cleanly, 2 usage, 78 bad\n"
    "configuration.\n";

int verb_run(int argc, char **argv)
{
    struct ask_options options;
    int code = ask_read_options(argc, argv, ASK_RENEW, &options);
    return code == EXIT_OK ? manager_run(config_find(options.config), options.renew) : code;
}
