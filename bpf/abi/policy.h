/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Policy: what one direction of a new flow is judged by. The subject is a pod of this node (or the
 * node itself), the peer is the flow's other end.
 *
 *   policy_subjects[subject] -> set (:: is the node itself, whose set is policy_host[0] too)
 *   identities[peer], else identity_prefixes[peer] -> identity, scope
 *   policy_peers[set, direction, identity] -> cell, policy_cells[cell] -> class;
 *     else the set's default of that scope -> class
 *   policy_classes[class], and policy_ports for one that asks for ports -> verdict and rule
 *
 * Zero is closed: set 0, cell 0, class 0 and whatever nobody wrote let nothing pass. The numbers
 * are this node's own. A class never changes: other content is another class, whose rows are
 * written before anything names it. A cell is the peers of one direction of a set that are judged
 * alike: its word changes, and thousands of them are judged otherwise from that moment.
 */
#ifndef WEIR_ABI_POLICY_H
#define WEIR_ABI_POLICY_H

#include "types.h"

enum policy_direction {
	POLICY_INGRESS = 0,
	POLICY_EGRESS = 1,
	POLICY_DIRECTIONS = 2,
};

/* Which of a set's defaults holds for a peer that has no row. */
enum policy_scope {
	SCOPE_OUTSIDE = 0,
	SCOPE_POD = 1,
	SCOPE_NODE = 2,
	SCOPE_COUNT = 3,
};

/* identities: exact addresses. identity_prefixes: the rest, by their longest prefix (cidr_key). */
struct identity {
	__u32 number;
	__u32 scope; /* enum policy_scope */
};

/* Where no prefix holds an address either. */
#define WEIR_IDENTITY_WORLD 2

struct policy_subject {
	__u32 set;
	/* classes that judge, and nothing else does, where a Service leads it to itself */
	__u32 led_back[POLICY_DIRECTIONS];
};

enum policy_set_flags {
	/* no policy says anything in this direction: 1 << enum policy_direction */
	POLICY_SET_INGRESS_OPEN = 1,
	POLICY_SET_EGRESS_OPEN = 2,
	/* some of its rows found no room: what is not open is closed */
	POLICY_SET_LOCKED = 4,
	/* policies that are audited alone do: all is allowed, and some of it told of */
	POLICY_SET_INGRESS_AUDITED = 8,
	POLICY_SET_EGRESS_AUDITED = 16,
};

struct policy_set {
	/* of what the set says: verdicts carry it, and are void when it is not current any more */
	__u32 generation;
	__u32 flags; /* enum policy_set_flags */
	__u32 ingress_defaults[SCOPE_COUNT];
	__u32 egress_defaults[SCOPE_COUNT];
};

struct policy_peer_key {
	__u32 set_and_direction; /* set * 2 + enum policy_direction */
	__u32 identity;
};

/* Index of a protocol in a class. */
enum policy_protocol {
	POLICY_TCP = 0,
	POLICY_UDP = 1,
	POLICY_SCTP = 2,
	POLICY_ICMP = 3, /* of IPv4; its port is the message's type, and so it is for IPv6's */
	POLICY_ICMPV6 = 4,
	POLICY_OTHER = 5, /* its port is 0 */
	POLICY_PROTOCOLS = 6,
};

enum policy_verdict_flags {
	POLICY_ALLOWED = 1,
	/* denied, but a flow that was allowed when it began goes on */
	POLICY_KEEPS_EXISTING = 2,
};

/* policy_ports: the verdict from port `first` up to the next row's. */
struct policy_port {
	__u16 first;
	__u8 flags; /* enum policy_verdict_flags */
	__u8 pad0;
	__u32 rule_id;
	/* not 0: with the audited policies in force the verdict were the other one, by this rule */
	__u32 would_be_rule_id;
};

#define WEIR_POLICY_STARTS 8

/*
 * The rows of protocol p are base + starts[p] up to, not including, base + starts[p + 1], ascending
 * by `first`, which is 0 in the first of them. starts[POLICY_PROTOCOLS] == 0: `uniform` is the
 * verdict whatever the protocol and port, as it is for most classes.
 */
struct policy_class {
	struct policy_port uniform;
	__u32 base;
	__u16 starts[WEIR_POLICY_STARTS];
};

/* Rules that no policy wrote; registered ones follow. */
enum policy_rule {
	POLICY_RULE_NONE = 0,
	POLICY_RULE_DEFAULT = 1,   /* no policy has an opinion */
	POLICY_RULE_SELF = 2,	   /* a pod to its own address */
	POLICY_RULE_OWN_NODE = 3,  /* the node's own traffic to its pods */
	POLICY_RULE_NO_ROOM = 4,   /* no row was left for what policy says: closed */
	POLICY_RULE_FAIL_SAFE = 5, /* a port of the node that stays reachable */
	POLICY_RULE_UNKNOWN = 6,   /* nothing is known of the subject yet: closed */
	/* to a Service, and nobody here leads it to a backend by which it could be judged: closed
	   to whom something may be denied */
	POLICY_RULE_UNTRANSLATED = 7,
};

/*
 * known_netns[cookie of a pod's network namespace]: its pod is known, and its rows are written. A
 * cookie is never used again while the node is up, an address is: so a pod that got the address of
 * one that has gone is told from that one.
 */
enum known_netns_kind {
	NETNS_JUDGED = 1,   /* its device judges what it sends and gets */
	NETNS_UNJUDGED = 2, /* nothing could judge it, and no policy says anything of it */
};

/*
 * noted_netns[cookie of a namespace that is not known]: whose it is, for user space to look at. The
 * pod's cgroup is one of these, by the kubelet's layout (the other is a class of pods, or a
 * container).
 */
struct noted_netns {
	__u64 below_root; /* ids of cgroups */
	__u64 below_that; /* 0: none */
};

/* policy_generations[number]: 1 while verdicts of this generation hold. 0 never does. */
#define WEIR_POLICY_GENERATIONS (1 << 16)

#endif
