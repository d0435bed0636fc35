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

/* 2^17 sets x 4 ways x 32 bytes = 16 MiB (and 12 MiB of details): 131k flows at the 25 % load that
 * keeps sets from filling. */
#define WEIR_FLOW_SETS (1 << 17)

/*
 * A live state is FLOW_HALF_OPEN with a bit for each thing that has happened, so what two CPUs or
 * two entries of one flow know is joined by an or.
 */
#define WEIR_FLOW_ANSWERED    1 /* the other end is known to be real: no flood pushes it out */
#define WEIR_FLOW_CLIENT_FIN  2
#define WEIR_FLOW_BACKEND_FIN 4

enum flow_state {
	FLOW_FREE = 0,
	FLOW_BUSY = 1,	    /* being written; readers treat it as a miss */
	FLOW_HALF_OPEN = 8, /* TCP without an answer yet, UDP without a second packet */
	FLOW_ESTABLISHED = 9,
	FLOW_HALF_OPEN_CLOSED = 10, /* the client's FIN came before any answer */
	FLOW_CLIENT_CLOSED = 11,    /* FIN of the client alone: the backend may go on sending */
	FLOW_BACKEND_CLOSED = 13,
	FLOW_CLOSING = 15, /* RST, or FIN from both ends */
};

enum flow_kind {
	FLOW_TO_LOCAL = 1, /* client -> frontend, backend on this node: index is the backend */
	/* client -> frontend, backend elsewhere, by tunnel: index is the backend */
	FLOW_TO_REMOTE = 2,
	FLOW_REPLY = 3, /* backend -> client: index is the frontend_address the source becomes */
	/* the same as 2, the source masqueraded as this node's with snat_port */
	FLOW_TO_REMOTE_SNAT = 4,
	/* backend -> this node's address and snat_port: index is the frontend_address, the client
	   is in the details */
	FLOW_SNAT_REPLY = 5,
	/* a pod of this node -> frontend, backend elsewhere, reached by routing with the pod's own
	   address: index is the backend */
	FLOW_TO_REMOTE_PLAIN = 6,
	/* a pod of this node, or this node -> its peer, without translation, whoever began it; for
	   policy. The key may be a digest, so index names this end for who reads the table: its
	   port, and above it the low half of the pod's device's ifindex; 0: not said */
	FLOW_POD = 7,
};

enum flow_flags {
	/* REPLY: the client is a pod of this node; the client's half and SNAT_REPLY: and its device
	   began the flow; POD: the peer is a pod of this node */
	FLOW_CLIENT_IS_LOCAL = 1,
	FLOW_IS_UDP = 2,     /* idle times differ, and an IPv6 key does not tell */
	FLOW_IS_SERVER = 4,  /* POD: the peer began it */
	FLOW_FROM_HOST = 8,  /* POD: and the peer is this node itself */
	FLOW_OF_NODE = 16,   /* the client's half: its frontend is FRONTEND_OF_NODE */
	FLOW_OF_HOST = 32,   /* POD: it is this node's own end, no pod's */
	FLOW_FORWARDED = 64, /* OF_HOST: the stack masquerades somebody as this node */
	/* POD: when it was last looked at, the peer was not this node; REPLY: what the client says,
	   a pod of this node, leaves it, and comes back by an uplink from another node */
	FLOW_LEAVES = 128,
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
	/* TO_REMOTE_SNAT and SNAT_REPLY; else the generation of the policy set that allowed it
	   (abi/policy.h), 0: nobody has judged it */
	__be16 snat_port;
};

struct flow_set {
	struct flow ways[WEIR_FLOW_WAYS];
};

/*
 * flow_details: what is seldom read, in a second array with the same numbering. Written while the
 * entry is BUSY, so the entry's word vouches for it too.
 */
struct flow_detail {
	struct address client;
	__be16 client_port;
	__u8 protocol;
	__u8 ifindex_high; /* POD: bits 16 to 23 of its device's ifindex */
	__u32 frontend_id; /* POD: the rule that allowed it */
};

struct flow_detail_set {
	struct flow_detail ways[WEIR_FLOW_WAYS];
};

/* fragments: the ports that only the first fragment of a datagram carries. */
struct fragment_key {
	struct address source;
	struct address destination;
	__be32 identification; /* IPv4's 16 bits in the first two bytes */
	__u32 protocol;
};

struct fragment_ports {
	__be16 source_port;
	__be16 destination_port;
};

/* 2^8 jiffies are 1.02 s at HZ=250; user space sets 7 for HZ=100 and 10 for HZ=1000. */
#define WEIR_FLOW_TICK_JIFFIES_SHIFT 8

/* Idle times, in ticks, after which an entry may be replaced (and user space frees it). An idle TCP
 * connection outlives the two hours of the usual keep-alive interval. */
#define WEIR_FLOW_IDLE_HALF_OPEN 60
/* A handshake that no word has followed looks half-open too, and its client must find its backend
 * again: RFC 5382 5. Nobody is kept out meanwhile, for such entries and their ports yield. */
#define WEIR_FLOW_IDLE_UNANSWERED_TCP  7440
#define WEIR_FLOW_IDLE_CLOSING	       120
#define WEIR_FLOW_IDLE_HALF_CLOSED     3600
#define WEIR_FLOW_IDLE_ESTABLISHED_TCP 86400
#define WEIR_FLOW_IDLE_ESTABLISHED_UDP 300
/* UDP silent for so long is replaced in a set that has nothing else to give: each question to a
 * resolver is a flow, and a few hundred per second would keep everybody else out. */
#define WEIR_FLOW_SILENT_UDP 30
/*
 * A masqueraded flow has two entries, and its port is its own as long as the SNAT_REPLY entry is
 * there. That entry is looked at with the first packet of each tick, so nobody, the sweeper
 * included, may free it within this many ticks of its last packet, whatever its state; the
 * TO_REMOTE_SNAT entry may go at any time.
 */
#define WEIR_FLOW_SNAT_REST 2
/* A port whose connection is over, or has not been answered, may go to another after this, when no
 * free one was found. */
#define WEIR_FLOW_SNAT_REUSE 10
/* An entry node sees one direction: whoever sends two packets looks established there. */
#define WEIR_FLOW_IDLE_ONE_SIDED_TCP 8000

#define WEIR_FLOW_TICK_SHIFT	0
#define WEIR_FLOW_TICK_BITS	20
#define WEIR_FLOW_STATE_SHIFT	20
#define WEIR_FLOW_STATE_BITS	4
#define WEIR_FLOW_VERSION_SHIFT 24

#endif
