/* SPDX-License-Identifier: MIT
 * How this machine stands, for `flotilla doctor`: interfaces, routes, memberships, limits, clock,
 * file systems. Everything here only asks the kernel; nothing is sent to the network and nothing is
 * changed. One file per system implements it. Sources: rtnetlink(7), proc(5), adjtimex(2),
 * statx(2), the kernel's Documentation/networking/ip-sysctl.rst. */
#ifndef FLOTILLA_OS_HEALTH_H
#define FLOTILLA_OS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/descriptor.h"
#include "os/net.h"

/* An IPv6 address that is not used yet, as another host may have it, or never, as one has. */
struct health_doubt {
    struct address address; /* family 0: there is none */
    unsigned bits;          /* of its network */
    bool duplicate;         /* another host has it */
};

struct health_interface {
    char name[NET_INTERFACE_BYTES];
    bool up;      /* switched on */
    bool running; /* and connected to something */
    bool multicast, loopback;
    bool real;               /* it has a hardware address */
    bool has_ipv4, has_ipv6; /* an address of the family that is used */
    struct health_doubt doubt;
    uint32_t mtu;            /* bytes of an IP packet */
    uint32_t mtu_max;        /* the largest it can be set to; 0: not known */
    uint64_t missed;         /* packets the card had no room for, since boot */
    uint64_t ring, ring_max; /* for how many it has room, and could have; 0: not known */
    uint64_t refused;        /* packets that were to leave by it and found its queue full */
    unsigned igmp_version;   /* 1 or 2: a querier of that version was heard; 3: none older; 0: ? */
    /* The bridge that it is, or is a port of; "" if neither. The rest only where there is one. */
    char bridge[NET_INTERFACE_BYTES];
    bool snooping;           /* the bridge passes groups on only to ports that asked */
    bool queries;            /* the bridge is set to ask for members itself */
    bool querier4, querier6; /* it knows a querier (itself or another) */
};

/* Describes an interface. 0, -ENODEV, or another negative errno. */
int health_interface(const char *name, struct health_interface *interface);

/* The interface that the routing table chooses for `to` ("" in `interface` leaves the choice to it;
 * a name asks whether that one leads there). 0 and its name in `found`, or a negative errno:
 * -ENETUNREACH, -EHOSTUNREACH where no route leads there. */
int health_route(const struct address *to, const char *interface, char found[NET_INTERFACE_BYTES]);

/* Whether that errno says that no way leads there; others, that it could not be asked. */
bool health_unreachable(int error);

/* Whether what is sent to a group by the loopback interface comes back by it: IPv4 groups do, IPv6
 * groups only with a route of type local. 0, or a negative errno. */
int health_comes_back(const struct address *group);

/* The likeliest interface to send by: the first that can do multicast and has an address of the
 * family (4 or 6), or had one before it was switched off; the loopback interface only if there is
 * no other. 0, or -ENODEV. */
int health_candidate(uint8_t family, char found[NET_INTERFACE_BYTES]);

/* Whether there is such an interface and it is switched off. */
bool health_is_down(const char *interface);

/* The interface that has the address (`interface`: which alone is looked at, "" for all): 0, its
 * name in `found` and what is doubtful about it, -EADDRNOTAVAIL, or another negative errno. */
int health_holder(const struct address *address, const char *interface,
                  char found[NET_INTERFACE_BYTES], struct health_doubt *doubt);

/* Whether a packet to `address` is taken in by this host, as its own or as a broadcast: 0,
 * -EADDRNOTAVAIL if not, or another negative errno if that cannot be asked. */
int health_owns(const struct address *address);

/* Whether somebody on this host has joined `group` on the interface. 1, 0, or a negative errno. */
int health_joined(const struct address *group, const char *interface);

/* Reverse path filtering of IPv4 on the interface: 0 off, 1 strict, 2 loose; or a negative
 * errno. */
int health_path_filter(const char *interface);

/* What a socket may ask for as its receive queue without CAP_NET_ADMIN (net.core.rmem_max); 0 if
 * unknown. */
uint64_t health_queue_limit(void);

/* How many single sources one IPv4 socket may join a group with (net.ipv4.igmp_max_msf). 0 or a
 * negative errno. */
int health_source_limit(uint64_t *sources);

