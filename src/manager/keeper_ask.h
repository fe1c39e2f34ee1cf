/* SPDX-License-Identifier: MIT
 * Asking a keeper for what it holds, by its socket in the runtime folder.
 * Relies on os/notify for the words, and on manager/keepers where one has to be woken or reminded.
 */
#ifndef FLOTILLA_MANAGER_KEEPER_ASK_H
#define FLOTILLA_MANAGER_KEEPER_ASK_H

#include "manager/keepers.h"
#include "os/notify.h"

struct keeper_answer {
    struct keeper_answer *next;
    int descriptor;
    char name[NOTIFY_NAME_BYTES_MAX + 1];
};

/* One that has answered. Ends with keeper_asked_close, except for what was taken out of it. */
struct keeper_asked {
    struct notify way;      /* to it */
    struct process process; /* none: it has ended by now */
    struct keeper_answer *answers;
};

/* Asks whoever listens at the keeper's name in `runtime`, having woken the keepers found there, or
 * had them make the socket again, where that is called for. 0; -ENOENT if nobody is there,
 * -ETIMEDOUT or -EAGAIN (it takes nothing any more) if it does not answer, -EMFILE if we have no
 * room for what it holds, or another negative errno. Waits for some seconds at most. */
int keeper_ask(const char *runtime, const struct keepers *found, struct keeper_asked *asked);
/* The same of that one keeper alone, which takes the name for it. */
int keeper_ask_one(const char *runtime, const struct keeper_found *keeper,
                   struct keeper_asked *asked);
/* Hands on all that was answered, which is the callee's from then on. */
void keeper_hand_on(struct keeper_asked *asked,
                    void (*found)(void *context, const char *name, int descriptor), void *context);
void keeper_asked_close(struct keeper_asked *asked);

/* The id of the keeper that `way` leads to, which has a moment to tell it; 0 if it does not. */
long keeper_at(const struct notify *way);

#endif
