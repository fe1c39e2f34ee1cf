/* SPDX-License-Identifier: MIT
 * Local stream sockets. Relies on spawning and accepting being one thread's: between accept and
 * close-on-exec a child could be started. */
#define _POSIX_C_SOURCE 200809L
#include "os/local.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/socket_path.h"

enum { LISTEN_BACKLOG = 64 };

descriptor_t local_listen(const char *folder, const char *name, unsigned mode)
{
    int listener = socket_path_bind(SOCK_STREAM, folder, name, mode);
    /* Nobody can connect before listen, so the permissions are never wider than asked for. */
    if (listener >= 0 && listen(listener, LISTEN_BACKLOG) < 0) {
        int error = -errno;
        close(listener);
        return error;
    }
    return listener;
}

descriptor_t local_accept(descriptor_t listener)
{
    for (;;) {
        int descriptor = accept(listener, NULL, NULL);
        if (descriptor >= 0) {
            fcntl(descriptor, F_SETFD, FD_CLOEXEC);
            fcntl(descriptor, F_SETFL, O_NONBLOCK);
            return descriptor;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return -errno;
    }
}

descriptor_t local_connect(const char *folder, const char *name)
{
    return socket_path_connect(SOCK_STREAM, folder, name);
}

long local_read(descriptor_t descriptor, void *into, size_t bytes)
{
    ssize_t got;
    do
        got = recv(descriptor, into, bytes, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

long local_write(descriptor_t descriptor, const void *from, size_t bytes)
{
    ssize_t took;
    do
        took = send(descriptor, from, bytes, MSG_NOSIGNAL);
    while (took < 0 && errno == EINTR);
    return took < 0 ? -errno : took;
}

union control_room { /* for one descriptor beside the bytes */
    struct cmsghdr head;
    char bytes[CMSG_SPACE(sizeof(int))];
};

long local_hand(descriptor_t descriptor, const void *from, size_t bytes, descriptor_t handed)
{
    union control_room room = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)from, bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof room.bytes};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(head), &handed, sizeof(int));
    ssize_t took;
    do
        took = sendmsg(descriptor, &message, MSG_NOSIGNAL);
    while (took < 0 && errno == EINTR);
    return took < 0 ? -errno : took;
}

long local_read_handed(descriptor_t descriptor, void *into, size_t bytes, descriptor_t *handed)
{
    union control_room room;
    struct iovec part = {into, bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = room.bytes,
                             .msg_controllen = sizeof room.bytes};
    ssize_t got;
    do
        got = recvmsg(descriptor, &message, 0);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head != NULL;
         head = CMSG_NXTHDR(&message, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        memcpy(handed, CMSG_DATA(head), sizeof(int));
        fcntl(*handed, F_SETFD, FD_CLOEXEC);
    }
    return got;
}

bool local_is_over(descriptor_t descriptor)
{
    char byte;
    ssize_t got = recv(descriptor, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

int local_wait(descriptor_t descriptor, uint64_t timeout_ms)
{
    uint64_t end_ns = clock_monotonic_ns() + timeout_ms * NS_PER_MS;
    for (;;) {
        uint64_t now_ns = clock_monotonic_ns();
        uint64_t left_ms = now_ns >= end_ns ? 0 : (end_ns - now_ns) / NS_PER_MS + 1;
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        int ready = poll(&wait, 1, left_ms > 3600000 ? 3600000 : (int)left_ms);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready == 0 && left_ms == 0)
            return -ETIMEDOUT;
    }
}
