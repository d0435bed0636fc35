/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Policy at both directions of a pod's device: what the pod sends, and what is delivered to it
 * (POLICY_EGRESS and POLICY_INGRESS say which, whoever began the flow). Each flow's end at the pod
 * has an entry, whether policy says anything of it or not: who began it must be known when policy
 * comes.
 *
 *   police_end()   its entry is there: its verdict holds, or is asked for again
 *   police_new()   judged, and remembered, for what no translation concerns
 *
 * Pings have an entry each, by their identifier; other ICMP, and protocols without ports, are
 * judged packet by packet. Errors go with the flow that they quote. Neighbour discovery and
 * multicast listeners' reports are the link's business and always pass, and so does a DHCP client
 * that has no address yet. What hides its ports (behind IPv6's extension headers, in later
 * fragments of a datagram whose first was not seen) passes where all of them are allowed.
 *
 * A TCP segment in the middle of a connection that has no entry does not tell who began. What comes
 * to the pod is taken for the client's. What the pod sends makes an entry as the client's only
 * where its answers may be the server's anyway, for a connection that was cut must not come to life
 * again as one that the pod began.
 */
#ifndef WEIR_LIB_POD_END_H
#define WEIR_LIB_POD_END_H

#include "lib/flow_end.h"
#include "lib/nexthop.h"
#include "lib/own.h"

/* See lib/uplink.h. */
extern const volatile __u8 uses_frontend_filter;

/* The client's half that an uplink's program made says what the backend's end admits, though the
 * client is a pod of this node too. Its device leads the flow on from here, and the entry becomes
 * its own. */
static __always_inline bool is_of_other_end(const struct flow_hit *hit)
{
	return hit->kind == FLOW_TO_LOCAL && !(hit->flags & FLOW_CLIENT_IS_LOCAL);
}

static __always_inline bool end_is_allowed(const struct packet *packet, struct scratch *scratch,
					   const struct flow_hit *hit)
{
	const __u8 own = is_of_other_end(hit) ? FLOW_CLIENT_IS_LOCAL : 0;

	if (!own && policy_is_current(flow_generation(hit)))
		return true;
	if (!end_question(scratch, hit) || !police_again(packet, flow_generation(hit)))
		return false;
	flow_amend(hit, hit->flags | own, bpf_htons(scratch->verdict.generation));
	return true;
}

/* Whether an entry under the key of a pod's end is one. */
static __always_inline bool has_verdict(const struct flow_hit *hit)
{
	return hit->kind == FLOW_POD || hit->kind == FLOW_REPLY || hit->kind == FLOW_TO_LOCAL ||
	       hit->kind == FLOW_TO_REMOTE_PLAIN;
}

/* Whether the device leads to the pod whose end the entry is: by the lower half of its index. */
static __always_inline bool is_behind(const ctx_t *ctx, const struct flow_hit *hit)
{
	return hit->index >> 16 == (ctx->ifindex & 0xffff);
}

static __always_inline enum policed police_drop(const struct packet *packet,
						enum verdict_reason reason)
{
	packet_drop(packet, reason);
	return POLICED_DROPPED;
}

/* What comes to a pod from another of this node has come in by the other's device, or by the bridge
 * of that: its address is nobody's who sends from beyond an uplink. */
static __always_inline bool is_forged(const ctx_t *ctx, const struct packet *packet)
{
	const struct endpoint *endpoint = endpoint_find(&packet->tuple.source);

	return endpoint && endpoint->ifindex != ctx->ingress_ifindex &&
	       !is_bridged(endpoint, ctx->ingress_ifindex);
}

/* Else it is of a pod that a Service led back to itself; or the packets of a flow that nobody
 * translates at the pod's device left it at an uplink, to which routers brought them back. */
static __always_inline enum policed police_other_hit(const struct packet *packet,
						     const struct scratch *scratch,
						     const struct flow_hit *hit,
						     enum policy_direction way)
{
	const struct backend *backend = backend_find(hit->index);
	bool goes_on;

