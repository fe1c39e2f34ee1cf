/* SPDX-License-Identifier: MIT
 * Work handed from one thread to a few others. No order is promised between jobs. */
#ifndef FLOTILLA_GATEWAY_JOBS_H
#define FLOTILLA_GATEWAY_JOBS_H

#include <stdbool.h>

#define JOBS_MAX     64u
#define JOBS_THREADS 8u

struct jobs; /* opaque */

/* Starts the threads, in which `run` is called with each job. 0 or a negative errno. There is no
 * end to them but the process's. */
int jobs_start(struct jobs **jobs, void (*run)(void *job));
/* Hands a job over; by one thread only. False: there are JOBS_MAX that no thread has taken. */
bool jobs_add(struct jobs *jobs, void *job);

#endif
