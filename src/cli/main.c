/* SPDX-License-Identifier: MIT
 * flotilla: finds the verb in a table and runs it. Each verb has a file of its own. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/nearest.h"
#include "cli/verb.h"
#include "os/descriptor.h"
#include "os/file.h"

static const struct verb verbs[] = {
    {"run", "the manager: starts the fleet and looks after it", verb_run_help, verb_run},
    {"check", "validates a configuration", verb_check_help, verb_check},
    {"status", "the fleet, losses first", verb_status_help, verb_status},
    {"reload", "applies a changed configuration", verb_reload_help, verb_reload},
    {"channel", "shows, adds, changes or removes one, checked", verb_channel_help, verb_channel},
    {"restart", "replaces a channel's relay", verb_restart_help, verb_restart},
    {"doctor", "can this machine do what the configuration asks?", verb_doctor_help, verb_doctor},
    {"stop", "ends the fleet, everything flushed", verb_stop_help, verb_stop},
    {"send", "a source: synthetic signals, or a recording's datums", verb_send_help, verb_send},
    {"replay", "sends recordings again as they came in", verb_replay_help, verb_replay},
    {"listen", "prints what a channel sends, decoded", verb_listen_help, verb_listen},
    {"cat", "prints recordings as JSON lines or CSV", verb_cat_help, verb_cat},
    {"info", "describes recordings", verb_info_help, verb_info},
    {"verify", "checks recordings, to the last byte", verb_verify_help, verb_verify},
    {"recover", "salvages what is intact of a damaged file", verb_recover_help, verb_recover},
    {"export", "recordings as columns: HDF5 and more", NULL, verb_export},
    {"pin", "keeps a span of time from retention", verb_pin_help, verb_pin},
    {"unpin", "lets retention have it again", verb_unpin_help, verb_unpin},
    {"overview", "how far min-max levels are; makes them again", verb_overview_help, verb_overview},
    {"units", "systemd units for a fleet without a manager", verb_units_help, verb_units},
    {"schema", "what a schema amounts to; compiles it", verb_schema_help, verb_schema},
};

static void print_help(FILE *out)
{
    fputs("usage: flotilla VERB [ARGUMENTS]\n"
          "\n"
          "  flotilla check               is fleet.yaml right?\n"
          "  flotilla run                 start the fleet it describes\n"
          "  flotilla status --watch      see it work\n"
          "\n"
          "Verbs:\n",
          out);
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].summary);
    fputs("\n"
          "'flotilla VERB --help' tells more of each. -c FILE names the configuration; else it is\n"
          "./fleet.yaml, else /etc/flotilla/fleet.yaml.\n"
          "Exit: 0 ok, 1 failed, 2 usage, 3 done with loss, 78 bad configuration.\n",
          out);
}

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int tell_unknown(const char *name)
{
    const char *nearest = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        nearest_offer(name, verbs[i].name, &nearest);
    fprintf(stderr, "flotilla: there is no verb \"%s\"", name);
    if (nearest)
        fprintf(stderr, "; did you mean \"%s\"?", nearest);
    fputs("\nTry 'flotilla --help'.\n", stderr);
    return EXIT_USAGE;
}

/* Whether the words behind the verb ask for its help. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static bool output_excused;

void verb_excuse_output(void)
{
    output_excused = true;
}

/* The one end of every verb: what it printed has to have arrived, or it has failed. */
static int finish(int code)
{
    return output_excused || log_end_output() == 0 ? code : EXIT_FAILED;
}

static int print(const char *text)
{
    fputs(text, stdout);
    return finish(EXIT_OK);
}

int main(int argc, char **argv)
{
    descriptor_fill_standard();
    file_limit_is_error();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    const char *word = argv[1];
    bool help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
    if (help && argc == 2) {
        print_help(stdout);
        return finish(EXIT_OK);
    }
    if (strcmp(word, "--version") == 0)
        return print("flotilla " FLOTILLA_VERSION "\n");
    const struct verb *verb = find_verb(help ? argv[2] : word);
    if (!verb)
        return tell_unknown(help ? argv[2] : word);
    if (verb->help == NULL && help) {
        static char word_for_help[] = "--help";
        char *words[] = {argv[2], word_for_help, NULL};
        return verb->run(2, words);
    }
    if (verb->help != NULL && (help || wants_help(argc - 1, argv + 1)))
        return print(verb->help);
    static char program[32];
    snprintf(program, sizeof program, "flotilla %s", verb->name);
    log_start(program, NULL);
    return finish(verb->run(argc - 1, argv + 1));
}
