/* SPDX-License-Identifier: MIT
 * The dialects that are spoken. A test's gateway has another list in place of this file. */
#include "gateway/dialects.h"

#include <stddef.h>

#include "gateway/foxglove.h"
#include "gateway/live.h"

const struct dialect *const dialects[] = {
    &live_dialect, &foxglove_live, &foxglove_live_at_root, &foxglove_recordings, NULL,
};
