/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A backend's answer on its way to the client. The source becomes the frontend's address and
 * port; the frame leaves by an uplink, or into the device of a client that is a pod of this node.
 */
#ifndef WEIR_LIB_REPLY_H
#define WEIR_LIB_REPLY_H

#include "lib/mss.h"
#include "lib/nexthop.h"
#include "lib/rewrite.h"
#include "lib/track.h"
#include "lib/verdict.h"

static __always_inline bool choose_way(struct nexthop_member *way, const struct packet *packet,
				       __u8 flags, const int family)
{
	const __u32 row = family == IPV4 ? NEXTHOP_UPLINKS_IPV4 : NEXTHOP_UPLINKS_IPV6;
	const struct nexthop_member *member;
	const struct endpoint *endpoint;
	const struct nexthop *uplinks;

	if (flags & FLOW_CLIENT_IS_LOCAL) {
		endpoint = endpoint_find(&packet->tuple.destination);
		if (!endpoint)
			return false;
		way->ifindex = endpoint->ifindex;
		way->destination = endpoint->pod;
		way->source = endpoint->host;
		return true;
	}
	uplinks = nexthop_find(row);
	if (!uplinks)
		return false;
	member = nexthop_choose_member(uplinks, path_hash(tuple_hash(&packet->tuple, family)));
	if (!member)
		return false;
	*way = *member;
	return true;
}

/* Translated but not sent: the stack routes it. */
static __always_inline int leave_to_stack(const struct packet *packet)
{
	count_packet(packet, REASON_PASSED_TO_STACK);
	return VERDICT_PASS;
}

static __always_inline int drop_reply(const struct packet *packet)
{
	packet_drop(packet, REASON_MALFORMED);
	return VERDICT_DROP;
}

/* The hop that routing would take off is taken here when the stack does not route it. */
static __always_inline bool translate_from_backend(ctx_t *ctx, const struct packet *packet,
						   const struct frontend_address *frontend,
						   bool is_sent, const int family)
{
	const struct rewrite to = {
	    .source = &frontend->address,
	    .source_port = frontend->port,
	    .hops = is_sent,
	};

	mss_clamp(ctx, packet, family);
	return rewrite_packet(ctx, packet, &to, REWRITE_SOURCE, family);
}

/* What reply() says of a packet that is no answer. */
#define NOT_A_REPLY -2

static __always_inline int reply(ctx_t *ctx, const struct packet *packet, const int family)
{
	const struct frontend_address *frontend;
	struct nexthop_member way = {};
	struct flow_id id = {};
	struct flow_hit hit;
	bool is_sent;

	flow_identify(&id, &packet->tuple, family);
	frontend = find_answered(packet, &id, &hit);
	if (!frontend)
		return NOT_A_REPLY;
	follow_reply(packet, &hit, &packet->tuple.destination, packet->tuple.destination_port,
		     frontend, family);
	is_sent = packet->ttl > 1 && choose_way(&way, packet, hit.flags, family);
	if (!translate_from_backend(ctx, packet, frontend, is_sent, family))
		return drop_reply(packet);
	if (!is_sent)
		return leave_to_stack(packet);
	if (!ctx_write_link(ctx, &way))
		return drop_reply(packet);
	count_packet(packet, REASON_REPLY);
	return ctx_leave_by(ctx, way.ifindex);
}

#endif
