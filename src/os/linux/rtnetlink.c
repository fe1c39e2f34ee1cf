/* SPDX-License-Identifier: MIT
 * One question to the kernel, and its answer in as many pieces as it takes. Relies on no message of
 * an answer being longer than 32 KiB, in which the kernel never puts more of a dump. */
#include "os/linux/rtnetlink.h"

#include <errno.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NETLINK_ROUTE = 0, NLMSG_ERROR = 2, NLMSG_DONE = 3, ANSWER_BYTES = 32768 };

struct error_message {
    struct rtnetlink_header header;
    int32_t error;
};

/* Looks at what came in one piece. `*more` is cleared behind the last message. */
static int look(const uint8_t *answer, size_t bytes, bool *more,
                int (*each)(void *context, const void *message), void *context)
{
    const struct rtnetlink_header *message;
    int status = 0;
    for (size_t at = 0; status == 0 && at + sizeof(*message) <= bytes;
         at += (message->bytes + 3u) / 4 * 4) {
        message = (const void *)(answer + at);
        if (message->type == NLMSG_DONE || message->bytes < sizeof(*message) ||
            message->bytes > bytes - at) {
            *more = false;
            break;
        }
        status = message->type == NLMSG_ERROR ? ((const struct error_message *)message)->error
                                              : each(context, message);
    }
    return status;
}

int rtnetlink_ask(const void *question, int (*each)(void *context, const void *message),
                  void *context)
{
    alignas(4) uint8_t answer[ANSWER_BYTES];
    const struct rtnetlink_header *header = question;
    bool more = true, many = (header->flags & RTNETLINK_DUMP) == RTNETLINK_DUMP;
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0)
        return -errno;
    int status = send(descriptor, question, header->bytes, 0) < 0 ? -errno : 0;
    while (status == 0 && more) {
        ssize_t got = recv(descriptor, answer, sizeof(answer), MSG_TRUNC);
        if (got < 0 && errno == EINTR)
            continue;
        more = many && got > 0;
        if (got < 0 || (size_t)got > sizeof(answer))
            status = got < 0 ? -errno : -EMSGSIZE;
        else
            status = look(answer, (size_t)got, &more, each, context);
    }
    close(descriptor);
    return status;
}
