/* SPDX-License-Identifier: MIT
 * How a sender on the same host sees what its receivers have not taken yet. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "os/net.h"

/* The address as the kernel prints it: words of 32 bits, as they are in memory. */
static void write_kernel_form(char out[33], const struct address *address)
{
    for (int i = 0; i < (address->family == 4 ? 1 : 4); i++) {
        uint32_t word;
        memcpy(&word, address->bytes + 4 * (size_t)i, sizeof(word));
        snprintf(out + 8 * (size_t)i, 9, "%08" PRIX32, word);
    }
}

static int64_t most_waiting(FILE *file, const struct address *to)
{
    char line[256], wanted[33], local[33];
    unsigned port;
    uint64_t waiting;
    int64_t most = -1;
    write_kernel_form(wanted, to);
    while (fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, " %*u: %32[0-9A-F]:%X %*[0-9A-F]:%*X %*X %*X:%" SCNx64, local, &port,
                   &waiting) == 3 &&
            port == to->port &&
            (strcmp(local, wanted) == 0 || strspn(local, "0") == strlen(local)) &&
            (int64_t)waiting > most)
            most = (int64_t)waiting;
    return most;
}

int64_t net_receivers_waiting(const struct address *to)
{
    FILE *file = fopen(to->family == 4 ? "/proc/net/udp" : "/proc/net/udp6", "re");
    if (file == NULL)
        return -1;
    int64_t most = most_waiting(file, to);
    fclose(file);
    return most;
}

void net_wait_to_send(descriptor_t descriptor, int64_t timeout_ns)
{
    struct pollfd waiting = {.fd = descriptor, .events = POLLOUT};
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    ppoll(&waiting, 1, &timeout, NULL);
}
