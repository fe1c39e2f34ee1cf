/* SPDX-License-Identifier: MIT
 * sd_notify's datagrams. The socket is connected once, so that nothing has to be looked up later
 * and a sandbox needs to allow sending alone. */
#define _GNU_SOURCE
#include "os/notify.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/socket_path.h"

int notify_open(struct notify *notify)
{
    notify->descriptor = -1;
    const char *path = getenv("NOTIFY_SOCKET");
    if (path == NULL || path[0] == '\0')
        return -ENOENT;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t bytes = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || bytes >= sizeof(address.sun_path))
        return -EINVAL;
    memcpy(address.sun_path, path, bytes);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    else
        bytes++; /* an abstract name has no NUL behind it */
    notify->descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->descriptor >= 0 &&
        connect(notify->descriptor, (const struct sockaddr *)&address,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes)) == 0)
        return 0;
    int error = -errno;
    notify_close(notify);
    return error;
}

int notify_open_at(struct notify *notify, const char *folder, const char *name)
{
    int made = socket_path_connect(SOCK_DGRAM, folder, name);
    notify->descriptor = made < 0 ? -1 : made;
    return made < 0 ? made : 0;
}

void notify_close(struct notify *notify)
{
    if (notify->descriptor >= 0)
        close(notify->descriptor);
    notify->descriptor = -1;
}

static int send_with(int socket, const char *text, descriptor_t descriptor)
{
    if (socket < 0)
        return -ENOENT;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof(control);
        struct cmsghdr *note = CMSG_FIRSTHDR(&message);
        note->cmsg_level = SOL_SOCKET;
        note->cmsg_type = SCM_RIGHTS;
        note->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(note), &descriptor, sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int notify_send(const struct notify *notify, const char *text)
{
    return send_with(notify->descriptor, text, -1);
}

/* ---- the other side ---- */

descriptor_t notify_listen(const char *folder, const char *name)
{
    return socket_path_bind(SOCK_DGRAM, folder, name, 0600);
}

static int wait_for(descriptor_t descriptor, short events, uint64_t wait_ms)
{
    struct pollfd wait = {.fd = descriptor, .events = events};
    int ready = poll(&wait, 1, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
    return ready > 0 ? 0 : ready == 0 || errno == EINTR ? -EAGAIN : -errno;
}

static long receive(descriptor_t descriptor, char *text, size_t text_bytes, descriptor_t *passed)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
    struct iovec part = {.iov_base = text, .iov_len = text_bytes - 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    *passed = -1;
    ssize_t got = recvmsg(descriptor, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    text[got] = '\0';
    for (struct cmsghdr *note = CMSG_FIRSTHDR(&message); note != NULL;
         note = CMSG_NXTHDR(&message, note)) {
        if (note->cmsg_level != SOL_SOCKET || note->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (note->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int one;
            memcpy(&one, CMSG_DATA(note) + i * sizeof(int), sizeof(int));
            if (*passed < 0)
                *passed = one;
            else
                close(one); /* one a message is all we speak of */
        }
    }
    /* Of descriptors alone: the text is cut where it is too long. */
    return message.msg_flags & MSG_CTRUNC && *passed < 0 ? -EMFILE : got;
}

long notify_receive(descriptor_t descriptor, char *text, size_t text_bytes, descriptor_t *passed,
                    uint64_t wait_ms)
{
    *passed = -1;
    int status = wait_for(descriptor, POLLIN, wait_ms);
    return status < 0 ? status : receive(descriptor, text, text_bytes, passed);
}

#define REFUSED "REFUSED=1\n"

void notify_refuse(descriptor_t passed)
{
    send_with(passed, REFUSED, -1);
}

int notify_pass(descriptor_t descriptor, const char *text, descriptor_t passed, uint64_t wait_ms)
{
    int status = send_with(descriptor, text, passed);
    if (status != -EAGAIN || wait_ms == 0)
        return status;
    status = wait_for(descriptor, POLLOUT, wait_ms);
    return status < 0 ? status : send_with(descriptor, text, passed);
}

int notify_keep(const struct notify *notify, const char *name, descriptor_t descriptor,
                uint64_t wait_ms)
{
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    /* FDPOLL=0: a UDP socket with a pending error is not one to give up. */
    int used = snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s\n", name);
    return used < 0 || (size_t)used >= sizeof(text)
               ? -ENAMETOOLONG
               : notify_pass(notify->descriptor, text, descriptor, wait_ms);
}

int notify_drop(const struct notify *notify, const char *name, uint64_t wait_ms)
{
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    int used = snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s\n", name);
    return used < 0 || (size_t)used >= sizeof(text)
               ? -ENAMETOOLONG
               : notify_pass(notify->descriptor, text, -1, wait_ms);
}

int notify_pair(descriptor_t ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

int notify_barrier(const struct notify *notify, uint64_t wait_ms)
{
    int ends[2];
    int status = notify_pair(ends);
    if (status < 0)
        return status;
    status = notify->descriptor < 0
                 ? -ENOENT
                 : notify_pass(notify->descriptor, "BARRIER=1", ends[1], wait_ms);
    close(ends[1]);
    /* The other side closes its copy as it comes to it. */
    if (status == 0 && wait_for(ends[0], POLLIN, wait_ms) < 0)
        status = -ETIMEDOUT;
    char word[sizeof(REFUSED)];
    if (status == 0 && recv(ends[0], word, sizeof(word), MSG_DONTWAIT) > 0)
        status = -ENOSPC;
    close(ends[0]);
    return status;
}

uint64_t notify_watchdog_ns(void)
{
    const char *microseconds = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
    if (microseconds == NULL || (process != NULL && strtol(process, NULL, 10) != getpid()))
        return 0;
    return strtoull(microseconds, NULL, 10) * 1000u;
}
