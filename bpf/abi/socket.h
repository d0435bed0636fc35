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

struct sock_peer {
	struct address service;
	struct address backend;
	__be16 service_port;
	__be16 backend_port;
	__u32 backend_id; /* 0: this place is free */
	__u32 table;	  /* base of the slots that had the backend when they were last asked */
};

/* sock_reverse: storage of one socket; places are taken in turn. */
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
