/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Next hops: rows, and the member of a row that a flow takes. */
#ifndef WEIR_LIB_NEXTHOP_H
#define WEIR_LIB_NEXTHOP_H

#include <linux/if_ether.h>
#include "lib/hash.h"
#include "maps.h"

static __always_inline const struct nexthop *nexthop_find(__u32 nexthop_id)
{
	return bpf_map_lookup_elem(&nexthops, &nexthop_id);
}

/* Whether the pod's device is a port of that bridge. */
static __always_inline bool is_bridged(const struct endpoint *endpoint, __u32 bridge)
{
	const struct nexthop *device = nexthop_find(endpoint->nexthop_id);

	return device && device->kind == NEXTHOP_KIND_DEVICE && device->via == bridge;
}

/* The member itself, or the next one whose neighbour is not silent. */
static __always_inline __u32 nexthop_avoid_down(const struct nexthop *nexthop, __u32 index)
{
	__u32 live = ~nexthop->members_down & ((1U << nexthop->member_count) - 1);
	__u32 later = live >> index << index;
	__u32 lowest = later ? later & -later : live & -live;

	if (!lowest)
		return index;
	return (lowest > 1) + (lowest > 2) + (lowest > 4);
}

_Static_assert(WEIR_NEXTHOP_MEMBERS == 4, "the number of a bit among four");

/* NULL: nothing leads there now. */
static __always_inline const struct nexthop_member *
nexthop_choose_member(const struct nexthop *nexthop, __u32 hash)
{
	__u32 index = hash_scale(hash, nexthop->member_count);

	if (nexthop->member_count == 0 || index >= WEIR_NEXTHOP_MEMBERS)
		return NULL;
	if (nexthop->members_down)
		index = nexthop_avoid_down(nexthop, index) & (WEIR_NEXTHOP_MEMBERS - 1);
	return &nexthop->members[index];
}

/* The group that leads out of this node. */
static __always_inline const struct nexthop *nexthop_find_uplinks(const int family)
{
	return nexthop_find(family == IPV4 ? NEXTHOP_UPLINKS_IPV4 : NEXTHOP_UPLINKS_IPV6);
}

static __always_inline void ethernet_write(struct ethhdr *ethernet,
					   const struct nexthop_member *member, __be16 protocol)
{
	__builtin_memcpy(ethernet->h_dest, member->destination.bytes, ETH_ALEN);
	__builtin_memcpy(ethernet->h_source, member->source.bytes, ETH_ALEN);
	ethernet->h_proto = protocol;
}

#endif
