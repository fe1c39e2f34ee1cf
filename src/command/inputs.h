/* SPDX-License-Identifier: MIT
 * The files, folders, channels and the span of time that a command is given. Relies on
 * archive/catalog and config/config. */
#ifndef FLOTILLA_COMMAND_INPUTS_H
#define FLOTILLA_COMMAND_INPUTS_H

#include "archive/catalog.h"
#include "archive/search.h"

/* Lists the files and folders that a command was given. EXIT_OK, or EXIT_FAILED after telling of
 * each that cannot be listed, or is a folder without recordings; the others are in the catalog,
 * which catalog_free frees. */
int inputs_list(struct catalog *catalog, int count, char *const *paths, enum catalog_lanes lanes);

/* The same, where a word that names no file may be a channel of the configuration (`given` with -c,
 * or NULL to look for it) and stands for its folder. */
int inputs_list_channels(struct catalog *catalog, const char *given, int count, char *const *words);

/* EXIT_OK, or EXIT_USAGE after telling that the span ends before it begins. */
int inputs_check_span(const char *verb, const struct time_span *span);

#endif
