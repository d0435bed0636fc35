/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Answers that come by an uplink for a pod of this node whose packets were balanced at its device
 * (lib/from_pod.h): their source becomes the Service's address again, and they go into the pod's
 * device, or on to the host's routing where that takes no redirection.
 */
#ifndef WEIR_LIB_ANSWER_POD_H
#define WEIR_LIB_ANSWER_POD_H

#include "lib/deliver.h"
#include "lib/rewrite.h"
#include "lib/track.h"

/* Moves the flow's states, and names the frontend in scratch->ends. False: it has just gone. */
static __always_inline bool turn_answer(struct scratch *scratch, const struct packet *packet,
					const int family)
{
	const struct frontend_address *frontend;
	struct flow_hit hit;

	flow_identify(&scratch->mate_id, &packet->tuple, family);
	frontend = find_answered(packet, &scratch->mate_id, &hit);
	if (!frontend)
		return false;
	scratch->ends.source = frontend->address;
	scratch->ends.source_port = frontend->port;
	follow_reply(packet, &hit, &packet->tuple.destination, packet->tuple.destination_port,
		     frontend, family);
	return true;
}

GLOBAL_FUNCTION int turn_answer_ipv4(const struct packet *packet)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch && turn_answer(scratch, packet, IPV4);
}

GLOBAL_FUNCTION int turn_answer_ipv6(const struct packet *packet)
{
	struct scratch *scratch = scratch_find();

	return packet && scratch && turn_answer(scratch, packet, IPV6);
}

static __always_inline int answer_pod(ctx_t *ctx, const struct packet *packet, const int family)
{
	const struct endpoint *endpoint = endpoint_find(&packet->tuple.destination);
	const struct nexthop *nexthop = endpoint ? nexthop_find(endpoint->nexthop_id) : NULL;
	const struct nexthop_member *member = NULL;
	struct scratch *scratch = scratch_find();

	if (!scratch)
		return VERDICT_ABORTED;
	/* Where policy is enforced the pod's device looks whether the flow may go on. */
	if (!node_config.enforces_policy && nexthop && nexthop->kind == NEXTHOP_KIND_DEVICE &&
	    nexthop->flags & POD_DEVICE_WAYS)
		member = nexthop_choose_member(nexthop, 0);
	if (member && packet->ttl <= 1)
		return answer_time_exceeded(ctx, packet, family);
	if (member && is_too_big(ctx, packet, nexthop))
		return answer_too_big(ctx, packet, nexthop->mtu, family);
	if (!rewrite_ends(ctx, packet, &scratch->ends, member != NULL, REWRITE_SOURCE, family))
		return drop(packet, REASON_MALFORMED);
	if (!member) {
		count_packet(packet, REASON_PASSED_TO_STACK);
		return VERDICT_PASS;
	}
	if (!write_way(ctx, packet, member, family))
		return drop(packet, REASON_MALFORMED);
	count_packet(packet, REASON_REPLY);
	return ctx_redirect_to_pod(ctx, nexthop, member->ifindex, family);
}

GLOBAL_FUNCTION int answer_pod_ipv4(ctx_t *ctx, const struct packet *packet)
{
	return packet ? answer_pod(ctx, packet, IPV4) : VERDICT_ABORTED;
}

GLOBAL_FUNCTION int answer_pod_ipv6(ctx_t *ctx, const struct packet *packet)
{
	return packet ? answer_pod(ctx, packet, IPV6) : VERDICT_ABORTED;
}

/* False: the flow is no more; the packet is nobody's answer. */
static __always_inline bool bring_answer(ctx_t *ctx, const struct packet *packet, int *verdict,
					 const int family)
{
	if (!(family == IPV4 ? turn_answer_ipv4(packet) : turn_answer_ipv6(packet)))
		return false;
	*verdict = family == IPV4 ? answer_pod_ipv4(ctx, packet) : answer_pod_ipv6(ctx, packet);
	return true;
}

#endif
