/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Policy of the node itself, at its uplinks and where its own pods speak to it. Nothing of this is
 * asked while no policy selects the node: policy_host holds 0 then.
 *
 * Whose a packet is: what comes in is the node's where the kernel would deliver it here, after
 * translation; what the node's own stack sends has come in by no device. Everything else is others'
 * and passes: what goes to pods, what is forwarded, what is a Service's. What the stack masquerades
 * as the node gets an entry of the node's when it leaves, for its answers come back to the node's
 * address. What the node says to its own pods is never asked for: Kubernetes wants it to arrive.
 *
 * An end of the node is like a pod's: POD, flagged OF_HOST, keyed as the node sends, and the
 * REPLY entry of a Service's flow to a backend on the host network. An established packet costs one
 * look-up of its flow. Without an entry a TCP segment in the middle of a connection, of one that
 * was there before the policy was, tells who began it by whether somebody listens at the node's
 * port. So TCP does without an entry where the table has no place.
 *
 * Always let pass: neighbour discovery and multicast's reports, tunnels between nodes, the errors
 * that the node sends as a router, and those about its own flows and tunnels. Ports at which a node
 * stays in touch are among the rows of its set.
 */
#ifndef WEIR_LIB_HOST_END_H
#define WEIR_LIB_HOST_END_H

#include "lib/encap.h"
#include "lib/flow_end.h"
#include "lib/nexthop.h"
#include "lib/own.h"
#include "lib/parse_skb.h"

enum passage {
	PASSAGE_IN,	   /* by an uplink */
	PASSAGE_FROM_POD,  /* whose end of the flow had no entry */
	PASSAGE_GOES_ON,   /* from a pod that began its flow, and is remembered to have */
	PASSAGE_OUT,	   /* by an uplink, from the node's own stack */
	PASSAGE_FORWARDED, /* by an uplink, but it had come in by another device */
};

static __always_inline enum policy_direction passage_direction(__u32 passage)
{
	return passage == PASSAGE_OUT || passage == PASSAGE_FORWARDED ? POLICY_EGRESS
								      : POLICY_INGRESS;
}

/* The set of the node; 0: nobody judges it. */
static __always_inline __u32 host_set(void)
{
	__u32 row = 0;
	const __u32 *set = bpf_map_lookup_elem(&policy_host, &row);

	return set ? *set : 0;
}

/* Whether it is the node that gets it, or sends it. */
static __always_inline bool is_hosts(ctx_t *ctx, const struct packet *packet, __u32 passage,
				     const int family)
{
	if (passage == PASSAGE_OUT)
		return true;
	if (passage == PASSAGE_FORWARDED)
		return is_own(ctx, packet, true, family);
	return !endpoint_find(&packet->tuple.destination) && is_own(ctx, packet, false, family);
}

/* Between nodes: without it there is no cluster. Geneve's port is among those that stay open. */
static __always_inline bool is_nodes_tunnel(const struct packet *packet, __u32 passage)
{
	if (packet->tuple.protocol != IPPROTO_IPIP && packet->tuple.protocol != IPPROTO_IPV6)
		return false;
	return has_node_scope(passage_direction(passage) == POLICY_EGRESS
				  ? &packet->tuple.destination
				  : &packet->tuple.source);
}

static __always_inline bool is_groups_business(const struct packet *packet, const int family)
{
	return family == IPV4 && packet->tuple.protocol == IPPROTO_IGMP;
}

/* Whether somebody of the node listens at its end of the flow, scratch->mate_tuple. */
GLOBAL_FUNCTION int host_listens(ctx_t *ctx)
{
	const struct scratch *scratch = scratch_find();
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found;
	const struct tuple *end;
	bool is_listening;

	if (!scratch)
		return false;
	end = &scratch->mate_tuple;
	/* Nobody is connected to port 0: what is found listens. */
	if (address_is_ipv4(&end->source)) {
		tuple.ipv4.saddr = address_to_ipv4(&end->destination);
		tuple.ipv4.daddr = address_to_ipv4(&end->source);
		tuple.ipv4.dport = end->source_port;
		found = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, &end->destination, sizeof(tuple.ipv6.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, &end->source, sizeof(tuple.ipv6.daddr));
		tuple.ipv6.dport = end->source_port;
		found = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!found)
		return false;
	is_listening = found->state == BPF_TCP_LISTEN;
	bpf_sk_release(found);
	return is_listening;
}

/* Of the node's end, whose entry is `hit`. */
static __always_inline bool host_end_is_allowed(const struct packet *packet,
						struct scratch *scratch, const struct flow_hit *hit)
{
	if (hit->flags & FLOW_FORWARDED || policy_is_current(flow_generation(hit)))
		return true;
	end_question(scratch, hit);
	scratch->question.set = host_set();
	scratch->question.circumstances = POLICY_OF_HOST;
	if (!police_again(packet, flow_generation(hit)))
		return false;
	flow_stamp(hit, scratch->verdict.generation);
	return true;
}

static __always_inline bool is_of_host(const struct flow_hit *hit)
{
	return hit->kind == FLOW_POD && hit->flags & FLOW_OF_HOST;
}

