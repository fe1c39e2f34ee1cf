/* SPDX-License-Identifier: MIT
 * How old recordings are where the clock that dated them was wrong for a while. Numbers rise with
 * true time, whatever a clock says. So recordings that were begun before one of a lower number are
 * of a time at which the clock was set back, if it jumped forward behind them: these are as old as
 * the next one behind, and so is the last one before, as without it nobody would see that. If it
 * did not jump, the one before was of a clock that was ahead. So a recording may be kept for longer
 * than the age, never for less. Pure. */
#ifndef FLOTILLA_MANAGER_RETENTION_ORDER_H
#define FLOTILLA_MANAGER_RETENTION_ORDER_H

#include <stddef.h>

#include "manager/retention.h"

/* Notes in each file when it was last written (`dated_ns`), at `now_ns` of the clock: UINT64_MAX
 * where that is not known yet. The files are in order of channel and number, whichever lane they
 * are of. */
void retention_date(struct retention_file *files, size_t file_count, uint64_t now_ns);

#endif
