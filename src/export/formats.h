/* SPDX-License-Identifier: MIT
 * The table of formats: by name, by a file's extension, one by one. */
#ifndef FLOTILLA_EXPORT_FORMATS_H
#define FLOTILLA_EXPORT_FORMATS_H

#include "export/format.h"

/* NULL behind the last one. */
const struct export_format *formats_at(size_t index);
/* NULL: there is none. */
const struct export_format *formats_named(const char *name);
/* By the extension of its name. */
const struct export_format *formats_of_file(const char *path);

#endif
