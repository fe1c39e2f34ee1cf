/* SPDX-License-Identifier: MIT
 * The command's verbs: one table in main.c, one file a verb. */
#ifndef FLOTILLA_CLI_VERB_H
#define FLOTILLA_CLI_VERB_H

#include <stdbool.h>

#include "command/usage.h"

struct verb {
    const char *name;
    const char *summary; /* one line, for `flotilla --help` */
    const char *help;    /* for `flotilla VERB --help`: usage, examples first, then options. NULL:
                            another program does it all, its help as well */
    /* argv[0] is the verb; returns an exit code. One that is not EXIT_OK has been told of on
     * stderr; that all of the output has arrived is seen to by the caller. */
    int (*run)(int argc, char **argv);
};

/* Whoever read the output has seen enough: what does not arrive any more is no failure. */
void verb_excuse_output(void);

/* The help of the verbs whose files carry it. */
extern const char verb_info_help[], verb_verify_help[], verb_recover_help[];
extern const char verb_send_help[], verb_listen_help[], verb_cat_help[], verb_schema_help[];
extern const char verb_run_help[], verb_check_help[], verb_status_help[], verb_reload_help[];
extern const char verb_stop_help[], verb_restart_help[], verb_doctor_help[];
extern const char verb_units_help[], verb_pin_help[], verb_unpin_help[];
extern const char verb_overview_help[], verb_replay_help[], verb_channel_help[];

int verb_run(int argc, char **argv);
int verb_check(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_reload(int argc, char **argv);
int verb_stop(int argc, char **argv);
int verb_restart(int argc, char **argv);
int verb_send(int argc, char **argv);
int verb_replay(int argc, char **argv);
int verb_listen(int argc, char **argv);
int verb_info(int argc, char **argv);
int verb_verify(int argc, char **argv);
int verb_recover(int argc, char **argv);
int verb_cat(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_schema(int argc, char **argv);
int verb_export(int argc, char **argv);
int verb_units(int argc, char **argv);
int verb_pin(int argc, char **argv);
int verb_unpin(int argc, char **argv);
int verb_overview(int argc, char **argv);
int verb_channel(int argc, char **argv);

#endif
