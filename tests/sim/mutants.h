/* SPDX-License-Identifier: MIT
 * Relays that are broken on purpose, for a simulation that must find each of them out. */
#ifndef FLOTILLA_TESTS_SIM_MUTANTS_H
#define FLOTILLA_TESTS_SIM_MUTANTS_H

#include <stdbool.h>

/* Chooses what is broken. False if there is none of that name: a build that is whole has none. */
bool mutant_choose(const char *name);

#endif
