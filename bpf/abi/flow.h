/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table: connection tracking and translation in one entry, in a set-associative table of
 * our own inside one mmapable array. One array element is one set of WEIR_FLOW_WAYS entries (two
 * cache lines). See bpf/lib/flow.h for the protocol between CPUs.
 */
#ifndef WEIR_ABI_FLOW_H
#define WEIR_ABI_FLOW_H

#include "types.h"

#define WEIR_FLOW_WAYS 4

/* 2^17 sets x 4 ways x 32 bytes = 16 MiB: 131k flows at the 25 % load that keeps sets from filling.
 */
#define WEIR_FLOW_SETS (1 << 17)

enum flow_state {
	FLOW_FREE = 0,
	FLOW_BUSY = 1,	    /* being written; readers treat it as a miss */
	FLOW_HALF_OPEN = 2, /* TCP without an answer yet, UDP without a second packet */
	FLOW_CLOSING = 3,   /* FIN or RST seen */
	FLOW_ESTABLISHED = 4,
};

enum flow_kind {
	FLOW_TO_LOCAL = 1,  /* client -> frontend, backend on this node: index is the backend */
	FLOW_TO_REMOTE = 2, /* client -> frontend, backend elsewhere: index is the backend */
	FLOW_REPLY = 3, /* backend -> client: index is the frontend_address the source becomes */
};

enum flow_flags {
	FLOW_CLIENT_IS_LOCAL = 1, /* REPLY: the client is a pod of this node */
	FLOW_IS_UDP = 2,	  /* idle times differ, and an IPv6 key does not tell */
};

/*
 * word: version 40 bits | state 4 bits | tick 20 bits (a tick is about a second).
 * key: IPv4 exact (source, destination, ports, protocol, family 4, pad); IPv6 a 16-byte keyed
 * digest.
 */
struct flow {
	__u64 word;
	__u32 key[4];
	__u32 index;
	__u8 kind;  /* enum flow_kind */
	__u8 flags; /* enum flow_flags */
	__u16 pad0;
};

struct flow_set {
	struct flow ways[WEIR_FLOW_WAYS];
};

/* 2^8 jiffies are 1.02 s at HZ=250; user space sets 7 for HZ=100 and 10 for HZ=1000. */
#define WEIR_FLOW_TICK_JIFFIES_SHIFT 8

/* Idle times, in ticks, after which an entry may be replaced (and user space frees it). An idle TCP
 * connection outlives the two hours of the usual keep-alive interval. */
#define WEIR_FLOW_IDLE_HALF_OPEN       60
#define WEIR_FLOW_IDLE_CLOSING	       120
#define WEIR_FLOW_IDLE_ESTABLISHED_TCP 8000
#define WEIR_FLOW_IDLE_ESTABLISHED_UDP 300

#define WEIR_FLOW_TICK_SHIFT	0
#define WEIR_FLOW_TICK_BITS	20
#define WEIR_FLOW_STATE_SHIFT	20
#define WEIR_FLOW_STATE_BITS	4
#define WEIR_FLOW_VERSION_SHIFT 24

#endif
