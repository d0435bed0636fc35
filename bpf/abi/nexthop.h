/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Next hops: where a frame goes, kept apart from backends and flows so that one write (a link went
 * down, a neighbour changed its MAC) mends every flow that uses it.
 *
 * A device next hop has exactly one member (a local pod). A group has the uplinks that are up now;
 * the flow's hash picks one. A tunnel names a remote node and, in `via`, the group that leads
 * there.
 */
#ifndef WEIR_ABI_NEXTHOP_H
#define WEIR_ABI_NEXTHOP_H

#include "types.h"

/* A node with more uplinks than this uses the first ones; user space says so. */
#define WEIR_NEXTHOP_MEMBERS 4

/* Fixed rows. Rows from NEXTHOP_FIRST_FREE on are allocated by user space. */
enum nexthop_row {
	NEXTHOP_NONE = 0,
	NEXTHOP_UPLINKS_IPV4 = 1,
	NEXTHOP_UPLINKS_IPV6 = 2,
	NEXTHOP_FIRST_FREE = 16,
};

enum nexthop_kind {
	NEXTHOP_KIND_UNUSED = 0,
	NEXTHOP_KIND_DEVICE = 1,
	NEXTHOP_KIND_GROUP = 2,
	NEXTHOP_KIND_TUNNEL = 3,
};

enum nexthop_flags {
	NEXTHOP_REDIRECT = 1,	 /* the device takes redirected XDP frames (its peer has NAPI) */
	NEXTHOP_TUNNEL_IPV6 = 2, /* outer header is IPv6 */
	NEXTHOP_BYPASS = 4, /* socket buffers may skip the device: its end is in another namespace,
			       and no queue shapes what goes in */
};

struct nexthop_member {
	__u32 ifindex;
	struct mac_address destination;
	struct mac_address source;
};

struct nexthop {
	__u8 kind;	   /* enum nexthop_kind */
	__u8 flags;	   /* enum nexthop_flags */
	__u8 member_count; /* members that are up; 0: nothing leads there now */
	__u8 pad0;
	/* A bit for each member whose neighbour has fallen silent (lib/bfd.h), until user space has
	 * taken it out of the row. When it is all of them, none is believed dead. */
	__u32 members_down;
	__u32 via; /* tunnel: row of the group that leads to `remote`; device: its bridge, or 0 */
	__u32
	    mtu; /* bytes of IP packet that fit the device or the tunnel, outer headers taken off */
	struct address remote; /* tunnel: the other node's tunnel address */
	struct nexthop_member members[WEIR_NEXTHOP_MEMBERS];
};

/* nodes: the addresses that tunnelled packets may come from. */
struct node {
	__u32 node_id;
	__u32 nexthop_id;
};

/* netns_endpoints: by network namespace cookie, the addresses a socket there speaks from; :: when
 * it has none of the family. */
struct netns_endpoint {
	struct address ipv4;
	struct address ipv6;
};

/* endpoints: local pod addresses. */
struct endpoint {
	__u32 ifindex;
	__u32 nexthop_id;
	struct mac_address pod;
	struct mac_address host;
};

#endif
