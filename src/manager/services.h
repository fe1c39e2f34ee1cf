/* SPDX-License-Identifier: MIT
 * Which services a fleet has, and the words that each is run with, by its configuration. */
#ifndef FLOTILLA_MANAGER_SERVICES_H
#define FLOTILLA_MANAGER_SERVICES_H

#include <jansson.h>

#include "config/config.h"
#include "manager/service.h"

enum service_id { SERVICE_OVERVIEW, SERVICE_GATEWAY, SERVICES };

struct services {
    struct service list[SERVICES];
};

/* Ends what an earlier manager has left. `ended` is called when one more has ended that is not to
 * run. 0 or -ENOMEM; services_close in any case. */
int services_open(struct services *services, const char *runtime, struct loop *loop,
                  void (*ended)(void *context), void *context);
/* Has them run as the configuration says; all end where that is NULL. 0 or -ENOMEM. */
int services_apply(struct services *services, const struct config *config);
bool services_are_over(const struct services *services);
/* For status: those that the configuration has. A new array, or NULL. */
json_t *services_report(const struct services *services);
void services_close(struct services *services);

#endif