/* What a pod of this node says to it comes by the pod's device, or of a Service, which has an
 * entry; a bridge that is an uplink brings what comes from its ports a second time.
 */
static __always_inline bool is_from_pod_by_uplink(const struct packet *packet, __u32 passage)
{
	const struct endpoint *endpoint;

	if (passage != PASSAGE_IN)
		return false;
	endpoint = endpoint_find(&packet->tuple.source);
	return endpoint && !is_bridged(endpoint, packet->ifindex);
}

/* The entry's key is that of an end here. Not the node's: a pod's, judged at its device, or that of
 * a flow that a Service leads on. */
static __always_inline enum policed host_hit(ctx_t *ctx, const struct packet *packet,
					     struct scratch *scratch, struct flow_hit *hit,
					     __u32 passage, const int family)
{
	bool is_of_client = end_is_server(hit) == (passage_direction(passage) == POLICY_INGRESS);

	if (!is_of_host(hit) && hit->kind != FLOW_REPLY)
		return POLICED_OWN;
	if (is_of_host(hit)) {
		if (is_first_packet(packet) ||
		    (hit->flags & FLOW_CLIENT_IS_LOCAL && is_from_pod_by_uplink(packet, passage)))
			return POLICED_UNJUDGED;
		flow_touch(hit,
			   is_of_client ? events_of_client(packet) : events_of_backend(packet));
	} else if (!policy_is_current(flow_generation(hit)) &&
		   !is_hosts(ctx, packet, passage, family)) {
		return POLICED_OWN;
	}
	return host_end_is_allowed(packet, scratch, hit) ? POLICED_OWN : POLICED_DROPPED;
}

/* About a packet that the node sent. */
static __always_inline enum policed host_error(ctx_t *ctx, const struct packet *packet,
					       struct scratch *scratch, const int family)
{
	const struct tuple *sent = &scratch->quoted.before;
	struct flow_hit hit;

	if (!quoted_parse(ctx, packet, &scratch->quoted, family))
		return POLICED_UNJUDGED;
	if (sent->protocol == IPPROTO_UDP &&
	    sent->destination_port == bpf_htons(WEIR_GENEVE_PORT) &&
	    address_is_equal(&sent->source, own_address(family)))
		return POLICED_OWN;
	scratch->mate_tuple = *sent;
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
	if (!flow_find(&scratch->mate_id, &hit))
		return POLICED_UNJUDGED;
	if (!is_of_host(&hit))
		return POLICED_OWN;
	return host_end_is_allowed(packet, scratch, &hit) ? POLICED_OWN : POLICED_DROPPED;
}

/* What has an entry at the node's end, or needs none. */
static __always_inline enum policed host_end(ctx_t *ctx, struct packet *packet, __u32 passage,
					     const int family)
{
	struct scratch *scratch = scratch_find();
	struct flow_hit hit;
	enum end_form form;

	if (!scratch)
		return POLICED_DROPPED;
	if (packet->parsed == PARSED_FRAGMENT)
		packet->parsed = fragment_resolve(ctx, packet);
	form = end_name(ctx, packet, &scratch->question.tuple, family);
	if (form == END_EXEMPT || packet->parsed == PARSED_FOREIGN ||
	    is_nodes_tunnel(packet, passage) || is_groups_business(packet, family))
		return POLICED_OWN;
	if (form == END_ERROR)
		return passage_direction(passage) == POLICY_EGRESS
			   ? POLICED_OWN
			   : host_error(ctx, packet, scratch, family);
	if (form != END_FLOW && form != END_ANSWER)
		return POLICED_UNJUDGED;
	end_identify(scratch, passage_direction(passage), family);
	if (!flow_find(&scratch->mate_id, &hit))
		return POLICED_UNJUDGED;
	return host_hit(ctx, packet, scratch, &hit, passage, family);
}

GLOBAL_FUNCTION int host_end_ipv4(ctx_t *ctx, struct packet *packet, __u32 passage)
{
	return packet ? host_end(ctx, packet, passage, IPV4) : POLICED_DROPPED;
}

GLOBAL_FUNCTION int host_end_ipv6(ctx_t *ctx, struct packet *packet, __u32 passage)
{
	return packet ? host_end(ctx, packet, passage, IPV6) : POLICED_DROPPED;
}

static __always_inline bool is_in_the_middle(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_TCP && !is_first_packet(packet);
}

/* Who began it. */
static __always_inline enum policy_direction host_direction(ctx_t *ctx, const struct packet *packet,
							    __u32 passage)
{
	if (!is_in_the_middle(packet) || passage == PASSAGE_GOES_ON)
		return passage_direction(passage);
	return host_listens(ctx) ? POLICY_INGRESS : POLICY_EGRESS;
}

static __always_inline bool host_remember(struct scratch *scratch, const struct packet *packet,
					  enum policy_direction direction, __u8 flags)
{
	if (end_record(scratch, packet, direction, flags | FLOW_OF_HOST, 0) ||
	    packet->tuple.protocol == IPPROTO_TCP)
		return true;
	packet_drop(packet, REASON_FLOW_SET_FULL);
	return false;
}

