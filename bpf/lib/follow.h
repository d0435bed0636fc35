/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet whose flow is known: what nearly all packets are. All of it is inlined into the program,
 * for a call of a function or a helper costs as much as a look-up (6 to 7 ns where the kernel
 * guards returns against speculation); calls are left to what happens once a tick, and to answers
 * for pods that are balanced at their device.
 */
#ifndef WEIR_LIB_FOLLOW_H
#define WEIR_LIB_FOLLOW_H

#include "lib/answer_pod.h"
#include "lib/deliver.h"
#include "lib/foresee.h"
#include "lib/masquerade.h"
#include "lib/police.h"
#include "lib/track.h"

/* A client's half of a flow that may come by an uplink. What came through a tunnel is passed on
 * once: two nodes that disagree must not play ball with it. */
static __always_inline bool may_follow(const struct packet *packet, const struct flow_hit *hit)
{
	if (hit->kind == FLOW_TO_LOCAL)
		return true;
	if (hit->kind == FLOW_TO_REMOTE)
		return packet->is_tunnelled <= TUNNELLED_CHOSEN;
	return hit->kind == FLOW_TO_REMOTE_SNAT && !packet->is_tunnelled;
}

/* A node that left takes its next hop along: its flows are judged afresh at once, even while some
 * endpoint list still names it. */
static __always_inline bool is_reachable(const struct backend *backend, const struct flow_hit *hit)
{
	return backend && (hit->kind != FLOW_TO_REMOTE || backend->nexthop_id != NEXTHOP_NONE);
}

/* The answer to a masqueraded flow. */
static __always_inline int follow_snat_reply(ctx_t *ctx, const struct packet *packet,
					     struct scratch *scratch, struct flow_hit *hit,
					     const int family)
{
	if (!turn_snat_reply(scratch, packet, hit, family))
		return drop(packet, REASON_UNKNOWN_FRONTEND);
	return route_out(ctx, packet, scratch, REASON_SNAT_REPLY, family);
}

/* A further packet of a flow of this node's pod, with its address, or with that of another that
 * answers it: no uplink brings one. */
static __always_inline bool is_forged_of_pod(const struct packet *packet,
					     const struct flow_hit *hit)
{
	return node_config.enforces_policy && hit->flags & FLOW_CLIENT_IS_LOCAL &&
	       !packet->is_tunnelled && endpoint_find(&packet->tuple.source);
}

static __always_inline int follow_hit(ctx_t *ctx, struct packet *packet, struct scratch *scratch,
				      struct flow_hit *hit, const int family)
{
	const struct backend *backend;
	enum followed followed;
	int verdict;

	if (is_forged_of_pod(packet, hit))
		return drop(packet, REASON_FORGED_SOURCE);
	if (hit->kind == FLOW_SNAT_REPLY && !packet->is_tunnelled)
		return follow_snat_reply(ctx, packet, scratch, hit, family);
	if (hit->kind == FLOW_REPLY && hit->flags & FLOW_CLIENT_IS_LOCAL && !packet->is_tunnelled)
		return bring_answer(ctx, packet, &verdict, family) ? verdict : NOT_BOUND;
	backend = backend_find(hit->index);
	if (!may_follow(packet, hit) || !is_reachable(backend, hit))
		return NOT_BOUND;
	followed = follow_forward(packet, hit, family);
	if (followed == FOLLOWED_UNPLACED)
		return drop(packet, REASON_FLOW_SET_FULL);
	if (followed == FOLLOWED_VOID)
		return NOT_BOUND;
	packet->is_of_node = !!(hit->flags & FLOW_OF_NODE);
	if (hit->kind == FLOW_TO_REMOTE_SNAT) {
		masquerade_as(scratch, backend, hit->snat_port, family);
		return route_out(ctx, packet, scratch,
				 reason_of_client(packet, REASON_TO_REMOTE_SNAT), family);
	}
	if (node_config.enforces_policy && hit->kind == FLOW_TO_LOCAL &&
	    !police_delivery(packet, hit))
		return VERDICT_DROP;
	if (backend->flags & BACKEND_LOCAL)
		return deliver_local(ctx, packet, backend, family);
	if (packet->is_tunnelled && hit->kind == FLOW_TO_REMOTE)
		packet->second_id = hit->index;
	return deliver_remote(ctx, packet, backend, packet->second_id == hit->index, family);
}

/* scratch->id is the packet's flow afterwards, whatever is said of it. */
static __always_inline int follow(ctx_t *ctx, struct packet *packet, struct scratch *scratch,
				  const int family)
{
	struct flow_hit hit;

	flow_identify_inline(&scratch->id, &packet->tuple, family);
	if (is_first_packet(packet))
		return NOT_BOUND;
	if (is_guessed_first(scratch, packet))
		(void)(family == IPV4 ? foresee_ipv4(packet) : foresee_ipv6(packet));
	if (!flow_find(&scratch->id, &hit))
		return NOT_BOUND;
	packet->is_foreseen = false;
	learn_further(scratch, packet, &hit);
	return follow_hit(ctx, packet, scratch, &hit, family);
}

#endif
