/* SPDX-License-Identifier: MIT
 * What the gateway has the manager do by another process: manager/errand.h has the words. */
#ifndef FLOTILLA_GATEWAY_ERRANDS_H
#define FLOTILLA_GATEWAY_ERRANDS_H

#include "gateway/exchange.h"

struct errand_end {
    int code;          /* of its process */
    json_t *answer;    /* the manager's; output and said are its */
    const char *output, *said;
};

/* Has it done; `request` is taken. False with a problem in the reply: no manager, or it was not
 * begun. errands_free in any case. */
bool errands_run(const struct gateway *gateway, json_t *request, struct errand_end *end,
                 struct reply *reply);
void errands_free(struct errand_end *end);
/* The problem that a refusal of the manager is. */
void errands_refused(const json_t *answer, struct reply *reply);

#endif