	if (hit->kind == FLOW_SNAT_REPLY)
		return POLICED_ON; /* the other half of it is asked for */
	if (hit->kind == FLOW_TO_REMOTE_SNAT && backend &&
	    address_is_equal(&backend->address, &scratch->mate_tuple.source))
		goes_on = police_led_back(packet, hit->index);
	else if (way == POLICY_EGRESS && is_balanced_here(packet))
		return POLICED_UNJUDGED;
	else
		goes_on = police_untranslated(packet, way);
	return goes_on ? POLICED_ON : POLICED_DROPPED;
}

/* Further packets of the peer that another device than a pod's brings, where the peer is a pod of
 * this node. Not those of a Service's client that come by an uplink from the first: its own are
 * not told from others' there. */
static __always_inline bool is_forged_further(const ctx_t *ctx, const struct packet *packet,
					      const struct flow_hit *hit, enum policy_direction way)
{
	return way == POLICY_INGRESS && hit->flags & FLOW_CLIENT_IS_LOCAL &&
	       (hit->kind == FLOW_POD ||
		(hit->kind == FLOW_REPLY && !(hit->flags & FLOW_LEAVES))) &&
	       ctx->ingress_ifindex && is_forged(ctx, packet);
}

static __always_inline enum policed police_hit(const ctx_t *ctx, struct packet *packet,
					       struct scratch *scratch, struct flow_hit *hit,
					       enum policy_direction way)
{
	bool is_of_client = end_is_server(hit) == (way == POLICY_INGRESS);
	enum flow_touched touched;

	if (!has_verdict(hit))
		return police_other_hit(packet, scratch, hit, way);
	if (is_forged_further(ctx, packet, hit, way))
		return police_drop(packet, REASON_FORGED_SOURCE);
	if (hit->kind == FLOW_POD &&
	    (is_first_packet(packet) || (way == POLICY_INGRESS && !is_behind(ctx, hit))))
		return POLICED_UNJUDGED;
	if (!end_is_allowed(packet, scratch, hit))
		return POLICED_DROPPED;
	packet->is_answer = !is_of_client;
	if (hit->kind != FLOW_POD)
		return POLICED_ON;
	touched =
	    flow_touch(hit, is_of_client ? events_of_client(packet) : events_of_backend(packet));
	packet->leaves = hit->flags & FLOW_LEAVES && touched != FLOW_TOUCHED_TICK;
	/* The tick's look was for what the pod sends next. */
	if (way == POLICY_INGRESS && hit->flags & FLOW_LEAVES && touched == FLOW_TOUCHED_TICK)
		flow_amend(hit, hit->flags ^ FLOW_LEAVES, hit->snat_port);
	return packet->parsed == PARSED_ICMP ? POLICED_ON : POLICED_OWN;
}

/* The packet that an error quotes came from, or went to, the pod that the error goes to or from. */
static __always_inline enum policed police_error(ctx_t *ctx, struct packet *packet,
						 struct scratch *scratch, enum policy_direction way,
						 const int family)
{
	struct flow_hit hit;

	if (!quoted_parse(ctx, packet, &scratch->quoted, family))
		return POLICED_UNJUDGED;
	if (way == POLICY_EGRESS &&
	    !address_is_equal(&scratch->quoted.before.destination, &packet->tuple.source))
		return POLICED_UNJUDGED;
	if (way == POLICY_EGRESS)
		tuple_reverse(&scratch->mate_tuple, &scratch->quoted.before);
	else
		scratch->mate_tuple = scratch->quoted.before;
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	if (!flow_find(&scratch->mate_id, &hit))
		return POLICED_UNJUDGED;
	packet->is_answer = true;
	return !has_verdict(&hit) || end_is_allowed(packet, scratch, &hit) ? POLICED_ON
									   : POLICED_DROPPED;
}

