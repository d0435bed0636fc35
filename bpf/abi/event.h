/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Why a packet was dropped, passed or refused: counted per CPU in `metrics`, and sampled into
 * `events`. */
#ifndef WEIR_ABI_EVENT_H
#define WEIR_ABI_EVENT_H

#include "types.h"

/* Values are stable: user space names metrics by them. Append only. */
enum verdict_reason {
	REASON_UNSPECIFIED = 0,
	/* forwarded */
	REASON_TO_LOCAL = 1,	/* translated, to a pod of this node */
	REASON_TO_REMOTE = 2,	/* tunnelled to the backend's node */
	REASON_FROM_TUNNEL = 3, /* decapsulated and delivered */
	REASON_REPLY = 4,    /* source turned back into the frontend's, sent past the host stack */
	REASON_SOCKET = 5,   /* translated at connect() or sendmsg() */
	REASON_NOT_OURS = 6, /* passed on untouched */
	REASON_PASSED_TO_STACK = 7,  /* translated, the rest left to the host's routing */
	REASON_ECHO = 8,	     /* ping answered */
	REASON_TO_REMOTE_SNAT = 9,   /* masqueraded, to the backend's node */
	REASON_SNAT_REPLY = 10,	     /* back to the client of a masqueraded flow */
	REASON_TO_REMOTE_PLAIN = 11, /* a pod's packet translated, routed to another node */
	REASON_ICMP_RELAYED = 12,    /* an ICMP error brought to the end that it is for */
	REASON_SECOND_CHOICE = 13,   /* no state here: passed on to the choice before a change */
	REASON_BFD = 14,	     /* taken by a BFD session, answered when due */
	REASON_TO_HOST =
	    15, /* a client's, translated, to a backend that the host's routing finds */
	/* a client's, translated, to an address of this node's own, wherever the backend is:
	   counted apart from what announced addresses bring */
	REASON_OF_NODE = 16,
	/* what a pod of this node sends, translated, to a backend of this node: it comes
	   whatever is announced */
	REASON_OF_POD = 17,
	/* refused: the client learns at once */
	REASON_NO_ENDPOINT = 32,
	REASON_NO_SUCH_PORT = 33,
	/* dropped */
	REASON_NO_LOCAL_ENDPOINT = 64, /* Local policy and no endpoint here */
	REASON_UNKNOWN_TUNNEL_SOURCE = 65,
	REASON_MALFORMED_TUNNEL = 66,
	REASON_UNKNOWN_BACKEND = 67, /* a tunnelled choice this node does not have */
	REASON_NO_NEXTHOP = 68,
	REASON_TOO_BIG = 69,
	REASON_FLOW_SET_FULL = 70, /* every way of the set holds an established flow */
	REASON_MALFORMED = 71,
	REASON_TTL_EXCEEDED = 72,
	REASON_FRAGMENT = 73,
	REASON_UNKNOWN_FRONTEND = 74,	 /* tunnelled to a Service this node does not have */
	REASON_ICMP_UNANSWERED = 75,	 /* to a Service's address, not an echo request */
	REASON_SOURCE_RANGE = 76,	 /* loadBalancerSourceRanges does not hold the source */
	REASON_UNALLOCATED_ADDRESS = 77, /* inside a ServiceCIDR, and no Service's */
	REASON_SNAT_EXHAUSTED = 78,	 /* no free source port towards this backend */
	REASON_ANSWER_LIMITED = 79,	 /* refusals and ICMP errors are limited per second */
	REASON_FORGED_SOURCE = 81,	 /* an address not its device's, or a Service's */
	REASON_BFD_REFUSED = 82,	 /* of a BFD neighbour, but not to be believed */
	REASON_POLICY_INGRESS = 83,	 /* policy denies it at its destination */
	REASON_POLICY_EGRESS = 84,	 /* policy denies it at its source */
	/* not a verdict: with the audited policies in force it were the other one */
	REASON_POLICY_AUDITED = 85,
	/* not a verdict: drop events that found no room in the ring */
	REASON_EVENT_LOST = 80,
	REASON_COUNT = 96,
};

/* metrics[reason], per CPU. */
struct metric {
	__u64 packets;
	__u64 bytes;
};

enum event_kind {
	EVENT_DROP = 1,
	/* the audited policies would have dropped what passes, or let pass what is dropped; the
	   reason says in which direction */
	EVENT_WOULD_DROP = 2,
	EVENT_WOULD_PASS = 3,
};

struct packet_event {
	__u64 time_ns; /* since boot */
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 kind;    /* enum event_kind */
	__u16 reason; /* enum verdict_reason */
	__u32 ifindex;
	__u32 service_id; /* 0: no Service was found; of policy's, the rule */
};

#endif
