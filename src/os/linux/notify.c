/* SPDX-License-Identifier: MIT
 * sd_notify's datagrams. The socket is connected once, so that nothing has to be looked up later
 * and a sandbox needs to allow sending alone. */
#include "os/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_connected(struct notify *notify, const struct sockaddr_un *address, socklen_t bytes)
{
    notify->descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->descriptor < 0)
        return -errno;
    if (connect(notify->descriptor, (const struct sockaddr *)address, bytes) == 0)
        return 0;
    int error = -errno;
    notify_close(notify);
    return error;
}

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
    return open_connected(notify, &address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes));
}

int notify_open_at(struct notify *notify, const char *folder, const char *name)
{
    notify->descriptor = -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    /* By way of the folder's descriptor: a socket address holds but 107 characters of path. */
    int place = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (place < 0)
        return -errno;
    int used = snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", place,
                        name);
    int status = used < 0 || (size_t)used >= sizeof(address.sun_path)
                     ? -ENAMETOOLONG
                     : open_connected(notify, &address, sizeof(address));
    close(place);
    return status;
}

void notify_close(struct notify *notify)
{
    if (notify->descriptor >= 0)
        close(notify->descriptor);
    notify->descriptor = -1;
}

static int send_with(const struct notify *notify, const char *text, int descriptor)
{
    if (notify->descriptor < 0)
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
        sent = sendmsg(notify->descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

int notify_send(const struct notify *notify, const char *text)
{
    return send_with(notify, text, -1);
}

int notify_keep(const struct notify *notify, const char *name, int descriptor)
{
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    /* FDPOLL=0: a UDP socket with a pending error is not one to give up. */
    int used = snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s\n", name);
    return used < 0 || (size_t)used >= sizeof(text) ? -ENAMETOOLONG
                                                    : send_with(notify, text, descriptor);
}

int notify_drop(const struct notify *notify, const char *name)
{
    char text[NOTIFY_NAME_BYTES_MAX + 64];
    int used = snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s\n", name);
    return used < 0 || (size_t)used >= sizeof(text) ? -ENAMETOOLONG : send_with(notify, text, -1);
}

uint64_t notify_watchdog_ns(void)
{
    const char *microseconds = getenv("WATCHDOG_USEC"), *process = getenv("WATCHDOG_PID");
    if (microseconds == NULL || (process != NULL && strtol(process, NULL, 10) != getpid()))
        return 0;
    return strtoull(microseconds, NULL, 10) * 1000u;
}
