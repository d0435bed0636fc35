/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * One end of a flow, a pod's or the node's own (lib/pod_end.h, lib/host_end.h): how a packet tells
 * its flow, the key of the flow's entry at that end, and the entry itself.
 */
#ifndef WEIR_LIB_FLOW_END_H
#define WEIR_LIB_FLOW_END_H

#include "lib/fragment.h"
#include "lib/icmp.h"
#include "lib/police.h"

enum policed {
	POLICED_OWN,	  /* the end's own flow, allowed: on its way as it is */
	POLICED_ON,	  /* allowed, and somebody may have to translate it */
	POLICED_UNJUDGED, /* nobody knows it yet */
	POLICED_DROPPED,
};

/* How a packet's flow is told, in scratch->question.tuple. */
enum end_form {
	END_FLOW,
	END_ANSWER, /* to a ping */
	END_ERROR,
	END_ALONE, /* has no flow */
	END_EXEMPT,
	END_BROKEN, /* its ports are not to be had */
};

#define PING_IPV4	 8
#define PING_ANSWER_IPV4 0
#define PING_IPV6	 128
#define PING_ANSWER_IPV6 129

/* MLD (RFC 2710, RFC 3810): to groups, and no router passes it on. */
static __always_inline bool is_listeners_business(const struct packet *packet, __u8 type)
{
	return packet->tuple.destination.bytes[0] == 0xff && packet->ttl == 1 &&
	       ((type >= 130 && type <= 132) || type == 143);
}

/* Neighbour discovery comes from the link itself (RFC 4861). */
static __always_inline bool is_links_business(const struct packet *packet, __u8 type,
					      const int family)
{
	if (family == IPV4)
		return false;
	if (type >= 133 && type <= 137)
		return packet->ttl == 255;
	return is_listeners_business(packet, type);
}

/* A ping's ports are its identifier and the type, seen from who asks; else the type is the
 * destination's. */
static __always_inline enum end_form end_name_icmp(ctx_t *ctx, const struct packet *packet,
						   struct tuple *tuple, const int family)
{
	const __u8 ping = family == IPV4 ? PING_IPV4 : PING_IPV6;
	const __u8 answer = family == IPV4 ? PING_ANSWER_IPV4 : PING_ANSWER_IPV6;
	struct icmp_header icmp;

	if (bpf_skb_load_bytes(ctx, packet->l4_offset, &icmp, sizeof(icmp)))
		return END_BROKEN;
	tuple->source_port = 0;
	tuple->destination_port = bpf_htons(icmp.type);
	if (is_links_business(packet, icmp.type, family))
		return END_EXEMPT;
	if (icmp.type == ping) {
		tuple->source_port = (__be16)icmp.value;
		return END_FLOW;
	}
	if (icmp.type == answer) {
		tuple->source_port = bpf_htons(ping);
		tuple->destination_port = (__be16)icmp.value;
		return END_ANSWER;
	}
	return is_icmp_error(icmp.type, family) ? END_ERROR : END_ALONE;
}

/* As stacks send it: behind a header of options that is 8 bytes long (router alert, RFC 2711). */
static __always_inline bool is_listeners_report(ctx_t *ctx, const struct packet *packet)
{
	struct {
		__u8 next_header;
		__u8 more_words;
		__u8 options[6];
		__u8 type;
	} head;

	return packet->tuple.protocol == IPPROTO_HOPOPTS &&
	       !bpf_skb_load_bytes(ctx, packet->l4_offset, &head, sizeof(head)) &&
	       head.next_header == IPPROTO_ICMPV6 && head.more_words == 0 &&
	       is_listeners_business(packet, head.type);
}

/* Headers behind which the transport's own lies, that the parser does not look behind. */
static __always_inline bool is_extension(__u32 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_AH ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_MH;
}

static __always_inline enum end_form end_name(ctx_t *ctx, const struct packet *packet,
					      struct tuple *tuple, const int family)
{
	*tuple = packet->tuple;
	switch (packet->parsed) {
	case PARSED_PORTS:
		return END_FLOW;
	case PARSED_ICMP:
		return end_name_icmp(ctx, packet, tuple, family);
	case PARSED_PORTLESS:
		if (family == IPV6 && is_extension(packet->tuple.protocol))
			return is_listeners_report(ctx, packet) ? END_EXEMPT : END_BROKEN;
		tuple->source_port = 0;
		tuple->destination_port = 0;
		return END_ALONE;
	default:
		return END_BROKEN;
	}
}

/* This end of the flow that scratch->question.tuple is of: scratch->mate_tuple and ->mate_id. */
static __always_inline void end_identify(struct scratch *scratch, enum policy_direction way,
					 const int family)
{
	if (way == POLICY_EGRESS)
		scratch->mate_tuple = scratch->question.tuple;
	else
		tuple_reverse(&scratch->mate_tuple, &scratch->question.tuple);
	flow_identify(&scratch->mate_id, &scratch->mate_tuple, family);
}