/* A flow of the node, scratch->mate_tuple seen from it. False: denied, or not to be remembered. */
static __always_inline bool host_begins(ctx_t *ctx, const struct packet *packet,
					struct scratch *scratch, __u32 passage)
{
	struct policy_question *question = &scratch->question;

	if (passage == PASSAGE_FORWARDED) {
		scratch->generation = 0;
		scratch->rule_id = 0;
		return host_remember(scratch, packet, POLICY_EGRESS, FLOW_FORWARDED);
	}
	question->direction = host_direction(ctx, packet, passage);
	if (question->direction == POLICY_EGRESS && passage == PASSAGE_FROM_POD)
		return true;
	if (question->direction == POLICY_EGRESS)
		question->tuple = scratch->mate_tuple;
	else
		tuple_reverse(&question->tuple, &scratch->mate_tuple);
	if (!police_ask(packet, scratch, is_in_the_middle(packet)))
		return false;
	scratch->generation = scratch->verdict.generation;
	scratch->rule_id = scratch->verdict.rule_id;
	return host_remember(scratch, packet, question->direction, 0);
}

/* Of what a pod began, at the pod's end, whose tuple is scratch->question's: so that the routing
 * table is asked once a tick where it goes, and not for each packet. */
static __always_inline void note_whether_it_leaves(struct scratch *scratch, bool leaves,
						   const int family)
{
	struct flow_hit hit;

	flow_identify(&scratch->mate_id, &scratch->question.tuple, family);
	if (flow_find(&scratch->mate_id, &hit) && hit.kind == FLOW_POD && !is_of_host(&hit) &&
	    leaves != !!(hit.flags & FLOW_LEAVES))
		flow_amend(&hit, hit.flags ^ FLOW_LEAVES, hit.snat_port);
}

/* False: denied, or not to be remembered. */
static __always_inline bool host_new(ctx_t *ctx, const struct packet *packet, __u32 passage,
				     const int family)
{
	struct scratch *scratch = scratch_find();
	struct policy_question *question;
	enum end_form form;
	bool is_of_node;

	if (!scratch)
		return false;
	is_of_node = is_hosts(ctx, packet, passage, family);
	question = &scratch->question;
	form = end_name(ctx, packet, &question->tuple, family);
	if (passage == PASSAGE_GOES_ON && form == END_FLOW)
		note_whether_it_leaves(scratch, !is_of_node, family);
	if (!is_of_node)
		return true;
	if (is_from_pod_by_uplink(packet, passage)) {
		packet_drop(packet, REASON_FORGED_SOURCE);
		return false;
	}
	if (passage == PASSAGE_FORWARDED && form != END_FLOW)
		return true;
	question->set = host_set();
	question->circumstances = POLICY_OF_HOST;
	question->direction = passage_direction(passage);
	if (form != END_FLOW)
		return end_ask(packet, scratch, form, family);
	end_identify(scratch, question->direction, family);
	return host_begins(ctx, packet, scratch, passage);
}

GLOBAL_FUNCTION int host_new_ipv4(ctx_t *ctx, const struct packet *packet, __u32 passage)
{
	return packet && host_new(ctx, packet, passage, IPV4);
}

GLOBAL_FUNCTION int host_new_ipv6(ctx_t *ctx, const struct packet *packet, __u32 passage)
{
	return packet && host_new(ctx, packet, passage, IPV6);
}

static __always_inline bool host_admits_family(ctx_t *ctx, struct packet *packet, __u32 passage,
					       const int family)
{
	switch (family == IPV4 ? host_end_ipv4(ctx, packet, passage)
			       : host_end_ipv6(ctx, packet, passage)) {
	case POLICED_DROPPED:
		return false;
	case POLICED_UNJUDGED:
		return family == IPV4 ? host_new_ipv4(ctx, packet, passage)
				      : host_new_ipv6(ctx, packet, passage);
	default:
		return true;
	}
}

/* Behind a tag is another network's device, where the packet is met again; but what is tagged with
 * priority alone a stack takes for untagged. */
static __always_inline bool is_of_other_device(const ctx_t *ctx)
{
	return ctx->vlan_present && ctx->vlan_tci & 0xfff;
}

/* At an uplink: whether the node's policies let the packet pass. */
static __always_inline bool host_lets(ctx_t *ctx, enum passage passage)
{
	struct scratch *scratch = scratch_find();
	struct packet *packet;

	if (!node_config.enforces_policy || !host_set() || !scratch || is_of_other_device(ctx))
		return true;
	/* Not on the stack, which all that is called from here shares. */
	packet = &scratch->packet;
	*packet = (struct packet){.ifindex = ctx->ifindex};
	switch (parse_skb(ctx, packet)) {
	case IPV4:
		return host_admits_family(ctx, packet, passage, IPV4);
	case IPV6:
		return host_admits_family(ctx, packet, passage, IPV6);
	default:
		return !is_unread(ctx);
	}
}

#endif
