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
 * As scratch->rewrite says, past the host's stack, like a router: a hop less, and never more than
 * the uplinks carry.
 */
static __always_inline int route_out(ctx_t *ctx, const struct packet *packet,
				     enum verdict_reason reason, const int family)
{
	const struct nexthop *uplinks = nexthop_find_uplinks(family);
	struct scratch *scratch = scratch_find();
	const struct nexthop_member *member;

	if (!scratch || !uplinks)
		return drop(packet, REASON_NO_NEXTHOP);
	if (packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet, family);
	if (is_too_big(ctx, packet, uplinks))
		return answer_too_big(ctx, packet, uplinks->mtu, family);
	member = nexthop_choose_member(uplinks, path_hash(tuple_hash(&packet->tuple, family)));
	if (!member)
		return drop(packet, REASON_NO_NEXTHOP);
	scratch->rewrite.hops = 1;
	if (!rewrite_packet(ctx, packet, &scratch->rewrite, REWRITE_SOURCE | REWRITE_DESTINATION,
			    family) ||
	    !write_way(ctx, packet, member, family))
		return drop(packet, REASON_MALFORMED);
	count_packet(packet, reason);
	return ctx_leave_by(ctx, member->ifindex);
}

GLOBAL_FUNCTION int route_out_ipv4(ctx_t *ctx, const struct packet *packet, __u32 reason)
{
	return packet ? route_out(ctx, packet, reason, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int route_out_ipv6(ctx_t *ctx, const struct packet *packet, __u32 reason)
{
	return packet ? route_out(ctx, packet, reason, IPV6) : VERDICT_ABORTED;
}

static __always_inline int route_out_family(ctx_t *ctx, const struct packet *packet,
					    enum verdict_reason reason, const int family)
{
	return family == IPV4 ? route_out_ipv4(ctx, packet, reason)
			      : route_out_ipv6(ctx, packet, reason);
}

static __always_inline int masquerade(ctx_t *ctx, const struct packet *packet, __u32 backend_id,
				      __be16 snat_port, const int family)
{
	const struct backend *backend = backend_find(backend_id);
	struct scratch *scratch = scratch_find();

	if (!backend || !scratch)
		return drop(packet, REASON_UNKNOWN_BACKEND);
	scratch->rewrite.source = snat_address(family);
	scratch->rewrite.source_port = snat_port;
	scratch->rewrite.destination = backend->address;
	scratch->rewrite.destination_port = backend->port;
	return route_out_family(ctx, packet, REASON_TO_REMOTE_SNAT, family);
}

/* Moves the flow's states, and turns both ends in scratch->rewrite. False: it has just gone. */
static __always_inline bool turn_snat_reply(struct scratch *scratch, const struct packet *packet,
					    const int family)
{
	const struct frontend_address *frontend;
	struct flow_detail *detail = &scratch->detail;
	struct flow_hit hit;

	flow_identify(&scratch->mate_id, &packet->tuple, family);
	if (!flow_find(&scratch->mate_id, &hit) || hit.kind != FLOW_SNAT_REPLY ||
	    !flow_read_detail(&hit, detail))
		return false;
	frontend = bpf_map_lookup_elem(&frontend_addresses, &hit.index);
	if (!frontend || frontend->protocol != packet->tuple.protocol)
		return false;
	scratch->rewrite.source = frontend->address;
	scratch->rewrite.source_port = frontend->port;
	scratch->rewrite.destination = detail->client;
	scratch->rewrite.destination_port = detail->client_port;
	follow_reply(packet, &hit, &detail->client, detail->client_port, frontend, family);
	return true;
}

GLOBAL_FUNCTION int turn_snat_reply_ipv4(const struct packet *packet)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch && turn_snat_reply(scratch, packet, IPV4);
}

GLOBAL_FUNCTION int turn_snat_reply_ipv6(const struct packet *packet)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch && turn_snat_reply(scratch, packet, IPV6);
}

/* The answer to a masqueraded flow. */
static __always_inline int unmasquerade(ctx_t *ctx, const struct packet *packet, const int family)
{
	int is_turned =
	    family == IPV4 ? turn_snat_reply_ipv4(packet) : turn_snat_reply_ipv6(packet);

	if (!is_turned)
		return drop(packet, REASON_UNKNOWN_FRONTEND);
	return route_out_family(ctx, packet, REASON_SNAT_REPLY, family);
}

#endif
