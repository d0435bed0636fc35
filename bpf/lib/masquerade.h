/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets of masqueraded flows (lib/snat.h), out by an uplink in both directions: the client's to
 * the backend in this node's name, the backend's to the client in the frontend's.
 */
#ifndef WEIR_LIB_MASQUERADE_H
#define WEIR_LIB_MASQUERADE_H

#include "lib/deliver.h"
#include "lib/track.h"

/*
 * As scratch->ends says, past the host's stack, like a router: a hop less, and never more than
 * the uplinks carry.
 */
static __always_inline int route_out(ctx_t *ctx, const struct packet *packet,
				     struct scratch *scratch, enum verdict_reason reason,
				     const int family)
{
	const struct nexthop *uplinks = nexthop_find_uplinks(family);
	const struct nexthop_member *member;

	if (!uplinks)
		return drop(packet, REASON_NO_NEXTHOP);
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet, family);
	if (is_too_big(ctx, packet, uplinks))
		return answer_too_big(ctx, packet, uplinks->mtu, family);
	member = nexthop_choose_member(uplinks, path_hash(tuple_hash(&packet->tuple, family)));
	if (!member)
		return drop(packet, REASON_NO_NEXTHOP);
	if (!rewrite_ends(ctx, packet, &scratch->ends, 1, REWRITE_SOURCE | REWRITE_DESTINATION,
			  family) ||
	    !write_way(ctx, packet, member, family))
		return drop(packet, REASON_MALFORMED);
	count_packet(packet, reason);
	return ctx_leave_by(ctx, member->ifindex);
}

GLOBAL_FUNCTION int route_out_ipv4(ctx_t *ctx, const struct packet *packet, __u32 reason)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch ? route_out(ctx, packet, scratch, reason, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int route_out_ipv6(ctx_t *ctx, const struct packet *packet, __u32 reason)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch ? route_out(ctx, packet, scratch, reason, IPV6) : VERDICT_ABORTED;
}

static __always_inline int route_out_family(ctx_t *ctx, const struct packet *packet,
					    enum verdict_reason reason, const int family)
{
	return family == IPV4 ? route_out_ipv4(ctx, packet, reason)
			      : route_out_ipv6(ctx, packet, reason);
}

/* What a packet of the client becomes, in scratch->ends. */
static __always_inline void masquerade_as(struct scratch *scratch, const struct backend *backend,
					  __be16 snat_port, const int family)
{
	scratch->ends.source = *own_address(family);
	scratch->ends.source_port = snat_port;
	scratch->ends.destination = backend->address;
	scratch->ends.destination_port = backend->port;
}

/* Moves the flow's states, and turns both ends in scratch->ends. False: it has just gone. */
static __always_inline bool turn_snat_reply(struct scratch *scratch, const struct packet *packet,
					    struct flow_hit *hit, const int family)
{
	const struct frontend_address *frontend;
	struct flow_detail *detail = &scratch->detail;

	if (!flow_read_detail(hit, detail))
		return false;
	frontend = bpf_map_lookup_elem(&frontend_addresses, &hit->index);
	if (!frontend || frontend->protocol != packet->tuple.protocol)
		return false;
	scratch->ends.source = frontend->address;
	scratch->ends.source_port = frontend->port;
	scratch->ends.destination = detail->client;
	scratch->ends.destination_port = detail->client_port;
	follow_reply(packet, hit, &detail->client, detail->client_port, frontend, family);
	return true;
}

#endif
