/* SPDX-License-Identifier: MIT
 * Work that is to be in nobody's way. One file per system implements it. Sources: sched(7)
 * (SCHED_IDLE), ioprio_set(2). */
#ifndef FLOTILLA_OS_IDLE_H
#define FLOTILLA_OS_IDLE_H

/* From now on this thread, and those it starts, get a processor and the disk when nobody else wants
 * them, as far as the system knows how. 0, or a negative errno where one of the two was refused. */
int idle_work(void);

#endif
