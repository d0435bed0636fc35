/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services: from a frontend (address, port, protocol) through a slot table to a backend.
 *
 *   frontends[address, port, protocol] -> slot_range -> slots[base + i] -> backends[id]
 *
 * A changed slot table is written beside the old one; then the frontend's value is replaced, which
 * readers see as a whole. The range before the change stays readable for a grace period.
 */
#ifndef WEIR_ABI_SERVICE_H
#define WEIR_ABI_SERVICE_H

#include "types.h"

struct frontend_key {
	struct address address;
	__be16 port;   /* 0: catches the ports that no Service defines on this address */
	__u8 protocol; /* IPPROTO_*; 0 together with port 0 */
	__u8 pad0;
};

/*
 * frontend_filter: three bits per destination address, all in one 64-bit word, so that a packet
 * that is nobody's costs one load instead of three look-ups. The address's four 32-bit words (as
 * they lie in memory, little-endian) exclusive-or'ed, the upper half of that exclusive-or'ed into
 * the lower (neighbours differ in the upper alone), times WEIR_FILTER_MULTIPLIER modulo 2^32: the
 * upper WEIR_FILTER_WORD_ORDER bits are the word's number. Times WEIR_FILTER_MULTIPLIER_2: each six
 * bits, from the uppermost on, are the number of a bit in it. 512 KiB, in which one stranger in
 * fifty has its bits set when there are 100 000 Services with two addresses of each family. All
 * bits set mean "look", a clear one "certainly not ours": user space sets them before the address's
 * first frontend and may clear them after the last.
 *
 * An address that no Service has is ours too when a ServiceCIDR holds it: for each ServiceCIDR the
 * bits (one each, by the first multiplier alone) of the networks of WEIR_FILTER_NETWORK_IPV4 or
 * _IPV6 bits that it reaches are set, in rows of their own behind the others. Were they among them,
 * all of a network's strangers would be looked up as soon as one address shared its bits.
 */
#define WEIR_FILTER_NETWORK_IPV4  16
#define WEIR_FILTER_NETWORK_IPV6  64
#define WEIR_FILTER_WORD_ORDER	  16
#define WEIR_FILTER_BITS	  (64 << WEIR_FILTER_WORD_ORDER)
#define WEIR_FILTER_NETWORK_ORDER 15 /* a page */
#define WEIR_FILTER_ALL_BITS	  (WEIR_FILTER_BITS + (1 << WEIR_FILTER_NETWORK_ORDER))
#define WEIR_FILTER_MULTIPLIER	  0x9e3779b1
#define WEIR_FILTER_MULTIPLIER_2  0x85ebca77

/* size 0: this set has no usable endpoint. */
struct slot_range {
	__u32 base;
	__u32 size;
};

enum frontend_flags {
	/* reachable from outside: LoadBalancer address, externalIP, NodePort, hostPort */
	FRONTEND_EXTERNAL = 1,
	FRONTEND_RANDOM = 2,	     /* any slot for a new flow, instead of its hash's */
	FRONTEND_EXTERNAL_LOCAL = 4, /* externalTrafficPolicy: Local */
	FRONTEND_INTERNAL_LOCAL = 8, /* internalTrafficPolicy: Local */
	/* backends on other nodes are reached by tunnel and answer directly; else by SNAT */
	FRONTEND_DSR = 16,
	/* some node has a usable endpoint: an empty set means DROP, not REJECT */
	FRONTEND_ANY_ENDPOINT = 32,
	/* only sources that `source_ranges` holds for this service_id are admitted */
	FRONTEND_SOURCE_RANGES = 64,
	/* a loopback address: sockets alone, never a packet */
	FRONTEND_SOCKET_ONLY = 128,
	FRONTEND_OF_NODE = 256, /* this node's own address: NodePort, hostPort */
};

struct frontend {
	__u32 frontend_id;    /* row of frontend_addresses; what a flow's reply names */
	__u32 service_id;     /* the object that asked for it; user space knows its name */
	__u32 flags;	      /* enum frontend_flags */
	__u32 affinity_ticks; /* idle time of session affinity in flow ticks; 0: none */
	/* The Service port: all its frontends, of both families, share it, and so their affinity.
	 */
	__u32 port_id;
	__u32 pad0;
	struct slot_range cluster;
	struct slot_range cluster_before;
	struct slot_range local;
	struct slot_range local_before;
};

/* affinity: a client's backend, for all frontends of one Service port. */
struct affinity_key {
	struct address client;
	__u32 port_id;
};

struct affinity {
	__u32 backend_id;
	__u32 tick; /* of the last new connection */
};

/* source_ranges (LPM): who may speak to a Service's load-balancer addresses. */
struct source_range_key {
	__u32 prefix_bits; /* 32 for service_id and the prefix's own, IPv4's counted from 96 */
	__u32 service_id;
	struct address source;
};

/* service_cidrs (LPM): ranges that ClusterIPs come from; no frontend there means nobody's. */
struct cidr_key {
	__u32 prefix_bits; /* IPv4's counted from 96 */
	struct address address;
};

/* frontend_addresses[frontend_id]: what a reply's source is rewritten to. */
struct frontend_address {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 pad0;
	__u32 service_id;
};

/* Elements of mmapable arrays are rounded to 8 bytes, so two slots share one element. */
struct slot_pair {
	__u32 backend_id[2];
};

enum backend_state {
	BACKEND_UNUSED = 0,
	BACKEND_ACTIVE = 1,
	BACKEND_TERMINATING = 2, /* keeps its flows, gets no new ones unless nothing else is left */
	BACKEND_GONE = 3,	 /* flows that point here are judged afresh */
};

enum backend_flags {
	BACKEND_LOCAL = 1, /* on this node: nexthop is the pod's device */
};

/* backends[id]; id 0 is never used, so a zeroed slot means "none". */
struct backend {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 state;	  /* enum backend_state */
	__u32 flags;	  /* enum backend_flags */
	__u32 nexthop_id; /* the pod's device, or the tunnel to the backend's node; 0: unresolved */
	__u32 node_id;
};

/* backend_ids: how a node that receives a tunnelled packet finds its own number for the choice. */
struct backend_key {
	struct address address;
	__be16 port;
	__u8 protocol;
	__u8 pad0;
};

#endif
