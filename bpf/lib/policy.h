/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The judgement of one direction of a new flow, after translation (abi/policy.h has the tables).
 * In this order:
 *
 *   1. A pod and its own address are one: allowed. Where a Service led it back to itself, a class
 *      of its own says so.
 *   2. The node's own traffic to its pods: allowed, at either end.
 *   3. Nothing is known of the subject: denied.
 *   4. No policy says anything in this direction: allowed.
 *   5. Some of the set's rows found no room: denied.
 *   6. The class of the cell of (set, direction, the peer's identity), else of the peer's scope,
 * and in it the verdict of the protocol and port.
 *
 * A set's generation is read before everything else. User space makes a new one current only when
 * all rows are written that it stands for, so a verdict made of earlier rows says an earlier
 * generation, and is void with it.
 */
#ifndef WEIR_LIB_POLICY_H
#define WEIR_LIB_POLICY_H

#include <linux/in.h>
#include "lib/lb.h"
#include "lib/packet.h"
#include "lib/parse.h"

enum policy_circumstance {
	POLICY_LED_BACK = 1,  /* a Service led the subject to itself */
	POLICY_FROM_HOST = 2, /* this node itself sends it */
	POLICY_OF_HOST = 4,   /* the subject is this node, which has its own rows for itself */
	POLICY_PORTLESS = 8,  /* its ports are not to be had: all of its protocol must be allowed */
	POLICY_HIDDEN = 16,   /* PORTLESS, and so is its protocol */
	POLICY_LENT = 32,     /* whoever sent it may have the node's address by masquerade */
};

/* `tuple` is the packet that begins the flow, as its destination sees it; of ICMP the destination
 * port is the message's type. */
struct policy_question {
	struct tuple tuple;
	__u32 set;	     /* the subject's; 0: nothing is known of it */
	__u32 direction;     /* enum policy_direction */
	__u32 circumstances; /* enum policy_circumstance */
};

struct policy_verdict {
	__u32 rule_id;
	__u32 would_be_rule_id;
	__u32 generation; /* of the subject's set */
	__u32 flags;	  /* enum policy_verdict_flags */
};

static __always_inline const struct policy_subject *
policy_subject_find(const struct address *address)
{
	struct address key = *address;

	return bpf_map_lookup_elem(&policy_subjects, &key);
}

/* The row of :: is the node's own. */
static __always_inline bool is_pod_here(const struct address *address)
{
	return policy_subject_find(address) &&
	       (address_get_word(address, 0) || address_get_word(address, 1) ||
		address_get_word(address, 2) || address_get_word(address, 3));
}

static __always_inline __u32 policy_set_of(const struct address *address)
{
	const struct policy_subject *subject = policy_subject_find(address);

	return subject ? subject->set : 0;
}

/* Whether it is an address of a node of the cluster. */
static __always_inline bool has_node_scope(const struct address *address)
{
	struct address key = *address;
	const struct identity *found = bpf_map_lookup_elem(&identities, &key);

	return found && found->scope == SCOPE_NODE;
}

static __always_inline const struct policy_set *policy_set_find(__u32 set)
{
	return bpf_map_lookup_elem(&policy_sets, &set);
}

/* Whether a verdict of this generation still holds. */
static __always_inline bool policy_is_current(__u32 generation)
{
	const __u32 *is_current = bpf_map_lookup_elem(&policy_generations, &generation);

	return is_current && *is_current;
}

static __always_inline bool is_within(__u16 number, __u16 first, __u16 last)
{
	return first && number >= first && number <= last;
}

/* A ping's source port is its identifier, as its destination port is the type. */
static __always_inline bool is_ping(const struct tuple *tuple)
{
	return (tuple->protocol == IPPROTO_ICMP && tuple->destination_port == bpf_htons(8)) ||
	       (tuple->protocol == IPPROTO_ICMPV6 && tuple->destination_port == bpf_htons(128));
}

/*
 * Another node sends for those whose traffic it masquerades from such ports, and with such
 * identifiers. What has neither does not tell, where the kernel masquerades it.
 */
static __always_inline bool is_lent(const struct policy_question *question)
{
	const struct tuple *tuple = &question->tuple;
	__u16 port = bpf_ntohs(tuple->source_port);
	bool is_ported = has_ports(tuple->protocol);

	if (question->circumstances & POLICY_PORTLESS)
		return question->circumstances & POLICY_LENT;
	if (is_ported && is_within(port, node_config.snat_port_first, node_config.snat_port_last))
		return true;
	if (!is_ported && !is_ping(tuple))
		return node_config.masquerade_port_first;
	return is_within(port, node_config.masquerade_port_first, node_config.masquerade_port_last);
}

static __always_inline struct identity identity_by_prefix(const struct address *address)
{
	struct cidr_key key = {.prefix_bits = 8 * sizeof(key.address), .address = *address};
	const struct identity *found = bpf_map_lookup_elem(&identity_prefixes, &key);

	return found ? *found
		     : (struct identity){.number = WEIR_IDENTITY_WORLD, .scope = SCOPE_OUTSIDE};
}

/* Whoever hides behind a node's address is the world's, and in the networks that hold it. */
static __always_inline struct identity identity_of_peer(const struct policy_question *question)
{
	bool is_egress = question->direction == POLICY_EGRESS;
	const struct tuple *tuple = &question->tuple;
	struct address key = is_egress ? tuple->destination : tuple->source;
	const struct identity *found = bpf_map_lookup_elem(&identities, &key);

	if (found && !(found->scope == SCOPE_NODE && !is_egress && is_lent(question)))
		return *found;
	return identity_by_prefix(&key);
}

static __always_inline __u32 policy_class_of_cell(__u32 cell)
{
	const __u32 *class = bpf_map_lookup_elem(&policy_cells, &cell);

	return class ? *class : 0;
}

static __always_inline __u32 policy_class_of(const struct policy_question *question,
					     const struct policy_set *set)
{
	struct identity peer = identity_of_peer(question);
	bool is_egress = question->direction == POLICY_EGRESS;
	struct policy_peer_key key = {
	    .set_and_direction =
		question->set * POLICY_DIRECTIONS + (is_egress ? POLICY_EGRESS : POLICY_INGRESS),
	    .identity = peer.number,
	};
	const __u32 *cell = bpf_map_lookup_elem(&policy_peers, &key);

	if (cell)
		return policy_class_of_cell(*cell);
	if (peer.scope == SCOPE_POD)
		return is_egress ? set->egress_defaults[SCOPE_POD]
				 : set->ingress_defaults[SCOPE_POD];
	if (peer.scope == SCOPE_NODE)
		return is_egress ? set->egress_defaults[SCOPE_NODE]
				 : set->ingress_defaults[SCOPE_NODE];
	return is_egress ? set->egress_defaults[SCOPE_OUTSIDE]
			 : set->ingress_defaults[SCOPE_OUTSIDE];
}

static __always_inline __u32 policy_protocol_of(const struct tuple *tuple)
{
	bool is_v4 = address_is_ipv4(&tuple->destination);

	switch (tuple->protocol) {
	case IPPROTO_TCP:
		return POLICY_TCP;
	case IPPROTO_UDP:
		return POLICY_UDP;
	case IPPROTO_SCTP:
		return POLICY_SCTP;
	case IPPROTO_ICMP:
		return is_v4 ? POLICY_ICMP : POLICY_OTHER;
	case IPPROTO_ICMPV6:
		return is_v4 ? POLICY_OTHER : POLICY_ICMPV6;
	default:
		return POLICY_OTHER;
	}
}

static __always_inline __u32 policy_port_of(const struct policy_question *question, __u32 protocol)
{
	return protocol == POLICY_OTHER ? 0 : bpf_ntohs(question->tuple.destination_port);
}

/* 2^16 rows are halved so often until one is left. */
#define POLICY_SEARCH_STEPS 17

/* The last of `count` rows from `row` on whose first port is not above `port`. */
static __always_inline const struct policy_port *policy_search(__u32 row, __u32 count, __u32 port)
{
	for (int i = 0; i < POLICY_SEARCH_STEPS && count > 1; i++) {
		__u32 half = count / 2;
		__u32 middle = row + half;
		const struct policy_port *found = bpf_map_lookup_elem(&policy_ports, &middle);

		if (!found)
			return NULL;
		if (found->first <= port)
			row = middle;
		count -= half;
	}
	return bpf_map_lookup_elem(&policy_ports, &row);
}

/* NULL: nobody wrote that class. */
static __always_inline const struct policy_port *
policy_port_find(__u32 number, const struct policy_question *question)
{
	const struct policy_class *class = bpf_map_lookup_elem(&policy_classes, &number);
	__u32 protocol = policy_protocol_of(&question->tuple);
	__u32 start, end;

	if (!class || number == 0)
		return NULL;
	if (!class->starts[POLICY_PROTOCOLS])
		return class->uniform.rule_id ? &class->uniform : NULL;
	start = class->starts[protocol % WEIR_POLICY_STARTS];
	end = class->starts[(protocol + 1) % WEIR_POLICY_STARTS];
	if (end <= start)
		return NULL;
	return policy_search(class->base + start, end - start, policy_port_of(question, protocol));
}

static __always_inline void policy_say(struct policy_verdict *verdict, __u32 rule, bool is_allowed)
{
	verdict->rule_id = rule;
	verdict->would_be_rule_id = 0;
	verdict->flags = is_allowed ? POLICY_ALLOWED : 0;
}

/* More intervals than these are not looked through for a packet that may be for any of them. */
#define POLICY_PORTLESS_INTERVALS_MAX 64

/* What is true of all the ports that it may be for. */
static __always_inline void policy_judge_portless(const struct policy_question *question,
						  __u32 number, struct policy_verdict *verdict)
{
	const struct policy_class *class = bpf_map_lookup_elem(&policy_classes, &number);
	bool is_hidden = question->circumstances & POLICY_HIDDEN;
	__u32 protocol = policy_protocol_of(&question->tuple);
	__u32 row, end;

	policy_say(verdict, POLICY_RULE_NO_ROOM, false);
	if (!class || number == 0)
		return;
	row = class->starts[is_hidden ? 0 : protocol % WEIR_POLICY_STARTS];
	end = class->starts[is_hidden ? POLICY_PROTOCOLS : (protocol + 1) % WEIR_POLICY_STARTS];
	if (end - row > POLICY_PORTLESS_INTERVALS_MAX)
		return;
	for (int i = 0; i < POLICY_PORTLESS_INTERVALS_MAX && row < end; i++, row++) {
		__u32 place = class->base + row;
		const struct policy_port *found = bpf_map_lookup_elem(&policy_ports, &place);

		if (!found || !(found->flags & POLICY_ALLOWED)) {
			policy_say(verdict, found ? found->rule_id : POLICY_RULE_NO_ROOM, false);
			return;
		}
		verdict->rule_id = found->rule_id;
		verdict->would_be_rule_id = found->would_be_rule_id ?: verdict->would_be_rule_id;
		verdict->flags = POLICY_ALLOWED;
	}
}

static __always_inline bool is_uniform(__u32 number)
{
	const struct policy_class *class = bpf_map_lookup_elem(&policy_classes, &number);

	return class && !class->starts[POLICY_PROTOCOLS];
}

static __always_inline void policy_judge_by_class(const struct policy_question *question,
						  __u32 class, struct policy_verdict *verdict)
{
	const struct policy_port *found;

	if (question->circumstances & POLICY_PORTLESS && !is_uniform(class)) {
		policy_judge_portless(question, class, verdict);
		return;
	}
	found = policy_port_find(class, question);
	if (!found) {
		policy_say(verdict, POLICY_RULE_NO_ROOM, false);
		return;
	}
	verdict->rule_id = found->rule_id;
	verdict->would_be_rule_id = found->would_be_rule_id;
	verdict->flags = found->flags;
}

static __always_inline void policy_judge_itself(const struct policy_question *question,
						struct policy_verdict *verdict)
{
	const struct policy_subject *subject;

	if (!(question->circumstances & POLICY_LED_BACK)) {
		policy_say(verdict, POLICY_RULE_SELF, true);
		return;
	}
	subject = policy_subject_find(&question->tuple.source);
	if (subject)
		policy_judge_by_class(question,
				      question->direction == POLICY_EGRESS
					  ? subject->led_back[POLICY_EGRESS]
					  : subject->led_back[POLICY_INGRESS],
				      verdict);
	else
		policy_say(verdict, POLICY_RULE_UNKNOWN, false);
}

/* Of no generation: the address may be another's tomorrow, and nothing of the node's set changes.
 */
static __always_inline void policy_judge_own_pod(struct policy_verdict *verdict)
{
	policy_say(verdict, POLICY_RULE_OWN_NODE, true);
	verdict->generation = 0;
}

/* Whether the direction is allowed; `verdict` says why. */
GLOBAL_FUNCTION int policy_judge(const struct policy_question *question,
				 struct policy_verdict *verdict)
{
	const struct policy_set *set;
	__u32 open;

	if (!question || !verdict)
		return false;
	set = policy_set_find(question->set);
	verdict->generation = set ? set->generation : 0;
	open =
	    question->direction == POLICY_EGRESS ? POLICY_SET_EGRESS_OPEN : POLICY_SET_INGRESS_OPEN;
	barrier();
	if (!(question->circumstances & POLICY_OF_HOST) &&
	    address_is_equal(&question->tuple.source, &question->tuple.destination))
		policy_judge_itself(question, verdict);
	else if (question->circumstances & POLICY_FROM_HOST &&
		 question->direction == POLICY_INGRESS)
		policy_say(verdict, POLICY_RULE_OWN_NODE, true);
	else if (question->circumstances & POLICY_OF_HOST && question->direction == POLICY_EGRESS &&
		 is_pod_here(&question->tuple.destination))
		policy_judge_own_pod(verdict);
	else if (!set || question->set == 0)
		policy_say(verdict, POLICY_RULE_UNKNOWN, false);
	else if (set->flags & open && !(question->circumstances & POLICY_OF_HOST))
		policy_say(verdict, POLICY_RULE_DEFAULT, true);
	else if (set->flags & POLICY_SET_LOCKED)
		policy_say(verdict, POLICY_RULE_NO_ROOM, false);
	else
		policy_judge_by_class(question, policy_class_of(question, set), verdict);
	return verdict->flags & POLICY_ALLOWED;
}

#endif
