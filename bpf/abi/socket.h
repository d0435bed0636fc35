/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a socket believes it talks to. The cgroup hooks translate a Service address once, at
 * connect() or sendmsg(); getpeername() and recvmsg() turn the backend's address back.
 */
#ifndef WEIR_ABI_SOCKET_H
#define WEIR_ABI_SOCKET_H

#include "types.h"

/* A resolver asks all its name servers (at most 3) from one unconnected socket; one to spare. */
#define WEIR_SOCK_PEERS 4
/* sock_peers: 4 MiB; a power of two. */
#define WEIR_SOCK_ENTRIES (1 << 16)
/* A socket's entry is the one that its cookie names, or one of the next: of 16 384 sockets one in
 * 250 finds all taken, of 32 768 one in 16. */
#define WEIR_SOCK_WINDOW 4

struct sock_peer {
	struct address service;
	struct address backend;
	__be16 service_port;
	__be16 backend_port;
	__u32 backend_id; /* 0: this place is free */
	__u32 table;	  /* base of the slots that had the backend when they were last asked */
};

/* What a socket's entry says of its storage. */
enum sock_storage {
	SOCK_STORAGE_NONE = 0,
	SOCK_STORAGE_OLDER =
	    1, /* there is some; the last that the socket spoke to is in the entry */
	SOCK_STORAGE_NEWER = 2, /* there is some, and the last is in there */
};

/*
 * sock_peers[cookie % WEIR_SOCK_ENTRIES + 0…3]: a Service that a socket speaks to, from connect()
 * or sendmsg() to close(). Cookies are given out in sequence, so sockets spread evenly. A cache
 * line.
 */
struct sock_entry {
	__u64 cookie; /* of the socket; 0: free */
	struct sock_peer peer;
	__u32 storage; /* enum sock_storage */
	__u64 pad0;
};

/*
 * sock_reverse: storage that the kernel hangs on one socket and frees with it, for those that speak
 * to several Services or found no free entry; places are taken in turn.
 */
struct sock_reverse {
	struct sock_peer peers[WEIR_SOCK_PEERS];
	__u32 next;
	__u32 last; /* the place sent to last: whose answer it is when two have the same backend */
};

/* What the socket iterators write: a connected socket whose peer is a backend by translation. */
struct translated_socket {
	__u64 cookie;
	struct address local;
	struct address backend;
	struct address service;
	__be16 local_port;
	__be16 backend_port;
	__be16 service_port;
	__u16 pad0;
};

#endif