static __always_inline bool end_is_server(const struct flow_hit *hit)
{
	return hit->kind == FLOW_REPLY || (hit->kind == FLOW_POD && hit->flags & FLOW_IS_SERVER);
}

/* The question that the flow was judged by when it began. False: its backend is gone. */
static __always_inline bool end_question(struct scratch *scratch, const struct flow_hit *hit)
{
	struct policy_question *question = &scratch->question;
	const struct tuple *end = &scratch->mate_tuple;
	const struct backend *backend;

	question->set = policy_set_of(&end->source);
	question->direction = end_is_server(hit) ? POLICY_INGRESS : POLICY_EGRESS;
	question->circumstances =
	    hit->kind == FLOW_POD && hit->flags & FLOW_FROM_HOST ? POLICY_FROM_HOST : 0;
	if (end_is_server(hit))
		tuple_reverse(&question->tuple, end);
	else
		question->tuple = *end;
	if (hit->kind != FLOW_TO_LOCAL && hit->kind != FLOW_TO_REMOTE_PLAIN)
		return true;
	backend = backend_find(hit->index);
	if (!backend)
		return false;
	question->tuple.destination = backend->address;
	question->tuple.destination_port = backend->port;
	return true;
}

static __always_inline bool has_connections(__u32 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_SCTP;
}

/* scratch->generation is that of the verdict. `direction` is that of who began the flow, seen from
 * this end; `flags` are further ones; `ifindex` is the pod's device, 0 for an end of the node.
 * False: there is no place. */
static __always_inline bool end_record(struct scratch *scratch, const struct packet *packet,
				       enum policy_direction direction, __u8 flags, __u32 ifindex)
{
	struct flow_data *data = &scratch->data;
	const struct tuple *end = &scratch->mate_tuple;

	data->index = ifindex << 16 | bpf_ntohs(end->source_port);
	data->kind = FLOW_POD;
	data->flags = (has_connections(packet->tuple.protocol) ? 0 : FLOW_IS_UDP) |
		      (direction == POLICY_INGRESS ? FLOW_IS_SERVER : 0) |
		      (endpoint_find(&end->destination) ? FLOW_CLIENT_IS_LOCAL : 0) | flags;
	data->snat_port = bpf_htons(scratch->generation);
	data->detail.client = end->destination;
	data->detail.client_port = end->destination_port;
	data->detail.protocol = end->protocol;
	data->detail.ifindex_high = ifindex >> 16;
	data->detail.frontend_id = scratch->rule_id;
	return flow_record(&scratch->mate_id, data, events_of_client(packet));
}

static __always_inline bool police_portless(const struct packet *packet, struct scratch *scratch,
					    __u32 circumstances)
{
	bool is_allowed;

	scratch->question.circumstances |= circumstances;
	is_allowed = policy_judge(&scratch->question, &scratch->verdict);
	if (scratch->verdict.would_be_rule_id)
		police_note(packet);
	return is_allowed;
}

/* Without its ports it passes where the peer may speak to all of them: to the protocol's, or to all
 * protocols' where it hides that too. Of a node's address both must be allowed who may have it. */
GLOBAL_FUNCTION int police_broken(const struct packet *packet)
{
	struct scratch *scratch = scratch_find();
	struct policy_question *question;
	__u32 circumstances = POLICY_PORTLESS;

	if (!packet || !scratch)
		return false;
	question = &scratch->question;
	question->tuple.source_port = 0;
	question->tuple.destination_port = 0;
	if (packet->parsed != PARSED_FRAGMENT || is_extension(packet->tuple.protocol))
		circumstances |= POLICY_HIDDEN;
	if (question->set && police_portless(packet, scratch, circumstances) &&
	    (question->direction == POLICY_EGRESS || !has_node_scope(&question->tuple.source) ||
	     police_portless(packet, scratch, POLICY_LENT)))
		return true;
	packet_drop(packet, packet->fragment ? REASON_FRAGMENT : REASON_MALFORMED);
	return false;
}

/* Asks scratch->question, whose tuple end_name() told to be of this form. */
static __always_inline bool end_ask(const struct packet *packet, struct scratch *scratch,
				    enum end_form form, const int family)
{
	struct policy_question *question = &scratch->question;

	if (form == END_BROKEN)
		return police_broken(packet);
	if (form == END_ANSWER)
		question->tuple.destination_port =
		    bpf_htons(family == IPV4 ? PING_ANSWER_IPV4 : PING_ANSWER_IPV6);
	return police_ask(packet, scratch, false);
}

#endif