/* What this network has lost of what reached it, since boot. */
struct health_losses {
    uint64_t backlog;    /* packets, before any socket: the queue of a processor was full */
    uint64_t queue_full; /* datagrams: the receive queue of a socket was */
    uint64_t checksum;   /* datagrams whose UDP checksum is wrong */
};
/* 0 or a negative errno. */
int health_losses(struct health_losses *losses);
/* How many packets the queue of a processor takes; 0 if unknown. */
uint64_t health_backlog(void);

/* Bytes that a file of the process `id` (0: of this one) may have; UINT64_MAX: any; 0 if that is
 * not known. */
uint64_t health_file_limit(long id);

/* Whether the process `id` is in our network namespace. 1, 0, or a negative errno. */
int health_same_network(long id);

/* Whether the clock is kept by something better than itself, and the error the kernel assumes at
 * most. 0 or a negative errno. */
int health_clock(bool *synchronised, uint64_t *error_us);

struct health_filesystem {
    char type[32];   /* as mounted: "ext4", "xfs", "tmpfs" ... */
    char mount[512]; /* where */
    bool read_only;
    bool in_memory; /* what is on it does not outlive a reboot */
    bool remote;    /* reached over a network */
};

/* Describes the file system of an open folder. 0 or a negative errno. */
int health_filesystem(descriptor_t folder, struct health_filesystem *filesystem);

/* Descriptors a process started from here may open at most, if it asks for all of it. */
uint64_t health_descriptor_limit(void);

/* Bytes of a page of memory. */
uint32_t health_page_bytes(void);

/* What is to be set right. Behind each: what of struct health_about it is about. */
enum health_fix {
    HEALTH_LINK_UP,        /* interface */
    HEALTH_LINK_MULTICAST, /* interface: it is to do multicast */
    HEALTH_LINK_MTU,       /* interface, number: bytes */
    HEALTH_LINK_RING,      /* interface, number: places for packets */
    HEALTH_LINK_SLOW,      /* interface: more is sent by it than it takes */
    HEALTH_LINK_ADDRESS,   /* interface, address: it is to have it; of the family, if all of it is 0
                            */
    HEALTH_LINK_LIST,      /* which there are */
    HEALTH_TENTATIVE,      /* interface, address, number: bits of its network; to be used at once */
    HEALTH_DUPLICATE,      /* interface, address, number: there is to be another */
    HEALTH_ROUTE,          /* interface, address: a way there */
    HEALTH_PATH_FILTER,    /* interface */
    HEALTH_QUERIER,        /* interface: a bridge */
    HEALTH_LISTENER,       /* address: who has its port */
    HEALTH_QUEUE_LIMIT,    /* number: bytes */
    HEALTH_SOURCE_LIMIT,   /* number */
    HEALTH_FORBIDDEN,      /* what a packet filter refuses */
    HEALTH_BACKLOG,        /* number: packets in front of the sockets */
    HEALTH_CHECKSUM,       /* who sends wrong ones */
    HEALTH_CLOCK,          /* to be kept right */
    HEALTH_DESCRIPTORS,    /* number: at least */
    HEALTH_FILE_LIMIT,     /* files are to become as large as they like */
    HEALTH_GROUPS,         /* limits of memory and processor time */
    HEALTH_GROUPS_OURS,    /* the manager may set them */
    HEALTH_OTHER_NETWORK,  /* number: of the process that is in it; path: of the configuration */
    HEALTH_OWNER,          /* path: a folder that is to be ours */
    HEALTH_MUTABLE,        /* path: a folder that refuses changes */
    HEALTH_FULL,           /* path: what takes the room there */
    HEALTH_QUOTA,          /* how much a user may have */
    HEALTH_QUOTA_BTRFS,    /* path: how much a folder there may have */
    HEALTH_READ_ONLY,      /* path: of a mount */
    HEALTH_MOUNT,          /* path: where something is to be mounted */
    HEALTH_IN_THE_WAY,     /* path: what stands where something else is to be */
    HEALTH_MEMORY,         /* what takes it */
    HEALTH_PROCESSES,      /* to be shown */
};
struct health_about {
    const char *interface, *path;
    const struct address *address;
    uint64_t number;
};
/* A word as sh(1) reads it back: in quotes, where it needs them. */
void health_quote(char *quoted, size_t quoted_bytes, const char *word);
/* Writes what a person can do about it on this system: a command that sh(1) takes as it stands,
 * with any names, or words. */
void health_fix(char *text, size_t text_bytes, enum health_fix fix,
                const struct health_about *about);

#endif