/* Of a pod's device: the pod sends from its own addresses alone. */
static __always_inline bool is_from_its_own(const ctx_t *ctx, const struct packet *packet)
{
	const struct endpoint *endpoint = endpoint_find(&packet->tuple.source);

	return endpoint && endpoint->ifindex == ctx->ifindex;
}

/* Neighbour discovery that the pod sends to a single address beyond its link would be routed there,
 * whatever it carries. */
static __always_inline bool stays_on_link(ctx_t *ctx, const struct packet *packet)
{
	const __u8 *bytes = packet->tuple.destination.bytes;

	return bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) ||
	       endpoint_find(&packet->tuple.destination) || is_own_ipv6(ctx, packet, false);
}

/* A client that has no address yet asks, and is told (RFC 2131), but not by another pod. */
static __always_inline bool is_dhcp(const struct packet *packet, enum policy_direction way,
				    const int family)
{
	const struct tuple *tuple = &packet->tuple;
	const __be16 client = bpf_htons(68), server = bpf_htons(67);

	if (family != IPV4 || packet->parsed != PARSED_PORTS || tuple->protocol != IPPROTO_UDP ||
	    address_to_ipv4(&tuple->destination) != 0xffffffff)
		return false;
	if (way == POLICY_EGRESS)
		return tuple->source_port == client && tuple->destination_port == server &&
		       !address_to_ipv4(&tuple->source);
	return tuple->source_port == server && tuple->destination_port == client &&
	       !endpoint_find(&tuple->source);
}

/* Whether what comes to the pod may be of a Service's flow, whose entries are no pod's own: a
 * backend is at this end, or a frontend at the other. */
static __always_inline bool may_be_of_service(const struct packet *packet)
{
	const struct tuple *tuple = &packet->tuple;
	struct backend_key backend = {.address = tuple->destination,
				      .port = tuple->destination_port};

	return !uses_frontend_filter || filter_admits(&tuple->source) ||
	       backend_number(&backend, tuple->protocol);
}

static __always_inline enum policed police_end(ctx_t *ctx, struct packet *packet,
					       enum policy_direction way, const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;
	enum end_form form;

	if (!scratch)
		return POLICED_DROPPED;
	/* Behind a tag is another network, unless a stack overlooks it. */
	if (packet->l3_offset != sizeof(struct ethhdr))
		return police_drop(packet, REASON_MALFORMED);
	if (packet->parsed == PARSED_FRAGMENT)
		packet->parsed = fragment_resolve(ctx, packet);
	form = end_name(ctx, packet, &scratch->question.tuple, family);
	if ((form == END_EXEMPT && (way == POLICY_INGRESS || stays_on_link(ctx, packet))) ||
	    is_dhcp(packet, way, family))
		return POLICED_OWN;
	if (way == POLICY_EGRESS && !is_from_its_own(ctx, packet))
		return police_drop(packet, REASON_FORGED_SOURCE);
	if (form == END_ERROR)
		return police_error(ctx, packet, scratch, way, family);
	if (form != END_FLOW && form != END_ANSWER)
		return POLICED_UNJUDGED;
	/* Judged afresh whatever is known: a denied one need not wait for the table's memory. But a
	 * Service's that comes to the pod may have an entry that was made on its way. */
	if (is_first_packet(packet) && (way == POLICY_EGRESS || !may_be_of_service(packet)))
		return POLICED_UNJUDGED;
	end_identify(scratch, way, family);
	if (!flow_find(&scratch->mate_id, &hit))
		return POLICED_UNJUDGED;
	return police_hit(ctx, packet, scratch, &hit, way);
}

GLOBAL_FUNCTION int police_end_ipv4(ctx_t *ctx, struct packet *packet, __u32 way)
{
	return packet ? police_end(ctx, packet, way, IPV4) : POLICED_DROPPED;
}

