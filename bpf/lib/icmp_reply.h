/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors that a backend sends to a Service's client: a closed port, a datagram refused. They
 * quote the client's packet as the backend got it, and tell of the frontend again when they leave.
 */
#ifndef WEIR_LIB_ICMP_REPLY_H
#define WEIR_LIB_ICMP_REPLY_H

#include "lib/icmp.h"
#include "lib/reply.h"

static __always_inline bool error_of_backend(ctx_t *ctx, const struct packet *packet,
					     struct scratch *scratch, struct flow_hit *hit,
					     const int family)
{
	const struct frontend_address *frontend;

	if (!quoted_parse(ctx, packet, &scratch->quoted, family))
		return false;
	tuple_reverse(&scratch->mate_tuple, &scratch->quoted.before);
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	if (!flow_find(&scratch->mate_id, hit) || hit->kind != FLOW_REPLY)
		return false;
	frontend = bpf_map_lookup_elem(&frontend_addresses, &hit->index);
	if (!frontend || frontend->protocol != scratch->mate_tuple.protocol)
		return false;
	scratch->quoted.after.destination = frontend->address;
	scratch->quoted.after.destination_port = frontend->port;
	return true;
}

/* What a pod's device brings that is ICMP. */
static __always_inline int reply_error(ctx_t *ctx, struct packet *packet, const int family)
{
	struct scratch *scratch = scratch_find();
	struct nexthop_member way = {};
	struct flow_hit hit = {};
	bool is_sent;

	if (!scratch || !error_of_backend(ctx, packet, scratch, &hit, family))
		return NOT_A_REPLY;
	packet->tuple.source_port = 0;
	packet->tuple.destination_port = 0;
	is_sent = packet->ttl > 1 && choose_way(&way, packet, hit.flags, family);
	if (!error_translate(ctx, packet, is_sent, family))
		return drop_reply(packet);
	count_packet(packet, REASON_ICMP_RELAYED);
	if (!is_sent)
		return VERDICT_PASS;
	return ctx_write_link(ctx, &way) ? ctx_redirect(way.ifindex) : drop_reply(packet);
}

#endif