GLOBAL_FUNCTION int police_end_ipv6(ctx_t *ctx, struct packet *packet, __u32 way)
{
	return packet ? police_end(ctx, packet, way, IPV6) : POLICED_DROPPED;
}

/* Whether what the pod sends may be the server's half of a connection that is not to go on. */
static __always_inline bool may_be_cut_off(struct scratch *scratch, const struct packet *packet,
					   enum policy_direction way)
{
	struct policy_question *question = &scratch->question;

	if (way == POLICY_INGRESS || is_first_packet(packet) ||
	    !has_connections(packet->tuple.protocol))
		return false;
	tuple_reverse(&question->tuple, &scratch->mate_tuple);
	question->direction = POLICY_INGRESS;
	return !policy_judge(question, &scratch->verdict);
}

/* Of the pod that the device leads to. A bridge brings to every port what it knows no port of, and
 * to whoever answered ARP what was not meant for him: what goes to another is nobody's here. */
static __always_inline __u32 set_behind(const ctx_t *ctx, const struct packet *packet,
					enum policy_direction way)
{
	const struct endpoint *endpoint;

	if (way == POLICY_EGRESS)
		return policy_set_of(&packet->tuple.source);
	endpoint = endpoint_find(&packet->tuple.destination);
	return endpoint && endpoint->ifindex == ctx->ifindex
		   ? policy_set_of(&packet->tuple.destination)
		   : 0;
}

/* False: denied, or not to be remembered. */
static __always_inline bool police_new(ctx_t *ctx, const struct packet *packet,
				       enum policy_direction way, bool is_from_host,
				       const int family)
{
	struct scratch *scratch = scratch_find();
	struct policy_question *question;
	enum end_form form;

	if (!scratch)
		return false;
	if (way == POLICY_INGRESS && !is_from_host && is_forged(ctx, packet)) {
		packet_drop(packet, REASON_FORGED_SOURCE);
		return false;
	}
	question = &scratch->question;
	form = end_name(ctx, packet, &question->tuple, family);
	question->set = set_behind(ctx, packet, way);
	question->direction = way;
	question->circumstances = is_from_host ? POLICY_FROM_HOST : 0;
	if (!end_ask(packet, scratch, form, family))
		return false;
	if (form != END_FLOW)
		return true;
	scratch->generation = scratch->verdict.generation;
	scratch->rule_id = scratch->verdict.rule_id;
	end_identify(scratch, way, family);
	if (may_be_cut_off(scratch, packet, way) ||
	    end_record(scratch, packet, way, is_from_host ? FLOW_FROM_HOST : 0, ctx->ifindex))
		return true;
	packet_drop(packet, REASON_FLOW_SET_FULL);
	return false;
}

GLOBAL_FUNCTION int police_new_ipv4(ctx_t *ctx, const struct packet *packet, __u32 way,
				    __u32 is_from_host)
{
	return packet && police_new(ctx, packet, way, is_from_host, IPV4);
}

GLOBAL_FUNCTION int police_new_ipv6(ctx_t *ctx, const struct packet *packet, __u32 way,
				    __u32 is_from_host)
{
	return packet && police_new(ctx, packet, way, is_from_host, IPV6);
}

/* What the pod's end has just remembered goes no further: its next packet is as new as this one. */
static __always_inline int police_forget(ctx_t *ctx, const struct packet *packet, const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;

	if (!scratch || end_name(ctx, packet, &scratch->question.tuple, family) != END_FLOW)
		return false;
	end_identify(scratch, POLICY_EGRESS, family);
	return flow_find(&scratch->mate_id, &hit) && hit.kind == FLOW_POD && flow_free(&hit);
}

GLOBAL_FUNCTION int police_forget_ipv4(ctx_t *ctx, const struct packet *packet)
{
	return packet && police_forget(ctx, packet, IPV4);
}

GLOBAL_FUNCTION int police_forget_ipv6(ctx_t *ctx, const struct packet *packet)
{
	return packet && police_forget(ctx, packet, IPV6);
}

#endif
